// Package clusterset serves ManagedClusterSets and their bindings (OCM-8). It reads clusters, sets and bindings; it
// writes the condition ClusterSetEmpty of sets, Bound of bindings and the managed namespaces in the status of clusters
// (OCM-5.3), and it keeps the two stock sets as they are meant to be.
//
// It promises that a set which cannot be understood holds nobody and says so, that what an agent reported about a
// managed namespace stays, and that it never deletes anything.
package clusterset

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// Options are what the controller depends on.
type Options struct {
	// StockSets keeps the sets "default" and "global". OCM-8.2
	StockSets bool
}

// Register adds the controllers to the manager.
func Register(m ctrl.Manager, o Options) error {
	errs := []error{registerSets(m), registerBindings(m), registerNamespaces(m)}
	if o.StockSets {
		errs = append(errs, registerStock(m))
	}
	return errors.Join(errs...)
}

func registerSets(m ctrl.Manager) error {
	every := allOf(m.GetClient(), &clusterv1beta2.ManagedClusterSetList{})
	return ctrl.NewControllerManagedBy(m).Named("clusterset").
		For(&clusterv1beta2.ManagedClusterSet{}).
		Watches(&clusterv1.ManagedCluster{}, handler.EnqueueRequestsFromMapFunc(every), builder.WithPredicates(moves())).
		Complete(&loop.Loop[*clusterv1beta2.ManagedClusterSet, members, verdict]{
			Steps:  &setSteps{Hub: m.GetClient()},
			Client: m.GetClient(),
			New:    func() *clusterv1beta2.ManagedClusterSet { return &clusterv1beta2.ManagedClusterSet{} },
		})
}

func registerBindings(m ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(m).Named("clusterset-binding").
		For(&clusterv1beta2.ManagedClusterSetBinding{}).
		Watches(&clusterv1beta2.ManagedClusterSet{}, handler.EnqueueRequestsFromMapFunc(bindingsOf(m.GetClient())), builder.WithPredicates(comesOrGoes())).
		Complete(&loop.Loop[*clusterv1beta2.ManagedClusterSetBinding, found, verdict]{
			Steps:  &bindingSteps{Hub: m.GetClient()},
			Client: m.GetClient(),
			New:    func() *clusterv1beta2.ManagedClusterSetBinding { return &clusterv1beta2.ManagedClusterSetBinding{} },
		})
}

func registerNamespaces(m ctrl.Manager) error {
	every := allOf(m.GetClient(), &clusterv1.ManagedClusterList{})
	return ctrl.NewControllerManagedBy(m).Named("clusterset-namespaces").
		For(&clusterv1.ManagedCluster{}, builder.WithPredicates(predicate.Or(moves(), namespacesChange()))).
		Watches(&clusterv1beta2.ManagedClusterSet{}, handler.EnqueueRequestsFromMapFunc(every), builder.WithPredicates(manages())).
		Complete(&loop.Loop[*clusterv1.ManagedCluster, wanted, entries]{
			Steps:  &namespaceSteps{Hub: m.GetClient()},
			Client: m.GetClient(),
			New:    func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} },
		})
}

// allOf wakes every object of a kind.
func allOf[L client.ObjectList](r client.Reader, empty L) handler.MapFunc {
	return func(ctx context.Context, _ client.Object) (all []reconcile.Request) {
		list := empty.DeepCopyObject().(L)
		if err := r.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			log.FromContext(ctx).Error(err, "wake all", "kind", fmt.Sprintf("%T", empty))
			return nil
		}
		switch list := any(list).(type) {
		case *clusterv1beta2.ManagedClusterSetList:
			for i := range list.Items {
				all = append(all, named(&list.Items[i]))
			}
		case *clusterv1.ManagedClusterList:
			for i := range list.Items {
				all = append(all, named(&list.Items[i]))
			}
		}
		return all
	}
}

// bindingsOf wakes the bindings of a set, in whatever namespace.
func bindingsOf(r client.Reader) handler.MapFunc {
	return func(ctx context.Context, set client.Object) (all []reconcile.Request) {
		var bindings clusterv1beta2.ManagedClusterSetBindingList
		if err := r.List(ctx, &bindings, client.UnsafeDisableDeepCopy); err != nil {
			log.FromContext(ctx).Error(err, "wake the bindings of a set", "set", set.GetName())
			return nil
		}
		for i := range bindings.Items {
			if bindings.Items[i].Spec.ClusterSet == set.GetName() {
				all = append(all, named(&bindings.Items[i]))
			}
		}
		return all
	}
}

func named(o client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}
}

// moves lets pass what may take a cluster into a set or out of one.
func moves() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return !equality.Semantic.DeepEqual(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) ||
			e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
	}}
}

func comesOrGoes() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
}

// namespacesChange brings back what somebody else took out of a cluster's status.
func namespacesChange() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok1 := e.ObjectOld.(*clusterv1.ManagedCluster)
		is, ok2 := e.ObjectNew.(*clusterv1.ManagedCluster)
		return ok1 && ok2 && !equality.Semantic.DeepEqual(was.Status.ManagedNamespaces, is.Status.ManagedNamespaces)
	}}
}

// manages lets pass what changes the namespaces that sets manage, by their lists or by their members.
func manages() predicate.Predicate {
	any := func(o client.Object) bool {
		set, ok := o.(*clusterv1beta2.ManagedClusterSet)
		return ok && len(set.Spec.ManagedNamespaces) > 0
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return any(e.Object) },
		DeleteFunc: func(e event.DeleteEvent) bool { return any(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return (any(e.ObjectOld) || any(e.ObjectNew)) &&
				(e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
					e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero())
		},
	}
}
