// Package federateddeployment spreads a FederatedDeployment over clusters: it allocates replicas to subsets, finds a
// cluster for each, and keeps one ManifestWork per subset in the namespace of that cluster. Other kinds can be put in
// front of it: see Front.
//
// It owns the ManifestWorks whose four labels name the object, its UID included, and the ControllerRevisions that it
// controls. It reads ManagedClusters, Placements with their decisions, and, when asked, the ConfigMaps and Secrets that a
// template refers to. It writes those works and revisions, and the object's finalizer and status.
//
// It promises that a work is written only when something changed; that a subset stays in its cluster until its user asks
// otherwise; that while the spec or the Placement is at fault nothing that runs is removed; and that nothing is ever
// deleted because a read failed or came back empty. Numbers of clusters that are silent are told apart from those that are
// confirmed.
package federateddeployment

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	pkgevent "github.com/flotilla-project/flotilla/pkg/event"
)

// +kubebuilder:rbac:groups=apps.flotilla.dev,resources=federateddeployments,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=apps.flotilla.dev,resources=federateddeployments/status,verbs=patch
// +kubebuilder:rbac:groups=apps.flotilla.dev,resources=federateddeployments/finalizers,verbs=update
// +kubebuilder:rbac:groups=work.open-cluster-management.io,resources=manifestworks,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cluster.open-cluster-management.io,resources=managedclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=cluster.open-cluster-management.io,resources=placements;placementdecisions,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Name of the controller.
const Name = "federateddeployment"

// Options are what the controller needs besides its manager.
type Options struct {
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
	// References lets ConfigMaps and Secrets travel with those FederatedDeployments that ask for it. The controller then
	// reads and watches them, for which it needs rights that it has no other use for.
	References bool
	// Braked keeps works of which too many at once are no longer decided for, until somebody confirms.
	Braked bool
}

// Register adds the controller, and the indexes it looks things up by, to a manager. The manager's scheme must know the
// kinds of apps.flotilla.dev, of OCM's cluster and work groups, and of apps/v1 and v1.
func Register(mgr manager.Manager, o Options) error {
	return RegisterFront(mgr, itself(), Name, o)
}

// itself is the front of what needs no translation.
func itself() Front[*v1alpha1.FederatedDeployment] {
	return Front[*v1alpha1.FederatedDeployment]{
		Name: Name, Kind: gvk, Fleet: true, New: empty,
		In:         func(obj *v1alpha1.FederatedDeployment) *v1alpha1.FederatedDeployment { return obj },
		Out:        func(*v1alpha1.FederatedDeployment, Outcome) {},
		Conditions: func(obj *v1alpha1.FederatedDeployment) []metav1.Condition { return obj.Status.Conditions },
	}
}

func empty() *v1alpha1.FederatedDeployment { return &v1alpha1.FederatedDeployment{} }

// RegisterFront adds a controller for the kind in front; source is whose events they are.
func RegisterFront[T client.Object](mgr manager.Manager, front Front[T], source string, o Options) error {
	for _, i := range front.Indexes() {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), i.Of, i.Key, i.Extract); err != nil {
			return fmt.Errorf("index %T by %s: %w", i.Of, i.Key, err)
		}
	}
	r := &reconciler[T]{Front: front, Tools: Tools{
		// The cache holds the objects undecoded, so they are read from it and not through the client.
		Cached: mgr.GetCache(), Hub: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: o.Clock, Events: pkgevent.Recorder(mgr, source),
		Braked: o.Braked,
	}}
	b := ctrl.NewControllerManagedBy(mgr).
		Named(front.Name).
		For(raw(front.Kind), builder.WithPredicates(ofUsers())).
		Watches(&workv1.ManifestWork{}, workHandler{users{r.Cached, front.Kind}}).
		Watches(&clusterv1.ManagedCluster{}, clusterHandler{users{r.Cached, front.Kind}}).
		Watches(&appsv1.ControllerRevision{}, handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), raw(front.Kind), handler.OnlyControllerOwner()))
	if front.Fleet {
		placed := handler.EnqueueRequestsFromMapFunc(r.toPlaced)
		b = b.Watches(&clusterv1beta1.Placement{}, placed).Watches(&clusterv1beta1.PlacementDecision{}, placed)
	}
	if front.Fleet && o.References {
		r.shelf = &shelf{cached: mgr.GetCache(), live: mgr.GetAPIReader()}
		referring := handler.EnqueueRequestsFromMapFunc(r.toReferring)
		b = b.Watches(&corev1.ConfigMap{}, referring, builder.OnlyMetadata).Watches(&corev1.Secret{}, referring, builder.OnlyMetadata)
	}
	return b.Complete(r)
}

// toPlaced wakes those that refer to a Placement, when it or one of its decisions changes.
func (r *reconciler[T]) toPlaced(ctx context.Context, o client.Object) []reconcile.Request {
	name := o.GetName()
	if _, decision := o.(*clusterv1beta1.PlacementDecision); decision {
		name = o.GetLabels()[clusterv1beta1.PlacementLabel]
	}
	return r.wakes(ctx, byPlacement, o.GetNamespace(), name)
}

// toReferring wakes those whose template refers to a ConfigMap or Secret.
func (r *reconciler[T]) toReferring(ctx context.Context, o client.Object) []reconcile.Request {
	return r.wakes(ctx, byReference, o.GetNamespace(), reference{kind: o.GetObjectKind().GroupVersionKind().Kind, name: o.GetName()}.key())
}

func (r *reconciler[T]) wakes(ctx context.Context, index, namespace, value string) []reconcile.Request {
	requests, err := (users{r.Cached, r.Kind}).by(ctx, index, namespace, value)
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot tell whom a change concerns", "index", index, "namespace", namespace, "value", value)
	}
	return requests
}

// ofUsers leaves out what the controller itself writes.
func ofUsers() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool { return !e.ObjectNew.GetDeletionTimestamp().IsZero() },
	})
}
