package daemonset

import (
	"sync"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-project/flotilla/pkg/event"
)

// Reasons of events that say what a DaemonSet waits for: it has no conditions to say it in. They stand beside those of WL-3.11.
const (
	reasonWaiting = "Waiting"     // it gets there by itself
	reasonBlocked = "PodsBlocked" // somebody has to act
)

// most is how many events of waiting one generation of a DaemonSet gets.
const most = 10

// waiting remembers what was said, so that it is said once. An agent that restarts says it once more.
type waiting struct {
	mutex sync.Mutex
	said  map[types.UID]*saying
}

type saying struct {
	generation int64
	what       map[string]bool
}

func newWaiting() *waiting { return &waiting{said: map[types.UID]*saying{}} }

// news is the event that says what is waited for; none if it was said. A pod that is blocked is news for each reason, and a
// rollout that waits for pods to come up is news once.
func (w *waiting) news(ds *kruise.DaemonSet, p *plan) []event.Event {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if p.idle {
		delete(w.said, ds.UID)
		return nil
	}
	said := w.said[ds.UID]
	if said == nil || said.generation != ds.Generation {
		said = &saying{generation: ds.Generation, what: map[string]bool{}}
		w.said[ds.UID] = said
	}
	blocked := false
	for _, c := range p.steps.Waiting.Culprits {
		if c.Blocked == "" && c.Hook == "" {
			continue
		}
		blocked = true
		if said.first(c.String()) {
			return []event.Event{event.Warning(reasonBlocked, "%s", p.steps.Message)}
		}
	}
	if !blocked && p.steps.Message != "" && p.steps.Waiting.Updates > 0 && said.first(reasonWaiting) {
		return []event.Event{event.Normal(reasonWaiting, "%s", p.steps.Message)}
	}
	return nil
}

// first says that this was not said, and has it said.
func (s *saying) first(what string) bool {
	if s.what[what] || len(s.what) >= most {
		return false
	}
	s.what[what] = true
	return true
}
