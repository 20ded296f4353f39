// Package offer serves ClusterManagementAddOns: it installs an add-on on the clusters that Placements select, and says
// which configurations each installation has. It reads Placements, their PlacementDecisions, ManagedClusters and the
// configurations; it owns the ManagedClusterAddOns that it makes, and writes of all others the owner reference, the
// configuration references, the condition Configured and, while one waits for its turn, Progressing. OCM-19.1 to OCM-19.3
//
// It promises that an add-on goes from a cluster only when a Placement had selected that cluster and really no longer
// does – a Placement that is gone, or whose decisions are being rewritten, takes nothing away, and one that suddenly
// selects far fewer clusters is asked to mean it –; that a configuration that cannot be found leaves those in place that
// are; and that it touches nothing but owners of add-ons that drive themselves.
package offer

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=addon.open-cluster-management.io,resources=clustermanagementaddons;addontemplates;addondeploymentconfigs,verbs=get;list;watch
// +kubebuilder:rbac:groups=addon.open-cluster-management.io,resources=clustermanagementaddons/status;managedclusteraddons/status,verbs=patch
// +kubebuilder:rbac:groups=addon.open-cluster-management.io,resources=managedclusteraddons,verbs=get;list;watch;create;patch;delete

type (
	// offer is the kind served here.
	offer = addonv1alpha1.ClusterManagementAddOn
	// installation is an add-on on one cluster.
	installation = addonv1alpha1.ManagedClusterAddOn
)

// ConfigKinds are the kinds that the hub hashes, as they are read: unstructured, since what is hashed is the spec as it
// was written.
var ConfigKinds = map[config.Kind]schema.GroupVersionKind{
	config.Templates:         catalog.GroupVersion.WithKind("AddOnTemplate"),
	config.DeploymentConfigs: catalog.GroupVersion.WithKind("AddOnDeploymentConfig"),
}

// Options are what the controller needs besides its manager.
type Options struct {
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
	// Placements says that Placements and ManagedClusters are served.
	Placements bool
	// Braked keeps installations of which too many at once are no longer selected, until somebody confirms.
	Braked bool
	// Configs are the kinds among ConfigKinds that are served.
	Configs []config.Kind
}

// Register adds the controller to a manager that has the catalog's index.
func Register(m ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	for _, i := range indexes {
		if err := m.GetFieldIndexer().IndexField(context.Background(), i.of, i.key, i.extract); err != nil {
			return fmt.Errorf("index %T by %s: %w", i.of, i.key, err)
		}
	}
	w := wake{m.GetClient()}
	b := ctrl.NewControllerManagedBy(m).Named("addon-offer").
		For(&offer{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&installation{}, ofInstallation())
	for _, kind := range o.Configs {
		b = b.Watches(empty(kind), w.ofConfig(kind))
	}
	if o.Placements {
		b = b.Watches(&clusterv1beta1.Placement{}, w.ofPlacement(client.Object.GetName)).
			Watches(&clusterv1beta1.PlacementDecision{}, w.ofPlacement(placementOf)).
			Watches(&clusterv1.ManagedCluster{}, w.ofCluster(), builder.WithPredicates(clusterChanged()))
	}
	return b.Complete(newLoop(newSteps(m.GetClient(), m.GetCache(), o)))
}

func newSteps(hub client.Client, configs client.Reader, o Options) *Steps {
	return &Steps{Hub: hub, Configs: configs, Options: o, left: &departures{since: map[key]time.Time{}}}
}

func newLoop(s *Steps) *loop.Loop[*offer, facts, plan] {
	return &loop.Loop[*offer, facts, plan]{Steps: s, Client: s.Hub, Clock: s.Clock, New: func() *offer { return &offer{} }}
}

func empty(kind config.Kind) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(ConfigKinds[kind])
	return o
}

// Steps are the controller of one offer.
type Steps struct {
	// Hub reads from the cache and writes.
	Hub client.Client
	// Configs reads configurations as they were written.
	Configs client.Reader
	Options

	left *departures
}

// Decide compares installations with what Placements select and what is configured.
func (*Steps) Decide(obj *offer, seen facts, now time.Time) plan { return decide(obj, seen, now) }

// Report writes what was resolved. An add-on that drives itself reports for itself.
func (*Steps) Report(obj *offer, seen facts, p plan, _ error) {
	if seen.selfDriven {
		return
	}
	obj.Status.DefaultConfigReferences = p.defaults
	obj.Status.InstallProgressions = p.progressions
}
