// Package imagelistpulljob runs ImageListPullJobs: one ImagePullJob for each image of a list.
//
// It owns the ImagePullJobs that a list controls, and the list's status, its label with the hash of the template, and its
// end. It reads ImageListPullJobs and ImagePullJobs from the cache. It promises that a list which has completed makes and
// deletes nothing any more, and that children of an older template make way for new ones.
package imagelistpulljob

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/dump"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagelistpulljobs,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagelistpulljobs/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagelistpulljobs/finalizers,verbs=update
// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagepulljobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

const (
	// gathering is how long news of children are gathered: two hundred of them tell of every node.
	gathering = 500 * time.Millisecond
	// workers is how many lists are reconciled at a time; there is no flag. // NP-11.1
	workers = 3
	// source is whom events come from. // SJ-7
	source = "imagelistpulljob-controller"
	// hashLabel holds the hash of the template, on lists and their children. // IL-3
	hashLabel = appsv1.ControllerRevisionHashLabelKey
)

// Register starts the controller with the manager, whose cache has to index ImagePullJobs with index.ByOwner and whose scheme
// has to know kinds of apps.kruise.io/v1alpha1.
func Register(mgr manager.Manager) error {
	steps := &steps{local: mgr.GetClient(), events: event.Recorder(mgr, source)}
	reconciler := &loop.Loop[*kruise.ImageListPullJob, seen, *plan]{
		Steps: steps, Client: steps.local, New: func() *kruise.ImageListPullJob { return &kruise.ImageListPullJob{} },
	}
	changed := predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})
	owner := handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &kruise.ImageListPullJob{}, handler.OnlyControllerOwner())
	err := ctrl.NewControllerManagedBy(mgr).Named("imagelistpulljob").
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		For(&kruise.ImageListPullJob{}, builder.WithPredicates(changed)).
		Watches(&kruise.ImagePullJob{}, podset.GatherFor(gathering, owner)).
		Complete(reconciler)
	if err != nil {
		return fmt.Errorf("register imagelistpulljob controller: %w", err)
	}
	return nil
}

// steps is the controller's part of the loop.
type steps struct {
	local  client.Client
	events record.EventRecorder
}

var (
	_ loop.Steps[*kruise.ImageListPullJob, seen, *plan] = &steps{}
	_ loop.Plan                                         = &plan{}
)

// gvk is what children call their owner.
var gvk = kruise.SchemeGroupVersion.WithKind("ImageListPullJob")

// hashOf tells templates apart. // IL-3
func hashOf(t *kruise.ImagePullJobTemplate) string {
	h := fnv.New32a()
	fmt.Fprint(h, dump.ForHash(*t))
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}
