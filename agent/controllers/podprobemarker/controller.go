// Package podprobemarker hands the probes of PodProbeMarkers to the daemons of the nodes on which the matching pods are.
//
// It owns the finalizer and the status of a marker, and of every NodePodProbe the probes that are named after one:
// <marker>#<probe>. It reads pods and nodes. It promises to touch no probes of other markers, and that none of its own are left
// when a marker goes.
package podprobemarker

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/pkg/loop"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=podprobemarkers,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=podprobemarkers/status,verbs=patch
// +kubebuilder:rbac:groups=apps.kruise.io,resources=nodepodprobes,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=pods;nodes,verbs=get;list;watch

const (
	finalizer = "kruise.io/node-pod-probe-cleanup" // PM-5
	// virtualLabel is on nodes that no daemon runs on.
	virtualLabel, virtual = "type", "virtual-kubelet"
)

// Register starts the controller.
func Register(mgr ctrl.Manager, retry manager.Retry) error {
	local := mgr.GetClient()
	err := ctrl.NewControllerManagedBy(mgr).Named("podprobemarker").WithOptions(retry.Controller()).
		For(&kruise.PodProbeMarker{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(markersOf(local)), builder.WithPredicates(news())).
		Watches(&kruise.NodePodProbe{}, handler.EnqueueRequestsFromMapFunc(allMarkers(local)), builder.WithPredicates(created())).
		Complete(&loop.Loop[*kruise.PodProbeMarker, seen, plan]{
			Steps: &steps{local: local, fresh: mgr.GetAPIReader()}, Client: local, New: func() *kruise.PodProbeMarker { return &kruise.PodProbeMarker{} },
		})
	if err != nil {
		return fmt.Errorf("register podprobemarker controller: %w", err)
	}
	return nil
}

// news is what of a pod is of use to a marker: it can be probed now, or elsewhere. // PM-13
func news() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			old, was := e.ObjectOld.(*corev1.Pod)
			pod, is := e.ObjectNew.(*corev1.Pod)
			return was && is && probeable(pod) && (!probeable(old) || old.Status.PodIP != pod.Status.PodIP)
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// created is a node whose daemon can be told something from now on.
func created() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// markersOf finds the markers that select a pod.
func markersOf(local client.Reader) handler.MapFunc {
	return func(ctx context.Context, pod client.Object) []reconcile.Request {
		return requests(ctx, local, func(m *kruise.PodProbeMarker) bool {
			selector, err := metav1.LabelSelectorAsSelector(m.Spec.Selector)
			return err == nil && selector.Matches(labels.Set(pod.GetLabels()))
		}, client.InNamespace(pod.GetNamespace()))
	}
}

func allMarkers(local client.Reader) handler.MapFunc {
	return func(ctx context.Context, _ client.Object) []reconcile.Request {
		return requests(ctx, local, func(*kruise.PodProbeMarker) bool { return true })
	}
}

func requests(ctx context.Context, local client.Reader, want func(*kruise.PodProbeMarker) bool, where ...client.ListOption) (all []reconcile.Request) {
	var markers kruise.PodProbeMarkerList
	if err := local.List(ctx, &markers, append(where, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // only a cache that stops gives one
	}
	for i := range markers.Items {
		if m := &markers.Items[i]; want(m) {
			all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: m.Namespace, Name: m.Name}})
		}
	}
	return all
}

// probeable pods are active, initialised and on a node. // PM-4
func probeable(pod *corev1.Pod) bool {
	ready := lifecycle.Condition(pod, corev1.PodInitialized)
	return active(pod) && ready != nil && ready.Status == corev1.ConditionTrue && pod.Spec.NodeName != ""
}

func active(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// steps is the controller's part of the loop.
type steps struct {
	local client.Client
	// fresh is read after somebody else has written first.
	fresh client.Reader
}

var _ loop.Steps[*kruise.PodProbeMarker, seen, plan] = &steps{}

// Finalizer implements loop.Finalizing. // PM-5
func (*steps) Finalizer() string { return finalizer }

// seen is what was observed. All of it is shared with the cache: read only.
type seen struct {
	// pods are those of the marker's namespace, whatever their labels.
	pods []corev1.Pod
	// nodes are those of matching pods, true for virtual ones.
	nodes map[string]bool
	// probes are those of all nodes.
	probes []kruise.NodePodProbe
}

// Observe reads.
func (s *steps) Observe(ctx context.Context, m *kruise.PodProbeMarker) (out seen, err error) {
	var probes kruise.NodePodProbeList
	if err := s.local.List(ctx, &probes, client.UnsafeDisableDeepCopy); err != nil {
		return out, fmt.Errorf("list NodePodProbes: %w", err)
	}
	out.probes = probes.Items
	if m.DeletionTimestamp != nil {
		return out, nil
	}
	var pods corev1.PodList
	if err := s.local.List(ctx, &pods, client.InNamespace(m.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return out, fmt.Errorf("list pods: %w", err)
	}
	out.pods = pods.Items
	out.nodes, err = s.nodesOf(ctx, m, out.pods)
	return out, err
}

func (s *steps) nodesOf(ctx context.Context, m *kruise.PodProbeMarker, pods []corev1.Pod) (map[string]bool, error) {
	all, asked := map[string]bool{}, map[string]bool{}
	for i := range pods {
		name := pods[i].Spec.NodeName
		if asked[name] || !matches(m, &pods[i]) || !probeable(&pods[i]) {
			continue
		}
		asked[name] = true
		node := &corev1.Node{}
		if err := s.local.Get(ctx, client.ObjectKey{Name: name}, node); err == nil {
			all[name] = node.Labels[virtualLabel] == virtual
		} else if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("get node %s: %w", name, err)
		}
	}
	return all, nil
}

func matches(m *kruise.PodProbeMarker, pod *corev1.Pod) bool {
	selector, err := metav1.LabelSelectorAsSelector(m.Spec.Selector)
	return err == nil && selector.Matches(labels.Set(pod.Labels))
}
