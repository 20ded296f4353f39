package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	testclock "k8s.io/utils/clock/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clusterv1.Install, clusterv1alpha1.Install, clusterv1beta1.Install, clusterv1beta2.Install} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func cluster(name string, taints ...string) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{clusterv1beta2.ClusterSetLabel: "prod"}}}
	for _, t := range taints {
		c.Spec.Taints = append(c.Spec.Taints, clusterv1.Taint{Key: t, Effect: clusterv1.TaintEffectNoSelect, TimeAdded: metav1.NewTime(noon)})
	}
	return c
}

func prod() *clusterv1beta2.ManagedClusterSet {
	return &clusterv1beta2.ManagedClusterSet{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}
}

func binding(set string) *clusterv1beta2.ManagedClusterSetBinding {
	return &clusterv1beta2.ManagedClusterSetBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: set},
		Spec: clusterv1beta2.ManagedClusterSetBindingSpec{ClusterSet: set}}
}

func placement(change ...func(*clusterv1beta1.Placement)) *clusterv1beta1.Placement {
	p := &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "web-uid", Generation: 3}}
	for _, c := range change {
		c(p)
	}
	return p
}

func number(n int32) func(*clusterv1beta1.Placement) {
	return func(p *clusterv1beta1.Placement) { p.Spec.NumberOfClusters = &n }
}

// hub is a fake API server with the controller on it, at noon. Its watch events are what sync brings.
type hub struct {
	client.Client
	steps  *Steps
	clock  *testclock.FakePassiveClock
	events *record.FakeRecorder
	writes []string
	// seen is called after each write, with the clusters that all decisions together name.
	seen func(clusters []string)
}

func newHub(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *hub {
	t.Helper()
	h := &hub{clock: testclock.NewFakePassiveClock(noon), events: record.NewFakeRecorder(1000)}
	base := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).
		WithStatusSubresource(&clusterv1beta1.Placement{}, &clusterv1beta1.PlacementDecision{}).
		WithIndex(&clusterv1beta1.PlacementDecision{}, ofPlacement, placementNames).WithInterceptorFuncs(funcs).Build()
	wrote := func(what string, o client.Object, err error) error {
		h.writes = append(h.writes, what+" "+o.GetName())
		if h.seen != nil {
			h.seen(strings.Fields(h.decided(t)))
		}
		return err
	}
	h.Client = interceptor.NewClient(base, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			o.SetUID(types.UID("uid-" + o.GetName()))
			return wrote("create", o, c.Create(ctx, o, opts...))
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return wrote("patch", o, c.Patch(ctx, o, p, opts...))
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return wrote("delete", o, c.Delete(ctx, o, opts...))
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return wrote(sub, o, c.SubResource(sub).Patch(ctx, o, p, opts...))
		},
	})
	h.steps = &Steps{Hub: h.Client, Events: h.events, view: newView()}
	h.sync(t)
	return h
}

// sync shows the controller all there is.
func (h *hub) sync(t *testing.T) {
	t.Helper()
	h.steps.view = newView()
	var clusters clusterv1.ManagedClusterList
	var decisions clusterv1beta1.PlacementDecisionList
	for _, list := range []client.ObjectList{&clusters, &decisions} {
		if err := h.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	for i := range clusters.Items {
		h.steps.view.setCluster(&clusters.Items[i])
	}
	for i := range decisions.Items {
		h.steps.view.setDecision(&decisions.Items[i])
	}
}

func (h *hub) try() (reconcile.Result, error) {
	l := &loop.Loop[*clusterv1beta1.Placement, facts, plan]{Steps: h.steps, Client: h.Client, Clock: h.clock, Events: h.events,
		New: func() *clusterv1beta1.Placement { return &clusterv1beta1.Placement{} }}
	return l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "web"}})
}

func (h *hub) round(t *testing.T) reconcile.Result {
	t.Helper()
	result, err := h.try()
	if err != nil {
		t.Fatal(err)
	}
	h.sync(t)
	return result
}

func (h *hub) placement(t *testing.T) *clusterv1beta1.Placement {
	t.Helper()
	var p clusterv1beta1.Placement
	if err := h.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, &p); err != nil {
		t.Fatal(err)
	}
	return &p
}

func (h *hub) decisions(t *testing.T) []clusterv1beta1.PlacementDecision {
	t.Helper()
	var all clusterv1beta1.PlacementDecisionList
	if err := h.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	return all.Items
}

// decided are the clusters of all decisions.
func (h *hub) decided(t *testing.T) string {
	t.Helper()
	var names []string
	for _, d := range h.decisions(t) {
		for _, c := range d.Status.Decisions {
			names = append(names, c.ClusterName)
		}
	}
	return strings.Join(names, " ")
}

func (h *hub) told() (all []string) {
	for len(h.events.Events) > 0 {
		all = append(all, <-h.events.Events)
	}
	return all
}

func (h *hub) update(t *testing.T, change func(*clusterv1beta1.Placement)) {
	t.Helper()
	p := h.placement(t)
	change(p)
	p.Generation++
	if err := h.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func (h *hub) has(t *testing.T, kind string, status metav1.ConditionStatus, reason, message string) {
	t.Helper()
	p := h.placement(t)
	c := meta.FindStatusCondition(p.Status.Conditions, kind)
	if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, message) || c.ObservedGeneration != p.Generation {
		t.Errorf("%s is %+v", kind, c)
	}
}

// OCM-17.1, OCM-17.3, OCM-17.4: one decision with its labels, owner and clusters, the status, the events; and then silence.
func TestAPlacementIsDecidedOnceAndThenNothingIsWritten(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), placement(), cluster("west"), cluster("east"), cluster("north", "gpu"))
	h.round(t)
	all := h.decisions(t)
	if len(all) != 1 || all[0].Name != "web-decision-1" || h.decided(t) != "east west" {
		t.Fatalf("%+v", all)
	}
	want := map[string]string{"cluster.open-cluster-management.io/placement": "web",
		"cluster.open-cluster-management.io/decision-group-index": "0", "cluster.open-cluster-management.io/decision-group-name": ""}
	if d := cmp.Diff(want, all[0].Labels); d != "" {
		t.Error(d)
	}
	owner := metav1.GetControllerOf(&all[0])
	if owner == nil || owner.Kind != "Placement" || owner.UID != "web-uid" || owner.APIVersion != "cluster.open-cluster-management.io/v1beta1" {
		t.Errorf("%+v", owner)
	}
	if d := all[0].Status.Decisions[0]; d.Score != 200 || d.Reason != "Balance 100, Steady 100" {
		t.Errorf("%+v", d)
	}
	p := h.placement(t)
	groups := []clusterv1beta1.DecisionGroupStatus{{Decisions: []string{"web-decision-1"}, ClustersCount: 2}}
	if d := cmp.Diff(groups, p.Status.DecisionGroups); d != "" || p.Status.NumberOfSelectedClusters != 2 || !p.Status.LastScoreUpdateTime.Time.Equal(noon) {
		t.Errorf("%s%+v", d, p.Status)
	}
	h.has(t, "PlacementSatisfied", "True", "AllDecisionsScheduled", "All cluster decisions scheduled")
	h.has(t, "PlacementMisconfigured", "False", "Succeedconfigured", "Placement configurations check pass")
	h.has(t, "ClustersLeftOut", "True", "Refused", "1 cluster left out: north: taint gpu:NoSelect is not tolerated")
	wantEvents := []string{
		"Normal DecisionCreate Decision web-decision-1 is created with placement web in namespace shop",
		"Normal ScoreUpdate east:100 west:100",
		"Normal AllDecisionsScheduled All cluster decisions scheduled",
		"Normal Refused 1 cluster left out: north: taint gpu:NoSelect is not tolerated",
	}
	if d := cmp.Diff(wantEvents, h.told()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"create web-decision-1", "status web-decision-1", "status web"}, h.writes); d != "" {
		t.Error(d)
	}

	h.writes = nil
	for range 3 {
		h.clock.SetTime(h.clock.Now().Add(time.Hour))
		h.round(t)
	}
	if len(h.writes) != 0 || len(h.told()) != 0 {
		t.Errorf("nothing changed, and yet %v", h.writes)
	}
}

// OCM-16.6: only what is wrong from the start gets an empty decision; what was good is kept, and the condition says so.
func TestAMisconfiguredPlacementKeepsItsDecisions(t *testing.T) {
	wrong := func(p *clusterv1beta1.Placement) {
		p.Spec.PrioritizerPolicy.Configurations = []clusterv1beta1.PrioritizerConfig{{ScoreCoordinate: &clusterv1beta1.ScoreCoordinate{BuiltIn: "Cheapest"}}}
	}
	t.Run("from the start", func(t *testing.T) {
		h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), placement(wrong), cluster("east"))
		h.round(t)
		if all := h.decisions(t); len(all) != 1 || len(all[0].Status.Decisions) != 0 || h.placement(t).Status.NumberOfSelectedClusters != 0 {
			t.Errorf("%+v", all)
		}
		h.has(t, "PlacementMisconfigured", "True", "Misconfigured", `Prioritizer:configuration 0: no built-in prioritizer is called "Cheapest"`)
		h.has(t, "PlacementSatisfied", "False", "NotAllDecisionsScheduled", "Cheapest")
	})
	t.Run("later", func(t *testing.T) {
		h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), placement(), cluster("east"), cluster("west"))
		h.round(t)
		h.update(t, wrong)
		h.writes = nil
		h.round(t)
		if h.decided(t) != "east west" || h.placement(t).Status.NumberOfSelectedClusters != 2 {
			t.Errorf("decisions are %q", h.decided(t))
		}
		h.has(t, "PlacementMisconfigured", "True", "Misconfigured", "Cheapest")
		if d := cmp.Diff([]string{"status web"}, h.writes); d != "" {
			t.Error(d)
		}
		h.update(t, func(p *clusterv1beta1.Placement) { p.Spec.PrioritizerPolicy.Configurations = nil })
		h.round(t)
		h.has(t, "PlacementMisconfigured", "False", "Succeedconfigured", "")
		h.has(t, "PlacementSatisfied", "True", "AllDecisionsScheduled", "")
	})
	t.Run("but not past its binding", func(t *testing.T) {
		h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), placement(), cluster("east"))
		h.round(t)
		h.update(t, wrong)
		if err := h.Delete(t.Context(), binding("prod")); err != nil {
			t.Fatal(err)
		}
		h.round(t)
		if h.decided(t) != "" {
			t.Errorf("the namespace may not have %q any more", h.decided(t))
		}
	})
}

func TestAFailedReadChangesNothing(t *testing.T) {
	broken := false
	h := newHub(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
		if _, ok := l.(*clusterv1beta2.ManagedClusterSetBindingList); ok && broken {
			return errors.New("timeout")
		}
		return c.List(ctx, l, opts...)
	}}, prod(), binding("prod"), placement(), cluster("east"))
	h.round(t)
	broken, h.writes = true, nil
	if _, err := h.try(); err == nil || len(h.writes) != 0 || h.decided(t) != "east" {
		t.Errorf("%v, wrote %v", err, h.writes)
	}
}

// OCM-16.1
func TestADisabledPlacementIsNotTouched(t *testing.T) {
	off := func(p *clusterv1beta1.Placement) {
		p.Annotations = map[string]string{"cluster.open-cluster-management.io/experimental-scheduling-disable": "true"}
	}
	h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), placement(), cluster("east"))
	h.round(t)
	h.update(t, off)
	if err := h.Create(t.Context(), cluster("west")); err != nil {
		t.Fatal(err)
	}
	h.sync(t)
	h.writes = nil
	if result := h.round(t); len(h.writes) != 0 || h.decided(t) != "east" || result.RequeueAfter != 0 {
		t.Errorf("wrote %v", h.writes)
	}
}

// OCM-16.4: a toleration that ends moves the cluster out at that moment.
func TestTheEndOfATolerationIsAwaited(t *testing.T) {
	h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), cluster("east", "gpu"), cluster("west"), placement(func(p *clusterv1beta1.Placement) {
		p.Spec.Tolerations = []clusterv1beta1.Toleration{{Key: "gpu", Operator: "Exists", TolerationSeconds: new(int64(300))}}
	}))
	result := h.round(t)
	if result.RequeueAfter != 5*time.Minute || h.decided(t) != "east west" {
		t.Fatalf("%v %q", result, h.decided(t))
	}
	h.clock.SetTime(noon.Add(result.RequeueAfter))
	if result := h.round(t); result.RequeueAfter != 0 || h.decided(t) != "west" {
		t.Errorf("%v %q", result, h.decided(t))
	}
}

// OCM-17.1: whatever moves between decisions, a consumer that joins them all never misses a cluster that stays selected.
func TestAClusterThatStaysIsNeverMissing(t *testing.T) {
	var objects []client.Object
	for i := range 250 {
		objects = append(objects, cluster(fmt.Sprintf("c%03d", i)))
	}
	for name, tc := range map[string]struct {
		change func(t *testing.T, h *hub)
		stay   int
	}{
		"one comes at the front": {func(t *testing.T, h *hub) { h.must(t, h.Create(t.Context(), cluster("a"))) }, 250},
		"one goes at the front":  {func(t *testing.T, h *hub) { h.must(t, h.Delete(t.Context(), cluster("c000"))) }, 249},
		"groups": {func(t *testing.T, h *hub) {
			h.update(t, func(p *clusterv1beta1.Placement) {
				p.Spec.DecisionStrategy.GroupStrategy = clusterv1beta1.GroupStrategy{ClustersPerDecisionGroup: intstr.FromInt32(60), DecisionGroups: []clusterv1beta1.DecisionGroup{{
					GroupName: "late", ClusterSelector: clusterv1beta1.GroupClusterSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"late": "yes"}}}}}}
			})
		}, 250},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, interceptor.Funcs{}, append([]client.Object{prod(), binding("prod"), placement()}, objects...)...)
			for i := 200; i < 230; i++ {
				h.must(t, h.Patch(t.Context(), cluster(fmt.Sprintf("c%03d", i)), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"late":"yes"}}}`))))
			}
			h.sync(t)
			h.round(t)
			before := strings.Fields(h.decided(t))
			tc.change(t, h)
			h.sync(t)
			h.seen = func(now []string) {
				missing := 0
				for _, c := range before {
					if !slices.Contains(now, c) {
						missing++
					}
				}
				if missing > 250-tc.stay {
					t.Errorf("%d clusters are missing after %v", missing, h.writes[len(h.writes)-1])
				}
			}
			h.round(t)
			h.seen = nil
			after := strings.Fields(h.decided(t))
			slices.Sort(after)
			if n := len(after); n != len(slices.Compact(after)) || n < tc.stay {
				t.Errorf("%d clusters in the end", n)
			}
			h.writes = nil
			if h.round(t); len(h.writes) != 0 {
				t.Errorf("another round writes %v", h.writes)
			}
		})
	}
}

func (h *hub) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// OCM-17.1: surplus decisions go, at most a hundred clusters each, named groups keep their labels.
func TestDecisionsAreDividedAndSurplusGoes(t *testing.T) {
	objects := []client.Object{prod(), binding("prod"), placement()}
	for i := range 201 {
		objects = append(objects, cluster(fmt.Sprintf("c%03d", i)))
	}
	h := newHub(t, interceptor.Funcs{}, objects...)
	h.round(t)
	var sizes []int
	for _, d := range h.decisions(t) {
		sizes = append(sizes, len(d.Status.Decisions))
	}
	if !slices.Equal(sizes, []int{100, 100, 1}) {
		t.Error(sizes)
	}
	if got := h.placement(t).Status.DecisionGroups; len(got) != 1 || len(got[0].Decisions) != 3 || got[0].ClustersCount != 201 {
		t.Errorf("%+v", got)
	}
	h.told()
	h.update(t, number(1))
	h.round(t)
	if all := h.decisions(t); len(all) != 1 || h.decided(t) != "c000" {
		t.Errorf("%d decisions, %s", len(all), h.decided(t))
	}
	h.has(t, "ClustersLeftOut", "True", "Refused", "200 clusters left out: c001, c002")
	if told := strings.Join(h.told(), "\n"); !strings.Contains(told, "DecisionDelete Decision web-decision-3 is deleted") || !strings.Contains(told, "DecisionUpdate Decision web-decision-1") {
		t.Error(told)
	}
	h.update(t, number(0))
	h.round(t)
	if all := h.decisions(t); len(all) != 1 || len(all[0].Status.Decisions) != 0 {
		t.Errorf("there is always one: %+v", all)
	}
}

// OCM-17.1: a failed write is told and tried again, it does not hide behind a cleanup that worked.
func TestAFailedWriteIsNotDropped(t *testing.T) {
	full := true
	h := newHub(t, interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
		if _, ok := o.(*clusterv1beta1.PlacementDecision); ok && full {
			return errors.New("quota of etcd is used up")
		}
		return c.SubResource(sub).Patch(ctx, o, p, opts...)
	}}, prod(), binding("prod"), placement(), cluster("east"))
	if _, err := h.try(); err == nil {
		t.Error("the failure is lost")
	}
	h.has(t, "PlacementSatisfied", "False", "NotAllDecisionsScheduled", "write PlacementDecision web-decision-1: quota of etcd is used up")
	if n := h.placement(t).Status.NumberOfSelectedClusters; n != 0 {
		t.Errorf("status says %d clusters and no decision does", n)
	}
	full = false
	h.sync(t)
	h.round(t)
	h.has(t, "PlacementSatisfied", "True", "AllDecisionsScheduled", "")
}

// Decisions that an older placement of the same name left behind, or whose labels were edited, are taken over.
func TestStrayedDecisionsAreTakenBack(t *testing.T) {
	left := &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-decision-1", UID: "old",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "cluster.open-cluster-management.io/v1beta1", Kind: "Placement", Name: "web", UID: "gone", Controller: new(true)}}},
		Status: clusterv1beta1.PlacementDecisionStatus{Decisions: []clusterv1beta1.ClusterDecision{{ClusterName: "west"}}}}
	h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), placement(number(1)), cluster("east"), cluster("west"), left)
	h.round(t)
	all := h.decisions(t)
	if len(all) != 1 || !metav1.IsControlledBy(&all[0], placement()) || len(all[0].Labels) != 3 || h.decided(t) != "west" {
		t.Errorf("%+v", all)
	}
}

func TestADecisionOfSomebodyElseIsLeftAlone(t *testing.T) {
	theirs := &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-decision-1", UID: "old",
		Labels:          map[string]string{clusterv1beta1.PlacementLabel: "web"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "cm", UID: "cm", Controller: new(true)}}}}
	h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), placement(), theirs)
	if _, err := h.try(); err == nil || !strings.Contains(err.Error(), "is controlled by ConfigMap cm") {
		t.Error(err)
	}
}

// OCM-16.5: a name of 64 characters makes no label, so it makes no decision.
func TestANameThatIsTooLongWritesNoDecision(t *testing.T) {
	long := strings.Repeat("x", 64)
	p := placement(func(p *clusterv1beta1.Placement) { p.Name = long })
	h := newHub(t, interceptor.Funcs{}, prod(), binding("prod"), p, cluster("east"))
	seen, err := h.steps.Observe(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	todo := h.steps.Decide(p, seen, noon)
	if len(todo.writes) != 0 || todo.result.Problem == nil {
		t.Errorf("%+v", todo.writes)
	}
}
