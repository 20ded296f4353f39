// Package standing says how an add-on stands on one cluster, as far as the hub can tell. It reads ManagedClusterAddOns,
// their offers, their clusters and the ManifestWorks that deploy them; it writes the condition Available where the hub
// is its judge, Progressing, and which configurations were applied last. OCM-19.3, OCM-19.6
//
// It promises never to call an add-on available of its own accord that has its agent for a judge, and to leave an add-on
// alone that drives itself, but for saying that its cluster is not heard from.
package standing

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
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

// +kubebuilder:rbac:groups=addon.open-cluster-management.io,resources=managedclusteraddons;clustermanagementaddons,verbs=get;list;watch
// +kubebuilder:rbac:groups=addon.open-cluster-management.io,resources=managedclusteraddons/status,verbs=patch
// +kubebuilder:rbac:groups=work.open-cluster-management.io,resources=manifestworks,verbs=get;list;watch

type installation = addonv1alpha1.ManagedClusterAddOn

// Options are what the controller depends on.
type Options struct {
	// Works says that ManifestWorks are served.
	Works bool
}

// Register adds the controller to a manager that has the catalog's index.
func Register(m ctrl.Manager, o Options) error {
	w := wake{m.GetClient()}
	b := ctrl.NewControllerManagedBy(m).Named("addon-standing").
		For(&installation{}).
		Watches(&addonv1alpha1.ClusterManagementAddOn{}, handler.EnqueueRequestsFromMapFunc(w.ofOffer), builder.WithPredicates(offerChanged())).
		Watches(&clusterv1.ManagedCluster{}, handler.EnqueueRequestsFromMapFunc(w.ofCluster), builder.WithPredicates(clusterChanged()))
	if o.Works {
		b = b.Watches(&workv1.ManifestWork{}, handler.EnqueueRequestsFromMapFunc(ofWork))
	}
	return b.Complete(newLoop(m.GetClient(), o))
}

func newLoop(hub client.Client, o Options) *loop.Loop[*installation, facts, plan] {
	return &loop.Loop[*installation, facts, plan]{Steps: &Steps{Hub: hub, Options: o}, Client: hub,
		New: func() *installation { return &installation{} }}
}

// wake finds the installations that a change concerns.
type wake struct{ hub client.Reader }

func (w wake) ofOffer(ctx context.Context, o client.Object) []reconcile.Request {
	found, err := catalog.Installations(ctx, w.hub, o.GetName())
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot tell which add-ons a change concerns")
	}
	return requests(found)
}

func (w wake) ofCluster(ctx context.Context, o client.Object) []reconcile.Request {
	var found addonv1alpha1.ManagedClusterAddOnList
	if err := w.hub.List(ctx, &found, client.InNamespace(o.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "cannot tell which add-ons a change concerns")
	}
	return requests(found.Items)
}

func requests(found []installation) (all []reconcile.Request) {
	for i := range found {
		all = append(all, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found[i])})
	}
	return all
}

// ofWork wakes the add-on that a work deploys, also from the namespace of a cluster that hosts it.
func ofWork(_ context.Context, o client.Object) []reconcile.Request {
	name, namespace := o.GetLabels()[catalog.NameLabel], o.GetLabels()[catalog.NamespaceLabel]
	if name == "" {
		return nil
	}
	if namespace == "" {
		namespace = o.GetNamespace()
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}}
}

func offerChanged() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
}

// clusterChanged lets pass what is said about whether a cluster is heard from.
func clusterChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok1 := e.ObjectOld.(*clusterv1.ManagedCluster)
		is, ok2 := e.ObjectNew.(*clusterv1.ManagedCluster)
		return ok1 && ok2 && !equality.Semantic.DeepEqual(
			meta.FindStatusCondition(was.Status.Conditions, clusterv1.ManagedClusterConditionAvailable),
			meta.FindStatusCondition(is.Status.Conditions, clusterv1.ManagedClusterConditionAvailable))
	}}
}

// Steps are the controller of one installation.
type Steps struct {
	// Hub reads from the cache and writes.
	Hub client.Client
	Options
}

// facts are shared with the cache: read only. What does not exist is nil.
type facts struct {
	cluster *clusterv1.ManagedCluster
	offer   *addonv1alpha1.ClusterManagementAddOn
	// works deploy the add-on; hooks are not among them.
	works []workv1.ManifestWork
}

// plan is what to say.
type plan struct {
	status addonv1alpha1.ManagedClusterAddOnStatus
}

// Recheck is never.
func (plan) Recheck() time.Duration { return 0 }

// Observe reads the cluster, the offer and the works.
func (s *Steps) Observe(ctx context.Context, obj *installation) (seen facts, err error) {
	var cluster clusterv1.ManagedCluster
	if err = s.Hub.Get(ctx, client.ObjectKey{Name: obj.Namespace}, &cluster); err == nil {
		seen.cluster = &cluster
	} else if !apierrors.IsNotFound(err) {
		return seen, fmt.Errorf("get cluster %s: %w", obj.Namespace, err)
	}
	var offer addonv1alpha1.ClusterManagementAddOn
	if err = s.Hub.Get(ctx, client.ObjectKey{Name: obj.Name}, &offer); err == nil {
		seen.offer = &offer
	} else if !apierrors.IsNotFound(err) {
		return seen, fmt.Errorf("get offer of %s: %w", obj.Name, err)
	}
	if !s.Works {
		return seen, nil
	}
	seen.works, err = works(ctx, s.Hub, obj)
	return seen, err
}

// works are those in the cluster's namespace, and those in the namespace of the cluster that hosts the add-on. OCM-19.5
func works(ctx context.Context, hub client.Reader, obj *installation) (all []workv1.ManifestWork, err error) {
	in := map[string]client.MatchingLabels{obj.Namespace: {catalog.NameLabel: obj.Name}}
	if host := obj.Annotations[addonv1alpha1.HostingClusterNameAnnotationKey]; host != "" && host != obj.Namespace {
		in[host] = client.MatchingLabels{catalog.NameLabel: obj.Name, catalog.NamespaceLabel: obj.Namespace}
	}
	for namespace, labels := range in {
		var found workv1.ManifestWorkList
		if err := hub.List(ctx, &found, client.InNamespace(namespace), labels, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list works of add-on %s/%s: %w", obj.Namespace, obj.Name, err)
		}
		for _, w := range found.Items {
			if of := w.Labels[catalog.NamespaceLabel]; (of == "" || of == obj.Namespace) && catalog.Deploys(&w, obj.Name) {
				all = append(all, w)
			}
		}
	}
	return all, nil
}

// Decide judges.
func (*Steps) Decide(obj *installation, seen facts, _ time.Time) plan { return decide(obj, seen) }

// Act has nothing to do: all is said in status.
func (*Steps) Act(context.Context, *installation, plan) error { return nil }

// Report writes what was decided.
func (*Steps) Report(obj *installation, _ facts, p plan, _ error) { obj.Status = p.status }
