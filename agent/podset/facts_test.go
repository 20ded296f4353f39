package podset_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-project/flotilla/agent/podset"
)

var breakfast = time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)

// apiPod is a pod of a set as the API server holds it: running, ready and normal.
func apiPod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "shop", UID: "pod-uid", CreationTimestamp: metav1.NewTime(breakfast),
			Labels: map[string]string{
				"slot": name, "controller-revision-hash": "web-a", "pod-template-hash": "a", pub.LifecycleStateKey: "Normal",
			},
		},
		Spec: corev1.PodSpec{
			NodeName:       "node-1",
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: pub.InPlaceUpdateReady}},
			Containers:     []corev1.Container{{Name: "main", Image: "web:1"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{
				{Type: pub.InPlaceUpdateReady, Status: corev1.ConditionTrue},
				{Type: corev1.ContainersReady, Status: corev1.ConditionTrue},
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(breakfast.Add(time.Minute))},
			},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", Image: "web:1", ImageID: "sha:1", Ready: true, RestartCount: 2}},
		},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func TestFacts(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	normal := func(change func(*podset.Pod)) podset.Pod {
		p := podset.Pod{
			Name: "x", Slot: "x", Revision: "web-a", Node: "node-1", Phase: podset.Running, Ready: true, ReadySince: breakfast.Add(time.Minute),
			Created: breakfast, Restarts: 2, State: podset.Normal, InPlace: podset.InPlace{Done: true},
		}
		change(&p)
		return p
	}
	for name, tc := range map[string]struct {
		lens podset.Lens
		pod  func(*corev1.Pod)
		want func(*podset.Pod)
	}{
		"a pod at work": {podset.Lens{}, func(*corev1.Pod) {}, func(*podset.Pod) {}},
		"a label that means a revision": { // WL-1.5
			podset.Lens{Revision: func(string) string { return "web-full" }}, func(*corev1.Pod) {}, func(p *podset.Pod) { p.Revision = "web-full" },
		},
		"a new pod": {podset.Lens{}, func(p *corev1.Pod) {
			p.Status, p.Spec.NodeName = corev1.PodStatus{}, ""
			delete(p.Labels, "pod-template-hash")
			p.Labels[pub.LifecycleStateKey] = "PreparingNormal"
		}, func(p *podset.Pod) {
			p.Phase, p.Node, p.Ready, p.ReadySince, p.Restarts = podset.Pending, "", false, time.Time{}, 0
			p.State, p.LacksHash, p.InPlace.Due = podset.PreparingNormal, true, podset.OpenGate
		}},
		"a pod that leaves": {podset.Lens{}, func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Status.Phase = &metav1.Time{}, corev1.PodFailed
		}, func(p *podset.Pod) { p.Terminating, p.Phase = true, podset.Finished }},
		"a closed gate": {podset.Lens{}, func(p *corev1.Pod) { p.Status.Conditions[0].Status = "False" }, func(p *podset.Pod) {
			p.GateClosed, p.InPlace.Due = true, podset.OpenGate
		}},
		"marked by label": {podset.Lens{}, func(p *corev1.Pod) { p.Labels[kruise.SpecifiedDeleteKey] = "" }, func(p *podset.Pod) {
			p.Marked = true
		}},
		"marked by name":   {podset.Lens{ToDelete: []string{"y", "x"}}, func(*corev1.Pod) {}, func(p *podset.Pod) { p.Marked = true }},
		"a deletion cost":  {podset.Lens{}, func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.PodDeletionCost: "-7"} }, func(p *podset.Pod) { p.Cost = -7 }},
		"pulling an image": {podset.Lens{}, waiting("ContainerCreating"), func(*podset.Pod) {}},
		"a bad image":      {podset.Lens{}, waiting("ImagePullBackOff"), func(p *podset.Pod) { p.Blocked = "ImagePullBackOff" }},
		"no node has room": {podset.Lens{}, func(p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: "False", Reason: "Unschedulable"})
		}, func(p *podset.Pod) { p.Blocked = "Unschedulable" }},
		"what the nodes lack": {podset.Lens{}, func(p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: "False", Reason: "Unschedulable",
				Message: "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."})
		}, func(p *podset.Pod) { p.Blocked = "Unschedulable (0/2 nodes are available: 2 Insufficient cpu)" }},
		"as many words as fit": {podset.Lens{}, unschedulable(200), func(p *podset.Pod) { p.Blocked = "Unschedulable (" + strings.Repeat("x", 200) + ")" }},
		"too many words":       {podset.Lens{}, unschedulable(201), func(p *podset.Pod) { p.Blocked = "Unschedulable" }},
		"sidecars count their restarts apart": {podset.Lens{}, func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "side", RestartPolicy: &always}, {Name: "init"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "side", RestartCount: 5}, {Name: "init", RestartCount: 9}}
		}, func(p *podset.Pod) { p.SidecarRestarts = 5 }},
		"hooks": {
			podset.Lens{Hooks: &pub.Lifecycle{
				PreDelete:     &pub.LifecycleHook{FinalizersHandler: []string{"shop/drain"}},
				InPlaceUpdate: &pub.LifecycleHook{FinalizersHandler: []string{"shop/drain", "shop/other"}},
				PreNormal:     &pub.LifecycleHook{},
			}},
			func(p *corev1.Pod) { p.Finalizers = []string{"shop/drain"} },
			func(p *podset.Pod) { p.HookedDelete, p.HookedUpdate, p.AllHookedNormal = true, true, true },
		},
		"scattering and spreading": {
			podset.Lens{
				Scatter: kruise.UpdateScatterStrategy{{Key: "role", Value: "a"}, {Key: "slot", Value: "x"}},
				Spread:  []string{"zone", "rack"}, Nodes: map[string]map[string]string{"node-1": {"zone": "b"}},
			},
			func(*corev1.Pod) {},
			func(p *podset.Pod) { p.Scatter, p.Domains = 2, []string{"b", ""} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.lens.SlotLabel = "slot"
			if d := cmp.Diff(normal(tc.want), tc.lens.Facts(apiPod("x", tc.pod))); d != "" {
				t.Error(d)
			}
		})
	}
}

func waiting(reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: reason}
	}
}

func TestPrioritize(t *testing.T) { // WL-1.11
	weight := &pub.UpdatePriorityStrategy{WeightPriority: []pub.UpdatePriorityWeightTerm{
		{Weight: 30, MatchSelector: metav1.LabelSelector{MatchLabels: map[string]string{"a": "1"}}},
		{Weight: 5, MatchSelector: metav1.LabelSelector{MatchLabels: map[string]string{"b": "1"}}},
	}}
	order := &pub.UpdatePriorityStrategy{OrderPriority: []pub.UpdatePriorityOrderTerm{{OrderedKey: "a"}, {OrderedKey: "b"}}}
	for name, tc := range map[string]struct {
		strategy *pub.UpdatePriorityStrategy
		labels   labels.Set
		want     [2]int64
	}{
		"weights add up":            {weight, labels.Set{"a": "1", "b": "1"}, podset.WeightPriority(35)},
		"no weight":                 {weight, labels.Set{"a": "2"}, podset.WeightPriority(0)},
		"the first key":             {order, labels.Set{"b": "9", "a": "x-12"}, podset.OrderPriority(0, "x-12")},
		"the second key":            {order, labels.Set{"b": "9"}, podset.OrderPriority(1, "9")},
		"none of the keys go first": {order, labels.Set{}, podset.OrderPriority(-1, "")},
	} {
		t.Run(name, func(t *testing.T) {
			of, err := podset.Prioritize(tc.strategy)
			if err != nil {
				t.Fatal(err)
			}
			if got := of(tc.labels); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	if of, err := podset.Prioritize(nil); of != nil || err != nil {
		t.Error("no strategy has priorities")
	}
	bad := &pub.UpdatePriorityStrategy{WeightPriority: []pub.UpdatePriorityWeightTerm{{MatchSelector: metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}},
	}}}}
	if _, err := podset.Prioritize(bad); err == nil {
		t.Error("a selector that cannot be read is accepted")
	}
}

func TestHooksOf(t *testing.T) {
	if podset.HooksOf(nil) != nil {
		t.Error("no lifecycle has hooks")
	}
	got := podset.HooksOf(&pub.Lifecycle{PreDelete: &pub.LifecycleHook{MarkPodNotReady: true}})
	if d := cmp.Diff(&podset.Lifecycle{PreDelete: &podset.Hook{MarkNotReady: true}}, got); d != "" {
		t.Error(d)
	}
}

func unschedulable(words int) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: "False", Reason: "Unschedulable", Message: strings.Repeat("x", words),
		})
	}
}
