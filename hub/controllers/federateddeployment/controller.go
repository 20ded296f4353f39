// Package federateddeployment spreads a FederatedDeployment over clusters: it allocates replicas to subsets, finds a
// cluster for each, and keeps one ManifestWork per subset in the namespace of that cluster.
//
// It owns the ManifestWorks whose four labels name the object, its UID included, and the ControllerRevisions that it
// controls. It reads ManagedClusters. It writes those works and revisions, and the object's finalizer and status.
//
// It promises that a work is written only when something changed; that a subset stays in its cluster until its user asks
// otherwise; that while the spec is at fault nothing that runs is removed; and that nothing is ever deleted because a
// read failed or came back empty. Numbers of clusters that are silent are told apart from those that are confirmed.
package federateddeployment

import (
	"context"
	"fmt"
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
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
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps.flotilla.dev,resources=federateddeployments,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=apps.flotilla.dev,resources=federateddeployments/status,verbs=patch
// +kubebuilder:rbac:groups=apps.flotilla.dev,resources=federateddeployments/finalizers,verbs=update
// +kubebuilder:rbac:groups=work.open-cluster-management.io,resources=manifestworks,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cluster.open-cluster-management.io,resources=managedclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Name of the controller.
const Name = "federateddeployment"

// Options are what the controller needs besides its manager.
type Options struct {
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
}

// Register adds the controller, and the indexes it looks things up by, to a manager. The manager's scheme must know the
// kinds of apps.flotilla.dev, of OCM's cluster and work groups, and of apps/v1.
func Register(mgr manager.Manager, o Options) error {
	for _, i := range indexes {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), i.of, i.key, i.extract); err != nil {
			return fmt.Errorf("index %T by %s: %w", i.of, i.key, err)
		}
	}
	r := &reconciler{
		// The cache holds FederatedDeployments undecoded, so they are read from it and not through the client.
		cached: mgr.GetCache(), hub: mgr.GetClient(), live: mgr.GetAPIReader(), clock: o.Clock,
		events: mgr.GetEventRecorderFor(Name), //nolint:staticcheck // the loop records with the same interface
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named(Name).
		For(raw(), builder.WithPredicates(specChanged())).
		Watches(&workv1.ManifestWork{}, handler.EnqueueRequestsFromMapFunc(toMaker)).
		Watches(&clusterv1.ManagedCluster{}, clusterHandler{r}).
		Watches(&appsv1.ControllerRevision{}, handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &v1alpha1.FederatedDeployment{}, handler.OnlyControllerOwner())).
		Complete(r)
}

// reconciler decodes one object and puts it through the loop.
type reconciler struct {
	cached client.Reader
	hub    client.Client
	live   client.Reader
	events record.EventRecorder
	clock  clock.PassiveClock
}

// Reconcile is one round.
func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	u := raw()
	if err := r.cached.Get(ctx, request.NamespacedName, u); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	obj, malformed := decode(u)
	round := loop.Loop[*v1alpha1.FederatedDeployment, facts, Plan]{
		Steps:  &steps{hub: r.hub, live: r.live, events: r.events, template: templateOf(u), malformed: malformed},
		Client: undecoded{r.hub}, Events: r.events, Clock: r.clock,
	}
	return round.ReconcileObject(ctx, obj)
}

// steps are one round for one object.
type steps struct {
	hub       client.Client
	live      client.Reader // asks the API server itself
	events    record.EventRecorder
	template  map[string]any
	malformed *field.Error
}

// Finalizer keeps the object until its works are gone.
func (s *steps) Finalizer() string { return v1alpha1.FinalizerWorks }

// Conditions become events when they change.
func (s *steps) Conditions(obj *v1alpha1.FederatedDeployment) []metav1.Condition {
	return obj.Status.Conditions
}

// toMaker wakes whom a work was made for.
func toMaker(_ context.Context, o client.Object) []reconcile.Request {
	key := maker(o)
	if key.Name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// clusterHandler wakes those whom a change of a cluster may concern. Heartbeats and capacity concern nobody.
type clusterHandler struct{ *reconciler }

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Create wakes who may have waited for the cluster. At the start everybody is looked at anyway.
func (h clusterHandler) Create(ctx context.Context, e event.CreateEvent, q queue) {
	if !e.IsInInitialList {
		h.wake(ctx, q, e.Object.GetName(), true)
	}
}

// Update wakes those who use the cluster, and those who look for one when it may be found now, or no longer.
func (h clusterHandler) Update(ctx context.Context, e event.UpdateEvent, q queue) {
	before, ok := e.ObjectOld.(*clusterv1.ManagedCluster)
	after, okToo := e.ObjectNew.(*clusterv1.ManagedCluster)
	if !ok || !okToo {
		return
	}
	was, is := clusterFacts(before), clusterFacts(after)
	if reflect.DeepEqual(was, is) {
		return
	}
	was.heard, was.since = is.heard, is.since
	h.wake(ctx, q, is.name, !reflect.DeepEqual(was, is))
}

// Delete wakes those who use the cluster.
func (h clusterHandler) Delete(ctx context.Context, e event.DeleteEvent, q queue) {
	h.wake(ctx, q, e.Object.GetName(), true)
}

// Generic does not happen.
func (h clusterHandler) Generic(context.Context, event.GenericEvent, queue) {}

func (h clusterHandler) wake(ctx context.Context, q queue, cluster string, searching bool) {
	users, err := usersOf(ctx, h.cached, cluster, searching)
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot tell who uses a cluster", "cluster", cluster)
	}
	for _, user := range users {
		q.Add(user)
	}
}

// specChanged leaves out what the controller itself writes.
func specChanged() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool { return !e.ObjectNew.GetDeletionTimestamp().IsZero() },
	})
}
