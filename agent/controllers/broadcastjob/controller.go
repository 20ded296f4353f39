// Package broadcastjob runs BroadcastJobs: one pod on every node that the template fits, also on nodes that come later, until
// all have finished or for ever.
//
// It owns the pods that a BroadcastJob controls, the job's status, and the job itself once its time to live has passed. It
// reads BroadcastJobs, pods and nodes from the cache. It promises that a job written without defaults behaves as if the webhook
// had filled them in, that a spec which cannot be carried out touches nothing and says why, that a node never gets a second pod
// because an answer was lost, and that being killed at any point costs nothing: all state is in the objects.
package broadcastjob

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
	retry "github.com/flotilla-project/flotilla/pkg/manager"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=broadcastjobs,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=apps.kruise.io,resources=broadcastjobs/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=broadcastjobs/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// source is whom events come from, and the controller's name in metrics. // BJ-3.5, NP-14
const source = "broadcastjob-controller"

// Options are what an operator chooses for all BroadcastJobs.
type Options struct {
	// BindPods assigns pods to their nodes at creation, in place of the scheduler: flag --assign-bcj-pods-by-scheduler=false. // BJ-6
	BindPods bool
	// Retry is how soon a job whose round failed is tried again. // NP-11.1
	Retry retry.Retry
}

// Register starts the controller with the manager, whose cache has to index pods with index.ByOwner and whose scheme has to
// know BroadcastJobs.
func Register(mgr manager.Manager, o Options) error {
	local := mgr.GetClient()
	steps := &steps{local: local, live: mgr.GetAPIReader(), events: event.Recorder(mgr, source), options: o}
	reconciler := &loop.Loop[*kruise.BroadcastJob, seen, *plan]{
		Steps: steps, Client: local, Events: steps.events, New: func() *kruise.BroadcastJob { return &kruise.BroadcastJob{} },
	}
	owner := handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &kruise.BroadcastJob{}, handler.OnlyControllerOwner())
	err := ctrl.NewControllerManagedBy(mgr).Named(source).
		For(&kruise.BroadcastJob{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, podset.Gather(owner)).
		Watches(&corev1.Node{}, podset.Gather(onNodes{local})).
		WithOptions(o.Retry.Controller()).
		Complete(reconciler)
	if err != nil {
		return fmt.Errorf("register broadcastjob controller: %w", err)
	}
	return nil
}

// steps is the controller's part of the loop.
type steps struct {
	local   client.Client
	live    client.Reader
	events  record.EventRecorder
	options Options
}

var (
	_ loop.Steps[*kruise.BroadcastJob, seen, *plan] = &steps{}
	_ loop.Plan                                     = &plan{}
)

func ownerRef(job *kruise.BroadcastJob) metav1.OwnerReference {
	return *metav1.NewControllerRef(job, kruise.SchemeGroupVersion.WithKind("BroadcastJob"))
}

// all lists the jobs of every namespace. They are shared with the cache: read only.
func all(ctx context.Context, local client.Reader) []kruise.BroadcastJob {
	var jobs kruise.BroadcastJobList
	if err := local.List(ctx, &jobs, client.UnsafeDisableDeepCopy); err != nil {
		return nil // the cache has stopped
	}
	return jobs.Items
}
