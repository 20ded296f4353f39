// Package daemonset runs Advanced DaemonSets: one pod on every node that the template fits, replaced node by node.
//
// It owns the pods and revisions that a DaemonSet controls, and the DaemonSet's status. It reads DaemonSets, pods,
// ControllerRevisions and nodes from the cache. It writes pods, revisions and status. It promises that a DaemonSet written
// without defaults behaves as if the webhook had filled them in, that a spec which cannot be carried out touches nothing and
// says why in an event, that pods and revisions which OpenKruise made are taken over as they are, and that being killed at
// any point costs nothing: all state is in the objects, but for how long a node whose pods fail is left alone.
package daemonset

import (
	"context"
	"fmt"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=daemonsets,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=daemonsets/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=daemonsets/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods/status;pods/resize,verbs=patch
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagepulljobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch;create;patch;delete

// source is whom events come from. // WL-3.11
const source = "daemonset-controller"

// Options are what an operator chooses for all DaemonSets.
type Options struct {
	// Retry is how soon a set whose round failed is tried again. // WL-0.8
	Retry manager.Retry
	// InPlace says what fits into a running pod: gates InPlaceUpdateEnvFromMetadata and InPlaceWorkloadVerticalScaling.
	InPlace inplace.Gates
	// BindPods assigns pods to their nodes at creation, in place of the scheduler: flag --assign-pods-by-scheduler=false. // WL-3.6
	BindPods bool
	// PreDownload pulls images ahead of updates: gate PreDownloadImageForDaemonSetUpdate. The cache then has to index
	// ImagePullJobs too.
	PreDownload bool
}

// Register starts the controller with the manager, whose cache has to index pods and ControllerRevisions with index.ByOwner
// and whose scheme has to know DaemonSets.
func Register(mgr ctrl.Manager, o Options) error {
	local := mgr.GetClient()
	steps := newSteps(local, mgr.GetAPIReader(), event.Recorder(mgr, source), clock.RealClock{}, o)
	reconciler := &loop.Loop[*kruise.DaemonSet, seen, *plan]{
		Steps: steps, Client: local, Events: steps.events, New: func() *kruise.DaemonSet { return &kruise.DaemonSet{} },
	}
	owner := podset.Owners(mgr, &kruise.DaemonSet{})
	orphan := handler.EnqueueRequestsFromMapFunc(adopters(local))
	err := podset.Controller(mgr, "daemonset", &kruise.DaemonSet{}, o.Retry, desired()).
		Watches(&corev1.Pod{}, owner).
		Watches(&corev1.Pod{}, podset.Gather(orphan)).
		Watches(&appsv1.ControllerRevision{}, owner).
		Watches(&appsv1.ControllerRevision{}, podset.Gather(orphan)).
		Watches(&corev1.Node{}, podset.Gather(onNodes{local})).
		Complete(reconciler)
	if err != nil {
		return fmt.Errorf("register daemonset controller: %w", err)
	}
	return nil
}

// desired lets through the one number of our status that a burst in percent is a part of. // WL-3.12.6
func desired() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e crevent.UpdateEvent) bool {
		before, was := e.ObjectOld.(*kruise.DaemonSet)
		after, is := e.ObjectNew.(*kruise.DaemonSet)
		return was && is && before.Status.DesiredNumberScheduled != after.Status.DesiredNumberScheduled
	}}
}

// adopters are the DaemonSets that an object without a controller could belong to. // WL-0.6
func adopters(local client.Reader) handler.MapFunc {
	return func(ctx context.Context, orphan client.Object) []reconcile.Request {
		if metav1.GetControllerOfNoCopy(orphan) != nil {
			return nil
		}
		return namesOf(ctx, local, orphan.GetNamespace(), func(ds *kruise.DaemonSet) bool { return selects(ds, orphan) })
	}
}

// namesOf are the DaemonSets of a namespace, or of all, that fit.
func namesOf(ctx context.Context, local client.Reader, namespace string, fit func(*kruise.DaemonSet) bool) []reconcile.Request {
	var all kruise.DaemonSetList
	if err := local.List(ctx, &all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil // the cache has stopped
	}
	var requests []reconcile.Request
	for i := range all.Items {
		if fit(&all.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return requests
}

// steps is the controller's part of the loop.
type steps struct {
	local   client.Client
	live    client.Reader
	hands   podset.Hands
	events  record.EventRecorder
	clock   clock.PassiveClock
	failing *backoff
	waiting *waiting
	options Options
	images  *predownload.Hands // nil when the gate is off
}

func newSteps(local client.Client, live client.Reader, events record.EventRecorder, c clock.PassiveClock, o Options) *steps {
	s := &steps{
		local: local, live: live, hands: podset.Hands{Local: local, Live: live, Clock: c}, events: events, clock: c,
		failing: newBackoff(time.Second, 15*time.Minute), waiting: newWaiting(), options: o,
	}
	if o.PreDownload {
		s.images = &predownload.Hands{Local: local, Events: events}
	}
	return s
}

var (
	_ loop.Steps[*kruise.DaemonSet, seen, *plan] = &steps{}
	_ loop.Plan                                  = &plan{}
)

// gvk is what children call their owner.
var gvk = kruise.SchemeGroupVersion.WithKind("DaemonSet")

func ownerRef(ds *kruise.DaemonSet) metav1.OwnerReference { return *metav1.NewControllerRef(ds, gvk) }
