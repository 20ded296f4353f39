// Package cleanup empties the namespace of a cluster that is being deleted, so that its agent removes what the hub
// had put there. It owns one finalizer on ManagedClusters and the condition Deleting; it deletes add-ons and
// ManifestWorks in the namespaces of clusters that somebody deleted, and nothing else.
//
// It promises to act on a deletion only, and never on that of a cluster under an order to detach: a namespace whose cluster
// is merely missing is left as it is, because absence is never an order. The order to delete a cluster is one to delete its
// works, so it travels with them and no brake asks again. Switched off, a deleted cluster waits for people to remove its works.
package cleanup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/hub/brake/order"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

const workKind = "ManifestWork"

// kinds are removed in this order, each when the one before is gone. OCM-7.2
func kinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		{Group: "addon.open-cluster-management.io", Version: "v1alpha1", Kind: "ManagedClusterAddOn"},
		{Group: "work.open-cluster-management.io", Version: "v1", Kind: workKind},
	}
}

// Steps is the controller of one cluster's leaving.
type Steps struct {
	// Hub writes the cluster.
	Hub client.Client
	// Live lists and deletes past the cache: few clusters leave, and what is left must be known for sure.
	Live client.Client
	// On empties namespaces; off lets go of clusters that were held.
	On bool
}

// Register adds the controller. The live client has no cache.
func Register(m ctrl.Manager, live client.Client, on bool) error {
	return ctrl.NewControllerManagedBy(m).Named("join-cleanup").For(&clusterv1.ManagedCluster{}).
		Complete(&loop.Loop[*clusterv1.ManagedCluster, facts, plan]{
			Steps:  &Steps{Hub: m.GetClient(), Live: live, On: on},
			Client: m.GetClient(),
			New:    func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} },
		})
}

// Observe lists what is left of a leaving cluster. A kind that is not served has no objects.
func (s *Steps) Observe(ctx context.Context, cluster *clusterv1.ManagedCluster) (facts, error) {
	if !s.On || detach.Ordered(cluster) || cluster.DeletionTimestamp.IsZero() || !controllerutil.ContainsFinalizer(cluster, Finalizer) {
		return nil, nil
	}
	var seen facts
	for _, kind := range kinds() {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		if err := s.Live.List(ctx, list, client.InNamespace(cluster.Name)); err != nil && !meta.IsNoMatchError(err) {
			return nil, fmt.Errorf("list %s of %s: %w", kind.Kind, cluster.Name, err)
		}
		for i := range list.Items {
			list.Items[i].SetGroupVersionKind(kind)
		}
		seen = append(seen, left{kind.Kind, list.Items})
	}
	return seen, nil
}

// Decide says what goes next.
func (s *Steps) Decide(cluster *clusterv1.ManagedCluster, seen facts, _ time.Time) plan {
	return decide(cluster, seen, s.On)
}

// Act deletes what was seen, or changes the finalizer.
func (s *Steps) Act(ctx context.Context, cluster *clusterv1.ManagedCluster, p plan) error {
	var errs []error
	for _, o := range p.remove {
		log.FromContext(ctx).Info("remove what a deleted cluster had", "kind", o.Kind, "name", o.Name)
		// Whoever deleted the cluster ordered this, so works need no other word.
		if err := order.Delete(ctx, s.Live, &o, o.Kind == workKind); err != nil {
			errs = append(errs, fmt.Errorf("delete %s %s: %w", o.Kind, o.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil || !p.add && !p.drop {
		return err
	}
	changed := cluster.DeepCopy()
	if p.add {
		controllerutil.AddFinalizer(changed, Finalizer)
	} else {
		controllerutil.RemoveFinalizer(changed, Finalizer)
	}
	err := s.Hub.Patch(ctx, changed, client.MergeFromWithOptions(cluster.DeepCopy(), client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("change finalizer: %w", err)
	}
	return nil
}

// Report says what is left, or what kept it from being removed. OCM-7.2
func (*Steps) Report(cluster *clusterv1.ManagedCluster, _ facts, p plan, acted error) {
	if p.verdict == nil {
		return
	}
	if acted != nil {
		p.verdict = verdict(metav1.ConditionFalse, clusterv1.ConditionDeletingReasonResourceError, acted.Error())
	}
	meta.SetStatusCondition(&cluster.Status.Conditions, *p.verdict)
}
