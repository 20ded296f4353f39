package clusterset

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// The stock sets, and the annotation with which a user takes one into his own hands. OCM-8.2
const (
	DefaultSet           = "default"
	GlobalSet            = "global"
	AutoUpdateAnnotation = "cluster.open-cluster-management.io/autoupdate"
)

// stockSelectors are whom the stock sets hold. OCM-8.2
var stockSelectors = map[string]clusterv1beta2.ManagedClusterSelector{
	DefaultSet: {SelectorType: clusterv1beta2.ExclusiveClusterSetLabel},
	GlobalSet:  {SelectorType: clusterv1beta2.LabelSelector, LabelSelector: &metav1.LabelSelector{}},
}

// stock keeps the stock sets. It is no loop of pkg/loop: that begins with an object, and here there may be none.
type stock struct {
	Hub client.Client
}

func registerStock(m ctrl.Manager) error {
	isStock := predicate.NewPredicateFuncs(func(o client.Object) bool { _, ok := stockSelectors[o.GetName()]; return ok })
	return ctrl.NewControllerManagedBy(m).Named("clusterset-stock").
		For(&clusterv1beta2.ManagedClusterSet{}, builder.WithPredicates(isStock)).
		WatchesRawSource(source.Func(begin)).
		Complete(&stock{Hub: m.GetClient()})
}

// begin wakes both sets once: no event tells of a set that is missing from the start.
func begin(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	for name := range stockSelectors {
		q.Add(reconcile.Request{NamespacedName: client.ObjectKey{Name: name}})
	}
	return nil
}

// Reconcile makes the set if it is missing, and restores its selector.
func (s *stock) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	selector, ok := stockSelectors[request.Name]
	if !ok {
		return reconcile.Result{}, nil
	}
	var set clusterv1beta2.ManagedClusterSet
	err := s.Hub.Get(ctx, request.NamespacedName, &set)
	if apierrors.IsNotFound(err) {
		return reconcile.Result{}, s.create(ctx, request.Name, selector)
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read ManagedClusterSet %s: %w", request.Name, err)
	}
	if !edited(&set, selector) {
		return reconcile.Result{}, nil
	}
	log.FromContext(ctx).Info("restore the selector of a stock set", "set", set.Name, "was", set.Spec.ClusterSelector)
	restored := set.DeepCopy()
	restored.Spec.ClusterSelector = *selector.DeepCopy()
	err = s.Hub.Patch(ctx, restored, client.MergeFromWithOptions(&set, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("restore ManagedClusterSet %s: %w", set.Name, err)
	}
	return reconcile.Result{}, nil
}

func (s *stock) create(ctx context.Context, name string, selector clusterv1beta2.ManagedClusterSelector) error {
	log.FromContext(ctx).Info("create a stock set", "set", name)
	set := &clusterv1beta2.ManagedClusterSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
	set.Spec.ClusterSelector = *selector.DeepCopy()
	if err := s.Hub.Create(ctx, set); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create ManagedClusterSet %s: %w", name, err)
	}
	return nil
}

// edited says whether a stock set selects others than it should. One that is on its way out is made again when it is
// gone, and one in its user's hands is left there.
func edited(set *clusterv1beta2.ManagedClusterSet, selector clusterv1beta2.ManagedClusterSelector) bool {
	return set.DeletionTimestamp.IsZero() && set.Annotations[AutoUpdateAnnotation] != "false" &&
		!equality.Semantic.DeepEqual(set.Spec.ClusterSelector, selector)
}
