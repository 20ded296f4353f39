// Package cloneset runs CloneSets: it translates one into slots for the pod set engine and carries the plan out.
//
// It owns the pods, claims and revisions that a CloneSet controls, and the CloneSet's status. It reads CloneSets, pods,
// PersistentVolumeClaims and ControllerRevisions from the cache, and nodes when the template spreads pods. It writes pods
// (two writes to make one, three to update one in place), claims, revisions, status, and takes names off
// spec.scaleStrategy.podsToDelete that are gone. It promises that a CloneSet written without defaults behaves as if the
// webhook had filled them in, that a spec which cannot be right touches nothing and says why, and that being killed at any
// point costs nothing: all state is in the objects.
package cloneset

import (
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=clonesets,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=clonesets/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=clonesets/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods/status;pods/resize,verbs=patch
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagepulljobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch;create;patch;delete

// source is whom events come from. // WL-1.18
const source = "cloneset-controller"

// Options are the feature gates and flags that change what a CloneSet does. // WL-0.3
type Options struct {
	// Retry is how soon a set whose round failed is tried again. // WL-0.8
	Retry manager.Retry
	// InPlace says what fits into a running pod: gates InPlaceUpdateEnvFromMetadata and InPlaceWorkloadVerticalScaling.
	InPlace inplace.Gates
	// FilterEvents leaves out changes of pods that are no news: gate CloneSetEventHandlerOptimization.
	FilterEvents bool
	// ShortHash labels pods with the hash of their revision alone: gate CloneSetShortHash.
	ShortHash bool
	// PartitionRollback takes pods back to the old revision when the partition grows: gate CloneSetPartitionRollback.
	PartitionRollback bool
	// PreparingUpdateAsUpdate counts pods that wait for their inPlaceUpdate hook as updated: gate of the same name.
	PreparingUpdateAsUpdate bool
	// RecreateOnClaimChange makes pods anew when the claim templates of two revisions differ: gate
	// RecreatePodWhenChangeVCTInCloneSetGate.
	RecreateOnClaimChange bool
	// ExcludePreparingDelete does not count pods that wait for their preDelete hook: flag
	// --cloneset-scaling-exclude-preparing-delete.
	ExcludePreparingDelete bool
	// PreDownload pulls images ahead of updates: gate PreDownloadImageForInPlaceUpdate. The cache then has to index
	// ImagePullJobs too.
	PreDownload bool
}

// Register starts the controller with the manager, whose cache has to index pods, claims and ControllerRevisions with
// index.ByOwner and whose scheme has to know CloneSets.
func Register(mgr ctrl.Manager, o Options) error {
	steps := newSteps(mgr.GetClient(), mgr.GetAPIReader(), event.Recorder(mgr, source), clock.RealClock{}, o)
	reconciler := &loop.Loop[*kruise.CloneSet, seen, *plan]{
		Steps: steps, Client: mgr.GetClient(), Events: steps.events, New: func() *kruise.CloneSet { return &kruise.CloneSet{} },
	}
	owner := podset.Owners(mgr, &kruise.CloneSet{})
	var heard []builder.WatchesOption
	if o.FilterEvents {
		heard = append(heard, builder.WithPredicates(telling(o.InPlace.Resources)))
	}
	err := podset.Controller(mgr, "cloneset", &kruise.CloneSet{}, o.Retry).
		Watches(&corev1.Pod{}, owner, heard...).
		Watches(&corev1.PersistentVolumeClaim{}, owner).
		Watches(&appsv1.ControllerRevision{}, owner).
		Complete(reconciler)
	if err != nil {
		return fmt.Errorf("register cloneset controller: %w", err)
	}
	return nil
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
	_ loop.Steps[*kruise.CloneSet, seen, *plan] = &steps{}
	_ loop.Conditioned[*kruise.CloneSet]        = &steps{}
	_ loop.Plan                                 = &plan{}
)

// gvk is what children call their owner.
var gvk = kruise.SchemeGroupVersion.WithKind("CloneSet")

func ownerRef(cs *kruise.CloneSet) metav1.OwnerReference { return *metav1.NewControllerRef(cs, gvk) }
