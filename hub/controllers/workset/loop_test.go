package workset

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	testclock "k8s.io/utils/clock/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// hub is a fake API server with the controller on it, at noon.
type hub struct {
	client.WithWatch
	t      *testing.T
	steps  *Steps
	clock  *testclock.FakePassiveClock
	writes []string
	refuse func(verb string, o client.Object) error
}

func newHub(t *testing.T, objects ...client.Object) *hub {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, clusterv1.Install, clusterv1beta1.Install, workv1.Install, workv1alpha1.Install} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	b := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&set{}, &workv1.ManifestWork{})
	for _, i := range indexes {
		b = b.WithIndex(i.of, i.key, i.extract)
	}
	for _, o := range objects {
		o.SetResourceVersion("")
	}
	h := &hub{t: t, clock: testclock.NewFakePassiveClock(noon), refuse: func(string, client.Object) error { return nil }}
	h.WithWatch = interceptor.NewClient(b.WithObjects(objects...).Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := h.wrote("create", o); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if err := h.wrote("patch", o); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if err := h.wrote("delete", o); err != nil {
				return err
			}
			return c.Delete(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			h.writes = append(h.writes, sub)
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	h.steps = &Steps{Hub: h, Live: h, Clusters: true, Clock: h.clock, left: newDepartures()}
	return h
}

func (h *hub) wrote(verb string, o client.Object) error {
	h.writes = append(h.writes, verb+" "+o.GetNamespace())
	return h.refuse(verb, o)
}

func (h *hub) round() (reconcile.Result, error) {
	return NewLoop(h.steps, nil).Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "team", Name: "web"}})
}

// after runs a round and gives what was written, sorted.
func (h *hub) after(more time.Duration) []string {
	h.t.Helper()
	h.clock.SetTime(h.clock.Now().Add(more))
	h.writes = nil
	if _, err := h.round(); err != nil {
		h.t.Fatal(err)
	}
	return slices.Sorted(slices.Values(h.writes))
}

func (h *hub) set() *set {
	h.t.Helper()
	var s set
	if err := h.Get(context.Background(), client.ObjectKey{Namespace: "team", Name: "web"}, &s); err != nil {
		h.t.Fatal(err)
	}
	return &s
}

func (h *hub) expect(want, got []string) {
	h.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		h.t.Error(d)
	}
}

func TestOneWritePerWorkAndChangeAndThenSilence(t *testing.T) {
	h := newHub(t, web(), placementObject("p", 2), decisionObject("p", 1, "east", "west"))
	h.expect([]string{"create east", "create west", "status"}, h.after(0))
	h.after(0) // what was written is seen
	h.expect(nil, h.after(time.Minute))

	s := h.set()
	template2(s)
	if err := h.Update(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	if got := h.after(0); !slices.Contains(got, "patch east") || !slices.Contains(got, "patch west") {
		t.Errorf("%v", got)
	}
	h.after(0)
	h.expect(nil, h.after(time.Minute))
}

func TestAClusterThatMovesBetweenDecisionsKeepsItsWork(t *testing.T) {
	ctx := context.Background()
	h := newHub(t, web(), placementObject("p", 0), decisionObject("p", 1, "east", "west"), decisionObject("p", 2))
	h.after(0)
	decide := func(n int, clusters ...string) {
		t.Helper()
		if err := h.Update(ctx, withVersion(t, h, decisionObject("p", n, clusters...))); err != nil {
			t.Fatal(err)
		}
	}
	decide(1, "east")
	if got := h.after(0); slices.Contains(got, "delete west") {
		t.Errorf("%v", got)
	}
	decide(2, "west")
	h.after(settle)
	decide(2)
	h.after(0)
	if got := h.after(settle); !slices.Contains(got, "delete west") {
		t.Errorf("%v: west was really let go", got)
	}
}

func withVersion(t *testing.T, h *hub, o *clusterv1beta1.PlacementDecision) client.Object {
	t.Helper()
	var there clusterv1beta1.PlacementDecision
	if err := h.Get(context.Background(), client.ObjectKeyFromObject(o), &there); err != nil {
		t.Fatal(err)
	}
	o.ResourceVersion = there.ResourceVersion
	return o
}

func TestAFailedReadDeletesNothing(t *testing.T) {
	h := newHub(t, web(), placementObject("p", 0), decisionObject("p", 1), workOf("east"))
	h.steps.Hub = interceptor.NewClient(h.WithWatch, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*clusterv1beta1.PlacementDecisionList); ok {
				return errors.New("timeout")
			}
			return c.List(ctx, list, opts...)
		},
	})
	for range 3 {
		h.clock.SetTime(h.clock.Now().Add(time.Minute))
		if _, err := h.round(); err == nil {
			t.Error("the failure is lost")
		}
	}
	if len(h.writes) > 0 {
		t.Errorf("%v", h.writes)
	}
}

func TestOneClusterThatRefusesDoesNotHoldTheOthers(t *testing.T) {
	h := newHub(t, web(), placementObject("p", 0), decisionObject("p", 1, "east", "west"))
	h.refuse = func(verb string, o client.Object) error {
		if verb == "create" && o.GetNamespace() == "east" {
			return apierrors.NewBadRequest("too large")
		}
		return nil
	}
	if _, err := h.round(); err == nil {
		t.Error("the failure is lost")
	}
	c := meta.FindStatusCondition(h.set().Status.Conditions, "ManifestworkApplied")
	if !slices.Contains(h.writes, "create west") || c == nil || !strings.Contains(c.Message, "create work in east: too large") {
		t.Errorf("%v %v", h.writes, c)
	}
}

func TestALostRaceIsNoError(t *testing.T) {
	h := newHub(t, web(template2), placementObject("p", 0), decisionObject("p", 1, "east"), workOf("east"))
	h.refuse = func(verb string, o client.Object) error {
		if verb == "patch" {
			return apierrors.NewConflict(workv1.Resource("manifestworks"), o.GetName(), errors.New("newer"))
		}
		return nil
	}
	if _, err := h.round(); err != nil {
		t.Error(err)
	}
}

func TestANameThatIsTakenIsExplained(t *testing.T) {
	wanted := newTemplate(web())
	stranger := wanted.work("p", "east", nil)
	stranger.Labels = nil
	h := newHub(t, web(), placementObject("p", 0), decisionObject("p", 1, "east"), stranger)
	if _, err := h.round(); err == nil || !strings.Contains(err.Error(), "put the label back or delete it") {
		t.Errorf("%v", err)
	}
}

func TestDeletingASet(t *testing.T) {
	for policy, stays := range map[workv1alpha1.CascadeDeletionPolicy]bool{workv1alpha1.Background: false, workv1alpha1.Foreground: true} {
		t.Run(string(policy), func(t *testing.T) {
			held := workOf("east", func(w *workv1.ManifestWork) { w.Finalizers = []string{workv1.ManifestWorkFinalizer} })
			h := newHub(t, web(deleted(policy)), held)
			h.after(0)
			h.after(0)
			err := h.Get(context.Background(), client.ObjectKey{Namespace: "team", Name: "web"}, &set{})
			if apierrors.IsNotFound(err) == stays {
				t.Fatalf("the set is there: %v, while its work is on its way out", err)
			}
			var w workv1.ManifestWork
			if err := h.Get(context.Background(), client.ObjectKeyFromObject(held), &w); err != nil || w.DeletionTimestamp.IsZero() {
				t.Fatalf("%v %v", err, w.DeletionTimestamp)
			}
			if !stays {
				return
			}
			w.Finalizers = nil
			if err := h.Update(context.Background(), &w); err != nil {
				t.Fatal(err)
			}
			h.after(0)
			if err := h.Get(context.Background(), client.ObjectKey{Namespace: "team", Name: "web"}, &set{}); !apierrors.IsNotFound(err) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestWhatIsToldOfClusters(t *testing.T) {
	detached, leaves := clusterObject("e", metav1.ConditionTrue), clusterObject("f", metav1.ConditionTrue)
	detached.Annotations = map[string]string{"flotilla.dev/detach": "eve 2026-01-01T12:00:00Z"}
	leaves.Finalizers, leaves.DeletionTimestamp = []string{"cluster.open-cluster-management.io/resource-cleanup"}, &metav1.Time{Time: noon}
	h := newHub(t, clusterObject("a", metav1.ConditionUnknown), clusterObject("b", metav1.ConditionTrue), clusterObject("c", ""), clusterObject("d", metav1.ConditionFalse),
		detached, leaves)
	var seen facts
	if err := h.steps.clusters(context.Background(), web(), &seen); err != nil || len(seen.silent) > 0 {
		t.Errorf("%v %v: with strategy All nobody waits for anybody", seen.silent, err)
	}
	err := h.steps.clusters(context.Background(), web(progressively(1, 0)), &seen)
	if d := cmp.Diff([]map[string]bool{{"a": true, "d": true}, {"e": true}, {"f": true}}, []map[string]bool{seen.silent, seen.detaching, seen.leaving}); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	h.steps.Clusters, seen = false, facts{}
	if err := h.steps.clusters(context.Background(), web(progressively(1, 0)), &seen); err != nil || seen.silent != nil {
		t.Errorf("%v %v: without ManagedClusters nobody is known to be silent", seen.silent, err)
	}
}

func TestDecisionsAreJoinedByLabel(t *testing.T) {
	second := decisionObject("p", 2, "west", "east")
	second.Labels[clusterv1beta1.DecisionGroupNameLabel] = "late"
	h := newHub(t, placementObject("p", 3), decisionObject("p", 1, "east"), second, decisionObject("q", 1, "north"))
	p, err := h.steps.placement(context.Background(), "team", "p")
	if err != nil || len(p.selected) != 2 || p.announced != 3 || p.decisions != 2 || p.groups() != 2 {
		t.Fatalf("%+v %v", p, err)
	}
	if p.selected["east"].Index != 0 || p.selected["west"].Name != "late" {
		t.Errorf("%v", p.selected)
	}
}

func TestWhoIsWoken(t *testing.T) {
	ctx := context.Background()
	busy, idle := web(), web(func(s *set) { s.Name, s.UID = "idle", "set-2" }, placedBy("q"))
	meta.SetStatusCondition(&idle.Status.Conditions, metav1.Condition{Type: "PlacementRolledOut", Status: metav1.ConditionTrue, Reason: "Complete"})
	h := newHub(t, busy, idle)
	w := wake{h}
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	next := func() types.NamespacedName {
		t.Helper()
		r, _ := q.Get()
		q.Done(r)
		return r.NamespacedName
	}
	w.ofCluster().Create(ctx, event.CreateEvent{Object: clusterObject("a", "")}, q)
	if got := next(); got.Name != "web" || q.Len() > 0 {
		t.Errorf("%v and %d more: a set that is through does not care who is heard from", got, q.Len())
	}
	w.ofPlacement(placementOf).Create(ctx, event.CreateEvent{Object: decisionObject("q", 1)}, q)
	if got := next(); got.Name != "idle" || q.Len() > 0 {
		t.Errorf("%v and %d more", got, q.Len())
	}
	before, after := workOf("east"), workOf("east")
	after.Status.ResourceStatus.Manifests = []workv1.ManifestCondition{{}}
	if !sameToUs(before, after) || sameToUs(before, workOf("east", says("Applied"))) || sameToUs(before, workOf("east", leaving)) {
		t.Error("feedback is none of a set's business, conditions and deletion are")
	}
	w.ofWork().Delete(ctx, event.DeleteEvent{Object: before}, q)
	if got := next(); got.Name != "web" {
		t.Errorf("%v", got)
	}
}

func TestOnlySilenceAndReturnAreNewsOfACluster(t *testing.T) {
	p := heardChanged()
	for name, tc := range map[string]struct {
		before, after metav1.ConditionStatus
		news          bool
	}{
		"silent":    {metav1.ConditionTrue, metav1.ConditionUnknown, true},
		"back":      {metav1.ConditionUnknown, metav1.ConditionTrue, true},
		"heartbeat": {metav1.ConditionTrue, metav1.ConditionTrue, false},
		"still":     {metav1.ConditionUnknown, metav1.ConditionFalse, false},
	} {
		if got := p.Update(event.UpdateEvent{ObjectOld: clusterObject("a", tc.before), ObjectNew: clusterObject("a", tc.after)}); got != tc.news {
			t.Errorf("%s: %v", name, got)
		}
	}
}
