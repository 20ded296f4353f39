package cloneset

import (
	"testing"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// WL-1.16
func TestChangesOfPodsThatAreNews(t *testing.T) {
	type mod = func(*corev1.Pod)
	status := func(p *corev1.Pod, kind corev1.PodConditionType, value corev1.ConditionStatus) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: value})
	}
	gated := func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: pub.InPlaceUpdateReady}}
	}
	updating := func(p *corev1.Pod) {
		gated(p)
		p.Labels[pub.LifecycleStateKey] = "Updating"
		p.Annotations = map[string]string{pub.InPlaceUpdateStateKey: `{"lastContainerStatuses":{"main":{"imageID":"old"}}}`}
		p.Spec.Containers = []corev1.Container{{Name: "main", Image: "web:2"}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", Image: "web:1", ImageID: "old"}}
	}
	for name, tc := range map[string]struct {
		both, after mod
		resources   bool
		want        bool
	}{
		"nothing":                 {after: func(*corev1.Pod) {}},
		"an annotation":           {after: func(p *corev1.Pod) { p.Annotations = map[string]string{"seen": "now"} }},
		"its address":             {after: func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.1" }},
		"a label":                 {after: func(p *corev1.Pod) { p.Labels["app"] = "shop" }, want: true},
		"its owner":               {after: func(p *corev1.Pod) { p.OwnerReferences = nil }, want: true},
		"its spec":                {after: func(p *corev1.Pod) { p.Generation++ }, want: true},
		"the finalizer of a hook": {after: func(p *corev1.Pod) { p.Finalizers = []string{"example.com/drain"} }, want: true},
		"that it is ready":        {after: func(p *corev1.Pod) { status(p, corev1.PodReady, "True") }, want: true},
		"that it has ended":       {after: func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, want: true},
		"why it cannot be ready": {after: func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}}}
		}, want: true},
		"a gate that may be open":  {both: gated, after: func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.1" }, want: true},
		"a gate that is open":      {both: func(p *corev1.Pod) { gated(p); status(p, pub.InPlaceUpdateReady, "True") }, after: func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.1" }},
		"resources behind a gate":  {both: func(p *corev1.Pod) { gated(p); status(p, pub.InPlaceUpdateReady, "True") }, after: func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.1" }, resources: true, want: true},
		"an update under way":      {both: updating, after: func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.1" }},
		"an update that has ended": {both: updating, after: func(p *corev1.Pod) { p.Status.ContainerStatuses[0].ImageID = "new" }, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			before := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web", pub.LifecycleStateKey: "Normal"},
				OwnerReferences: []metav1.OwnerReference{{UID: "set", Controller: new(true)}}}}
			if tc.both != nil {
				tc.both(before)
			}
			after := before.DeepCopy()
			tc.after(after)
			if got := telling(tc.resources).Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if !telling(false).Delete(event.DeleteEvent{Object: &corev1.Pod{}}) || !telling(false).Create(event.CreateEvent{Object: &corev1.Pod{}}) {
		t.Error("pods that come and go are news")
	}
}
