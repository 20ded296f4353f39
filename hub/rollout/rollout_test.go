package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// cluster is one of group 0 in that status for a minute.
func cluster(name string, s Status, more ...func(*Cluster)) Cluster {
	c := Cluster{Name: name, Status: s}
	if s != New && s != ToApply {
		c.Since = noon.Add(-time.Minute)
	}
	for _, change := range more {
		change(&c)
	}
	return c
}

func silent(c *Cluster) { c.Silent = true }
func in(index int32, name string) func(*Cluster) {
	return func(c *Cluster) { c.Group = Group{index, name} }
}
func since(d time.Duration) func(*Cluster) { return func(c *Cluster) { c.Since = noon.Add(-d) } }

func number(n int) intstr.IntOrString      { return intstr.FromInt32(int32(n)) }
func percent(s string) intstr.IntOrString  { return intstr.FromString(s) }
func soak(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }
func first(names ...string) (all []mandate) { // a name, or an index such as #1
	for _, n := range names {
		if index, ok := strings.CutPrefix(n, "#"); ok {
			all = append(all, mandate{GroupIndex: int32(index[0] - '0')})
		} else {
			all = append(all, mandate{GroupName: n, GroupIndex: 99})
		}
	}
	return all
}

type (
	strategy = clusterv1alpha1.RolloutStrategy
	config   = clusterv1alpha1.RolloutConfig
	mandate  = clusterv1alpha1.MandatoryDecisionGroup
)

func all(c config) strategy {
	return strategy{Type: clusterv1alpha1.All, All: &clusterv1alpha1.RolloutAll{RolloutConfig: c}}
}

func progressive(concurrency intstr.IntOrString, c config, groups ...mandate) strategy {
	return strategy{Type: clusterv1alpha1.Progressive, Progressive: &clusterv1alpha1.RolloutProgressive{RolloutConfig: c,
		MandatoryDecisionGroups: clusterv1alpha1.MandatoryDecisionGroups{MandatoryDecisionGroups: groups}, MaxConcurrency: concurrency}}
}

func perGroup(c config, groups ...mandate) strategy {
	return strategy{Type: clusterv1alpha1.ProgressivePerGroup, ProgressivePerGroup: &clusterv1alpha1.RolloutProgressivePerGroup{RolloutConfig: c,
		MandatoryDecisionGroups: clusterv1alpha1.MandatoryDecisionGroups{MandatoryDecisionGroups: groups}}}
}

type row struct {
	strategy strategy
	clusters []Cluster
	want     Result
}

// steps are the rules of the strategies. OCM-18.5
var steps = map[string]row{
	"all at once, whatever failed": {
		strategy: all(config{}),
		clusters: []Cluster{cluster("b", New), cluster("a", New), cluster("c", Failed), cluster("d", Succeeded)},
		want:     Result{Start: []string{"a", "b"}, Busy: []string{"a", "b"}, Failed: []string{"c"}, Failures: 1, MaxFailures: 4},
	},
	"no strategy is all": {
		clusters: []Cluster{cluster("a", New)},
		want:     Result{Start: []string{"a"}, Busy: []string{"a"}, MaxFailures: 1},
	},
	"all ignores soak and failures, the deadline only labels": {
		strategy: all(config{MinSuccessTime: soak(time.Hour), ProgressDeadline: "30s", MaxFailures: number(1)}),
		clusters: []Cluster{cluster("a", New), cluster("b", Progressing), cluster("c", Failed), cluster("d", Progressing, since(10*time.Second)), cluster("e", Succeeded)},
		want: Result{Start: []string{"a"}, Busy: []string{"a", "d"}, TimedOut: []string{"b", "c"}, Failures: 2, MaxFailures: 5,
			Recheck: 20 * time.Second},
	},
	"progressive goes by name and fills its slots": {
		strategy: progressive(number(2), config{}),
		clusters: []Cluster{cluster("d", New), cluster("c", New), cluster("b", New), cluster("a", ToApply)},
		want:     Result{Start: []string{"b"}, Busy: []string{"a", "b"}, Waiting: 2},
	},
	"without maxConcurrency all clusters are in flight": {
		strategy: progressive(number(0), config{}),
		clusters: []Cluster{cluster("a", New), cluster("b", New)},
		want:     Result{Start: []string{"a", "b"}, Busy: []string{"a", "b"}},
	},
	"a maxConcurrency above the number of clusters is all": {
		strategy: progressive(number(9), config{}),
		clusters: []Cluster{cluster("a", New), cluster("b", New)},
		want:     Result{Start: []string{"a", "b"}, Busy: []string{"a", "b"}},
	},
	"a percentage rounds up": {
		strategy: progressive(percent("34%"), config{}),
		clusters: []Cluster{cluster("a", New), cluster("b", New), cluster("c", New)},
		want:     Result{Start: []string{"a", "b"}, Busy: []string{"a", "b"}, Waiting: 1},
	},
	"a percentage counts the clusters that are not mandatory": {
		strategy: progressive(percent("50%"), config{}, first("#0")...),
		clusters: []Cluster{cluster("a", Succeeded), cluster("b", Succeeded), cluster("c", New, in(1, "")), cluster("d", New, in(1, ""))},
		want:     Result{Start: []string{"c"}, Busy: []string{"c"}, Waiting: 1},
	},
	"progressing, failed and soaking clusters hold slots, those past the deadline do not": {
		strategy: progressive(number(4), config{ProgressDeadline: "2m", MinSuccessTime: soak(5 * time.Minute), MaxFailures: number(2)}),
		clusters: []Cluster{cluster("a", Progressing), cluster("b", Failed), cluster("c", Succeeded), cluster("d", Failed, since(2*time.Minute)),
			cluster("e", Succeeded, since(5*time.Minute)), cluster("f", New), cluster("g", New)},
		want: Result{Start: []string{"f"}, Busy: []string{"a", "c", "f"}, Soaking: []string{"c"}, Failed: []string{"b"}, TimedOut: []string{"d"},
			Waiting: 1, Failures: 2, MaxFailures: 2, Recheck: time.Minute},
	},
	"too many failures start nobody, whoever was started goes on": {
		strategy: progressive(number(5), config{MaxFailures: number(1), ProgressDeadline: "10s"}),
		clusters: []Cluster{cluster("a", Failed), cluster("b", Failed), cluster("c", ToApply), cluster("d", New), cluster("e", New)},
		want:     Result{Busy: []string{"c"}, TimedOut: []string{"a", "b"}, Waiting: 2, Failures: 2, MaxFailures: 1, Stopped: true},
	},
	"by default no failure is tolerated": {
		strategy: progressive(number(2), config{}),
		clusters: []Cluster{cluster("a", Failed), cluster("b", New)},
		want:     Result{Failed: []string{"a"}, Waiting: 1, Failures: 1, Stopped: true},
	},
	"a maxFailures above the number of clusters is none, and that is said": {
		strategy: progressive(number(2), config{MaxFailures: number(3)}),
		clusters: []Cluster{cluster("a", Failed), cluster("b", New)},
		want: Result{Failed: []string{"a"}, Waiting: 1, Failures: 1, Stopped: true,
			Warnings: []string{"maxFailures 3 is more than the 2 clusters it is counted over, so no failure is tolerated; set it to 2 at most"}},
	},
	"what waits longest is looked at every 30 minutes": {
		strategy: progressive(number(1), config{ProgressDeadline: "3h"}),
		clusters: []Cluster{cluster("a", Progressing)},
		want:     Result{Busy: []string{"a"}, Recheck: 30 * time.Minute},
	},
	"mandatory groups come first, one after the other": {
		strategy: progressive(number(2), config{MaxFailures: number(1)}, first("canary", "#2")...),
		clusters: []Cluster{cluster("a", New), cluster("x", New, in(1, "canary")), cluster("y", Succeeded, in(1, "canary")), cluster("z", New, in(2, "early"))},
		want:     Result{Start: []string{"x"}, Busy: []string{"x"}, Waiting: 2, Stage: "group 1 (canary)"},
	},
	"a mandatory group is found by name first": {
		strategy: perGroup(config{}, mandate{GroupName: "canary", GroupIndex: 0}),
		clusters: []Cluster{cluster("a", New), cluster("x", New, in(1, "canary"))},
		want:     Result{Start: []string{"x"}, Busy: []string{"x"}, Waiting: 1, Stage: "group 1 (canary)"},
	},
	"a name stands for all its chunks, in the order of their indexes": {
		strategy: progressive(number(0), config{}, first("canary")...),
		clusters: []Cluster{cluster("a", New, in(2, "canary")), cluster("b", New, in(1, "canary"))},
		want:     Result{Start: []string{"b"}, Busy: []string{"b"}, Waiting: 1, Stage: "group 1 (canary)"},
	},
	"one failure in a mandatory group blocks, whatever is tolerated": {
		strategy: progressive(number(2), config{MaxFailures: percent("100%")}, first("#0")...),
		clusters: []Cluster{cluster("a", Failed), cluster("b", Succeeded), cluster("c", New, in(1, ""))},
		want:     Result{Failed: []string{"a"}, Waiting: 1, Failures: 1, Stopped: true, Stage: "group 0"},
	},
	"a time-out in a mandatory group blocks too": {
		strategy: perGroup(config{MaxFailures: number(1), ProgressDeadline: "1s"}, first("#0")...),
		clusters: []Cluster{cluster("a", Progressing), cluster("c", New, in(1, ""))},
		want:     Result{TimedOut: []string{"a"}, Waiting: 1, Failures: 1, Stopped: true, Stage: "group 0"},
	},
	"a mandatory group that nobody is in is passed over, and that is said": {
		strategy: progressive(number(1), config{}, first("nobody")...),
		clusters: []Cluster{cluster("a", New)},
		want:     Result{Start: []string{"a"}, Busy: []string{"a"}, Warnings: []string{"mandatory decision group nobody has no cluster"}},
	},
	"per group starts one group whole": {
		strategy: perGroup(config{}),
		clusters: []Cluster{cluster("c", New, in(1, "")), cluster("b", New), cluster("a", New)},
		want:     Result{Start: []string{"a", "b"}, Busy: []string{"a", "b"}, Waiting: 1, Stage: "group 0"},
	},
	"the next group waits for the soak": {
		strategy: perGroup(config{MinSuccessTime: soak(2 * time.Minute)}),
		clusters: []Cluster{cluster("a", Succeeded), cluster("b", New, in(1, ""))},
		want:     Result{Busy: []string{"a"}, Soaking: []string{"a"}, Waiting: 1, Stage: "group 0", Recheck: time.Minute},
	},
	"tolerated failures do not hold the next group, before their deadline or after": {
		strategy: perGroup(config{MaxFailures: percent("50%"), ProgressDeadline: "2m"}),
		clusters: []Cluster{cluster("a", Succeeded), cluster("b", Failed), cluster("c", Progressing, since(time.Hour)), cluster("d", Succeeded),
			cluster("e", New, in(1, "")), cluster("f", New, in(2, ""))},
		want: Result{Start: []string{"e"}, Busy: []string{"e"}, Failed: []string{"b"}, TimedOut: []string{"c"}, MaxFailures: 1, Waiting: 1,
			Stage: "group 1", Recheck: time.Minute},
	},
	"failures are counted per group": {
		strategy: perGroup(config{MaxFailures: number(1)}),
		clusters: []Cluster{cluster("a", Failed), cluster("b", Failed, in(1, "")), cluster("c", Failed, in(2, "")), cluster("d", Failed, in(2, "")),
			cluster("e", New, in(3, ""))},
		want: Result{Failed: []string{"a", "b", "c", "d"}, Failures: 2, MaxFailures: 1, Stopped: true, Waiting: 1, Stage: "group 2"},
	},
	"through": {
		strategy: perGroup(config{}),
		clusters: []Cluster{cluster("a", Succeeded), cluster("b", Succeeded, in(1, ""))},
	},
	"nobody is selected": {strategy: progressive(number(1), config{})},

	// The extension: clusters that are not heard from.
	"a started cluster that fell silent costs a failure, not a slot": {
		strategy: progressive(number(1), config{MaxFailures: number(1)}),
		clusters: []Cluster{cluster("a", ToApply, silent), cluster("b", New), cluster("c", New)},
		want:     Result{Start: []string{"b"}, Busy: []string{"b"}, Silent: []string{"a"}, Waiting: 1, Failures: 1, MaxFailures: 1},
	},
	"more silent clusters than tolerated failures stop the rollout": {
		strategy: progressive(number(5), config{MaxFailures: number(1)}),
		clusters: []Cluster{cluster("a", ToApply, silent), cluster("b", Progressing, silent), cluster("c", New)},
		want:     Result{Silent: []string{"a", "b"}, Waiting: 1, Failures: 2, MaxFailures: 1, Stopped: true},
	},
	"a silent cluster is started while the budget has room for it": {
		strategy: progressive(number(1), config{MaxFailures: number(1)}),
		clusters: []Cluster{cluster("a", New, silent), cluster("b", New, silent), cluster("c", New)},
		want: Result{Start: []string{"a", "c"}, Busy: []string{"c"}, Silent: []string{"a"}, Postponed: []string{"b"},
			Failures: 1, MaxFailures: 1},
	},
	"without any budget a silent cluster waits and the rest goes on": {
		strategy: progressive(number(1), config{}),
		clusters: []Cluster{cluster("a", New, silent), cluster("b", New), cluster("c", New)},
		want:     Result{Start: []string{"b"}, Busy: []string{"b"}, Postponed: []string{"a"}, Waiting: 1},
	},
	"a tolerated silent cluster does not hold the next group": {
		strategy: perGroup(config{MaxFailures: number(1)}),
		clusters: []Cluster{cluster("a", ToApply, silent), cluster("b", Succeeded), cluster("c", New, in(1, ""))},
		want:     Result{Start: []string{"c"}, Busy: []string{"c"}, Silent: []string{"a"}, MaxFailures: 1, Stage: "group 1"},
	},
	"a silent cluster that has succeeded is no failure": {
		strategy: progressive(number(1), config{}),
		clusters: []Cluster{cluster("a", Succeeded, silent), cluster("b", New)},
		want:     Result{Start: []string{"b"}, Busy: []string{"b"}},
	},
	"all starts silent clusters too": {
		strategy: all(config{}),
		clusters: []Cluster{cluster("a", New, silent), cluster("b", ToApply, silent)},
		want:     Result{Start: []string{"a"}, Busy: []string{"a"}, Silent: []string{"b"}, Failures: 1, MaxFailures: 2},
	},
}

func TestNext(t *testing.T) {
	for name, tc := range steps {
		t.Run(name, func(t *testing.T) {
			shuffled := slices.Clone(tc.clusters)
			slices.Reverse(shuffled)
			for _, clusters := range [][]Cluster{tc.clusters, shuffled} {
				got, err := Next(tc.strategy, clusters, noon)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestAWrongStrategyIsNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		strategy strategy
		want     string
	}{
		"type":           {strategy{Type: "Waves"}, `rolloutStrategy.type "Waves" is none of`},
		"deadline":       {all(config{ProgressDeadline: "10x"}), `progressDeadline "10x"`},
		"maxFailures":    {progressive(number(1), config{MaxFailures: percent("some")}), `maxFailures "some"`},
		"maxConcurrency": {progressive(percent("x%"), config{}), `maxConcurrency "x%"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Next(tc.strategy, nil, noon); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v does not say %q", err, tc.want)
			}
		})
	}
}

// OCM-18.5: numbers that are zero, negative or too large fall back, percentages round up.
func TestAmounts(t *testing.T) {
	for _, tc := range []struct {
		value        intstr.IntOrString
		total        int
		failures, at int
	}{
		{number(0), 10, 0, 10}, {number(-1), 10, 0, 10}, {number(10), 10, 10, 10}, {number(11), 10, 0, 10}, {number(3), 10, 3, 3},
		{percent("0%"), 10, 0, 10}, {percent("1%"), 10, 1, 1}, {percent("100%"), 10, 10, 10}, {percent("33%"), 10, 4, 4}, {percent("4"), 10, 4, 4},
		{percent("50%"), 0, 0, 0},
	} {
		a, err := amountOf("x", tc.value)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.of(tc.total); got != tc.failures {
			t.Errorf("maxFailures %s of %d is %d, want %d", tc.value.String(), tc.total, got, tc.failures)
		}
		a.all = true
		if got := a.of(tc.total); got != tc.at {
			t.Errorf("maxConcurrency %s of %d is %d, want %d", tc.value.String(), tc.total, got, tc.at)
		}
	}
}
