package lifecycle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The messages of WL-4.8 that hooks put into condition KruisePodReady.
const (
	agent         = "Lifecycle"
	preDeleteHook = "preDeleteHook"
	preUpdateHook = "preUpdateHook"
)

// reasonGates is what the kubelet says of a pod whose containers are ready and whose gates are not.
const reasonGates = "ReadinessGatesNotReady"

// Message is one reason why a pod was marked not ready by somebody beside its kubelet. // WL-4.8
type Message struct {
	UserAgent string `json:"userAgent"`
	Key       string `json:"key"`
}

// mark puts the hooks' messages into KruisePodReady as the state asks. // WL-4.9
func mark(pod *corev1.Pod, to State, hooks *pub.Lifecycle, now time.Time) {
	var preDelete, inPlace *pub.LifecycleHook
	if hooks != nil {
		preDelete, inPlace = hooks.PreDelete, hooks.InPlaceUpdate
	}
	switch {
	case to == PreparingDelete && marks(preDelete):
		AddMessage(pod, Message{agent, preDeleteHook}, now)
	case to == PreparingUpdate && marks(inPlace):
		AddMessage(pod, Message{agent, preUpdateHook}, now)
	case to == Updated || to == Normal:
		// Also on Normal: a pod that is completely hooked again when its update is done skips Updated, and would stay
		// unready for ever.
		RemoveMessage(pod, Message{agent, preUpdateHook}, now)
	}
}

func marks(hook *pub.LifecycleHook) bool { return hook != nil && hook.MarkPodNotReady }

// AddMessage marks the pod not ready for the reason given. Without the readiness gate it does nothing. // WL-4.8
func AddMessage(pod *corev1.Pod, m Message, now time.Time) {
	if !HasGate(pod, pub.KruisePodReadyConditionType) {
		return
	}
	c := Condition(pod, pub.KruisePodReadyConditionType)
	held := messages(c)
	if slices.Contains(held, m) && c.Status != corev1.ConditionTrue {
		return
	}
	if !slices.Contains(held, m) {
		held = append(held, m)
	}
	setMessages(pod, held, now)
}

// RemoveMessage takes one reason back; with the last one the pod is ready as far as this condition goes. // WL-4.8
func RemoveMessage(pod *corev1.Pod, m Message, now time.Time) {
	c := Condition(pod, pub.KruisePodReadyConditionType)
	held := messages(c)
	if !HasGate(pod, pub.KruisePodReadyConditionType) || !slices.Contains(held, m) {
		return
	}
	setMessages(pod, slices.DeleteFunc(held, func(x Message) bool { return x == m }), now)
}

// OpenSilent makes a pod ready as far as this condition goes if nobody has said anything about it yet. // WL-4.8
func OpenSilent(pod *corev1.Pod, now time.Time) {
	if HasGate(pod, pub.KruisePodReadyConditionType) && Condition(pod, pub.KruisePodReadyConditionType) == nil {
		setMessages(pod, nil, now)
	}
}

func messages(c *corev1.PodCondition) []Message {
	var held []Message
	if c == nil || json.Unmarshal([]byte(c.Message), &held) != nil {
		return nil
	}
	return held
}

func setMessages(pod *corev1.Pod, held []Message, now time.Time) {
	slices.SortFunc(held, func(a, b Message) int {
		return cmp.Or(cmp.Compare(a.UserAgent, b.UserAgent), cmp.Compare(a.Key, b.Key))
	})
	want := corev1.PodCondition{Type: pub.KruisePodReadyConditionType, Status: corev1.ConditionTrue}
	if len(held) > 0 {
		text, err := json.Marshal(held)
		if err != nil {
			return // two strings always marshal
		}
		want.Status, want.Message = corev1.ConditionFalse, string(text)
	}
	c := Condition(pod, want.Type)
	if c == nil {
		want.LastTransitionTime = metav1.NewTime(now)
		pod.Status.Conditions = append(pod.Status.Conditions, want)
	} else {
		if c.Status != want.Status {
			c.LastTransitionTime = metav1.NewTime(now)
		}
		c.Status, c.Reason, c.Message = want.Status, want.Reason, want.Message
	}
	if want.Status == corev1.ConditionFalse {
		RecomputeReady(pod)
	}
}

// RecomputeReady makes a pod not Ready at once when one of its gates is not True, in the words of the kubelet, which would
// say the same a little later. It never makes a pod Ready. // WL-4.2
func RecomputeReady(pod *corev1.Pod) {
	ready, containers := Condition(pod, corev1.PodReady), Condition(pod, corev1.ContainersReady)
	if ready == nil || ready.Status == corev1.ConditionFalse || containers == nil || containers.Status != corev1.ConditionTrue {
		return
	}
	var unmet []string
	for _, gate := range pod.Spec.ReadinessGates {
		switch c := Condition(pod, gate.ConditionType); {
		case c == nil:
			unmet = append(unmet, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case c.Status != corev1.ConditionTrue:
			unmet = append(unmet, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, c.Status))
		}
	}
	if len(unmet) == 0 {
		return
	}
	*ready = corev1.PodCondition{
		Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: reasonGates, Message: strings.Join(unmet, ", "),
		ObservedGeneration: ready.ObservedGeneration,
	}
}

// Condition is the pod's condition of the type, in place, or nil.
func Condition(pod *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == t {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// HasGate says that the pod's readiness waits for the condition.
func HasGate(pod *corev1.Pod, t corev1.PodConditionType) bool {
	return slices.ContainsFunc(pod.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool { return g.ConditionType == t })
}
