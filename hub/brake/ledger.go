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
	// Share of the works, in percent, that may go within Window.
	Share int
	// Clock is now.
	Clock clock.PassiveClock

	mu      sync.Mutex
	works   map[types.UID]bool
	removed map[types.UID]time.Time
	held    map[types.UID]time.Time
	since   time.Time // of the first that is held
}

// NewLedger remembers nothing yet.
func NewLedger(share int, now clock.PassiveClock) *Ledger {
	return &Ledger{Share: share, Clock: now, works: map[types.UID]bool{}, removed: map[types.UID]time.Time{}, held: map[types.UID]time.Time{}}
}

// There notes a work that exists.
func (l *Ledger) There(work types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.works[work] = true
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
		l.removed[work] = at
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
	f.Work, f.Excuse, f.ConfirmedUntil = work, excuse, until
	v := Decide(f, now)
	if rehearsal {
		return v
	}
	if v.Refused {
		if len(l.held) == 0 {
			l.since = now
		}
		l.held[work] = now
		return v
	}
	delete(l.held, work)
	if v.Counts {
		l.removed[work] = now
	}
	return v
}

func (l *Ledger) facts() Facts {
	f := Facts{Share: l.Share, Total: l.total(), Removed: l.removed, Held: l.held}
	if len(l.held) > 0 {
		f.HeldSince = l.since
	}
	return f
}

func (l *Ledger) total() int {
	n := len(l.works)
	for work := range l.removed {
		if !l.works[work] {
			n++
		}
	}
	return n
}

func (l *Ledger) forget(now time.Time) {
	f := l.facts()
	maps.DeleteFunc(l.held, func(work types.UID, _ time.Time) bool { return !f.held(work, now) })
	f = l.facts() // with nothing held, the window is the short one again
	maps.DeleteFunc(l.removed, func(work types.UID, _ time.Time) bool { return !f.going(work, now) })
}
