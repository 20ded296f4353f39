package health

import (
	"context"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// beat is one renewal of a lease: what the agent's clock said, and what ours said when it arrived.
type beat struct{ renewed, heard time.Time }

// beats remembers the last beat of every cluster. A renewal can be compared with our clock only in the moment it
// happens: read later, every renewal is old. OCM-4.3
type beats struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	last  map[string]beat
}

func newBeats(c clock.PassiveClock) *beats { return &beats{clock: c, last: map[string]beat{}} }

// of is the last beat seen of a cluster, or nil.
func (b *beats) of(cluster string) *beat {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last, found := b.last[cluster]; found {
		return &last
	}
	return nil
}

func (b *beats) hear(before, after client.Object) {
	was, ok1 := before.(*coordinationv1.Lease)
	is, ok2 := after.(*coordinationv1.Lease)
	if !ok1 || !ok2 || is.Spec.RenewTime == nil || was.Spec.RenewTime.Equal(is.Spec.RenewTime) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[is.Namespace] = beat{renewed: is.Spec.RenewTime.Time, heard: b.clock.Now()}
}

func (b *beats) forget(cluster string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.last, cluster)
}

// handler wakes a cluster for everything that happens to its lease, and listens to renewals.
func (b *beats) handler() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	wake := func(q queue, o client.Object) {
		if o.GetName() == LeaseName {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKey{Name: o.GetNamespace()}})
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { wake(q, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			if e.ObjectNew.GetName() == LeaseName {
				b.hear(e.ObjectOld, e.ObjectNew)
			}
			wake(q, e.ObjectNew)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) {
			if e.Object.GetName() == LeaseName {
				b.forget(e.Object.GetNamespace())
			}
			wake(q, e.Object)
		},
	}
}
