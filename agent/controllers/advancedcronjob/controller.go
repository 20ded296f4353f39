// Package advancedcronjob runs AdvancedCronJobs: a Job or a BroadcastJob at each time that a schedule names.
//
// It owns the jobs that an AdvancedCronJob controls and its status. It reads AdvancedCronJobs, Jobs and BroadcastJobs from the
// cache; BroadcastJobs only where the cluster knows them. It promises that one that was written without defaults behaves as if
// the webhook had filled them in, that no time is run twice, however often it is interrupted, and that of the times that were
// missed only the latest is run.
package advancedcronjob

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=advancedcronjobs,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=advancedcronjobs/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=advancedcronjobs/finalizers,verbs=update
// +kubebuilder:rbac:groups=apps.kruise.io,resources=broadcastjobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// source is whom events come from, and the controller's name in metrics. // NP-14
const source = "advancedcronjob-controller"

// gvk is what children call their owner.
var gvk = kruise.SchemeGroupVersion.WithKind(kruise.AdvancedCronJobKind)

// Register starts the controller with the manager, whose scheme has to know AdvancedCronJobs, BroadcastJobs and Jobs. It
// indexes both kinds of jobs by their owners.
func Register(mgr manager.Manager) error {
	steps := &steps{local: mgr.GetClient(), events: event.Recorder(mgr, source)}
	_, err := mgr.GetRESTMapper().RESTMapping(kruise.SchemeGroupVersion.WithKind("BroadcastJob").GroupKind(), kruise.SchemeGroupVersion.Version)
	steps.broadcast = !meta.IsNoMatchError(err)
	reconciler := &loop.Loop[*kruise.AdvancedCronJob, seen, *plan]{
		Steps: steps, Client: steps.local, Events: steps.events, New: func() *kruise.AdvancedCronJob { return &kruise.AdvancedCronJob{} },
	}
	if err := index.ByOwner(context.Background(), mgr.GetFieldIndexer(), steps.kinds()...); err != nil {
		return err
	}
	b := ctrl.NewControllerManagedBy(mgr).Named(source).
		For(&kruise.AdvancedCronJob{}, builder.WithPredicates(predicate.GenerationChangedPredicate{}))
	for _, kind := range steps.kinds() {
		b = b.Owns(kind) // a child that finishes makes room and history, of either kind // CJ-10
	}
	if err := b.Complete(reconciler); err != nil {
		return fmt.Errorf("register advancedcronjob controller: %w", err)
	}
	return nil
}

// kinds are those of the children that the cluster knows.
func (s *steps) kinds() []client.Object {
	if s.broadcast {
		return []client.Object{&batchv1.Job{}, &kruise.BroadcastJob{}}
	}
	return []client.Object{&batchv1.Job{}}
}

// steps is the controller's part of the loop.
type steps struct {
	local     client.Client
	events    record.EventRecorder
	broadcast bool // the cluster knows BroadcastJobs
}

var (
	_ loop.Steps[*kruise.AdvancedCronJob, seen, *plan] = &steps{}
	_ loop.Plan                                        = &plan{}
)

func ownerRef(acj *kruise.AdvancedCronJob) metav1.OwnerReference {
	return *metav1.NewControllerRef(acj, gvk)
}
