// Package nodeimage keeps one NodeImage for each node: the list of images that the node's daemon pulls.
//
// It owns the life and the labels of NodeImages, takes tags out of their specs that nobody wants any more, and speaks in
// their status for a node that does not answer; otherwise the daemon owns the status and ImagePullJobs fill the spec. It
// reads Nodes, NodeImages and ImagePullJobs from the cache, and looks past it before it deletes. It promises that a
// NodeImage outlives every doubt about its node, that spec and status are never written in one round, and that what ends
// together is written once.
package nodeimage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=nodeimages,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=apps.kruise.io,resources=nodeimages/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagepulljobs,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// source is whom events come from. // SJ-8 (NI-8)
const source = "nodeimage-controller"

// FakeLabel keeps a NodeImage that has no node: an aid for tests. // NI-3
const FakeLabel = "apps.kruise.io/fake-nodeimage"

// gathering is how long news of daemons, and of jobs that end, are gathered: two hundred jobs that end together take their tags along in one write.
const gathering = 3 * time.Second

// Options are what an operator chooses.
type Options struct {
	// Delay is how long a node has to be ready before it gets a NodeImage: flag --nodeimage-creation-delay. // NI-3
	Delay time.Duration
}

// Register starts the controller with the manager, whose scheme has to know kinds of apps.kruise.io/v1alpha1.
func Register(mgr manager.Manager, o Options) error {
	r := newReconciler(mgr.GetClient(), mgr.GetAPIReader(), event.Recorder(mgr, source), clock.RealClock{}, o)
	err := ctrl.NewControllerManagedBy(mgr).Named("nodeimage").
		For(&kruise.NodeImage{}, builder.WithPredicates(asked())).
		Watches(&kruise.NodeImage{}, podset.GatherFor(gathering, &handler.EnqueueRequestForObject{}), builder.WithPredicates(predicate.Not(asked()))).
		Watches(&corev1.Node{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(nodes())).
		Watches(&kruise.ImagePullJob{}, ended{mgr.GetClient()}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("register nodeimage controller: %w", err)
	}
	return nil
}

// asked leaves out what daemons say: that is looked at when more of it has come.
func asked() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})
}

// nodes lets through what NodeImages follow, and nothing of virtual nodes. // NI-3, NI-11
func nodes() predicate.Predicate {
	followed := predicate.NewPredicateFuncs(func(o client.Object) bool { return !virtual(o) })
	return predicate.And(followed, predicate.Funcs{UpdateFunc: func(e crevent.UpdateEvent) bool {
		before, was := e.ObjectOld.(*corev1.Node)
		after, is := e.ObjectNew.(*corev1.Node)
		return was && is && (readySince(before).IsZero() != readySince(after).IsZero() || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
			predicate.LabelChangedPredicate{}.Update(e))
	}})
}

// ended brings the NodeImages that a job which is gone has tags in. // NI-11
type ended struct{ local client.Reader }

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func (ended) Create(context.Context, crevent.CreateEvent, queue)   {}
func (ended) Update(context.Context, crevent.UpdateEvent, queue)   {}
func (ended) Generic(context.Context, crevent.GenericEvent, queue) {}

func (e ended) Delete(ctx context.Context, gone crevent.DeleteEvent, q queue) {
	var all kruise.NodeImageList
	if err := e.local.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return // the cache has stopped
	}
	for i := range all.Items {
		if names(&all.Items[i].Spec, gone.Object) {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])}, gathering)
		}
	}
}

// names says that a tag is wanted by the job.
func names(spec *kruise.NodeImageSpec, job client.Object) bool {
	for _, image := range spec.Images {
		for i := range image.Tags {
			for _, ref := range image.Tags[i].OwnerReferences {
				if ref.UID == job.GetUID() {
					return true
				}
			}
		}
	}
	return false
}

// reconciler makes the NodeImages that are missing; steps look after those that are there.
type reconciler struct {
	*steps
	loop *loop.Loop[*kruise.NodeImage, seen, *plan]
}

func newReconciler(local client.Client, live client.Reader, events record.EventRecorder, c clock.PassiveClock, o Options) *reconciler {
	s := &steps{local: local, live: live, events: events, options: o, jitter: jitter}
	return &reconciler{steps: s, loop: &loop.Loop[*kruise.NodeImage, seen, *plan]{
		Steps: s, Client: local, Clock: c, New: func() *kruise.NodeImage { return &kruise.NodeImage{} },
	}}
}

// Reconcile looks at the node and the NodeImage of one name.
func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var image kruise.NodeImage
	err := r.local.Get(ctx, request.NamespacedName, &image)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("get NodeImage: %w", err)
	}
	if err != nil {
		return r.create(ctx, request.Name, r.loop.Clock.Now())
	}
	return r.loop.ReconcileObject(ctx, &image)
}

// steps is the controller's part of the loop.
type steps struct {
	local   client.Client
	live    client.Reader
	events  record.EventRecorder
	options Options
	jitter  func() time.Duration
}

// jitter spreads what is looked at again. // NI-10
func jitter() time.Duration { return 3*time.Second + rand.N(2*time.Second) }

var (
	_ loop.Steps[*kruise.NodeImage, seen, *plan] = &steps{}
	_ loop.Plan                                  = &plan{}
)
