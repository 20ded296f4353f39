package unschedulable

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func pod(name string, age time.Duration, change ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, CreationTimestamp: metav1.NewTime(noon.Add(-age)), Labels: map[string]string{"apps.kruise.io/subset-name": "east"},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable},
		}},
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func workload(annotations map[string]string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "d", Annotations: annotations}}
}

func TestDecide(t *testing.T) { // WL-5.7
	const asked, answer = "apps.flotilla.dev/reschedule-critical-seconds", "apps.flotilla.dev/unschedulable-replicas"
	ask := map[string]string{asked: "30"}
	said := func(n string) map[string]string { return map[string]string{asked: "30", answer: n} }
	gone := metav1.NewTime(noon)
	for name, tc := range map[string]struct {
		annotations map[string]string
		pods        []corev1.Pod
		want        plan
	}{
		"all is well":                       {annotations: ask, want: plan{answer: "0"}},
		"pending for too long":              {annotations: ask, pods: []corev1.Pod{pod("a", 30*time.Second), pod("b", time.Hour)}, want: plan{write: true, answer: "2"}},
		"not yet too long":                  {annotations: ask, pods: []corev1.Pod{pod("a", 10*time.Second), pod("b", 25*time.Second)}, want: plan{answer: "0", recheck: 5 * time.Second}},
		"one is, one is not yet":            {annotations: said("0"), pods: []corev1.Pod{pod("a", 31*time.Second), pod("b", 20*time.Second)}, want: plan{write: true, answer: "1", recheck: 10 * time.Second}},
		"the number stays":                  {annotations: said("1"), pods: []corev1.Pod{pod("a", time.Hour)}, want: plan{answer: "1"}},
		"they found a place":                {annotations: said("1"), pods: []corev1.Pod{pod("a", time.Hour, func(p *corev1.Pod) { p.Spec.NodeName = "n" })}, want: plan{write: true, answer: "0"}},
		"nobody asks any more":              {annotations: map[string]string{answer: "1"}, pods: []corev1.Pod{pod("a", time.Hour)}, want: plan{write: true}},
		"nobody ever asked":                 {pods: []corev1.Pod{pod("a", time.Hour)}, want: plan{}},
		"a number that is none asks nobody": {annotations: map[string]string{asked: "soon"}, pods: []corev1.Pod{pod("a", time.Hour)}, want: plan{}},
		"zero seconds count at once":        {annotations: map[string]string{asked: "0"}, pods: []corev1.Pod{pod("a", 0)}, want: plan{write: true, answer: "1"}},
		"only unschedulable pods count": {annotations: ask, pods: []corev1.Pod{
			pod("leaving", time.Hour, func(p *corev1.Pod) { p.DeletionTimestamp = &gone }),
			pod("running", time.Hour, func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning }),
			pod("gated", time.Hour, func(p *corev1.Pod) { p.Status.Conditions[0].Reason = "SchedulingGated" }),
			pod("new", time.Hour, func(p *corev1.Pod) { p.Status.Conditions = nil }),
		}, want: plan{answer: "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decide(workload(tc.annotations), tc.pods, noon); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func controlled(by metav1.Object, kind string) []metav1.OwnerReference {
	return []metav1.OwnerReference{*metav1.NewControllerRef(by, appsv1.SchemeGroupVersion.WithKind(kind))}
}

func TestTheNumberOfADeploymentIsWrittenOncePerChange(t *testing.T) { // WL-5.7
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web", UID: "d", Annotations: map[string]string{"apps.flotilla.dev/reschedule-critical-seconds": "30"},
	}}
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "r", OwnerReferences: controlled(deployment, "Deployment")}}
	other := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "other", UID: "o"}}
	mine, theirs := pod("mine", 20*time.Second), pod("theirs", time.Hour)
	mine.OwnerReferences, theirs.OwnerReferences = controlled(set, "ReplicaSet"), controlled(other, "ReplicaSet")
	writes := 0
	local := interceptor.NewClient(fake.NewClientBuilder().WithScheme(s).WithObjects(deployment, set, other, &mine, &theirs).
		WithIndex(&corev1.Pod{}, index.Key, index.Owners).Build(), interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			writes++
			return c.Patch(ctx, o, p, opts...)
		},
	})
	clock := testclock.NewFakePassiveClock(noon)
	kind := kinds[0]
	l := &loop.Loop[*metav1.PartialObjectMetadata, seen, plan]{
		Steps: &steps{local: local, kind: kind}, Client: local, Clock: clock,
		New: func() *metav1.PartialObjectMetadata { return metadataOf(kind) },
	}
	requests := ownerOf(local, kind)(t.Context(), &mine)
	if want := (types.NamespacedName{Namespace: "shop", Name: "web"}); len(requests) != 1 || requests[0].NamespacedName != want {
		t.Fatalf("a pod brings up %v", requests)
	}
	if others := ownerOf(local, kind)(t.Context(), &theirs); len(others) != 0 {
		t.Errorf("a stranger brings up %v", others)
	}
	if sets := ownerOf(local, kinds[1])(t.Context(), &mine); len(sets) != 0 {
		t.Errorf("a Deployment's pod brings up the StatefulSet %v", sets)
	}
	round := func(want string, wrote int) reconcile.Result {
		t.Helper()
		result, err := l.Reconcile(t.Context(), requests[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := local.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment); err != nil {
			t.Fatal(err)
		}
		if got := deployment.Annotations["apps.flotilla.dev/unschedulable-replicas"]; got != want || writes != wrote {
			t.Errorf("says %q after %d writes, want %q after %d", got, writes, want, wrote)
		}
		return result
	}
	if result := round("", 0); result.RequeueAfter != 10*time.Second {
		t.Errorf("comes back in %s", result.RequeueAfter)
	}
	clock.SetTime(noon.Add(10 * time.Second))
	round("1", 1)
	round("1", 1)
	if err := local.Delete(t.Context(), &mine); err != nil {
		t.Fatal(err)
	}
	round("0", 2)
	round("0", 2)
}

func TestOnlyThoseWhoAskAreLookedAt(t *testing.T) {
	for text, want := range map[string]bool{
		"apps.flotilla.dev/reschedule-critical-seconds": true, "apps.flotilla.dev/unschedulable-replicas": true, "other": false,
	} {
		if asks(workload(map[string]string{text: "1"})) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	p := pod("a", 0)
	if !ofSubset(&p) || ofSubset(&corev1.Pod{}) {
		t.Error("pods are told apart by the label of their subset")
	}
}
