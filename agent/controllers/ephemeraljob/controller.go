// Package ephemeraljob runs EphemeralJobs: ephemeral containers in pods that run already.
//
// It owns the ephemeral containers that carry the job's UID, the job's finalizer and status, and the job itself once its time to
// live has passed. It reads EphemeralJobs and pods from the cache. It promises that no pod gets a container of a name that it
// has already, that what is in a pod is never changed, and that being killed at any point costs nothing: all state is in the
// objects.
package ephemeraljob

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=ephemeraljobs,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=apps.kruise.io,resources=ephemeraljobs/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods/ephemeralcontainers,verbs=patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// source is whom events come from, and the controller's name in metrics. // NP-14
const source = "ephemeraljob-controller"

// Finalizer is on every job that was looked at. // EJ-2
const Finalizer = "apps.kruise.io/ephemeralcontainers-cleanup"

// concurrency is how many jobs are looked at at a time. // EJ-10, NP-11.1
const concurrency = 10

// Register starts the controller with the manager, whose scheme has to know EphemeralJobs.
func Register(mgr manager.Manager) error {
	local := mgr.GetClient()
	steps := &steps{local: local, events: event.Recorder(mgr, source)}
	reconciler := &loop.Loop[*kruise.EphemeralJob, seen, *plan]{
		Steps: steps, Client: local, Events: steps.events, New: func() *kruise.EphemeralJob { return &kruise.EphemeralJob{} },
	}
	err := ctrl.NewControllerManagedBy(mgr).Named(source).
		For(&kruise.EphemeralJob{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(jobsOf(local)), builder.WithPredicates(news())).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(reconciler)
	if err != nil {
		return fmt.Errorf("register ephemeraljob controller: %w", err)
	}
	return nil
}

// news are changes of pods that mean something: that they come, go or end, and what becomes of ephemeral containers. // EJ-10
func news() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e crevent.UpdateEvent) bool {
		before, was := e.ObjectOld.(*corev1.Pod)
		after, is := e.ObjectNew.(*corev1.Pod)
		return was && is && (activePod(before) != activePod(after) ||
			!equality.Semantic.DeepEqual(before.Status.EphemeralContainerStatuses, after.Status.EphemeralContainerStatuses))
	}}
}

// jobsOf are the jobs of a pod's namespace that select it. // EJ-10
func jobsOf(local client.Reader) handler.MapFunc {
	return func(ctx context.Context, pod client.Object) (requests []reconcile.Request) {
		var jobs kruise.EphemeralJobList
		if err := local.List(ctx, &jobs, client.InNamespace(pod.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
			return nil // the cache has stopped
		}
		for i := range jobs.Items {
			selector, err := metav1.LabelSelectorAsSelector(jobs.Items[i].Spec.Selector)
			if err == nil && selector.Matches(labels.Set(pod.GetLabels())) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&jobs.Items[i])})
			}
		}
		return requests
	}
}

// steps is the controller's part of the loop.
type steps struct {
	local  client.Client
	events record.EventRecorder
}

// Finalizer says that the job is seen off; there is nothing to undo. // EJ-2
func (s *steps) Finalizer() string { return Finalizer }

var (
	_ loop.Steps[*kruise.EphemeralJob, seen, *plan] = &steps{}
	_ loop.Finalizing                               = &steps{}
	_ loop.Done                                     = &plan{}
)
