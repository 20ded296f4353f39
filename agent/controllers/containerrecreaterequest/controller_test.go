package containerrecreaterequest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func request(change ...func(*kruise.ContainerRecreateRequest)) *kruise.ContainerRecreateRequest {
	r := &kruise.ContainerRecreateRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "again", Namespace: "shop", UID: "r", CreationTimestamp: metav1.NewTime(noon),
			Labels: map[string]string{"crr.apps.kruise.io/pod-uid": "p", "crr.apps.kruise.io/node-name": "node-1", "crr.apps.kruise.io/active": "true"}},
		Spec: kruise.ContainerRecreateRequestSpec{
			PodName:    "web-x",
			Containers: []kruise.ContainerRecreateRequestContainer{{Name: "main"}, {Name: "helper"}},
			Strategy:   &kruise.ContainerRecreateRequestStrategy{},
		},
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func in(phase kruise.ContainerRecreateRequestPhase) func(*kruise.ContainerRecreateRequest) {
	return func(r *kruise.ContainerRecreateRequest) { r.Status.Phase = phase }
}

func done(r *kruise.ContainerRecreateRequest) {
	r.Status.Phase, r.Status.CompletionTime = kruise.ContainerRecreateRequestCompleted, new(metav1.NewTime(noon))
}

func inactive(r *kruise.ContainerRecreateRequest) {
	delete(r.Labels, kruise.ContainerRecreateRequestActiveKey)
}

func ttl(r *kruise.ContainerRecreateRequest) { r.Spec.TTLSecondsAfterFinished = new(int32(60)) }

func deadlineOf(seconds int64) func(*kruise.ContainerRecreateRequest) {
	return func(r *kruise.ContainerRecreateRequest) { r.Spec.ActiveDeadlineSeconds = &seconds }
}

func unready(r *kruise.ContainerRecreateRequest) {
	r.Spec.Strategy.UnreadyGracePeriodSeconds = new(int64(5))
}

func marked(r *kruise.ContainerRecreateRequest) { r.Finalizers = []string{finalizer} }

func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-x", Namespace: "shop", UID: "p"}}
	for _, c := range change {
		c(p)
	}
	return p
}

func gated(p *corev1.Pod) {
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: pub.KruisePodReadyConditionType}}
}

func running(name string, since time.Duration, ready bool) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: name, Ready: ready, RestartCount: 1, ContainerID: "containerd://" + name,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon.Add(since))}},
		})
	}
}

func goes(p *corev1.Pod) {
	p.DeletionTimestamp, p.Finalizers = new(metav1.NewTime(noon)), []string{"test/x"}
}

const synced, acquired = kruise.ContainerRecreateRequestSyncContainerStatusesKey, kruise.ContainerRecreateRequestUnreadyAcquiredKey

func TestDecide(t *testing.T) {
	type pass struct {
		r     *kruise.ContainerRecreateRequest
		pod   *corev1.Pod
		after time.Duration
		want  plan
	}
	const recreating = kruise.ContainerRecreateRequestRecreating
	none := map[string]string{synced: "[]"}
	for name, tc := range map[string]pass{
		// CRR-8
		"a pod that is gone":      {r: request(), want: plan{complete: "pod web-x is gone"}},
		"one that goes":           {r: request(), pod: pod(goes), want: plan{complete: "pod web-x is being deleted"}},
		"one of that name only":   {r: request(), pod: pod(func(p *corev1.Pod) { p.UID = "q" }), want: plan{complete: "pod web-x was replaced: its uid is q, not p"}},
		"a request is waited for": {r: request(), pod: pod(), after: 20 * time.Second, want: plan{recheck: 40 * time.Second}},
		"nobody answers": {r: request(), pod: pod(), after: time.Minute,
			want: plan{complete: "the daemon of node node-1 has not answered for 1m0s: see that it runs there"}},
		"pending is an answer": {r: request(in(kruise.ContainerRecreateRequestPending)), pod: pod(), after: time.Hour},
		"a deadline, which counts from creation, comes": {r: request(in(kruise.ContainerRecreateRequestPending), deadlineOf(90)), pod: pod(),
			after: 80 * time.Second, want: plan{recheck: 10 * time.Second}},
		"and passes": {r: request(in(recreating), deadlineOf(90)), pod: pod(), after: 90 * time.Second,
			want: plan{complete: "not done within the 1m30s of activeDeadlineSeconds"}},
		// CRR-9
		"containers are back": {r: request(in(recreating)), pod: pod(running("main", 0, true), running("helper", -time.Second, true), running("other", time.Second, true)),
			want: plan{annotate: map[string]string{synced: `[{"name":"main","ready":true,"restartCount":1,"containerID":"containerd://main"}]`}}},
		"none is":                     {r: request(in(recreating)), pod: pod(), want: plan{annotate: none}},
		"nothing is new":              {r: request(in(recreating), func(r *kruise.ContainerRecreateRequest) { r.Annotations = none }), pod: pod()},
		"nothing is told of it early": {r: request(in(kruise.ContainerRecreateRequestPending)), pod: pod(running("main", 0, true))},
		// CRR-10
		"the pod is marked first": {r: request(in(recreating), unready), pod: pod(gated),
			want: plan{finalize: true, mark: true, annotate: map[string]string{synced: "[]", acquired: "2026-01-02T12:00:00Z"}}},
		"with the finalizer": {r: request(in(recreating), unready, marked), pod: pod(gated),
			want: plan{mark: true, annotate: map[string]string{synced: "[]", acquired: "2026-01-02T12:00:00Z"}}},
		"a pod without the gate is not": {r: request(in(recreating), unready), pod: pod(),
			want: plan{annotate: map[string]string{synced: "[]", acquired: "2026-01-02T12:00:00Z"}}},
		"it is marked once": {r: request(in(recreating), unready, marked, func(r *kruise.ContainerRecreateRequest) {
			r.Annotations = map[string]string{synced: "[]", acquired: "2026-01-02T11:00:00Z"}
		}), pod: pod(gated)},
		// CRR-7, CRR-11, PR-5
		"a request is done":            {r: request(done, ttl), pod: pod(), want: plan{deactivate: true}},
		"and the pod was marked":       {r: request(done, marked), pod: pod(gated), want: plan{lift: true, release: true, deactivate: true}},
		"and the marked pod is gone":   {r: request(done, marked), want: plan{release: true, deactivate: true}},
		"and the marked pod goes":      {r: request(done, marked), pod: pod(gated, goes), want: plan{release: true, deactivate: true}},
		"it stays for a while":         {r: request(done, inactive, ttl), pod: pod(), after: 20 * time.Second, want: plan{recheck: 40 * time.Second}},
		"and is deleted":               {r: request(done, inactive, ttl), pod: pod(), after: time.Minute, want: plan{remove: true}},
		"or stays for ever":            {r: request(done, inactive), after: time.Hour},
		"a request that is deleted":    {r: request(marked, func(r *kruise.ContainerRecreateRequest) { r.DeletionTimestamp = new(metav1.NewTime(noon)) }), pod: pod(gated), want: plan{lift: true, release: true}},
		"somebody else's finalizer is": {r: request(func(r *kruise.ContainerRecreateRequest) { r.DeletionTimestamp = new(metav1.NewTime(noon)) }), pod: pod(gated)},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon.Add(tc.after)
			tc.want.pod, tc.want.now = tc.pod, now
			got := (&steps{}).Decide(tc.r, seen{tc.pod}, now)
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(plan{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestARequestWithoutItsLabelSaysSo(t *testing.T) { // CRR-8
	r := request(func(r *kruise.ContainerRecreateRequest) { r.Labels = nil })
	if got := (&steps{}).Decide(r, seen{pod()}, noon); got.complete == "" {
		t.Errorf("%+v", got)
	}
}

// world is an API server with what a request needs; calls are what was written, in order.
type world struct {
	client.Client
	calls []string
	fail  func(call string) error
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	s := runtime.NewScheme()
	if err := kruise.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	if err := corev1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	w := &world{}
	note := func(call string) error {
		w.calls = append(w.calls, call)
		if w.fail != nil {
			return w.fail(call)
		}
		return nil
	}
	w.Client = fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).
		WithStatusSubresource(&kruise.ContainerRecreateRequest{}, &corev1.Pod{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				data, err := p.Data(o)
				if err != nil {
					return err
				}
				what := "finalizers"
				if string(p.Type()) == "application/merge-patch+json" && !bytes.Contains(data, []byte(`"finalizers"`)) {
					what = "metadata"
				}
				if err := note(what); err != nil {
					return err
				}
				return c.Patch(ctx, o, p, opts...)
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				what := "status"
				if _, ok := o.(*corev1.Pod); ok {
					what = "pod"
				}
				if err := note(what); err != nil {
					return err
				}
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	return w
}

func (w *world) reconcile(now time.Time) (reconcile.Result, error) {
	l := &loop.Loop[*kruise.ContainerRecreateRequest, seen, plan]{
		Steps: &steps{local: w, fresh: w}, Client: w, Clock: testclock.NewFakePassiveClock(now),
		New: func() *kruise.ContainerRecreateRequest { return &kruise.ContainerRecreateRequest{} },
	}
	return l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "again"}})
}

func (w *world) must(t *testing.T, now time.Time) {
	t.Helper()
	if _, err := w.reconcile(now); err != nil {
		t.Fatal(err)
	}
}

func (w *world) request(t *testing.T) *kruise.ContainerRecreateRequest {
	t.Helper()
	var r kruise.ContainerRecreateRequest
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "again"}, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func (w *world) condition(t *testing.T) *corev1.PodCondition {
	t.Helper()
	var p corev1.Pod
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web-x"}, &p); err != nil {
		t.Fatal(err)
	}
	return lifecycle.Condition(&p, pub.KruisePodReadyConditionType)
}

func TestThePodIsMarkedBetweenFinalizerAndAnnotation(t *testing.T) { // CRR-10, PR-3, PR-4
	w := newWorld(t, request(in(kruise.ContainerRecreateRequestRecreating), unready), pod(gated))
	w.must(t, noon)
	if d := cmp.Diff([]string{"finalizers", "pod", "metadata"}, w.calls); d != "" {
		t.Error(d)
	}
	if c := w.condition(t); c == nil || c.Status != "False" || c.Message != `[{"userAgent":"ContainerRecreateRequest","key":"shop/again"}]` {
		t.Errorf("%+v", c)
	}
	w.calls = nil
	w.must(t, noon.Add(time.Second))
	if len(w.calls) != 0 {
		t.Errorf("written again: %v", w.calls)
	}
}

func TestWithoutAMarkTheDaemonDoesNotCount(t *testing.T) { // CRR-10
	w := newWorld(t, request(in(kruise.ContainerRecreateRequestRecreating), unready), pod(gated))
	w.fail = func(call string) error {
		if call == "pod" {
			return apierrors.NewServiceUnavailable("later")
		}
		return nil
	}
	if _, err := w.reconcile(noon); err == nil {
		t.Error("the failure was swallowed")
	}
	if r := w.request(t); r.Annotations[acquired] != "" || len(r.Finalizers) != 1 {
		t.Errorf("%v %v", r.Annotations, r.Finalizers)
	}
}

func TestTheMarkIsLiftedBeforeTheFinalizerGoes(t *testing.T) { // CRR-7, CRR-11, PR-5
	held := func(p *corev1.Pod) {
		lifecycle.AddMessage(p, lifecycle.Message{UserAgent: userAgent, Key: "shop/again"}, noon)
		lifecycle.AddMessage(p, lifecycle.Message{UserAgent: "Lifecycle", Key: "preDeleteHook"}, noon)
	}
	w := newWorld(t, request(done, marked, ttl), pod(gated, held))
	w.must(t, noon)
	if d := cmp.Diff([]string{"pod", "finalizers", "metadata"}, w.calls); d != "" {
		t.Error(d)
	}
	if c := w.condition(t); c.Status != "False" || c.Message != `[{"userAgent":"Lifecycle","key":"preDeleteHook"}]` {
		t.Errorf("%+v", c)
	}
	if r := w.request(t); len(r.Finalizers) != 0 || len(r.Labels) != 2 {
		t.Errorf("%v %v", r.Finalizers, r.Labels)
	}
	w.must(t, noon.Add(time.Hour))
	var r kruise.ContainerRecreateRequest
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "again"}, &r); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestARequestThatCannotBeDoneIsCompleted(t *testing.T) { // CRR-8
	w := newWorld(t, request())
	w.must(t, noon)
	r := w.request(t)
	if r.Status.Phase != kruise.ContainerRecreateRequestCompleted || !r.Status.CompletionTime.Time.Equal(noon) || r.Status.Message != "pod web-x is gone" {
		t.Errorf("%+v", r.Status)
	}
}

func TestAReadThatFailsIsNoMissingPod(t *testing.T) {
	w := newWorld(t, request(), pod())
	broken := interceptor.NewClient(w.Client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*corev1.Pod); ok {
				return apierrors.NewTimeoutError("slow", 1)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	if _, err := (&steps{local: broken, fresh: broken}).Observe(t.Context(), request()); err == nil {
		t.Error("absence was assumed")
	}
}

func TestAPodThatTheCacheDoesNotKnowYetIsThere(t *testing.T) {
	seen, err := (&steps{local: newWorld(t), fresh: newWorld(t, pod())}).Observe(t.Context(), request())
	if err != nil || seen.pod == nil {
		t.Errorf("%v %v", seen, err)
	}
}

func TestWhatOfAPodIsNews(t *testing.T) { // CRR-12
	for name, tc := range map[string]struct {
		old, pod *corev1.Pod
		want     bool
	}{
		"nothing":           {pod(), pod(), false},
		"a container":       {pod(), pod(running("main", 0, true)), true},
		"its deletion":      {pod(), pod(goes), true},
		"another condition": {pod(), pod(func(p *corev1.Pod) { p.Status.Phase = "Running" }), false},
	} {
		if got := news().Update(event.UpdateEvent{ObjectOld: tc.old, ObjectNew: tc.pod}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	w := newWorld(t, request(), request(done, func(r *kruise.ContainerRecreateRequest) { r.Name = "over" }))
	if got := requestsFor(w)(t.Context(), pod()); len(got) != 1 || got[0].Name != "again" {
		t.Errorf("%v", got)
	}
}
