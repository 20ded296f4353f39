package podreadiness

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-x", Namespace: "shop", CreationTimestamp: metav1.NewTime(noon)}}
	for _, c := range change {
		c(p)
	}
	return p
}

func waitsFor(gates ...corev1.PodConditionType) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		for _, g := range gates {
			p.Spec.ReadinessGates = append(p.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: g})
		}
	}
}

func told(gate corev1.PodConditionType, status corev1.ConditionStatus) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: gate, Status: status})
	}
}

func ours(p *corev1.Pod) {
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps.kruise.io/v1alpha1", Kind: "CloneSet", Name: "web", Controller: new(true)}}
}

func TestDecide(t *testing.T) { // WL-4.8, PR-2
	leaving := func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.NewTime(noon)) }
	both := waitsFor(pub.InPlaceUpdateReady, pub.KruisePodReadyConditionType)
	for name, tc := range map[string]struct {
		pod   *corev1.Pod
		after time.Duration
		open  bool
		later time.Duration
	}{
		"a pod without the gate":                  {pod: pod()},
		"one with it":                             {pod: pod(waitsFor(pub.KruisePodReadyConditionType)), open: true},
		"one that somebody closed":                {pod: pod(waitsFor(pub.KruisePodReadyConditionType), told(pub.KruisePodReadyConditionType, "False"))},
		"one that goes":                           {pod: pod(waitsFor(pub.KruisePodReadyConditionType), leaving)},
		"one of a workload with a gate to open":   {pod: pod(both, ours), after: 3 * time.Second, later: 7 * time.Second},
		"and one that did not open it":            {pod: pod(both, ours), after: 10 * time.Second, open: true},
		"and one that did, but not this one":      {pod: pod(both, ours, told(pub.InPlaceUpdateReady, "True")), open: true},
		"one of a workload without a gate at all": {pod: pod(waitsFor(pub.KruisePodReadyConditionType), ours), open: true},
	} {
		t.Run(name, func(t *testing.T) {
			got := (&steps{}).Decide(tc.pod, struct{}{}, noon.Add(tc.after))
			if got.open != tc.open || got.Recheck() != tc.later {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAct(t *testing.T) { // WL-4.8
	waiting := pod(waitsFor(pub.KruisePodReadyConditionType), told(corev1.PodScheduled, "True"))
	c := fake.NewClientBuilder().WithObjects(waiting).WithStatusSubresource(waiting).Build()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(waiting), waiting); err != nil {
		t.Fatal(err)
	}
	s := &steps{local: c}
	if err := s.Act(t.Context(), waiting, plan{open: true, now: noon}); err != nil {
		t.Fatal(err)
	}
	got := &corev1.Pod{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(waiting), got); err != nil {
		t.Fatal(err)
	}
	if opened := lifecycle.Condition(got, pub.KruisePodReadyConditionType); opened == nil || opened.Status != "True" || lifecycle.Condition(got, corev1.PodScheduled) == nil {
		t.Errorf("%+v", got.Status.Conditions)
	}
	// What was looked at is an older one now: whoever changed it may have closed the gate.
	if err := s.Act(t.Context(), waiting, plan{open: true, now: noon.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	again := &corev1.Pod{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(waiting), again); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got.ResourceVersion, again.ResourceVersion); d != "" {
		t.Error("a pod that changed was written all the same")
	}
}

func TestAFailureIsTriedAgain(t *testing.T) {
	c := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return apierrors.NewTooManyRequests("later", 1)
		},
	})
	if err := (&steps{local: c}).Act(t.Context(), pod(waitsFor(pub.KruisePodReadyConditionType)), plan{open: true}); err == nil {
		t.Error("the failure was swallowed")
	}
}
