// Package statefulset runs Advanced StatefulSets: pods with ordinals, each with its own claims.
//
// It owns the pods and revisions that a StatefulSet of apps.kruise.io controls, the labels, sizes and owners of its pods'
// claims, and its status. It reads StatefulSets, pods, PersistentVolumeClaims and ControllerRevisions from the cache, and
// storage classes past it before it resizes a claim. It writes pods, claims (which it never deletes: their owner references
// say who takes them along), revisions, and status. It promises that a StatefulSet written without defaults behaves as if
// the webhook had filled them in, that pods and revisions which OpenKruise made are taken over without a restart, that a
// spec which cannot be right touches nothing and says why, and that being killed at any point costs nothing: all state is in
// the objects.
package statefulset

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/ordinal"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=statefulsets,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=statefulsets/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=statefulsets/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods/status;pods/resize,verbs=patch
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagepulljobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get

// Wire names. // WL-2.15
const (
	source            = "statefulset-controller"
	podNameLabel      = appsv1.StatefulSetPodNameLabel
	podIndexLabel     = appsv1.PodIndexLabel
	resizedAnnotation = "apps.kruise.io/owned-by-asts"
)

// Options are the feature gates that change what a StatefulSet does. // WL-0.3
type Options struct {
	// Retry is how soon a set whose round failed is tried again. // WL-0.8
	Retry manager.Retry
	// InPlace says what fits into a running pod: gates InPlaceUpdateEnvFromMetadata and InPlaceWorkloadVerticalScaling.
	InPlace inplace.Gates
	// AutoDeletePVC keeps the owners of claims as the retention policy says: gate StatefulSetAutoDeletePVC.
	AutoDeletePVC bool
	// AutoResizePVC makes claims as large as their templates: gate StatefulSetAutoResizePVCGate.
	AutoResizePVC bool
	// StartOrdinal honours spec.ordinals.start: gate StatefulSetStartOrdinal.
	StartOrdinal bool
	// PodIndexLabel labels pods with their ordinal: gate of the same name.
	PodIndexLabel bool
	// PreparingUpdateAsUpdate counts pods that wait for their inPlaceUpdate hook as updated: gate of the same name.
	PreparingUpdateAsUpdate bool
	// PreDownload pulls images ahead of updates: gate PreDownloadImageForInPlaceUpdate. The cache then has to index
	// ImagePullJobs too.
	PreDownload bool
}

// Register starts the controller with the manager, whose cache has to index pods and ControllerRevisions with
// index.ByOwner and whose scheme has to know StatefulSets of apps.kruise.io/v1beta1.
func Register(mgr ctrl.Manager, o Options) error {
	steps := newSteps(mgr.GetClient(), mgr.GetAPIReader(), event.Recorder(mgr, source), clock.RealClock{}, o)
	reconciler := &loop.Loop[*kruise.StatefulSet, seen, *plan]{
		Steps: steps, Client: mgr.GetClient(), Events: steps.events, New: func() *kruise.StatefulSet { return &kruise.StatefulSet{} },
	}
	owner := podset.Owners(mgr, &kruise.StatefulSet{})
	err := podset.Controller(mgr, "statefulset", &kruise.StatefulSet{}, o.Retry).
		Watches(&corev1.Pod{}, owner).
		Watches(&corev1.Pod{}, podset.Gather(handler.EnqueueRequestsFromMapFunc(adopter))).
		Watches(&corev1.PersistentVolumeClaim{}, podset.Gather(handler.EnqueueRequestsFromMapFunc(claimant))).
		Watches(&appsv1.ControllerRevision{}, owner).
		Complete(reconciler)
	if err != nil {
		return fmt.Errorf("register statefulset controller: %w", err)
	}
	return nil
}

// adopter is the set that an orphan may belong to by its name. // WL-0.6
func adopter(_ context.Context, pod client.Object) []reconcile.Request {
	if metav1.GetControllerOfNoCopy(pod) != nil {
		return nil
	}
	return setOf(pod.GetNamespace(), pod.GetName())
}

// claimant is the set that waits for the claim: to be resized, or to be gone with its pod. // WL-2.9, WL-2.8
func claimant(_ context.Context, claim client.Object) []reconcile.Request {
	var all []reconcile.Request
	if set := claim.GetAnnotations()[resizedAnnotation]; set != "" {
		all = append(all, request(claim.GetNamespace(), set))
	}
	for _, ref := range claim.GetOwnerReferences() {
		switch ref.Kind {
		case gvk.Kind:
			all = append(all, request(claim.GetNamespace(), ref.Name))
		case "Pod":
			all = append(all, setOf(claim.GetNamespace(), ref.Name)...)
		}
	}
	return all
}

func setOf(namespace, pod string) []reconcile.Request {
	if set, _, ok := ordinal.Parse(pod); ok {
		return []reconcile.Request{request(namespace, set)}
	}
	return nil
}

func request(namespace, set string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: set}}
}

// steps is the controller's part of the loop.
type steps struct {
	local   client.Client
	live    client.Reader
	hands   podset.Hands
	events  record.EventRecorder
	options Options
	images  *predownload.Hands // nil when the gate is off
}

func newSteps(local client.Client, live client.Reader, events record.EventRecorder, c clock.PassiveClock, o Options) *steps {
	s := &steps{local: local, live: live, hands: podset.Hands{Local: local, Live: live, Clock: c}, events: events, options: o}
	if o.PreDownload {
		s.images = &predownload.Hands{Local: local, Events: events}
	}
	return s
}

var (
	_ loop.Steps[*kruise.StatefulSet, seen, *plan] = &steps{}
	_ loop.Conditioned[*kruise.StatefulSet]        = &steps{}
	_ loop.Plan                                    = &plan{}
)

// gvk is what children call their owner.
var gvk = kruise.SchemeGroupVersion.WithKind("StatefulSet")

func ownerRef(set *kruise.StatefulSet) metav1.OwnerReference {
	return *metav1.NewControllerRef(set, gvk)
}
