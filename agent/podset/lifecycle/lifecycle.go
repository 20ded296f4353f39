// Package lifecycle is the state machine that a pod of a set goes through: when it counts as normal, and what has to be
// asked before it is updated or deleted.
//
// It owns the pod label and annotation of the lifecycle and the messages in condition KruisePodReady. It reads and writes
// nothing by itself: a pod goes in, a fact or a changed pod comes out. Which move is due is the engine's decision
// (podset.Decide); here is what a hook holds, and what each move changes on the pod. It promises that label, time and
// readiness change together.
//
//	create ─▶ PreparingNormal ─(preNormal complete)─▶ Normal ─(inPlaceUpdate holds)─▶ PreparingUpdate ─(let go)─▶ Updating
//	             ▲                                      │ ▲                                                          │
//	             └──(deletion taken back)── PreparingDelete └──(inPlaceUpdate complete again)── Updated ◀──(done)────┘
package lifecycle

import (
	"maps"
	"slices"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// State is where a pod stands. The empty state is a pod that was made before lifecycles; it is never moved by itself.
type State = pub.LifecycleStateType

// The states of WL-4.9.
const (
	None            State = ""
	PreparingNormal       = pub.LifecycleStatePreparingNormal
	Normal                = pub.LifecycleStateNormal
	PreparingUpdate       = pub.LifecycleStatePreparingUpdate
	Updating              = pub.LifecycleStateUpdating
	Updated               = pub.LifecycleStateUpdated
	PreparingDelete       = pub.LifecycleStatePreparingDelete
)

// Of is the state that the pod's label tells.
func Of(pod metav1.Object) State {
	return State(pod.GetLabels()[pub.LifecycleStateKey])
}

// Hooked says that the hook holds the pod: any of its finalizers or label pairs is on it. // WL-4.9
func Hooked(hook *pub.LifecycleHook, pod metav1.Object) bool {
	if hook == nil {
		return false
	}
	for _, f := range hook.FinalizersHandler {
		if slices.Contains(pod.GetFinalizers(), f) {
			return true
		}
	}
	for k, v := range hook.LabelsHandler {
		if has(pod, k, v) {
			return true
		}
	}
	return false
}

// AllHooked says that the pod carries everything of the hook, which an empty hook finds on every pod and a missing one on
// none. // WL-4.9
func AllHooked(hook *pub.LifecycleHook, pod metav1.Object) bool {
	if hook == nil {
		return false
	}
	for _, f := range hook.FinalizersHandler {
		if !slices.Contains(pod.GetFinalizers(), f) {
			return false
		}
	}
	for k, v := range hook.LabelsHandler {
		if !has(pod, k, v) {
			return false
		}
	}
	return true
}

func has(pod metav1.Object, key, value string) bool {
	got, ok := pod.GetLabels()[key]
	return ok && got == value
}

// Move puts the pod into the state, with the time it got there and with what the hooks say of its readiness. A pod that is
// there already keeps its time, but its readiness is put right all the same. // WL-4.9
func Move(pod *corev1.Pod, to State, hooks *pub.Lifecycle, now time.Time) {
	mark(pod, to, hooks, now)
	if Of(pod) == to {
		return
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[pub.LifecycleStateKey] = string(to)
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[pub.LifecycleTimestampKey] = now.Format(time.RFC3339)
}

// Rearm puts the pod into PreparingUpdate with the whole inPlaceUpdate hook on it again, so that its user is asked once more
// before it is updated. // WL-4.9
func Rearm(pod *corev1.Pod, hooks *pub.Lifecycle, now time.Time) {
	Move(pod, PreparingUpdate, hooks, now)
	if hooks == nil || hooks.InPlaceUpdate == nil {
		return
	}
	hook := hooks.InPlaceUpdate
	maps.Copy(pod.Labels, hook.LabelsHandler)
	for _, f := range hook.FinalizersHandler {
		if !slices.Contains(pod.Finalizers, f) {
			pod.Finalizers = append(pod.Finalizers, f)
		}
	}
}
