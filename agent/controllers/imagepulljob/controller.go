// Package imagepulljob runs ImagePullJobs: it asks the NodeImages of the chosen nodes for an image, so many at a time, and
// counts what became of it.
//
// It owns the tags in NodeImages that name a job as their owner, the copies of pull secrets in the namespace that node
// daemons read, and the job's status, finalizer and end. It reads ImagePullJobs, NodeImages, pods, Secrets and that namespace
// from the cache. It promises that a NodeImage is written once for all jobs that ask at about the same time, that a status is
// written only when a count changed and the less often the more jobs there are, and that a job never takes more nodes at a
// time than it may.
package imagepulljob

import (
	"context"
	"fmt"
	"math/rand/v2"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagepulljobs,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagepulljobs/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=nodeimages,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=pods;namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Wire names. // SJ-6.7
const (
	Finalizer          = "apps.kruise.io/deletion-protection"
	sourceUIDLabel     = "imagepulljobs.kruise.io/source-uid"
	sourceKeyNote      = "imagepulljobs.kruise.io/source-key"
	referencesNote     = "imagepulljobs.kruise.io/references"
	eventSource        = "imagepulljob-controller"
	defaultNamespace   = "kruise-daemon-config"
	defaultParallelism = 1
)

// writers is how many NodeImages are written at a time.
const writers = 4

// Options are what an operator chooses.
type Options struct {
	// ConfigNamespace is where node daemons read pull secrets: environment variable KRUISE_DAEMON_CONFIG_NS. // SJ-0.2
	ConfigNamespace string
	// Secrets says that we may read those that jobs name.
	Secrets bool
}

// Register starts the controller with the manager, whose scheme has to know kinds of apps.kruise.io.
func Register(mgr manager.Manager, o Options) error {
	if o.ConfigNamespace == "" {
		o.ConfigNamespace = defaultNamespace
	}
	local := mgr.GetClient()
	events := event.Recorder(mgr, eventSource)
	orders := newDesk(local, events, clock.RealClock{})
	steps := newSteps(local, mgr.GetAPIReader(), events, orders, o)
	reconciler := &loop.Loop[*kruise.ImagePullJob, seen, *plan]{
		Steps: steps, Client: local, New: func() *kruise.ImagePullJob { return &kruise.ImagePullJob{} },
	}
	watch := watches{local: local, options: o}
	b := ctrl.NewControllerManagedBy(mgr).Named("imagepulljob")
	if o.Secrets {
		b = b.Watches(&corev1.Secret{}, watch.secrets())
	}
	err := b.
		For(&kruise.ImagePullJob{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&kruise.NodeImage{}, watch.images()).
		Watches(&corev1.Pod{}, watch.pods()).
		Watches(&corev1.Namespace{}, watch.namespaces()).
		Complete(reconciler)
	if err != nil {
		return fmt.Errorf("register imagepulljob controller: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).Named("imagepulljob-nodes").
		WithOptions(controller.Options{MaxConcurrentReconciles: writers}).
		WatchesRawSource(source.Func(func(_ context.Context, q queue) error { orders.open(q); return nil })).
		Complete(orders)
	if err != nil {
		return fmt.Errorf("register writer of NodeImages: %w", err)
	}
	return nil
}

// steps is the controller's part of the loop.
type steps struct {
	local   client.Client
	live    client.Reader
	events  record.EventRecorder
	orders  *desk
	options Options
	luck    func(n int32) int32 // below n
}

func newSteps(local client.Client, live client.Reader, events record.EventRecorder, orders *desk, o Options) *steps {
	return &steps{local: local, live: live, events: events, orders: orders, options: o, luck: rand.Int32N}
}

var (
	_ loop.Steps[*kruise.ImagePullJob, seen, *plan] = &steps{}
	_ loop.Plan                                     = &plan{}
)

// gvk is what tags call their owner.
var gvk = kruise.SchemeGroupVersion.WithKind("ImagePullJob")

func keyOf(job *kruise.ImagePullJob) string { return job.Namespace + "/" + job.Name }
