package health

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// Options are what the controller depends on.
type Options struct {
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
}

// Register adds the controller to the manager.
func Register(m ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	live, err := client.New(m.GetConfig(), client.Options{
		HTTPClient: m.GetHTTPClient(), Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(),
	})
	if err != nil {
		return fmt.Errorf("make client without cache: %w", err)
	}
	heard := newBeats(o.Clock)
	return ctrl.NewControllerManagedBy(m).Named("health").
		For(&clusterv1.ManagedCluster{}).
		Watches(&coordinationv1.Lease{}, heard.handler()).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(ofNamespace), builder.WithPredicates(appears())).
		Complete(&loop.Loop[*clusterv1.ManagedCluster, facts, plan]{
			Steps:  &Steps{Hub: m.GetClient(), Live: live, beats: heard},
			Client: m.GetClient(),
			Clock:  o.Clock,
			New:    func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} },
		})
}

// appears lets pass that a cluster's namespace is there: one that was deleted comes back without the lease.
func appears() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return ofCluster(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return ofCluster(e.ObjectNew) && !ofCluster(e.ObjectOld) },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
}

func ofCluster(namespace client.Object) bool {
	return namespace.GetLabels()[clusterv1.ClusterNameLabelKey] == namespace.GetName()
}

func ofNamespace(_ context.Context, namespace client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: namespace.GetName()}}}
}
