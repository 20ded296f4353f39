package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

func grouped(r Result) (all []string) {
	for _, g := range r.Groups {
		var names []string
		for _, d := range g.Decisions {
			names = append(names, d.ClusterName)
		}
		all = append(all, fmt.Sprintf("%d %q: %s", g.Index, g.Name, strings.Join(names, " ")))
	}
	return all
}

// OCM-17.2
func TestGroups(t *testing.T) {
	all := fleet(cluster("a"), cluster("b", label("canary", "yes")), cluster("c"), cluster("d", label("canary", "yes")), cluster("e", claim("edge", "yes")))
	canary := clusterv1beta1.DecisionGroup{GroupName: "canary", ClusterSelector: clusterv1beta1.GroupClusterSelector{LabelSelector: byLabel("canary", "yes").LabelSelector}}
	edge := clusterv1beta1.DecisionGroup{GroupName: "edge", ClusterSelector: clusterv1beta1.GroupClusterSelector{ClaimSelector: byClaim("edge", "Exists").ClaimSelector}}
	everything := clusterv1beta1.DecisionGroup{GroupName: "all"}
	for name, tc := range map[string]struct {
		with []placementOption
		want []string
	}{
		"one by default":           {want: []string{`0 "": a b c d e`}},
		"zero is the total":        {with: []placementOption{groups(intstr.FromInt32(0))}, want: []string{`0 "": a b c d e`}},
		"too many is the total":    {with: []placementOption{groups(intstr.FromInt32(9))}, want: []string{`0 "": a b c d e`}},
		"a number":                 {with: []placementOption{groups(intstr.FromInt32(2))}, want: []string{`0 "": a b`, `1 "": c d`, `2 "": e`}},
		"percentages round up":     {with: []placementOption{groups(intstr.FromString("30%"))}, want: []string{`0 "": a b`, `1 "": c d`, `2 "": e`}},
		"named groups come first":  {with: []placementOption{groups(intstr.FromString("100%"), edge, canary)}, want: []string{`0 "edge": e`, `1 "canary": b d`, `2 "": a c`}},
		"named groups are cut too": {with: []placementOption{groups(intstr.FromInt32(1), canary)}, want: []string{`0 "canary": b`, `1 "canary": d`, `2 "": a`, `3 "": c`, `4 "": e`}},
		"a cluster is in one group, and an empty selector is everybody": {with: []placementOption{groups(intstr.FromString("100%"), canary, everything, edge)},
			want: []string{`0 "canary": b d`, `1 "all": a c e`}},
		"a percentage is of the selected": {with: []placementOption{number(2), groups(intstr.FromString("50%"))}, want: []string{`0 "": a`, `1 "": b`}},
		"nothing selected is one group":   {with: []placementOption{number(0), groups(intstr.FromInt32(1), canary)}, want: []string{`0 "": `}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, grouped(Schedule(facts(policyOf(tc.with...), all), noon))); d != "" {
				t.Error(d)
			}
		})
	}
}

// OCM-17.1: at most a hundred clusters each, numbered from 1 across all groups, one at least.
func TestSlices(t *testing.T) {
	many := func(n int) []clusterv1beta1.ClusterDecision { return make([]clusterv1beta1.ClusterDecision, n) }
	for name, tc := range map[string]struct {
		groups []Group
		want   string
	}{
		"nothing":               {[]Group{{}}, "web-decision-1(0 0)"},
		"just full":             {[]Group{{Decisions: many(100)}}, "web-decision-1(0 100)"},
		"one too many":          {[]Group{{Decisions: many(101)}}, "web-decision-1(0 100) web-decision-2(0 1)"},
		"groups are not shared": {[]Group{{Decisions: many(150)}, {Index: 1, Decisions: many(2)}}, "web-decision-1(0 100) web-decision-2(0 50) web-decision-3(1 2)"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range Slices("web", tc.groups) {
				got = append(got, fmt.Sprintf("%s(%d %d)", s.Name, s.Group, len(s.Decisions)))
			}
			if strings.Join(got, " ") != tc.want {
				t.Error(got)
			}
		})
	}
}

// OCM-17.1: inside a group clusters are sorted by name, unless the placement asks for the score.
func TestSortByScore(t *testing.T) {
	all := fleet(cluster("a", cpu("1")), cluster("b", cpu("3")), cluster("c", cpu("3")))
	byScore := func(s *clusterv1beta1.PlacementSpec) { s.SortBy = clusterv1beta1.PlacementSortByScore }
	if got := selected(Schedule(facts(policyOf(exact(weigh(ResourceAllocatableCPU, 1)), byScore), all), noon)); got != "b c a" {
		t.Error(got)
	}
	if got := selected(Schedule(facts(policyOf(exact(weigh(ResourceAllocatableCPU, 1))), all), noon)); got != "a b c" {
		t.Error(got)
	}
}

func rate(s string) placementOption {
	return func(spec *clusterv1beta1.PlacementSpec) { spec.ScoreRateLimit = s }
}

func earlier(decisions ...clusterv1beta1.ClusterDecision) factsOption {
	return func(f *Facts) { f.Earlier, f.ScoredAt = decisions, noon.Add(-10*time.Second) }
}

// A decision carries its score and what that is made of; scores are followed as often as scoreRateLimit says, and only
// where somebody asked for scores that move by themselves.
func TestRecordedScores(t *testing.T) {
	is := func(name string, score int64, reason string) clusterv1beta1.ClusterDecision {
		return clusterv1beta1.ClusterDecision{ClusterName: name, Score: score, Reason: reason}
	}
	load := scoresFor("load", "cpu", nil, map[string]int32{"east": 40})
	byLoad := exact(weigh("load/cpu", 2))
	for name, tc := range map[string]struct {
		with    placementOption
		facts   []factsOption
		want    clusterv1beta1.ClusterDecision
		scored  bool
		recheck time.Duration
	}{
		"a new decision counts Steady, which it will have": {with: number(1), want: is("east", 200, "Balance 100, Steady 100"), scored: true},
		"weights are told":                       {with: byLoad, facts: []factsOption{load}, want: is("east", 80, "load/cpu 40 times 2"), scored: true},
		"without prioritizers there is no score": {with: exact(), want: is("east", 0, "no prioritizer has a weight"), scored: true},
		"Balance is not followed": {with: number(1), facts: []factsOption{earlier(is("east", 200, "Balance 100, Steady 100")), used(map[string]int{"east": 2, "x": 4})},
			want: is("east", 200, "Balance 100, Steady 100")},
		"a score of an add-on is, not before its time": {with: byLoad, facts: []factsOption{load, earlier(is("east", 20, "load/cpu 10 times 2"))},
			want: is("east", 20, "load/cpu 10 times 2"), recheck: 50 * time.Second},
		"but then": {with: func(s *clusterv1beta1.PlacementSpec) { byLoad(s); rate("5s")(s) }, facts: []factsOption{load, earlier(is("east", 20, "load/cpu 10 times 2"))},
			want: is("east", 80, "load/cpu 40 times 2"), scored: true},
		"what is right is left alone": {with: func(s *clusterv1beta1.PlacementSpec) { byLoad(s); rate("5s")(s) }, facts: []factsOption{load, earlier(is("east", 80, "load/cpu 40 times 2"))},
			want: is("east", 80, "load/cpu 40 times 2")},
		"a server that drops scores is not written to for ever": {with: func(s *clusterv1beta1.PlacementSpec) { byLoad(s); rate("5s")(s) },
			facts: []factsOption{load, earlier(is("east", 0, "load/cpu 40 times 2"))}, want: is("east", 0, "load/cpu 40 times 2")},
	} {
		t.Run(name, func(t *testing.T) {
			r := Schedule(facts(policyOf(tc.with), fleet(cluster("east")), tc.facts...), noon)
			if d := cmp.Diff([]clusterv1beta1.ClusterDecision{tc.want}, r.Groups[0].Decisions); d != "" || r.Scored != tc.scored || r.Recheck != tc.recheck {
				t.Errorf("%s scored %v, look again after %v", d, r.Scored, r.Recheck)
			}
		})
	}
}

// Every cluster that is left out has its reason in one message, the odd ones first, and the message stays short.
func TestSummary(t *testing.T) {
	var all []*clusterv1.ManagedCluster
	for i := range 12 {
		all = append(all, cluster(fmt.Sprintf("us%02d", i)))
	}
	all = append(all, cluster("eu", label("region", "eu"), taint(clusterv1.ManagedClusterTaintUnreachable, clusterv1.TaintEffectNoSelect)), cluster("old", leaving))
	r := Schedule(facts(policyOf(predicates(byLabel("region", "eu"))), fleet(all...)), noon)
	want := "14 clusters left out: eu: taint cluster.open-cluster-management.io/unreachable:NoSelect is not tolerated; " +
		"old: the cluster is being deleted; us00, us01, us02, us03, us04, us05, us06, us07 and 4 more: label region=eu is not met"
	if c := r.Conditions()[2]; c.Type != ConditionLeftOut || c.Status != "True" || c.Message != want {
		t.Errorf("%+v", c)
	}
	var left []Refusal
	for i := range 100 {
		left = append(left, Refusal{Cluster: fmt.Sprint("c", i), Verdict: &Verdict{StagePredicate, strings.Repeat("x", 90) + fmt.Sprint(i)}})
	}
	if text := Summary(left); len(text) > 1024 || !strings.HasSuffix(text, "; and 90 more reasons") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	long := Summary([]Refusal{
		{Cluster: "a", Verdict: &Verdict{StagePredicate, strings.Repeat("x", 5000)}}, {Cluster: "b", Verdict: &Verdict{StagePredicate, "short"}}})
	if !strings.HasPrefix(long, "2 clusters left out: a: xxx") || !strings.HasSuffix(long, "x...; b: short") {
		t.Error(long)
	}
	if c := (&Result{}).Conditions()[2]; c.Status != "False" || c.Reason != ReasonNoneLeft {
		t.Errorf("%+v", c)
	}
}

// OCM-17.3: exact spellings, first match wins.
func TestConditions(t *testing.T) {
	all := fleet(cluster("a"), cluster("b"))
	for name, tc := range map[string]struct {
		with    placementOption
		facts   []factsOption
		want    string
		message string
	}{
		"no bindings":    {sets("prod", "dev"), []factsOption{bound()}, "False NoManagedClusterSetBindings", "No valid ManagedClusterSetBindings found in placement namespace"},
		"no set":         {sets("lab", "dev"), nil, "False NoIntersection", "None of ManagedClusterSets [lab,dev] is bound to placement namespace"},
		"empty sets":     {sets("lab"), []factsOption{bound(set("lab", nil))}, "False AllManagedClusterSetsEmpty", "All ManagedClusterSets [lab] have no member ManagedCluster"},
		"no match":       {predicates(byLabel("a", "b")), nil, "False NoManagedClusterMatched", "No ManagedCluster matches any of the cluster predicate"},
		"all":            {number(2), nil, "True AllDecisionsScheduled", "All cluster decisions scheduled"},
		"without number": {number(2), nil, "True AllDecisionsScheduled", "All cluster decisions scheduled"},
		"none wanted":    {number(0), nil, "True AllDecisionsScheduled", "All cluster decisions scheduled"},
		"too few":        {number(5), nil, "False NotAllDecisionsScheduled", "3 cluster decisions unscheduled"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Schedule(facts(policyOf(tc.with), all, tc.facts...), noon)
			c := r.Conditions()
			if got := fmt.Sprint(c[0].Status, " ", c[0].Reason); got != tc.want || c[0].Message != tc.message || c[0].Type != "PlacementSatisfied" {
				t.Errorf("%+v", c[0])
			}
			if c[1].Status != "False" || c[1].Reason != "Succeedconfigured" || c[1].Message != "Placement configurations check pass" {
				t.Errorf("%+v", c[1])
			}
		})
	}
}
