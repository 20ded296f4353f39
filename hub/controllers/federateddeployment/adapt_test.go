package federateddeployment

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// elastic has subset a with at most 5 replicas, and b; both move what finds no node.
func elastic(edits ...edit) *v1alpha1.FederatedDeployment {
	return web(append([]edit{without(2), subset(0, func(s *v1alpha1.Subset) { s.MaxReplicas = new(intstr.FromInt32(5)) }), func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Topology.ScheduleStrategy = &v1alpha1.ScheduleStrategy{Type: v1alpha1.ScheduleAdaptive}
	}}, edits...)...)
}

// spell is a member that says how its pods do, and a hub that acts upon it, minute by minute.
type spell struct {
	t    *testing.T
	obj  *v1alpha1.FederatedDeployment
	seen facts
	now  time.Time
}

func (s *spell) decide() Plan { return (&steps{}).Decide(s.obj, s.seen, s.now) }

// settle lets everything be written, and members run what they were asked for but for so many pods of a subset.
func (s *spell) settle(stuck map[string]int) Plan {
	s.t.Helper()
	plan := s.decide()
	(&steps{}).Report(s.obj, s.seen, plan, nil)
	for _, c := range plan.works {
		for i, w := range s.seen.works {
			if w.live == c.live {
				live := c.want.DeepCopy()
				live.Status = w.live.Status
				s.seen.works[i] = worked(live)
			}
		}
		if c.live == nil {
			s.seen.works = append(s.seen.works, worked(c.want.DeepCopy()))
		}
	}
	for _, w := range s.seen.works {
		n := stuck[w.subset()]
		ready := max(0, int(w.replicas)-n)
		s.seen = reported(s.seen, w.subset(), map[string]any{valueReady: ready, valueAvailable: ready, valueUpdatedReady: ready, valueUnschedulable: stuckText(n)})
	}
	return plan
}

// Annotations are text.
func stuckText(n int) string { return strings.TrimSpace(string(rune('0' + n))) }

func (s *spell) want(a, b int32, condition string) {
	s.t.Helper()
	got := map[string]int32{}
	for _, w := range s.seen.works {
		got[w.subset()] = w.replicas
	}
	if d := cmp.Diff(map[string]int32{"a": a, "b": b}, got); d != "" {
		s.t.Error(d)
	}
	if c := toldOf(s.obj, "a"); c != condition {
		s.t.Errorf("a is %q, want %q", c, condition)
	}
}

func toldOf(obj *v1alpha1.FederatedDeployment, subset string) string {
	for _, s := range obj.Status.Subsets {
		if c := condition.Find(s.Conditions, Schedulable); s.Name == subset && c != nil {
			return string(c.Status) + " " + c.Reason + " " + c.LastTransitionTime.Sub(noon).String()
		}
	}
	return ""
}

// WL-5.5.2, WL-5.7: the worked example, over time.
func TestReplicasWithoutNodesMoveOnAndRunningOnesStay(t *testing.T) {
	s := &spell{t: t, obj: elastic(), seen: blank(elastic()), now: noon}
	s.settle(nil)
	s.want(5, 5, "")
	s.now = noon.Add(time.Minute)
	s.settle(map[string]int{"a": 2}) // the members speak, the hub hears it next
	plan := s.settle(nil)
	s.want(3, 7, "False reschedule 1m0s")
	if plan.Recheck() != 5*time.Minute {
		t.Errorf("looks again after %s", plan.Recheck())
	}
	s.now = s.now.Add(299 * time.Second)
	if plan = s.settle(nil); plan.Recheck() != time.Second {
		t.Errorf("looks again after %s", plan.Recheck())
	}
	s.want(3, 7, "False reschedule 1m0s")
	s.now = s.now.Add(time.Second)
	s.settle(nil)
	s.want(3, 7, "True recover 6m0s") // running pods are not moved back
	s.obj.Spec.Replicas = new(int32(12))
	s.settle(nil)
	s.want(5, 7, "True recover 6m0s") // growing fills a first
	s.obj.Spec.Replicas = new(int32(6))
	s.settle(nil)
	s.settle(nil)
	s.want(5, 1, "True recover 6m0s")
	s.settle(map[string]int{"a": 1})
	s.settle(nil)
	s.want(4, 2, "False reschedule 6m0s") // it relapses
}

// WL-5.7: the cool-down counts from the first time, and is not extended.
func TestTheCoolDownIsNotExtended(t *testing.T) {
	s := &spell{t: t, obj: elastic(), seen: blank(elastic()), now: noon}
	s.settle(map[string]int{"a": 2})
	for _, stuck := range []int{0, 1, 0, 1, 1} { // what its member says after each look
		s.now = s.now.Add(59 * time.Second)
		s.settle(map[string]int{"a": stuck})
	}
	if c := toldOf(s.obj, "a"); c != "False reschedule 59s" {
		t.Error(c)
	}
	s.now = noon.Add(359 * time.Second) // recovers and relapses at once
	s.settle(nil)
	if c := toldOf(s.obj, "a"); c != "False reschedule 5m59s" {
		t.Error(c)
	}
}

func TestAdaptiveSpeaksOnlyWhenAsked(t *testing.T) {
	fixed := web()
	seen := reported(running(t, fixed), "a", map[string]any{valueReady: 0, valueUnschedulable: 2})
	plan := decide(fixed, seen)
	(&steps{}).Report(fixed, seen, plan, nil)
	if !plan.empty() || toldOf(fixed, "a") != "" || plan.Recheck() != 0 {
		t.Errorf("a fixed one plans %q, %s", outline(plan), toldOf(fixed, "a"))
	}
	for _, rule := range decide(elastic(), blank(elastic())).works[0].want.Spec.ManifestConfigs[1].FeedbackRules {
		if last := rule.JsonPaths[len(rule.JsonPaths)-1]; last.Path != `.metadata.annotations.apps\.flotilla\.dev/unschedulable-replicas` {
			t.Errorf("asks for %+v", last)
		}
	}
	object := decide(elastic(), blank(elastic())).works[0].want.Spec.Workload.Manifests[1].Raw
	if !strings.Contains(string(object), `"apps.flotilla.dev/reschedule-critical-seconds":"30"`) {
		t.Errorf("the member is not told: %s", object)
	}
}

// Replicas in a cluster that is gone find no node.
func TestReplicasOfAClusterThatIsGoneMoveOn(t *testing.T) {
	obj := elastic(subset(0, func(s *v1alpha1.Subset) { s.MaxReplicas = nil }), subset(1, func(s *v1alpha1.Subset) {
		s.Cluster, s.MaxReplicas = "west", new(intstr.FromInt32(4))
		s.MinReplicas = new(intstr.FromInt32(4))
	}))
	seen := running(t, obj)
	delete(seen.clusters, "west")
	plan := decide(obj, seen)
	if d := cmp.Diff("change east/shop.web.a x10\nClusterUnresolved b", outline(plan)); d != "" {
		t.Error(d)
	}
}

// What finds no node and may go nowhere is for a user to know.
func TestStrandedReplicasAreTold(t *testing.T) {
	for name, tc := range map[string]struct {
		obj  *v1alpha1.FederatedDeployment
		want string
	}{
		"nothing can move": {
			web(func(o *v1alpha1.FederatedDeployment) {
				o.Spec.Topology.ScheduleStrategy = &v1alpha1.ScheduleStrategy{Type: v1alpha1.ScheduleAdaptive}
			}),
			`True Unschedulable: spec.topology.subsets[0]: subset "a": 2 of 2 replicas find no node on east; they can move only if a subset has minReplicas or maxReplicas, set one of them`,
		},
		"they move": {elastic(), "False Settled: "},
	} {
		t.Run(name, func(t *testing.T) {
			seen := reported(running(t, tc.obj), "a", map[string]any{valueReady: 0, valueUnschedulable: 2})
			(&steps{}).Report(tc.obj, seen, decide(tc.obj, seen), nil)
			check(t, tc.obj, condition.Stalled, tc.want)
		})
	}
}

// A Placement's clusters: what finds no node in one goes to the others, and what runs there stays.
func TestPlacedReplicasWithoutNodesMoveOn(t *testing.T) {
	obj := spread(func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Topology.ScheduleStrategy = &v1alpha1.ScheduleStrategy{Type: v1alpha1.ScheduleAdaptive}
	})
	seen := after(t, obj, onThree(blank(obj)))
	for _, c := range []string{"east", "north", "west"} {
		seen = reported(seen, c, nil)
	}
	seen = reported(seen, "west", map[string]any{valueReady: 1, valueAvailable: 1, valueUnschedulable: "3"})
	if d := cmp.Diff("change east/shop.web.east x4\nchange north/shop.web.north x5\nchange west/shop.web.west x1", outline(decide(obj, seen))); d != "" {
		t.Error(d)
	}
}
