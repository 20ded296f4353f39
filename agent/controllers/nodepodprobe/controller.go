// Package nodepodprobe keeps a NodePodProbe for the daemon of every node and turns what the daemon finds out into conditions,
// labels and annotations of pods.
//
// It owns the existence of NodePodProbes and of their entries for pods that are gone, and the conditions and marks of pods that
// PodProbeMarkers speak of. It reads nodes, pods and markers. It promises one write per pod and change, and none where nothing
// changes.
package nodepodprobe

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=nodepodprobes,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=apps.kruise.io,resources=podprobemarkers,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods;nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods/status,verbs=patch

const virtualLabel, virtual = "type", "virtual-kubelet"

// Register starts the two controllers: of nodes, which makes the objects, and of the objects.
func Register(mgr ctrl.Manager, retry manager.Retry) error {
	local := mgr.GetClient()
	err := ctrl.NewControllerManagedBy(mgr).Named("nodepodprobe-nodes").
		For(&corev1.Node{}, builder.WithPredicates(turnsReady())).
		Watches(&kruise.NodePodProbe{}, handler.EnqueueRequestsFromMapFunc(byName), builder.WithPredicates(leaves(never))).
		Complete(&loop.Loop[*corev1.Node, bool, birth]{Steps: &nodes{local}, Client: local, New: func() *corev1.Node { return &corev1.Node{} }})
	if err != nil {
		return fmt.Errorf("register nodepodprobe controller of nodes: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).Named("nodepodprobe").WithOptions(retry.Controller()).
		For(&kruise.NodePodProbe{}).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(byName), builder.WithPredicates(leaves(nodeGoes))).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(byNode), builder.WithPredicates(leaves(podEnds))).
		Watches(&kruise.PodProbeMarker{}, handler.EnqueueRequestsFromMapFunc(allOf(local)), builder.WithPredicates(predicate.GenerationChangedPredicate{}, notDeleted())).
		Complete(&loop.Loop[*kruise.NodePodProbe, seen, plan]{
			Steps: &steps{local: local, fresh: mgr.GetAPIReader()}, Client: local, New: func() *kruise.NodePodProbe { return &kruise.NodePodProbe{} },
		})
	if err != nil {
		return fmt.Errorf("register nodepodprobe controller: %w", err)
	}
	return nil
}

// turnsReady keeps the heartbeats of nodes away. // PM-13
func turnsReady() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			old, was := e.ObjectOld.(*corev1.Node)
			node, is := e.ObjectNew.(*corev1.Node)
			return was && is && served(node) && !served(old)
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// leaves is what goes, or has come to its end. // PM-13
func leaves(ended func(client.Object) bool) predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(e event.UpdateEvent) bool { return ended(e.ObjectNew) && !ended(e.ObjectOld) },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

func never(client.Object) bool { return false }

func nodeGoes(o client.Object) bool { return o.GetDeletionTimestamp() != nil }

func podEnds(o client.Object) bool {
	pod, ok := o.(*corev1.Pod)
	return ok && !active(pod)
}

func notDeleted() predicate.Predicate {
	return predicate.Funcs{DeleteFunc: func(event.DeleteEvent) bool { return false }}
}

func byName(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetName()}}}
}

func byNode(_ context.Context, o client.Object) []reconcile.Request {
	pod, ok := o.(*corev1.Pod)
	if !ok || pod.Spec.NodeName == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: pod.Spec.NodeName}}}
}

// allOf finds the nodes whose daemons probe for a marker, which may say something else of the same results now. // PM-13
func allOf(local client.Reader) handler.MapFunc {
	return func(ctx context.Context, marker client.Object) (all []reconcile.Request) {
		var probes kruise.NodePodProbeList
		if err := local.List(ctx, &probes, client.UnsafeDisableDeepCopy); err != nil {
			return nil // only a cache that stops gives one
		}
		for i := range probes.Items {
			if found(&probes.Items[i], marker) {
				all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Name: probes.Items[i].Name}})
			}
		}
		return all
	}
}

func active(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}
