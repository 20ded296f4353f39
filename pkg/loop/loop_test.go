package loop

import (
	"context"
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

type plan struct {
	recheck time.Duration
	done    bool
}

func (p plan) Recheck() time.Duration { return p.recheck }
func (p plan) Done() bool             { return p.done }

// steps is a controller of namespaces that only does what a test says.
type steps struct {
	finalizer string
	plan      plan
	acted     error
	observed  error
	report    func(*corev1.Namespace)
	calls     []string
	at        time.Time
}

func (s *steps) Finalizer() string { return s.finalizer }
func (s *steps) Conditions(ns *corev1.Namespace) (all []metav1.Condition) {
	for _, c := range ns.Status.Conditions {
		all = append(all, metav1.Condition{Type: string(c.Type), Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message})
	}
	return all
}
func (s *steps) Observe(context.Context, *corev1.Namespace) (string, error) {
	s.calls = append(s.calls, "observe")
	return "seen", s.observed
}
func (s *steps) Decide(_ *corev1.Namespace, _ string, now time.Time) plan {
	s.calls, s.at = append(s.calls, "decide"), now
	return s.plan
}
func (s *steps) Act(context.Context, *corev1.Namespace, plan) error {
	s.calls = append(s.calls, "act")
	return s.acted
}
func (s *steps) Report(ns *corev1.Namespace, _ string, _ plan, _ error) {
	s.calls = append(s.calls, "report")
	if s.report != nil {
		s.report(ns)
	}
}

// plain hides the finalizer of steps.
type plain struct {
	Steps[*corev1.Namespace, string, plan]
}

type world struct {
	client.Client
	writes int
	fail   error
}

func newWorld(objects ...client.Object) *world {
	w := &world{}
	w.Client = fake.NewClientBuilder().WithObjects(objects...).WithStatusSubresource(&corev1.Namespace{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				w.writes++
				return c.Patch(ctx, o, p, opts...)
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				w.writes++
				if w.fail != nil {
					return w.fail
				}
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	return w
}

func run(t *testing.T, w *world, s Steps[*corev1.Namespace, string, plan], events record.EventRecorder) (reconcile.Result, error) {
	t.Helper()
	l := &Loop[*corev1.Namespace, string, plan]{Steps: s, Client: w, Events: events, Clock: testclock.NewFakePassiveClock(noon),
		New: func() *corev1.Namespace { return &corev1.Namespace{} }}
	return l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "web"}})
}

func get(t *testing.T, w *world) (*corev1.Namespace, bool) {
	t.Helper()
	var ns corev1.Namespace
	err := w.Get(context.Background(), client.ObjectKey{Name: "web"}, &ns)
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return &ns, err == nil
}

func named(finalizers ...string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "web", Finalizers: finalizers}}
}

func leaving(ns *corev1.Namespace) *corev1.Namespace {
	ns.DeletionTimestamp = &metav1.Time{Time: noon}
	return ns
}

func active(ns *corev1.Namespace) { ns.Status.Phase = corev1.NamespaceActive }

func TestTheFourStepsRunInOrderAndTimeIsAnInput(t *testing.T) {
	s := &steps{plan: plan{recheck: time.Minute}}
	result, err := run(t, newWorld(named()), plain{s}, nil)
	if err != nil || result.RequeueAfter != time.Minute {
		t.Errorf("%v, %v", result, err)
	}
	if want := "observe decide act report"; join(s.calls) != want || !s.at.Equal(noon) {
		t.Errorf("%v at %v", s.calls, s.at)
	}
}

func join(words []string) (s string) {
	for i, w := range words {
		if i > 0 {
			s += " "
		}
		s += w
	}
	return s
}

func TestNothingChangedWritesNothing(t *testing.T) {
	w := newWorld(named())
	s := &steps{report: active}
	for range 3 {
		if _, err := run(t, w, plain{s}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if w.writes != 1 {
		t.Errorf("%d writes for one change of status", w.writes)
	}
}

func TestReportRunsWhenActFailed(t *testing.T) {
	w := newWorld(named())
	s := &steps{acted: errors.New("quota"), report: active}
	if _, err := run(t, w, plain{s}, nil); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	if ns, _ := get(t, w); ns.Status.Phase != corev1.NamespaceActive {
		t.Error("status was not saved")
	}
}

func TestAFailedObservationDecidesNothing(t *testing.T) {
	s := &steps{observed: errors.New("timeout")}
	if _, err := run(t, newWorld(named()), plain{s}, nil); err == nil || join(s.calls) != "observe" {
		t.Errorf("%v after %v: absence is never an order", err, s.calls)
	}
}

func TestALostRaceForTheStatusIsNoError(t *testing.T) {
	w := newWorld(named())
	w.fail = apierrors.NewConflict(schema.GroupResource{Resource: "namespaces"}, "web", errors.New("newer"))
	result, err := run(t, w, plain{&steps{report: active}}, nil)
	if err != nil || result.RequeueAfter == 0 {
		t.Errorf("%v, %v", result, err)
	}
}

func TestTheFinalizerComesFirstAndGoesLast(t *testing.T) {
	w := newWorld(named())
	s := &steps{finalizer: "test/works", report: active}
	if _, err := run(t, w, s, nil); err != nil {
		t.Fatal(err)
	}
	ns, _ := get(t, w)
	if len(ns.Finalizers) != 1 || ns.Status.Phase != corev1.NamespaceActive {
		t.Errorf("%v %v", ns.Finalizers, ns.Status)
	}

	if err := w.Delete(context.Background(), ns); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, w, s, nil); err != nil {
		t.Fatal(err)
	}
	if _, there := get(t, w); !there {
		t.Fatal("the finalizer went although the plan was not done")
	}
	s.plan.done, s.acted = true, errors.New("half a batch")
	if _, err := run(t, w, s, nil); err == nil {
		t.Error("the failure is lost")
	}
	if _, there := get(t, w); !there {
		t.Fatal("the finalizer went although the plan was not carried out")
	}
	s.acted = nil
	if _, err := run(t, w, s, nil); err != nil {
		t.Fatal(err)
	}
	if _, there := get(t, w); there {
		t.Error("the finalizer stayed")
	}
}

func TestAForeignFinalizerIsNotOurBusiness(t *testing.T) {
	s := &steps{finalizer: "test/works"}
	if _, err := run(t, newWorld(leaving(named("someone/else"))), s, nil); err != nil || len(s.calls) != 0 {
		t.Errorf("%v %v", s.calls, err)
	}
}

func TestConditionTransitionsBecomeEvents(t *testing.T) {
	r := record.NewFakeRecorder(3)
	w := newWorld(named())
	s := &steps{report: func(ns *corev1.Namespace) {
		ns.Status.Conditions = []corev1.NamespaceCondition{{Type: "Stalled", Status: "True", Reason: "Stuck", Message: "node-2 is gone"}}
	}}
	for range 2 {
		if _, err := run(t, w, s, r); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-r.Events; got != "Warning Stuck node-2 is gone" {
		t.Error(got)
	}
	if len(r.Events) != 0 {
		t.Errorf("the same transition twice: %v", <-r.Events)
	}
}

func TestAGoneObjectIsNoError(t *testing.T) {
	if _, err := run(t, newWorld(), plain{&steps{}}, nil); err != nil {
		t.Error(err)
	}
}

func TestAStatusPatchCarriesCountersThatAreStillZero(t *testing.T) {
	before := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "1", ResourceVersion: "7"},
		Status: appsv1.ReplicaSetStatus{ReadyReplicas: 2, Conditions: []appsv1.ReplicaSetCondition{{Type: "Old"}}}}
	after := before.DeepCopy()
	after.Status.ReadyReplicas, after.Status.Conditions = 0, nil
	patch, err := statusPatch(before, after)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := patch.Data(after)
	if err != nil {
		t.Fatal(err)
	}
	// replicas is required by its kind, readyReplicas and conditions went away.
	want := `{"metadata":{"resourceVersion":"7","uid":"1"},"status":{"conditions":null,"readyReplicas":null,"replicas":0}}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
}
