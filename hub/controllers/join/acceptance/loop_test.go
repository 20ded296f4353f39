package acceptance

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	testclock "k8s.io/utils/clock/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// hub is a fake API server with the controller on it.
type hub struct {
	client.Client
	auto   bool
	writes int
}

func newHub(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, clusterv1.Install, workv1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	h := &hub{}
	base := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&clusterv1.ManagedCluster{}).WithInterceptorFuncs(funcs).Build()
	h.Client = interceptor.NewClient(base, interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			h.writes++
			return c.Apply(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			h.writes++
			return c.Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			h.writes++
			return c.Delete(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			h.writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	return h
}

func (h *hub) round() error {
	l := &loop.Loop[*clusterv1.ManagedCluster, facts, plan]{
		Steps: &Steps{Hub: h.Client, Live: h.Client, Auto: h.auto}, Client: h.Client, Clock: testclock.NewFakePassiveClock(noon),
		New: func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} }}
	_, err := l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "east"}})
	return err
}

// rounds runs until nothing is written any more, as the watches would.
func (h *hub) rounds(t *testing.T) {
	t.Helper()
	for range 10 {
		before := h.writes
		if err := h.round(); err != nil {
			t.Fatal(err)
		}
		if h.writes == before {
			return
		}
	}
	t.Fatal("still writing after ten rounds")
}

func (h *hub) has(t *testing.T, o client.Object) bool {
	t.Helper()
	err := h.Get(context.Background(), client.ObjectKeyFromObject(o), o)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return err == nil
}

func (h *hub) verdict(t *testing.T) string {
	t.Helper()
	c := cluster()
	if !h.has(t, c) {
		t.Fatal("the cluster is gone")
	}
	v := meta.FindStatusCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionHubAccepted)
	if v == nil {
		return ""
	}
	return string(v.Status) + " " + v.Reason
}

func (h *hub) change(t *testing.T, change func(*clusterv1.ManagedCluster)) {
	t.Helper()
	c := cluster()
	if !h.has(t, c) {
		t.Fatal("the cluster is gone")
	}
	change(c)
	if err := h.Update(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

func (h *hub) del(t *testing.T, o client.Object) {
	t.Helper()
	if err := h.Delete(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

func work() *workv1.ManifestWork {
	return &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "east"}}
}

// OCM-3.6, OCM-7.1, OCM-7.2: the whole life of a cluster on the hub.
func TestALifeOfACluster(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, cluster())
	h.rounds(t)
	if h.writes != 0 || h.verdict(t) != "" {
		t.Fatalf("%d writes for a cluster that nobody accepted", h.writes)
	}

	h.change(t, wants)
	h.rounds(t)
	if got := h.verdict(t); got != "True HubClusterAdminAccepted" {
		t.Fatal(got)
	}
	for _, o := range wanted("east") {
		have := o.DeepCopyObject().(client.Object)
		if !h.has(t, have) || !same(have, o) {
			t.Errorf("%s %s is missing or different", refOf(o).kind, o.GetName())
		}
	}
	before := h.writes
	h.rounds(t)
	if h.writes != before {
		t.Errorf("%d writes although nothing changed", h.writes-before)
	}

	if err := h.Create(context.Background(), work()); err != nil {
		t.Fatal(err)
	}
	h.change(t, func(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = false })
	h.rounds(t)
	denied := clusterRole("east")
	if !h.has(t, denied) || !same(denied, deniedRole("east")) {
		t.Errorf("the denied agent may %v", denied.Rules)
	}
	if h.has(t, registrationBinding("east")) || !h.has(t, workBinding("east")) || h.verdict(t) != "True HubClusterAdminAccepted" {
		t.Errorf("with a work left, the work binding stays and the verdict waits: %s", h.verdict(t))
	}
	h.del(t, work())
	h.rounds(t)
	if h.has(t, workBinding("east")) || h.verdict(t) != "False HubClusterAdminDenied" || !h.has(t, namespaceOf("east")) {
		t.Errorf("%s", h.verdict(t))
	}

	h.change(t, wants)
	h.rounds(t)
	if got := h.verdict(t); got != "True HubClusterAdminAccepted" {
		t.Fatal(got)
	}
	if err := h.Create(context.Background(), work()); err != nil {
		t.Fatal(err)
	}
	h.del(t, cluster())
	h.rounds(t)
	if !h.has(t, cluster()) || !h.has(t, workBinding("east")) || h.has(t, clusterRoleBinding("east")) {
		t.Error("a leaving cluster keeps its rights to works, and no other, until none is left")
	}
	h.del(t, work())
	h.rounds(t)
	if h.has(t, cluster()) || !h.has(t, namespaceOf("east")) {
		t.Error("the cluster stayed, or its namespace went")
	}
	for _, o := range wanted("east")[1:] {
		if h.has(t, o) {
			t.Errorf("%s %s is left behind", refOf(o).kind, o.GetName())
		}
	}
}

func TestSharedRolesStayWhileAnyClusterIsLeft(t *testing.T) {
	west := cluster(called("west"))
	west.UID = "west-1"
	h := newHub(t, interceptor.Funcs{}, cluster(wants), west)
	h.rounds(t)
	h.del(t, cluster())
	h.rounds(t)
	for _, o := range sharedRoles() {
		if !h.has(t, o) {
			t.Errorf("%s went with a cluster that was not the last", o.GetName())
		}
	}
}

// A work binding that somebody deleted is released with the last work, and made again. OCM-3.6
func TestADeletedWorkBindingComesBack(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, cluster(wants))
	h.rounds(t)
	h.del(t, workBinding("east"))
	h.rounds(t)
	b := workBinding("east")
	if !h.has(t, b) || !b.DeletionTimestamp.IsZero() {
		t.Errorf("%+v", b.ObjectMeta)
	}
}

func TestAutomaticAcceptanceHappensOnce(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, cluster())
	h.auto = true
	h.rounds(t)
	c := cluster()
	if !h.has(t, c) || !c.Spec.HubAcceptsClient || c.Annotations[AutoAcceptedAnnotation] != "2026-01-01T12:00:00Z" {
		t.Fatalf("%v %v", c.Annotations, c.Spec)
	}
	h.change(t, func(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = false })
	h.rounds(t)
	if got := h.verdict(t); got != "False HubClusterAdminDenied" {
		t.Errorf("the denial is not respected: %s", got)
	}
}

func TestARefusedGrantIsAVerdictAndTriedAgain(t *testing.T) {
	refuse := true
	h := newHub(t, interceptor.Funcs{Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
		if refuse {
			return apierrors.NewForbidden(rbacv1.Resource("clusterroles"), "any", errors.New("attempt to grant extra privileges"))
		}
		return c.Apply(ctx, o, opts...)
	}}, cluster(wants, holds))
	if err := h.round(); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	if got := h.verdict(t); got != "False Error" {
		t.Error(got)
	}
	refuse = false
	h.rounds(t)
	if got := h.verdict(t); got != "True HubClusterAdminAccepted" {
		t.Error(got)
	}
}

// Absence is never an order: a list that fails must not read as "no works are left".
func TestAFailedListTakesNothing(t *testing.T) {
	h := newHub(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
		if _, ok := l.(*workv1.ManifestWorkList); ok {
			return errors.New("timeout")
		}
		return c.List(ctx, l, opts...)
	}}, cluster(wants))
	h.rounds(t)
	h.change(t, func(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = false })
	before := h.writes
	if err := h.round(); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	if h.writes != before || !h.has(t, workBinding("east")) {
		t.Error("rights were taken because a read failed")
	}
}

// A binding that was replaced in the meantime is not the one that was seen.
func TestOnlyWhatWasSeenIsRemoved(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, cluster(wants))
	h.rounds(t)
	stale := registrationBinding("east")
	h.has(t, stale)
	replaced := registrationBinding("east")
	h.has(t, replaced)
	replaced.Annotations = map[string]string{"note": "mine now"}
	if err := h.Update(context.Background(), replaced); err != nil {
		t.Fatal(err)
	}
	steps := &Steps{Hub: h.Client, Live: h.Client}
	if err := steps.remove(context.Background(), stale); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if !h.has(t, registrationBinding("east")) {
		t.Error("somebody else's binding was deleted")
	}
}

func TestForeignFinalizersAndLabelsStay(t *testing.T) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "east", Labels: map[string]string{"team": "a"}}}
	c := cluster(wants)
	c.Finalizers = []string{"example.com/other"}
	h := newHub(t, interceptor.Funcs{}, c, ns)
	h.rounds(t)
	if !h.has(t, ns) || ns.Labels["team"] != "a" || ns.Labels[clusterv1.ClusterNameLabelKey] != "east" {
		t.Errorf("%v", ns.Labels)
	}
	h.del(t, cluster())
	h.rounds(t)
	if !h.has(t, c) || !slices.Equal(c.Finalizers, []string{"example.com/other"}) {
		t.Errorf("%v", c.Finalizers)
	}
}
