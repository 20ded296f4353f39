package federateddeployment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// spread has its replicas wherever Placement "everywhere" decides.
func spread(edits ...edit) *v1alpha1.FederatedDeployment {
	return web(append([]edit{func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Topology = v1alpha1.Topology{PlacementRef: &v1alpha1.PlacementRef{Name: "everywhere"}}
	}}, edits...)...)
}

func byScore(o *v1alpha1.FederatedDeployment) {
	o.Spec.Topology.PlacementRef.Weighting = v1alpha1.WeightScore
}

func atMost(n int32) edit {
	return func(o *v1alpha1.FederatedDeployment) { o.Spec.Topology.PlacementRef.MaxReplicasPerCluster = &n }
}

// decided is a Placement that is satisfied.
func decided(scores map[string]int64) *placed {
	return &placed{name: "everywhere", there: true, selected: len(scores), scores: scores,
		satisfied: &metav1.Condition{Type: clusterv1beta1.PlacementConditionSatisfied, Status: metav1.ConditionTrue, Reason: "AllDecisionsScheduled"}}
}

// onThree is decided for three clusters that are well.
func onThree(f facts) facts {
	f = with1(f, "north", func(c *cluster) { c.accepted, c.heard = true, true })
	f.placement = decided(map[string]int64{"east": 60, "north": 30, "west": 10})
	return f
}

func placement(p *placed) func(facts) facts {
	return func(f facts) facts { f.placement = p; return f }
}

var placements = map[string]struct {
	obj  *v1alpha1.FederatedDeployment
	new  bool // nothing runs yet
	seen func(facts) facts
	want []string
	says string
}{
	"equal shares": {new: true, obj: spread(), want: []string{"new revision", "create east/shop.web.east x3", "create north/shop.web.north x3", "create west/shop.web.west x4"}},
	"by score":     {new: true, obj: spread(byScore), want: []string{"new revision", "create east/shop.web.east x6", "create north/shop.web.north x3", "create west/shop.web.west x1"}},
	"a limit":      {new: true, obj: spread(byScore, atMost(5)), want: []string{"new revision", "create east/shop.web.east x5", "create north/shop.web.north x4", "create west/shop.web.west x1"}},
	"a limit that leaves some without place": {new: true, obj: spread(atMost(2)),
		want: []string{"new revision", "create east/shop.web.east x2", "create north/shop.web.north x2", "create west/shop.web.west x2", "Unschedulable "},
		says: `4 of 10 replicas find no place in 3 clusters of Placement "everywhere", each of which takes at most 2 (maxReplicasPerCluster); let it select more clusters, or lower spec.replicas`},
	"nothing changed": {obj: spread()},
	"scaling":         {obj: spread(replicas(13)), want: []string{"change east/shop.web.east x4", "change north/shop.web.north x4", "change west/shop.web.west x5"}},
	"no Placement": {obj: spread(), seen: placement(&placed{name: "everywhere"}), want: []string{"PlacementUnresolved "},
		says: `spec.topology.placementRef: Placement "everywhere" is not there; create it in this namespace, or name another; meanwhile 3 clusters keep what they have`},
	"no Placement yet": {new: true, obj: spread(), seen: placement(&placed{name: "everywhere"}), want: []string{"new revision", "PlacementUnresolved "},
		says: `Placement "everywhere" is not there; create it in this namespace, or name another`},
	"a Placement that has not decided": {obj: spread(), seen: placement(&placed{name: "everywhere", there: true}), want: []string{"PlacementUnresolved "},
		says: "has not decided yet"},
	"a Placement that is misconfigured": {obj: spread(), seen: func(f facts) facts {
		f.placement.scores = map[string]int64{"east": 1}
		f.placement.misconfigured = &metav1.Condition{Status: metav1.ConditionTrue, Message: "prioritizer:unknown name"}
		return f
	}, want: []string{"PlacementUnresolved "}, says: `Placement "everywhere" is misconfigured: prioritizer:unknown name; correct it; meanwhile 3 clusters keep what they have`},
	"an empty list removes nothing": {obj: spread(), seen: placement(&placed{name: "everywhere", there: true,
		satisfied: &metav1.Condition{Status: metav1.ConditionFalse, Reason: "NoManagedClusterMatched", Message: "No ManagedCluster matched any of the cluster predicate"}}),
		want: []string{"PlacementUnresolved "},
		says: `selects no cluster (NoManagedClusterMatched: No ManagedCluster matched any of the cluster predicate); change it, or scale to 0 replicas if none are wanted; meanwhile 3 clusters keep what they have`},
	"who was left out is said": {new: true, obj: spread(), seen: placement(&placed{name: "everywhere", there: true,
		satisfied: &metav1.Condition{Status: metav1.ConditionFalse, Reason: "NoManagedClusterMatched", Message: "No ManagedCluster matched any of the cluster predicate"},
		leftOut:   &metav1.Condition{Status: metav1.ConditionTrue, Message: "2 clusters left out: east, west: label tier=silver is not met"}}),
		want: []string{"new revision", "PlacementUnresolved "},
		says: `matched any of the cluster predicate; 2 clusters left out: east, west: label tier=silver is not met); change it`},
	"an empty list that satisfies removes nothing either": {obj: spread(), seen: placement(decided(nil)), want: []string{"PlacementUnresolved "}, says: "selects no cluster (AllDecisionsScheduled"},
	"while nobody decides, a new image still goes out": {obj: spread(image("web:v2")), seen: placement(decided(nil)),
		want: []string{"new revision", "change east/shop.web.east x3", "change north/shop.web.north x3", "change west/shop.web.west x4", "PlacementUnresolved "}},
	"and by score nothing moves": {obj: spread(byScore), seen: placement(&placed{name: "everywhere"}), want: []string{"PlacementUnresolved "}},
	"a cluster joins": {obj: spread(), seen: func(f facts) facts {
		f = with1(f, "south", func(c *cluster) { c.accepted, c.heard = true, true })
		f.placement = decided(map[string]int64{"east": 1, "north": 1, "west": 1, "south": 1})
		return f
	}, want: []string{"create south/shop.web.south x2"}},
	"and the others give when it has them": {obj: spread(), seen: func(f facts) facts {
		f = with1(f, "south", func(c *cluster) { c.accepted, c.heard = true, true })
		f.placement = decided(map[string]int64{"east": 1, "north": 1, "west": 1, "south": 1})
		more := spread()
		plan := decide(more, f)
		f.works = append(f.works, worked(plan.works[0].want.DeepCopy()))
		return reported(f, "south", map[string]any{valueAvailable: 1})
	}, want: []string{"change east/shop.web.east x2"}},
	"a cluster leaves: the others get its replicas first": {obj: spread(), seen: placement(decided(map[string]int64{"east": 1, "north": 1})),
		want: []string{"change east/shop.web.east x5", "change north/shop.web.north x5"}},
	"a cluster that is missing while decisions are being written stays": {obj: spread(), seen: func(f facts) facts {
		f = grown(onTwo(f))
		f.placement.selected = 3
		return f
	}},
	"its work goes when they are available": {obj: spread(), seen: func(f facts) facts { return grown(onTwo(f)) }, want: []string{"remove west/shop.web.west"}},
	"what does not serve is given up at once": {obj: spread(replicas(8)), seen: func(f facts) facts { return reported(f, "west", map[string]any{valueAvailable: 2}) },
		want: []string{"change west/shop.web.west x3"}},
	"but not while one of them is not": {obj: spread(), seen: func(f facts) facts { return reported(grown(onTwo(f)), "north", map[string]any{valueAvailable: 4}) }},
	"nor while one of them is silent":  {obj: spread(), seen: func(f facts) facts { return with1(grown(onTwo(f)), "north", silent) }},
	"nor for more than they were asked for": {obj: spread(), seen: func(f facts) facts {
		return reported(reported(grown(onTwo(f)), "north", map[string]any{valueAvailable: 4}), "east", map[string]any{valueAvailable: 9})
	}},
	"nor while anything in the spec is at fault": {obj: spread(), seen: func(f facts) facts {
		return with1(grown(onTwo(f)), "north", func(c *cluster) { c.accepted = false })
	}, want: []string{"ClusterUnresolved north"}, says: `spec.topology.placementRef (everywhere): cluster "north" is not accepted; accept it (kubectl flotilla accept north), or let Placement "everywhere" decide for another cluster`},
	"a silent cluster's work goes when the others make up for it": {obj: spread(), seen: func(f facts) facts { return with1(grown(onTwo(f)), "west", silent) },
		want: []string{"remove west/shop.web.west"}},
	"and not before": {obj: spread(), seen: func(f facts) facts {
		return with1(reported(grown(onTwo(f)), "north", map[string]any{valueAvailable: 4}), "west", silent)
	}},
	"scaling to 0 is how to ask for none": {obj: spread(replicas(0)), want: []string{"change east/shop.web.east x0", "change north/shop.web.north x0", "change west/shop.web.west x0"}},
}

func onTwo(f facts) facts {
	f.placement = decided(map[string]int64{"east": 1, "north": 1})
	return f
}

// grown has 5 replicas on each of east and north.
func grown(f facts) facts {
	for i, w := range f.works {
		if w.subset() == "west" {
			continue
		}
		live := w.live.DeepCopy()
		last := len(live.Spec.Workload.Manifests) - 1
		live.Spec.Workload.Manifests[last].Raw = []byte(strings.ReplaceAll(string(live.Spec.Workload.Manifests[last].Raw), `"replicas":3`, `"replicas":5`))
		f.works[i] = worked(live)
	}
	return reported(reported(f, "east", nil), "north", nil)
}

func TestPlacements(t *testing.T) {
	for name, tc := range placements {
		t.Run(name, func(t *testing.T) {
			seen := onThree(blank(tc.obj))
			if !tc.new {
				was := spread()
				if tc.obj.Spec.Topology.PlacementRef.Weighting == v1alpha1.WeightScore {
					was = spread(byScore)
				}
				seen = now(tc.obj, after(t, was, onThree(blank(was))))
				for _, c := range []string{"east", "north", "west"} {
					seen = reported(seen, c, nil)
				}
			}
			if tc.seen != nil {
				seen = tc.seen(seen)
			}
			plan := decide(tc.obj, seen)
			got := strings.Split(outline(plan), "\n")
			slices.Sort(got)
			slices.Sort(tc.want)
			if d := cmp.Diff(strings.Join(tc.want, "\n"), strings.Join(got, "\n")); d != "" {
				t.Error(d)
			}
			if tc.says != "" && (len(plan.problems) == 0 || !strings.Contains(plan.problems[0].message, tc.says)) {
				t.Errorf("problems %v do not say %q", plan.problems, tc.says)
			}
		})
	}
}

// A cluster that leaves is counted until it is gone, and its line says what it waits for.
func TestALeavingClusterIsTold(t *testing.T) {
	obj := spread()
	seen := onThree(after(t, obj, onThree(blank(obj))))
	for _, c := range []string{"east", "north", "west"} {
		seen = reported(seen, c, nil)
	}
	seen = onTwo(seen)
	(&steps{}).Report(obj, seen, decide(obj, seen), nil)
	want := []string{"east east  5 3 3 3 (subset east on east has 3 of 5 replicas ready)", "north north  5 3 3 3 (subset north on north has 3 of 5 replicas ready)",
		`west west  0 4 4 0 (Placement "everywhere" no longer decides for west, whose 4 replicas stay until others have replaced them: 10 of 10 replicas are available)`}
	if d := cmp.Diff(want, drawn(obj.Status.Subsets)); d != "" {
		t.Error(d)
	}
	check(t, obj, condition.Stalled, "False Settled: ")
}

func everywhere(selected int32, clusters ...string) []client.Object {
	key := metav1.ObjectMeta{Namespace: "shop", Name: "everywhere"}
	d := &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "everywhere-decision-1",
		Labels: map[string]string{clusterv1beta1.PlacementLabel: "everywhere"}}}
	for _, c := range clusters {
		d.Status.Decisions = append(d.Status.Decisions, clusterv1beta1.ClusterDecision{ClusterName: c})
	}
	return []client.Object{d, &clusterv1beta1.Placement{ObjectMeta: key, Status: clusterv1beta1.PlacementStatus{NumberOfSelectedClusters: selected,
		Conditions: []metav1.Condition{{Type: clusterv1beta1.PlacementConditionSatisfied, Status: metav1.ConditionTrue, Reason: "AllDecisionsScheduled"}}}}}
}

func TestAPlacementIsReadByItsLabel(t *testing.T) {
	h := newHub(t, append(everywhere(2, "east", "west"), spread(), member("east", "a"), member("west", "c"))...)
	h.rounds(1)
	if d := cmp.Diff([]string{"east/shop.web.east", "west/shop.web.west"}, h.works()); d != "" {
		t.Error(d)
	}
	if writes, err := h.round(); len(writes) > 0 || err != nil {
		t.Errorf("a second round wrote %v, %v", writes, err)
	}
	for _, o := range everywhere(2)[:1] { // the decision, and a Placement of another name
		if d := cmp.Diff([]string{"web"}, names(h.toPlaced(context.Background(), o))); d != "" {
			t.Error(d)
		}
	}
	if got := names(h.toPlaced(context.Background(), &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "other"}})); got != nil {
		t.Errorf("another Placement woke %v", got)
	}
}

// Absence is never an order: decisions that cannot be read, or are gone, remove nothing.
func TestDecisionsThatVanishRemoveNothing(t *testing.T) {
	h := newHub(t, append(everywhere(2, "east", "west"), spread(), member("east", "a"), member("west", "c"))...)
	h.rounds(1)
	h.fail = func(verb string, o runtime.Object) error {
		if verb == "list" && fmt.Sprintf("%T", o) == "*v1beta1.PlacementDecisionList" {
			return errors.New("cannot list")
		}
		return nil
	}
	if writes, err := h.round(); err == nil || len(writes) > 0 {
		t.Errorf("wrote %v, %v", writes, err)
	}
	h.fail = nil
	for _, gone := range everywhere(2) {
		if err := h.Hub.Delete(context.Background(), gone); err != nil {
			t.Fatal(err)
		}
		h.rounds(2)
		if d := cmp.Diff([]string{"east/shop.web.east", "west/shop.web.west"}, h.works()); d != "" {
			t.Error(d)
		}
		if c := condition.Find(h.web().Status.Conditions, condition.Stalled); c == nil || c.Reason != v1alpha1.ReasonPlacementUnresolved {
			t.Errorf("stalled is %+v", c)
		}
	}
}
