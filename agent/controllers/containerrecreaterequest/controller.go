// Package containerrecreaterequest is the half of ContainerRecreateRequests that needs the API server only; the node daemon
// stops the containers (agent/noded/restart).
//
// It owns the labels, annotations and the finalizer of a request after its creation, its completion where the daemon cannot
// complete it (the pod is gone, nobody answers, it is too late), its end by TTL, and its own entry in a pod's condition
// KruisePodReady. It reads pods. It promises that a pod which it marked unready is marked ready again, whatever happens to the
// request, and that a daemon starts to count the unready period only once the mark is set.
package containerrecreaterequest

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=containerrecreaterequests,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=apps.kruise.io,resources=containerrecreaterequests/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods/status,verbs=patch

// Register starts the controller.
func Register(mgr manager.Manager) error {
	local := mgr.GetClient()
	err := ctrl.NewControllerManagedBy(mgr).Named("containerrecreaterequest").
		For(&kruise.ContainerRecreateRequest{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(requestsFor(local)), builder.WithPredicates(news())).
		Complete(&loop.Loop[*kruise.ContainerRecreateRequest, seen, plan]{
			Steps: &steps{local: local, fresh: mgr.GetAPIReader()}, Client: local,
			New: func() *kruise.ContainerRecreateRequest { return &kruise.ContainerRecreateRequest{} },
		})
	if err != nil {
		return fmt.Errorf("register containerrecreaterequest controller: %w", err)
	}
	return nil
}

// news is what of a pod a request waits for. // CRR-12
func news() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			old, was := e.ObjectOld.(*corev1.Pod)
			pod, is := e.ObjectNew.(*corev1.Pod)
			return was && is && (old.UID != pod.UID || (old.DeletionTimestamp == nil) != (pod.DeletionTimestamp == nil) ||
				!equality.Semantic.DeepEqual(old.Status.ContainerStatuses, pod.Status.ContainerStatuses))
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// requestsFor finds the unfinished requests for a pod.
func requestsFor(local client.Reader) handler.MapFunc {
	return func(ctx context.Context, pod client.Object) (all []reconcile.Request) {
		var requests kruise.ContainerRecreateRequestList
		err := local.List(ctx, &requests, client.InNamespace(pod.GetNamespace()), client.UnsafeDisableDeepCopy,
			client.MatchingLabels{kruise.ContainerRecreateRequestPodUIDKey: string(pod.GetUID())})
		if err != nil {
			return nil // only a cache that stops gives one
		}
		for i := range requests.Items {
			if r := &requests.Items[i]; r.Status.CompletionTime == nil {
				all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: r.Name}})
			}
		}
		return all
	}
}

// steps is the controller's part of the loop.
type steps struct {
	local client.Client
	// fresh does not lag behind: a pod that the cache does not hold yet is not gone.
	fresh client.Reader
}

var _ loop.Steps[*kruise.ContainerRecreateRequest, seen, plan] = &steps{}

// seen is what was observed: the pod, nil if there is none.
type seen struct{ pod *corev1.Pod }

// Observe finds the pod.
func (s *steps) Observe(ctx context.Context, r *kruise.ContainerRecreateRequest) (seen, error) {
	key := types.NamespacedName{Namespace: r.Namespace, Name: r.Spec.PodName}
	for _, from := range []client.Reader{s.local, s.fresh} {
		pod := &corev1.Pod{}
		err := from.Get(ctx, key, pod)
		if err == nil {
			return seen{pod}, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return seen{}, fmt.Errorf("get pod %s: %w", r.Spec.PodName, err)
		}
	}
	return seen{}, nil
}
