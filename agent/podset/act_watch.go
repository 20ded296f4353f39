package podset

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/manager"
)

// Controller begins the controller of a kind that owns pods: it hears of changes of its objects, but not of their status,
// which it writes itself, and those that also lets through.
func Controller(mgr ctrl.Manager, name string, kind client.Object, retry manager.Retry, also ...predicate.Predicate) *builder.Builder {
	return ctrl.NewControllerManagedBy(mgr).Named(name).WithOptions(retry.Controller()).For(kind, builder.WithPredicates(Changed(also...)))
}

// Changed lets through what may change what a set wants, and what any of the others lets through.
func Changed(also ...predicate.Predicate) predicate.Predicate {
	return predicate.Or(append([]predicate.Predicate{
		predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{},
	}, also...)...)
}

// Owners starts a round of the controller of whatever changed.
func Owners(mgr ctrl.Manager, kind client.Object) handler.EventHandler {
	return Gather(handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), kind, handler.OnlyControllerOwner()))
}

// settling is how long the events of a set's pods are gathered. A round looks
// at every pod, so a round for each of a thousand events would look a million
// times; a kubelet takes far longer for anything.
const settling = 25 * time.Millisecond

// Gather lets events that come together start one round.
func Gather(to handler.EventHandler) handler.EventHandler { return GatherFor(settling, to) }

// GatherFor is Gather for events that can wait that long.
func GatherFor(wait time.Duration, to handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { to.Create(ctx, e, gathering{q, wait}) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) { to.Update(ctx, e, gathering{q, wait}) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { to.Delete(ctx, e, gathering{q, wait}) },
		GenericFunc: func(ctx context.Context, e event.TypedGenericEvent[client.Object], q queue) {
			to.Generic(ctx, e, gathering{q, wait})
		},
	}
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

type gathering struct {
	queue
	wait time.Duration
}

// Add waits for more; a request that waits already is the same one.
func (g gathering) Add(r reconcile.Request) { g.AddAfter(r, g.wait) }
