package lifecycle

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func pod(state State, labels map[string]string, finalizers ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}, Finalizers: finalizers}}
	for k, v := range labels {
		p.Labels[k] = v
	}
	if state != None {
		p.Labels[pub.LifecycleStateKey] = string(state)
	}
	return p
}

func TestHooked(t *testing.T) { // WL-4.9
	hook := &pub.LifecycleHook{LabelsHandler: map[string]string{"drain": "yes"}, FinalizersHandler: []string{"shop/drain"}}
	for name, tc := range map[string]struct {
		hook     *pub.LifecycleHook
		pod      *corev1.Pod
		any, all bool
	}{
		"no hook":            {nil, pod(Normal, map[string]string{"drain": "yes"}), false, false},
		"an empty hook":      {&pub.LifecycleHook{}, pod(Normal, nil), false, true},
		"nothing of it":      {hook, pod(Normal, map[string]string{"drain": "no"}), false, false},
		"the label":          {hook, pod(Normal, map[string]string{"drain": "yes"}), true, false},
		"the finalizer":      {hook, pod(Normal, nil, "shop/drain"), true, false},
		"everything of it":   {hook, pod(Normal, map[string]string{"drain": "yes"}, "other", "shop/drain"), true, true},
		"an empty value set": {&pub.LifecycleHook{LabelsHandler: map[string]string{"drain": ""}}, pod(Normal, nil), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Hooked(tc.hook, tc.pod); got != tc.any {
				t.Errorf("hooked: %v", got)
			}
			if got := AllHooked(tc.hook, tc.pod); got != tc.all {
				t.Errorf("all hooked: %v", got)
			}
		})
	}
}

func TestMoveSetsStateAndTime(t *testing.T) { // WL-4.9
	p := &corev1.Pod{}
	Move(p, Normal, nil, noon)
	want := metav1.ObjectMeta{
		Labels:      map[string]string{pub.LifecycleStateKey: "Normal"},
		Annotations: map[string]string{pub.LifecycleTimestampKey: "2026-01-02T12:00:00Z"},
	}
	if d := cmp.Diff(want, p.ObjectMeta); d != "" {
		t.Error(d)
	}
	Move(p, Normal, nil, noon.Add(time.Hour))
	if d := cmp.Diff(want, p.ObjectMeta); d != "" {
		t.Errorf("a pod that is there already got another time: %s", d)
	}
}

func TestRearmPutsTheHookBack(t *testing.T) { // WL-4.9
	hooks := &pub.Lifecycle{InPlaceUpdate: &pub.LifecycleHook{LabelsHandler: map[string]string{"drain": "yes"}, FinalizersHandler: []string{"shop/drain"}}}
	p := pod(Updated, nil, "shop/other")
	Rearm(p, hooks, noon)
	if Of(p) != PreparingUpdate || !AllHooked(hooks.InPlaceUpdate, p) {
		t.Errorf("labels %v, finalizers %v", p.Labels, p.Finalizers)
	}
	Rearm(p, hooks, noon)
	if len(p.Finalizers) != 2 {
		t.Errorf("finalizers %v", p.Finalizers)
	}
}

func gated(conditions ...corev1.PodCondition) *corev1.Pod {
	p := pod(Normal, nil)
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: pub.KruisePodReadyConditionType}}
	p.Status.Conditions = conditions
	return p
}

func is(t corev1.PodConditionType, status corev1.ConditionStatus) corev1.PodCondition {
	return corev1.PodCondition{Type: t, Status: status, LastTransitionTime: metav1.NewTime(noon.Add(-time.Hour))}
}

func TestHooksMarkPodsNotReady(t *testing.T) { // WL-4.8, WL-4.9
	hooks := &pub.Lifecycle{
		PreDelete:     &pub.LifecycleHook{MarkPodNotReady: true},
		InPlaceUpdate: &pub.LifecycleHook{MarkPodNotReady: true},
	}
	p := gated(is(corev1.ContainersReady, "True"), is(corev1.PodReady, "True"), is(pub.KruisePodReadyConditionType, "True"))

	Move(p, PreparingUpdate, hooks, noon)
	c := Condition(p, pub.KruisePodReadyConditionType)
	if c.Status != "False" || c.Message != `[{"userAgent":"Lifecycle","key":"preUpdateHook"}]` || !c.LastTransitionTime.Time.Equal(noon) {
		t.Errorf("preparing an update: %+v", c)
	}
	want := corev1.PodCondition{
		Type: corev1.PodReady, Status: "False", Reason: "ReadinessGatesNotReady",
		Message: `the status of pod readiness gate "KruisePodReady" is not "True", but False`,
	}
	if d := cmp.Diff(want, *Condition(p, corev1.PodReady)); d != "" {
		t.Error(d)
	}

	Move(p, PreparingDelete, hooks, noon)
	if c := Condition(p, pub.KruisePodReadyConditionType); c.Message != `[{"userAgent":"Lifecycle","key":"preDeleteHook"},{"userAgent":"Lifecycle","key":"preUpdateHook"}]` {
		t.Errorf("preparing a deletion: %s", c.Message)
	}
	Move(p, Normal, hooks, noon)
	RemoveMessage(p, Message{agent, preDeleteHook}, noon)
	if c := Condition(p, pub.KruisePodReadyConditionType); c.Status != "True" || c.Message != "" {
		t.Errorf("with the last message gone: %+v", c)
	}
	if Condition(p, corev1.PodReady).Status != "False" {
		t.Error("the pod was made Ready, which is the kubelet's to say")
	}
}

func TestMessagesNeedTheGate(t *testing.T) { // WL-4.8
	p := pod(Normal, nil)
	AddMessage(p, Message{agent, preDeleteHook}, noon)
	if len(p.Status.Conditions) != 0 {
		t.Errorf("conditions %+v", p.Status.Conditions)
	}
	p = gated()
	AddMessage(p, Message{agent, preDeleteHook}, noon)
	if c := Condition(p, pub.KruisePodReadyConditionType); c == nil || c.Status != "False" {
		t.Errorf("a missing condition comes to be %+v", c)
	}
}

func TestRecomputeReady(t *testing.T) { // WL-4.2
	for name, tc := range map[string]struct {
		pod  *corev1.Pod
		want string // message of a Ready that turned False; empty: left alone
	}{
		"a gate without a condition": {
			gated(is(corev1.ContainersReady, "True"), is(corev1.PodReady, "True")),
			`corresponding condition of pod readiness gate "KruisePodReady" does not exist.`,
		},
		"containers that are not ready": {gated(is(corev1.ContainersReady, "False"), is(corev1.PodReady, "True")), ""},
		"no Ready condition yet":        {gated(is(corev1.ContainersReady, "True")), ""},
		"every gate is True": {
			gated(is(corev1.ContainersReady, "True"), is(corev1.PodReady, "True"), is(pub.KruisePodReadyConditionType, "True")), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := tc.pod.DeepCopy()
			RecomputeReady(tc.pod)
			c := Condition(tc.pod, corev1.PodReady)
			if tc.want == "" {
				if d := cmp.Diff(before, tc.pod); d != "" {
					t.Error(d)
				}
				return
			}
			if c.Status != "False" || c.Message != tc.want || !c.LastTransitionTime.IsZero() {
				t.Errorf("got %+v", c)
			}
		})
	}
}

func TestAGateNobodySpokeOfIsOpened(t *testing.T) { // WL-4.8
	pod := &corev1.Pod{}
	OpenSilent(pod, time.Now())
	if len(pod.Status.Conditions) != 0 {
		t.Errorf("a pod without the gate got %+v", pod.Status.Conditions)
	}
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: pub.KruisePodReadyConditionType}}
	OpenSilent(pod, time.Now())
	if c := Condition(pod, pub.KruisePodReadyConditionType); c == nil || c.Status != corev1.ConditionTrue || c.Message != "" {
		t.Errorf("%+v", c)
	}
	AddMessage(pod, Message{"a", "b"}, time.Now())
	OpenSilent(pod, time.Now())
	if c := Condition(pod, pub.KruisePodReadyConditionType); c.Status != corev1.ConditionFalse {
		t.Errorf("a gate that somebody closed was opened: %+v", c)
	}
}

// WL-4.9, WL-4.12.9: the hook's message goes with Updated and with no state before.
func TestWhenTheUpdateHookLetsThePodBeReady(t *testing.T) {
	hooks := &pub.Lifecycle{InPlaceUpdate: &pub.LifecycleHook{MarkPodNotReady: true}}
	for to, want := range map[State]corev1.ConditionStatus{Updating: "False", PreparingNormal: "False", Updated: "True", Normal: "True"} {
		p := gated(is(corev1.ContainersReady, "True"), is(pub.KruisePodReadyConditionType, "True"))
		Move(p, PreparingUpdate, hooks, noon)
		Move(p, to, hooks, noon)
		if got := Condition(p, pub.KruisePodReadyConditionType).Status; got != want {
			t.Errorf("%s: %s", to, got)
		}
	}
}

// WL-4.8: a message that is there, in a condition that somebody set to True.
func TestAMessageThatIsThereCloses(t *testing.T) {
	p := gated(is(corev1.ContainersReady, "True"))
	AddMessage(p, Message{agent, preDeleteHook}, noon)
	Condition(p, pub.KruisePodReadyConditionType).Status = corev1.ConditionTrue
	AddMessage(p, Message{agent, preDeleteHook}, noon)
	if c := Condition(p, pub.KruisePodReadyConditionType); c.Status != "False" || c.Message != `[{"userAgent":"Lifecycle","key":"preDeleteHook"}]` {
		t.Errorf("%+v", c)
	}
	c := *Condition(p, pub.KruisePodReadyConditionType)
	AddMessage(p, Message{agent, preDeleteHook}, noon.Add(time.Hour))
	if d := cmp.Diff(c, *Condition(p, pub.KruisePodReadyConditionType)); d != "" {
		t.Error(d)
	}
}
