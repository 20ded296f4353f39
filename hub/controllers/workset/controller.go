// Package workset serves ManifestWorkReplicaSets: one ManifestWork in the namespace of every cluster that the Placements
// of a set select, changed in the order that the rollout strategy asks for.
//
// It owns the ManifestWorks whose label names the set. It reads Placements, their PlacementDecisions and, where they are
// served, ManagedClusters. It writes those works, and the set's finalizer and status.
//
// It promises one write per work and change; that a work is taken away only when its cluster is really no longer
// selected – a Placement that is gone, or whose decisions are being rewritten, takes nothing away –; that what the set's
// own author orders needs no other word, while many works that go because of a Placement wait for one; that nothing is sent
// to a cluster that is being detached, nor taken from it; and that a rollout that was interrupted goes on where it was,
// because all it knows is in the works.
package workset

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=work.open-cluster-management.io,resources=manifestworkreplicasets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=work.open-cluster-management.io,resources=manifestworkreplicasets/status,verbs=patch
// +kubebuilder:rbac:groups=work.open-cluster-management.io,resources=manifestworks,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cluster.open-cluster-management.io,resources=placements;placementdecisions;managedclusters,verbs=get;list;watch

// Name of the controller.
const Name = "workset"

// set is the kind served here.
type set = workv1alpha1.ManifestWorkReplicaSet

// Options are what the controller needs besides its manager.
type Options struct {
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
	// Braked keeps works of which too many at once are no longer selected, until somebody confirms.
	Braked bool
}

// Register adds the controller, and the indexes it looks things up by, to a manager. The manager's scheme must know
// OCM's work and cluster groups.
func Register(m ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	for _, i := range indexes {
		if err := m.GetFieldIndexer().IndexField(context.Background(), i.of, i.key, i.extract); err != nil {
			return fmt.Errorf("index %T by %s: %w", i.of, i.key, err)
		}
	}
	clusters, err := served(m.GetRESTMapper())
	if err != nil {
		return err
	}
	s := &Steps{Hub: m.GetClient(), Live: m.GetAPIReader(), Clusters: clusters, Braked: o.Braked, Clock: o.Clock, left: newDepartures()}
	w := wake{m.GetClient()}
	events := event.Recorder(m, Name)
	b := ctrl.NewControllerManagedBy(m).Named(Name).
		For(&set{}, builder.WithPredicates(setChanged())).
		Watches(&workv1.ManifestWork{}, w.ofWork()).
		Watches(&clusterv1beta1.Placement{}, w.ofPlacement(client.Object.GetName)).
		Watches(&clusterv1beta1.PlacementDecision{}, w.ofPlacement(placementOf))
	if clusters {
		b = b.Watches(&clusterv1.ManagedCluster{}, w.ofCluster(), builder.WithPredicates(heardChanged()))
	}
	return b.Complete(NewLoop(s, events))
}

// NewLoop puts the steps through the loop.
func NewLoop(s *Steps, events record.EventRecorder) *loop.Loop[*set, facts, plan] {
	return &loop.Loop[*set, facts, plan]{Steps: s, Client: s.Hub, Events: events, Clock: s.Clock, New: func() *set { return &set{} }}
}

// served says whether the API server has ManagedClusters. Sets work without them: nobody is silent then.
func served(mapper meta.RESTMapper) (bool, error) {
	_, err := mapper.RESTMapping(schema.GroupKind{Group: clusterv1.GroupName, Kind: "ManagedCluster"}, clusterv1.GroupVersion.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for ManagedClusters: %w", err)
	}
	return true, nil
}

// Steps are the controller of one set.
type Steps struct {
	// Hub reads from the cache and writes.
	Hub client.Client
	// Live asks the API server itself.
	Live client.Reader
	// Clusters says that ManagedClusters are served.
	Clusters bool
	// Braked keeps works of which too many at once are no longer selected.
	Braked bool
	// Clock is now.
	Clock clock.PassiveClock

	left *departures
}

// Finalizer keeps the set until its works are deleted. OCM-18.2
func (*Steps) Finalizer() string { return workv1alpha1.ManifestWorkReplicaSetFinalizer }

// Conditions become events when they change.
func (*Steps) Conditions(obj *set) []metav1.Condition { return obj.Status.Conditions }
