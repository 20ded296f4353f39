package brake

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Ledger remembers which works there are and which went lately. What one replica of the hub admits, the others see in
// their watch, so all count alike but for what was refused elsewhere.
type Ledger struct {
	// Few may go, however small the fleet.
	Few int
	// Share of the works, in percent, that may go within Window.
	Share int
	// Clock is now.
	Clock clock.PassiveClock

	mu      sync.Mutex
	works   map[types.UID]time.Time // when they were made
	removed map[types.UID]Departure
	held    map[types.UID]Departure
	since   time.Time // of the first that is held
}

// NewLedger remembers nothing yet.
func NewLedger(few, share int, now clock.PassiveClock) *Ledger {
	return &Ledger{
		Few: few, Share: share, Clock: now,
		works: map[types.UID]time.Time{}, removed: map[types.UID]Departure{}, held: map[types.UID]Departure{},
	}
}

// There notes a work that exists, and when it was made. API servers round that down to seconds, in which much can come
// and go; of a work that just came we know better.
func (l *Ledger) There(work types.UID, born time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.works[work]; known {
		return
	}
	if now := l.Clock.Now(); now.Sub(born) < 2*time.Second {
		born = now
	}
	l.works[work] = born
}

// Gone notes that a work exists no more.
func (l *Ledger) Gone(work types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.works, work)
	delete(l.held, work)
}

// Left notes a removal that was seen to begin at a time, unless it is known already.
func (l *Ledger) Left(work types.UID, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.removed[work]; !known && l.Clock.Since(at) < Window {
		l.removed[work] = Departure{Born: l.works[work], At: at}
		delete(l.held, work)
	}
}

// Judge decides about one removal and remembers it, unless it is only a rehearsal. Two that come at once count one
// after the other.
func (l *Ledger) Judge(work types.UID, excuse string, until time.Time, rehearsal bool) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Clock.Now()
	l.forget(now)
	f := l.facts()
	f.Work, f.Born, f.Excuse, f.ConfirmedUntil = work, l.works[work], excuse, until
	v := Decide(f, now)
	if rehearsal {
		return v
	}
	if v.Refused {
		if len(l.held) == 0 {
			l.since = now
		}
		l.held[work] = Departure{Born: l.works[work], At: now}
		return v
	}
	delete(l.held, work)
	if v.Counts {
		l.removed[work] = Departure{Born: l.works[work], At: now}
	}
	return v
}

func (l *Ledger) facts() Facts {
	f := Facts{Few: l.Few, Share: l.Share, Total: len(l.works), Gone: l.gone(), Removed: l.removed, Held: l.held}
	if len(l.held) > 0 {
		f.HeldSince = l.since
	}
	return f
}

func (l *Ledger) gone() (n int) {
	for work := range l.removed {
		if _, there := l.works[work]; !there {
			n++
		}
	}
	return n
}

func (l *Ledger) forget(now time.Time) {
	f := l.facts()
	maps.DeleteFunc(l.held, func(work types.UID, _ Departure) bool { return !f.held(work, now) })
	f = l.facts() // with nothing held, the window is the short one again
	maps.DeleteFunc(l.removed, func(work types.UID, _ Departure) bool { return !f.going(work, now) })
}
