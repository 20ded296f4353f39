package podset

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// settling is how long the events of a set's pods are gathered. A round looks
// at every pod, so a round for each of a thousand events would look a million
// times; a kubelet takes far longer for anything.
const settling = 25 * time.Millisecond

// Gather lets events that come together start one round.
func Gather(to handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { to.Create(ctx, e, gathering{q}) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { to.Update(ctx, e, gathering{q}) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { to.Delete(ctx, e, gathering{q}) },
		GenericFunc: func(ctx context.Context, e event.TypedGenericEvent[client.Object], q queue) {
			to.Generic(ctx, e, gathering{q})
		},
	}
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

type gathering struct{ queue }

// Add waits for more; a request that waits already is the same one.
func (g gathering) Add(r reconcile.Request) { g.AddAfter(r, settling) }
