package daemonset

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// place is a node as one generation of a DaemonSet saw it: a new spec gets a new chance. // WL-3.5
type place struct {
	uid        types.UID
	generation int64
	node       string
}

// backoff remembers where pods failed, so that a node that refuses every pod is not asked ever faster. It is the one thing
// that an agent forgets when it restarts; a node is then asked once more.
type backoff struct {
	first, most time.Duration
	mutex       sync.Mutex
	waits       map[place]pause
}

type pause struct {
	since time.Time
	wait  time.Duration
}

func newBackoff(first, most time.Duration) *backoff {
	return &backoff{first: first, most: most, waits: map[place]pause{}}
}

// until is when the next failed pod may go from there; the zero time means now.
func (b *backoff) until(p place) time.Time {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if w, ok := b.waits[p]; ok {
		return w.since.Add(w.wait)
	}
	return time.Time{}
}

// failed notes that a failed pod was deleted there. What was quiet for long is forgotten.
func (b *backoff) failed(p place, now time.Time) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for known, w := range b.waits {
		if now.Sub(w.since) > 2*b.most {
			delete(b.waits, known)
		}
	}
	wait := b.first
	if w, ok := b.waits[p]; ok {
		wait = min(2*w.wait, b.most)
	}
	b.waits[p] = pause{since: now, wait: wait}
}
