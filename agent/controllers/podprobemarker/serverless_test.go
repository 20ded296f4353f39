package podprobemarker

import (
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

func given(p *corev1.Pod) {
	p.Annotations = map[string]string{"kruise.io/podprobemarker-list": "game,gone"}
	p.Labels["idle"] = "old"
}

func condition(status corev1.ConditionStatus) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: "game.io/idle", Status: status})
	}
}

func TestMarksOfPodsOnVirtualNodes(t *testing.T) { // PM-15
	marking := marker(func(m *kruise.PodProbeMarker) {
		m.Spec.Probes[0].PodConditionType = "game.io/idle"
		m.Spec.Probes[0].MarkerPolicy = []kruise.ProbeMarkerPolicy{
			{State: kruise.ProbeSucceeded, Labels: map[string]string{"idle": "yes"}}, {State: kruise.ProbeFailed, Annotations: map[string]string{"busy": "yes"}},
		}
	})
	for name, tc := range map[string]struct {
		pod        *corev1.Pod
		idle, busy string
	}{
		"success":            {pod("a", given, on("cloud"), condition("True")), "yes", ""},
		"failure":            {pod("a", given, on("cloud"), condition("False")), "old", "yes"},
		"unknown":            {pod("a", given, on("cloud"), condition("Unknown")), "old", ""},
		"no condition yet":   {pod("a", given, on("cloud")), "old", ""},
		"a node of ours":     {pod("a", given, condition("True")), "old", ""},
		"a pod without them": {pod("a", on("cloud"), condition("True")), "", ""},
		"one that has ended": {pod("a", given, on("cloud"), condition("True"), ended), "old", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.pod, marking, node("node-1"), node("cloud", "virtual-kubelet"))
			l := &loop.Loop[*corev1.Pod, facts, marks]{Steps: &serverless{w}, Client: w, New: func() *corev1.Pod { return &corev1.Pod{} }}
			for range 2 {
				if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "a"}}); err != nil {
					t.Fatal(err)
				}
			}
			var got corev1.Pod
			if err := w.Get(t.Context(), client.ObjectKeyFromObject(tc.pod), &got); err != nil {
				t.Fatal(err)
			}
			if got.Labels["idle"] != tc.idle || got.Annotations["busy"] != tc.busy || w.writes > 1 {
				t.Errorf("%v %v, %d writes", got.Labels, got.Annotations, w.writes)
			}
		})
	}
}

func TestOnlyConditionsOfProbedPodsAreNews(t *testing.T) { // PM-15
	if e := (event.UpdateEvent{ObjectOld: pod("a", given), ObjectNew: pod("a", given, condition("True"))}); !told().Update(e) {
		t.Error("a condition is news")
	}
	if told().Update(event.UpdateEvent{ObjectOld: pod("a", given), ObjectNew: pod("a", given, ended)}) || told().Update(event.UpdateEvent{ObjectOld: pod("a"), ObjectNew: pod("a", condition("True"))}) {
		t.Error("nothing else is")
	}
}
