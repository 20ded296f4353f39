// Package containerlaunchpriority opens, one after the other, the barriers behind which the containers of a pod wait for others
// that start first. The webhook of pods puts the barriers there (agent/webhooks/pod): a kubelet cannot start a container whose
// environment names a key that its ConfigMap has not.
//
// It owns the ConfigMaps <pod>-barrier and the annotation that says that all of a pod's barriers are open. It reads pods. It
// promises to open a barrier only once all containers before it are ready, never to close one, and to take no ConfigMap that
// belongs to somebody else.
package containerlaunchpriority

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;create;patch

// workers is how many pods are looked at at a time. // NP-11.1
const workers = 4

// Register starts the controller.
func Register(mgr manager.Manager) error {
	local := mgr.GetClient()
	// ConfigMaps are read and written where they are: there are few barriers, and very many ConfigMaps to watch.
	plain, err := client.New(mgr.GetConfig(), client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return fmt.Errorf("make client of the containerlaunchpriority controller: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).Named("containerlaunchpriority").
		For(&corev1.Pod{}, builder.WithPredicates(predicate.NewPredicateFuncs(waits))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(&loop.Loop[*corev1.Pod, *corev1.ConfigMap, plan]{
			Steps: &steps{local: local, plain: plain}, Client: local, New: func() *corev1.Pod { return &corev1.Pod{} },
		})
	if err != nil {
		return fmt.Errorf("register containerlaunchpriority controller: %w", err)
	}
	return nil
}

// waits is a pod that may have a barrier to open. // CL-4, NP-16 (PF-8)
func waits(o client.Object) bool {
	pod, ok := o.(*corev1.Pod)
	if !ok || pod.DeletionTimestamp != nil || pod.Annotations[pub.ContainerLaunchPriorityCompletedKey] == "true" {
		return false
	}
	if ready := lifecycle.Condition(pod, corev1.ContainersReady); ready != nil && ready.Status == corev1.ConditionTrue {
		return false
	}
	for i := range pod.Spec.Containers {
		if _, barred := barrier(&pod.Spec.Containers[i]); barred {
			return true
		}
	}
	return false
}

// barrier is the priority that a container waits for. // CL-2
func barrier(c *corev1.Container) (priority int, found bool) {
	for _, e := range c.Env {
		if e.Name != pub.ContainerLaunchBarrierEnvName || e.ValueFrom == nil || e.ValueFrom.ConfigMapKeyRef == nil {
			continue
		}
		text, named := strings.CutPrefix(e.ValueFrom.ConfigMapKeyRef.Key, keyPrefix)
		n, err := strconv.Atoi(text)
		return n, named && err == nil
	}
	return 0, false
}

const (
	keyPrefix = "p_"
	opened    = "true"
)

// key opens the barrier of a priority.
func key(priority int) string { return keyPrefix + strconv.Itoa(priority) }

// mapOf is the name of a pod's ConfigMap.
func mapOf(pod *corev1.Pod) string { return pod.Name + "-barrier" }

// plan is what to open, and whether that is all.
type plan struct {
	open string
	// make says that there is no ConfigMap yet, reset that it was that of an earlier pod of this name.
	make, reset bool
	complete    bool
}

// Recheck is never: readiness is watched.
func (plan) Recheck() time.Duration { return 0 }

type steps struct {
	local client.Client
	// plain is for ConfigMaps.
	plain client.Client
}

var _ loop.Steps[*corev1.Pod, *corev1.ConfigMap, plan] = &steps{}

// Observe reads the ConfigMap; nil if there is none.
func (s *steps) Observe(ctx context.Context, pod *corev1.Pod) (*corev1.ConfigMap, error) {
	if !waits(pod) {
		return nil, nil // nothing is to be opened
	}
	cm := &corev1.ConfigMap{}
	err := s.plain.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: mapOf(pod)}, cm)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get ConfigMap %s: %w", mapOf(pod), err)
	}
	return cm, nil
}

// Decide opens the highest barrier before which something waits. // CL-4, CL-5
func (*steps) Decide(pod *corev1.Pod, cm *corev1.ConfigMap, _ time.Time) (p plan) {
	if !waits(pod) {
		return p
	}
	highest, lowest, some := outstanding(pod)
	if !some {
		return plan{complete: true}
	}
	p.make, p.reset = cm == nil, cm != nil && ofAnother(cm, pod)
	has := func(priority int) bool { return cm != nil && !p.reset && cm.Data[key(priority)] != "" }
	if !has(highest) {
		p.open = key(highest)
	}
	p.complete = highest == lowest || has(lowest)
	return p
}

// outstanding are the priorities of the containers that are not ready.
func outstanding(pod *corev1.Pod) (highest, lowest int, some bool) {
	ready := map[string]bool{}
	for _, s := range pod.Status.ContainerStatuses {
		ready[s.Name] = s.Ready
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		priority, barred := barrier(c)
		if !barred || ready[c.Name] {
			continue
		}
		if !some {
			highest, lowest, some = priority, priority, true
		}
		highest, lowest = max(highest, priority), min(lowest, priority)
	}
	return highest, lowest, some
}

// ofAnother says that a pod of this name had the ConfigMap before, whose barriers are open.
func ofAnother(cm *corev1.ConfigMap, pod *corev1.Pod) bool {
	for _, o := range cm.OwnerReferences {
		if o.Kind == "Pod" && o.Name == pod.Name && o.UID != pod.UID {
			return true
		}
	}
	return false
}

// Act opens, then says that all is open.
func (s *steps) Act(ctx context.Context, pod *corev1.Pod, p plan) error {
	if p.open != "" {
		if err := s.open(ctx, pod, p); err != nil {
			return fmt.Errorf("open barrier %s of pod %s: %w", p.open, pod.Name, err)
		}
	}
	if !p.complete {
		return nil
	}
	patch := map[string]any{"metadata": map[string]any{"uid": pod.UID, "annotations": map[string]string{pub.ContainerLaunchPriorityCompletedKey: "true"}}}
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if err := s.local.Patch(ctx, pod.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, raw)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("note that the barriers of pod %s are open: %w", pod.Name, err)
	}
	return nil
}

func (s *steps) open(ctx context.Context, pod *corev1.Pod, p plan) error {
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: mapOf(pod), OwnerReferences: []metav1.OwnerReference{ownedBy(pod)}},
		Data:       map[string]string{p.open: opened},
	}
	if p.make {
		return s.plain.Create(ctx, cm)
	}
	patch := map[string]any{"data": cm.Data}
	if p.reset { // the whole list of owners and all of the data are replaced
		patch["metadata"] = map[string]any{"ownerReferences": []any{map[string]any{"$patch": "replace"}, cm.OwnerReferences[0]}}
		patch["data"] = map[string]any{"$patch": "replace", p.open: opened}
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return s.plain.Patch(ctx, cm, client.RawPatch(types.StrategicMergePatchType, raw))
}

// ownedBy is a plain owner: the ConfigMap goes with the pod. // CL-4
func ownedBy(pod *corev1.Pod) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
}

// Report has nothing to say: the answer is an annotation.
func (*steps) Report(*corev1.Pod, *corev1.ConfigMap, plan, error) {}
