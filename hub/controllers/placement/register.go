package placement

import (
	"context"
	"fmt"

	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// Options are what the controller depends on.
type Options struct {
	// Clock is now; nil is the real one.
	Clock clock.Clock
}

// Register adds the controller to the manager.
func Register(m ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	err := m.GetFieldIndexer().IndexField(context.Background(), &clusterv1beta1.PlacementDecision{}, ofPlacement, placementNames)
	if err != nil {
		return fmt.Errorf("index decisions by placement: %w", err)
	}
	v := newView()
	w := newWatcher(v, m.GetClient(), o.Clock)
	recorder := event.Recorder(m, "flotilla-hub")
	return ctrl.NewControllerManagedBy(m).Named("placement").
		For(&clusterv1beta1.Placement{}, builder.WithPredicates(edited())).
		Watches(&clusterv1beta1.PlacementDecision{}, w.decisions()).
		Watches(&clusterv1beta2.ManagedClusterSetBinding{}, w.bindings()).
		Watches(&clusterv1beta2.ManagedClusterSet{}, w.sets()).
		Watches(&clusterv1.ManagedCluster{}, w.clusters()).
		Watches(&clusterv1alpha1.AddOnPlacementScore{}, w.scores()).
		WatchesRawSource(source.Func(w.run)).
		Complete(&loop.Loop[*clusterv1beta1.Placement, facts, plan]{
			Steps:  &Steps{Hub: m.GetClient(), Events: recorder, view: v},
			Client: m.GetClient(),
			Events: recorder,
			Clock:  o.Clock,
			New:    func() *clusterv1beta1.Placement { return &clusterv1beta1.Placement{} },
		})
}
