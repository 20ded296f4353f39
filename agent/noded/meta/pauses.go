package meta

import (
	"maps"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// Tries at one container are at least this far apart, and twice as far after each. // CM-6
const (
	firstPause = 3 * time.Second
	lastPause  = 10 * time.Minute
)

// pauses remember when something may be tried again.
type pauses struct {
	mu      sync.Mutex
	limiter workqueue.TypedRateLimiter[string]
	until   map[string]time.Time
}

func newPauses() *pauses {
	return &pauses{limiter: workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstPause, lastPause), until: map[string]time.Time{}}
}

// left is how long key has to wait yet.
func (p *pauses) left(key string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.until[key].Sub(now))
}

// tried starts the next pause of key.
func (p *pauses) tried(key string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until[key] = now.Add(p.limiter.When(key))
}

// forget lets all keys that begin so start anew.
func (p *pauses) forget(prefix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.until, func(key string, _ time.Time) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		p.limiter.Forget(key)
		return true
	})
}
