package health

import (
	"context"
	"errors"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	testclock "k8s.io/utils/clock/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// hub is a fake API server with the controller on it, at noon.
type hub struct {
	client.Client
	steps  *Steps
	clock  *testclock.FakePassiveClock
	writes []string
}

func newHub(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, clusterv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	h := &hub{clock: testclock.NewFakePassiveClock(noon)}
	base := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&clusterv1.ManagedCluster{}).WithInterceptorFuncs(funcs).Build()
	h.Client = interceptor.NewClient(base, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			h.writes = append(h.writes, "create")
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			h.writes = append(h.writes, "patch")
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			h.writes = append(h.writes, sub)
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	h.steps = &Steps{Hub: h.Client, Live: h.Client, beats: newBeats(h.clock)}
	return h
}

func (h *hub) round(t *testing.T) reconcile.Result {
	t.Helper()
	l := &loop.Loop[*clusterv1.ManagedCluster, facts, plan]{Steps: h.steps, Client: h.Client, Clock: h.clock,
		New: func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} }}
	result, err := l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "east"}})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (h *hub) cluster(t *testing.T) *clusterv1.ManagedCluster {
	t.Helper()
	var c clusterv1.ManagedCluster
	if err := h.Get(context.Background(), client.ObjectKey{Name: "east"}, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

func namespace() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "east"}}
}

// OCM-4.1: lease, expiry to the instant, Unknown with its event, the taint in the next round, and then silence.
func TestAClusterIsGivenUpWhenItsGraceIsOverAndThenNothingIsWritten(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, east(available(metav1.ConditionTrue)), namespace())
	h.round(t)
	var lease coordinationv1.Lease
	if err := h.Get(context.Background(), client.ObjectKey{Namespace: "east", Name: LeaseName}, &lease); err != nil {
		t.Fatal(err)
	}
	if *lease.Spec.HolderIdentity != LeaseName || !lease.Spec.RenewTime.Time.Equal(noon) ||
		lease.Labels[clusterv1.ClusterNameLabelKey] != "east" || lease.Spec.LeaseDurationSeconds != nil {
		t.Errorf("%v %v", lease.Labels, lease.Spec)
	}
	if result := h.round(t); result.RequeueAfter != 5*time.Minute {
		t.Errorf("next look after %v", result.RequeueAfter)
	}

	h.clock.SetTime(noon.Add(5 * time.Minute))
	h.writes = nil
	for range 4 {
		h.round(t)
	}
	c := h.cluster(t)
	got := meta.FindStatusCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
	if got.Status != metav1.ConditionUnknown || got.Reason != ReasonLeaseStopped || got.Message != messageLeaseStopped {
		t.Errorf("%+v", got)
	}
	if len(c.Spec.Taints) != 1 || c.Spec.Taints[0].Key != unreachable || c.Spec.Taints[0].TimeAdded.IsZero() {
		t.Errorf("%+v", c.Spec.Taints)
	}
	if want := []string{"create", "status", "patch", "patch"}; len(h.writes) != len(want) {
		t.Errorf("%v, want the event, the status, the taint and, as no admission does it here, its time, once each", h.writes)
	}
	var events eventsv1.EventList
	if err := h.List(context.Background(), &events, client.InNamespace("east")); err != nil {
		t.Fatal(err)
	}
	if len(events.Items) != 1 || events.Items[0].Reason != ReasonAvailableUnknown || events.Items[0].Regarding.Name != "east" {
		t.Errorf("%+v", events.Items)
	}
}

func TestTheLeaseMadeByAnotherIsNoError(t *testing.T) {
	gr := coordinationv1.Resource("leases")
	h := newHub(t, interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
		return apierrors.NewAlreadyExists(gr, LeaseName)
	}}, east(tainted(unreachable)), namespace())
	h.round(t)
}

// OCM-4.4: two who edit taints at the same time must not overwrite each other.
func TestTaintsAreNotOverwritten(t *testing.T) {
	raced := false
	h := newHub(t, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
		if !raced {
			raced = true
			var other clusterv1.ManagedCluster
			if err := c.Get(ctx, client.ObjectKey{Name: "east"}, &other); err != nil {
				return err
			}
			other.Spec.Taints = append(other.Spec.Taints, taint("gpu", noon))
			if err := c.Update(ctx, &other); err != nil {
				return err
			}
		}
		return c.Patch(ctx, o, p, opts...)
	}}, east(neverAccepted))
	l := &loop.Loop[*clusterv1.ManagedCluster, facts, plan]{Steps: h.steps, Client: h.Client, Clock: h.clock,
		New: func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} }}
	request := reconcile.Request{NamespacedName: client.ObjectKey{Name: "east"}}
	if _, err := l.Reconcile(context.Background(), request); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if _, err := l.Reconcile(context.Background(), request); err != nil {
		t.Error(err)
	}
	if taints := h.cluster(t).Spec.Taints; len(taints) != 2 {
		t.Errorf("%+v", taints)
	}
}

func TestAFailedReadGivesNobodyUp(t *testing.T) {
	h := newHub(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, ok := o.(*coordinationv1.Lease); ok {
			return errors.New("timeout")
		}
		return c.Get(ctx, key, o, opts...)
	}}, east(leaving, available(metav1.ConditionTrue), func(c *clusterv1.ManagedCluster) { c.Finalizers = []string{"a/b"} }))
	l := &loop.Loop[*clusterv1.ManagedCluster, facts, plan]{Steps: h.steps, Client: h.Client, Clock: h.clock,
		New: func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} }}
	if _, err := l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "east"}}); err == nil || len(h.writes) != 0 {
		t.Errorf("%v, wrote %v", err, h.writes)
	}
}

// OCM-4.3: only a renewal that was seen to happen is compared with the clock.
func TestBeatsAreHeardWhenRenewTimeMoves(t *testing.T) {
	clock := testclock.NewFakePassiveClock(noon)
	b := newBeats(clock)
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	listen := b.handler()
	ctx := context.Background()
	old := renewed(time.Hour)

	listen.Create(ctx, event.CreateEvent{Object: old}, q)
	labelled := old.DeepCopy()
	labelled.Labels["a"] = "b"
	listen.Update(ctx, event.UpdateEvent{ObjectOld: old, ObjectNew: labelled}, q)
	if b.of("east") != nil {
		t.Error("heard a beat where nothing was renewed")
	}
	listen.Update(ctx, event.UpdateEvent{ObjectOld: old, ObjectNew: renewed(time.Minute)}, q)
	if got := b.of("east"); got == nil || !got.heard.Equal(noon) || !got.renewed.Equal(noon.Add(-time.Minute)) {
		t.Errorf("%+v", got)
	}
	foreign := old.DeepCopy()
	foreign.Namespace, foreign.Name = "west", "other"
	listen.Update(ctx, event.UpdateEvent{ObjectOld: foreign, ObjectNew: func() *coordinationv1.Lease {
		l := renewed(0)
		l.Namespace, l.Name = "west", "other"
		return l
	}()}, q)
	if b.of("west") != nil || q.Len() != 1 {
		t.Errorf("another lease was heard, or woke somebody: %d waiting", q.Len())
	}
	listen.Delete(ctx, event.DeleteEvent{Object: old}, q)
	if b.of("east") != nil {
		t.Error("a lease that is gone still beats")
	}
}
