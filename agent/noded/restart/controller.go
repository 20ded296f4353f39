// Package restart is the half of ContainerRecreateRequests that needs the container runtime: it stops containers, and the
// kubelet starts them again.
//
// It owns the status of the requests for pods of this node, and the events Killing and FailedPreStopHook of their pods. It
// reads those requests and the runtime, and no pods. It promises to stop a container once per request, also when it is killed
// between stopping the container and recording it: what it knows is the status and what the runtime shows, never its memory.
package restart

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/pace"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=containerrecreaterequests,verbs=get;list;watch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=containerrecreaterequests/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

const (
	// workers stop containers side by side, of one pod one at a time. // RX-1
	workers = 32
	// longest bounds one pass, which lasts as long as a container takes to end.
	longest = 24 * time.Hour
)

// Options are what the part depends on.
type Options struct {
	// Runtimes of the node.
	Runtimes cri.Runtimes
	// Events are recorded under the component kruise-daemon-crr.
	Events record.EventRecorder
}

// Register starts the part. The cache has to hold the active requests for pods of this node and no others.
func Register(mgr manager.Manager, o Options) error {
	// A client that waited for its own writes would wait for requests that left the cache with the label they lost.
	plain, err := client.New(mgr.GetConfig(), client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return fmt.Errorf("make client of the restart controller: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).Named("crr").
		Watches(&kruise.ContainerRecreateRequest{}, handler.EnqueueRequestsFromMapFunc(byPod)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: pace.Retry(), ReconciliationTimeout: longest}).
		Complete(newPods(mgr.GetClient(), plain, o))
	if err != nil {
		return fmt.Errorf("register restart controller: %w", err)
	}
	return nil
}

// byPod queues the pod, so that its requests are carried out one after the other. // RX-1
func byPod(_ context.Context, o client.Object) []reconcile.Request {
	r, ok := o.(*kruise.ContainerRecreateRequest)
	if !ok || r.Status.CompletionTime != nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: r.Spec.PodName}}}
}

// pods reconciles the requests of a pod.
type pods struct {
	cache client.Reader
	write client.Client
	loop  *loop.Loop[*kruise.ContainerRecreateRequest, seen, *plan]
}

func newPods(cache client.Reader, write client.Client, o Options) *pods {
	return &pods{cache: cache, write: write, loop: &loop.Loop[*kruise.ContainerRecreateRequest, seen, *plan]{
		Steps: &steps{runtimes: o.Runtimes, killer: NewKiller(o.Events)}, Client: write,
		New: func() *kruise.ContainerRecreateRequest { return &kruise.ContainerRecreateRequest{} },
	}}
}

// Reconcile works on the first of a pod's requests and has the new ones among the others wait.
func (p *pods) Reconcile(ctx context.Context, pod reconcile.Request) (reconcile.Result, error) {
	var all kruise.ContainerRecreateRequestList
	if err := p.cache.List(ctx, &all, client.InNamespace(pod.Namespace)); err != nil {
		return reconcile.Result{}, fmt.Errorf("list requests: %w", err)
	}
	first, waiting := pick(all.Items, pod.Name)
	if first == nil {
		return reconcile.Result{}, nil
	}
	var failed error
	for _, r := range waiting {
		failed = errors.Join(failed, p.wait(ctx, r))
	}
	result, err := p.loop.ReconcileObject(ctx, first)
	return result, errors.Join(failed, err)
}

// pick is the request to work on, and those that have not been told to wait for it. // RX-1
func pick(all []kruise.ContainerRecreateRequest, pod string) (first *kruise.ContainerRecreateRequest, waiting []*kruise.ContainerRecreateRequest) {
	var open []*kruise.ContainerRecreateRequest
	for i := range all {
		if r := &all[i]; r.Spec.PodName == pod && r.Status.CompletionTime == nil && r.DeletionTimestamp == nil {
			open = append(open, r)
		}
	}
	if len(open) == 0 {
		return nil, nil
	}
	slices.SortFunc(open, func(a, b *kruise.ContainerRecreateRequest) int {
		return cmp.Or(cmp.Compare(turn(a), turn(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, r := range open[1:] {
		if r.Status.Phase == "" {
			waiting = append(waiting, r)
		}
	}
	return open[0], waiting
}

func turn(r *kruise.ContainerRecreateRequest) int {
	switch r.Status.Phase {
	case kruise.ContainerRecreateRequestRecreating:
		return 0
	case kruise.ContainerRecreateRequestPending:
		return 1
	}
	return 2
}

// wait answers a request whose turn it is not. Of one that changed meanwhile there is news. // RX-1
func (p *pods) wait(ctx context.Context, r *kruise.ContainerRecreateRequest) error {
	next := r.DeepCopy()
	next.Status.Phase = kruise.ContainerRecreateRequestPending
	err := p.write.Status().Patch(ctx, next, client.MergeFromWithOptions(r, client.MergeFromWithOptimisticLock{}))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("have request %s wait: %w", r.Name, err)
	}
	return nil
}
