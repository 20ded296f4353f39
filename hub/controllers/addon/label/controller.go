// Package label says on each ManagedCluster how its add-ons are, so that Placements can select on it. It reads
// ManagedClusterAddOns and the cluster's Available condition; it owns the labels feature.open-cluster-management.io/addon-*
// of ManagedClusters and writes nothing else. OCM-19.7
package label

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// Values of the label. OCM-19.7
const (
	available   = "available"
	unhealthy   = "unhealthy"
	unreachable = "unreachable"
)

// Register adds the controller to the manager.
func Register(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).Named("addon-label").
		For(&clusterv1.ManagedCluster{}, builder.WithPredicates(clusterChanged())).
		Watches(&addonv1alpha1.ManagedClusterAddOn{}, handler.EnqueueRequestsFromMapFunc(clusterOf), builder.WithPredicates(addOnChanged())).
		Complete(newLoop(m.GetClient()))
}

func newLoop(hub client.Client) *loop.Loop[*clusterv1.ManagedCluster, facts, plan] {
	return &loop.Loop[*clusterv1.ManagedCluster, facts, plan]{Steps: &Steps{Hub: hub}, Client: hub,
		New: func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} }}
}

func clusterOf(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: o.GetNamespace()}}}
}

// clusterChanged lets pass what decides whether labels are written, and what brings back labels that somebody changed.
func clusterChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok1 := e.ObjectOld.(*clusterv1.ManagedCluster)
		is, ok2 := e.ObjectNew.(*clusterv1.ManagedCluster)
		return ok1 && ok2 && (judged(was) != judged(is) || !maps.Equal(was.Labels, is.Labels))
	}}
}

func addOnChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok1 := e.ObjectOld.(*addonv1alpha1.ManagedClusterAddOn)
		is, ok2 := e.ObjectNew.(*addonv1alpha1.ManagedClusterAddOn)
		return ok1 && ok2 && (valueOf(was) != valueOf(is) || was.DeletionTimestamp.IsZero() != is.DeletionTimestamp.IsZero())
	}}
}

// Steps is the controller of one cluster's labels.
type Steps struct {
	// Hub reads from the cache and writes.
	Hub client.Client
}

// facts are the add-ons of a cluster.
type facts []addonv1alpha1.ManagedClusterAddOn

// plan is what to change: a nil value takes the label away.
type plan struct{ labels map[string]*string }

// Recheck is never.
func (plan) Recheck() time.Duration { return 0 }

// Observe lists what is installed.
func (s *Steps) Observe(ctx context.Context, cluster *clusterv1.ManagedCluster) (facts, error) {
	var found addonv1alpha1.ManagedClusterAddOnList
	if err := s.Hub.List(ctx, &found, client.InNamespace(cluster.Name), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list add-ons of %s: %w", cluster.Name, err)
	}
	return found.Items, nil
}

// Decide compares labels with add-ons.
func (*Steps) Decide(cluster *clusterv1.ManagedCluster, seen facts, _ time.Time) plan {
	p := plan{labels: map[string]*string{}}
	if !judged(cluster) || !cluster.DeletionTimestamp.IsZero() {
		return p
	}
	want := wanted(seen)
	for key, value := range want {
		if have, there := cluster.Labels[key]; !there || have != value {
			p.labels[key] = new(value)
		}
	}
	for key := range cluster.Labels {
		if _, stays := want[key]; !stays && catalog.IsFeatureLabel(key) {
			p.labels[key] = nil
		}
	}
	return p
}

// wanted leaves out add-ons that go, and those whose name makes no label.
func wanted(addons facts) map[string]string {
	labels := map[string]string{}
	for i := range addons {
		if key, fits := catalog.FeatureLabel(addons[i].Name); fits && addons[i].DeletionTimestamp.IsZero() {
			labels[key] = valueOf(&addons[i])
		}
	}
	return labels
}

// judged: nothing is written before the cluster's agent has said how it is. OCM-19.7
func judged(cluster *clusterv1.ManagedCluster) bool {
	return meta.FindStatusCondition(cluster.Status.Conditions, clusterv1.ManagedClusterConditionAvailable) != nil
}

func valueOf(addon *addonv1alpha1.ManagedClusterAddOn) string {
	c := meta.FindStatusCondition(addon.Status.Conditions, addonv1alpha1.ManagedClusterAddOnConditionAvailable)
	switch {
	case c == nil || c.Status == metav1.ConditionUnknown:
		return unreachable
	case c.Status == metav1.ConditionTrue:
		return available
	}
	return unhealthy
}

// Act changes these labels of the cluster that was looked at, and no others. OCM-20.1
func (s *Steps) Act(ctx context.Context, cluster *clusterv1.ManagedCluster, p plan) error {
	if len(p.labels) == 0 {
		return nil
	}
	changed := cluster.DeepCopy()
	for key, value := range p.labels {
		if value == nil {
			delete(changed.Labels, key)
		} else {
			metav1.SetMetaDataLabel(&changed.ObjectMeta, key, *value)
		}
	}
	log.FromContext(ctx).Info("label cluster", "changed", slices.Sorted(maps.Keys(p.labels)))
	err := s.Hub.Patch(ctx, changed, client.MergeFromWithOptions(cluster.DeepCopy(), client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("label cluster: %w", err)
	}
	return nil
}

// Report has nothing to say: labels are no status.
func (*Steps) Report(*clusterv1.ManagedCluster, facts, plan, error) {}
