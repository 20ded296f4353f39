package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

type (
	clusterOption   = func(*clusterv1.ManagedCluster)
	placementOption = func(*clusterv1beta1.PlacementSpec)
	factsOption     = func(*Facts)
)

// cluster is a member of the set "prod".
func cluster(name string, options ...clusterOption) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{clusterv1beta2.ClusterSetLabel: "prod"}}}
	for _, o := range options {
		o(c)
	}
	return c
}

func label(key, value string) clusterOption {
	return func(c *clusterv1.ManagedCluster) { c.Labels[key] = value }
}

func claim(name, value string) clusterOption {
	return func(c *clusterv1.ManagedCluster) {
		c.Status.ClusterClaims = append(c.Status.ClusterClaims, clusterv1.ManagedClusterClaim{Name: name, Value: value})
	}
}

func taint(key string, effect clusterv1.TaintEffect) clusterOption {
	return func(c *clusterv1.ManagedCluster) {
		c.Spec.Taints = append(c.Spec.Taints, clusterv1.Taint{Key: key, Effect: effect, TimeAdded: metav1.NewTime(noon.Add(-time.Minute))})
	}
}

func cpu(amount string) clusterOption {
	return func(c *clusterv1.ManagedCluster) {
		c.Status.Allocatable = clusterv1.ResourceList{clusterv1.ResourceCPU: resource.MustParse(amount), clusterv1.ResourceMemory: resource.MustParse(amount)}
	}
}

func leaving(c *clusterv1.ManagedCluster) { c.DeletionTimestamp = &metav1.Time{Time: noon} }

func set(name string, selector *metav1.LabelSelector) Set {
	s := &clusterv1beta2.ManagedClusterSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if selector != nil {
		s.Spec.ClusterSelector = clusterv1beta2.ManagedClusterSelector{SelectorType: clusterv1beta2.LabelSelector, LabelSelector: selector}
	}
	return SetOf(s)
}

func fleet(clusters ...*clusterv1.ManagedCluster) *Fleet {
	var all []*Cluster
	for _, c := range clusters {
		all = append(all, NewCluster(c))
	}
	return NewFleet(all...)
}

func policyOf(options ...placementOption) *clusterv1beta1.Placement {
	p := &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	for _, o := range options {
		o(&p.Spec)
	}
	return p
}

func number(n int32) placementOption {
	return func(s *clusterv1beta1.PlacementSpec) { s.NumberOfClusters = &n }
}

func sets(names ...string) placementOption {
	return func(s *clusterv1beta1.PlacementSpec) { s.ClusterSets = names }
}

func predicates(all ...clusterv1beta1.ClusterSelector) placementOption {
	return func(s *clusterv1beta1.PlacementSpec) {
		for _, p := range all {
			s.Predicates = append(s.Predicates, clusterv1beta1.ClusterPredicate{RequiredClusterSelector: p})
		}
	}
}

func byLabel(key, value string) clusterv1beta1.ClusterSelector {
	return clusterv1beta1.ClusterSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{key: value}}}
}

func byClaim(key string, op metav1.LabelSelectorOperator, values ...string) clusterv1beta1.ClusterSelector {
	return clusterv1beta1.ClusterSelector{ClaimSelector: clusterv1beta1.ClusterClaimSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: op, Values: values}}}}
}

func byCEL(expressions ...string) clusterv1beta1.ClusterSelector {
	return clusterv1beta1.ClusterSelector{CelSelector: clusterv1beta1.ClusterCelSelector{CelExpressions: expressions}}
}

func tolerations(all ...clusterv1beta1.Toleration) placementOption {
	return func(s *clusterv1beta1.PlacementSpec) { s.Tolerations = all }
}

func exact(configurations ...clusterv1beta1.PrioritizerConfig) placementOption {
	return func(s *clusterv1beta1.PlacementSpec) {
		s.PrioritizerPolicy = clusterv1beta1.PrioritizerPolicy{Mode: clusterv1beta1.PrioritizerPolicyModeExact, Configurations: configurations}
	}
}

func additive(configurations ...clusterv1beta1.PrioritizerConfig) placementOption {
	return func(s *clusterv1beta1.PlacementSpec) { s.PrioritizerPolicy.Configurations = configurations }
}

func weigh(name string, weight int32) clusterv1beta1.PrioritizerConfig {
	c := clusterv1beta1.PrioritizerConfig{Weight: weight, ScoreCoordinate: &clusterv1beta1.ScoreCoordinate{
		Type: clusterv1beta1.ScoreCoordinateTypeBuiltIn, BuiltIn: name}}
	if resource, score, isAddOn := strings.Cut(name, "/"); isAddOn {
		c.ScoreCoordinate = &clusterv1beta1.ScoreCoordinate{Type: clusterv1beta1.ScoreCoordinateTypeAddOn,
			AddOn: &clusterv1beta1.AddOnScore{ResourceName: resource, ScoreName: score}}
	}
	return c
}

func groups(per intstr.IntOrString, all ...clusterv1beta1.DecisionGroup) placementOption {
	return func(s *clusterv1beta1.PlacementSpec) {
		s.DecisionStrategy.GroupStrategy = clusterv1beta1.GroupStrategy{ClustersPerDecisionGroup: per, DecisionGroups: all}
	}
}

func spread(terms ...clusterv1beta1.SpreadConstraintsTerm) placementOption {
	return func(s *clusterv1beta1.PlacementSpec) { s.SpreadPolicy.SpreadConstraints = terms }
}

func over(key string, skew int32, action clusterv1beta1.UnsatisfiableMaxSkewAction) clusterv1beta1.SpreadConstraintsTerm {
	return clusterv1beta1.SpreadConstraintsTerm{TopologyKey: key, TopologyKeyType: clusterv1beta1.TopologyKeyTypeLabel, MaxSkew: skew, WhenUnsatisfiable: action}
}

// had are clusters that were selected before.
func had(names ...string) factsOption {
	return func(f *Facts) {
		for _, n := range names {
			f.Earlier = append(f.Earlier, clusterv1beta1.ClusterDecision{ClusterName: n, Score: 200, Reason: "Balance 100, Steady 100"})
		}
		f.ScoredAt = noon.Add(-10 * time.Second)
	}
}

// used counts decisions per cluster, with those of the placement itself.
func used(all map[string]int, own ...string) factsOption {
	return func(f *Facts) { f.Counts = Counts{All: all, Own: own} }
}

func scoresFor(name, score string, until *metav1.Time, values map[string]int32) factsOption {
	return func(f *Facts) {
		f.Scores = Scores{name: {}}
		for c, v := range values {
			f.Scores[name][c] = &clusterv1alpha1.AddOnPlacementScore{Status: clusterv1alpha1.AddOnPlacementScoreStatus{
				ValidUntil: until, Scores: []clusterv1alpha1.AddOnPlacementScoreItem{{Name: score, Value: v}}}}
		}
	}
}

func bound(all ...Set) factsOption { return func(f *Facts) { f.Bound = all } }

// facts are a placement and a fleet, with the set "prod" bound.
func facts(p *clusterv1beta1.Placement, f *Fleet, options ...factsOption) Facts {
	all := Facts{Placement: p, Fleet: f, Bound: []Set{set("prod", nil)}}
	for _, o := range options {
		o(&all)
	}
	return all
}

func selected(r Result) string {
	var names []string
	for _, g := range r.Groups {
		for _, d := range g.Decisions {
			names = append(names, d.ClusterName)
		}
	}
	return strings.Join(names, " ")
}

func refusals(r Result) []string {
	var all []string
	for _, l := range r.Left {
		all = append(all, fmt.Sprintf("%s %s: %s", l.Cluster, l.Stage, l.Why))
	}
	return all
}

// OCM-16.2, OCM-8.1: candidates are the members of bound sets that are listed, without those that leave.
func TestCandidates(t *testing.T) {
	all := fleet(cluster("east"), cluster("north", leaving), cluster("west", label(clusterv1beta2.ClusterSetLabel, "dev"), label("tier", "gold")))
	gold := set("gold", &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}})
	for name, tc := range map[string]struct {
		placement *clusterv1beta1.Placement
		bound     []Set
		want      string
		reason    string
	}{
		"all bound sets when none is listed": {policyOf(), []Set{set("prod", nil), set("dev", nil)}, "east west", ReasonScheduled},
		"the listed ones":                    {policyOf(sets("dev", "other")), []Set{set("prod", nil), set("dev", nil)}, "west", ReasonScheduled},
		"a cluster of two sets counts once":  {policyOf(), []Set{gold, set("dev", nil)}, "west", ReasonScheduled},
		"an empty selector is everything":    {policyOf(), []Set{set("global", &metav1.LabelSelector{})}, "east west", ReasonScheduled},
		"no bindings":                        {policyOf(), nil, "", ReasonNoBindings},
		"no intersection":                    {policyOf(sets("dev")), []Set{set("prod", nil)}, "", ReasonNoSet},
		"no members":                         {policyOf(), []Set{set("lab", nil)}, "", ReasonSetsEmpty},
		"an unknown selector type selects nothing": {policyOf(), []Set{SetOf(&clusterv1beta2.ManagedClusterSet{
			ObjectMeta: metav1.ObjectMeta{Name: "prod"}, Spec: clusterv1beta2.ManagedClusterSetSpec{
				ClusterSelector: clusterv1beta2.ManagedClusterSelector{SelectorType: "Weather"}}})}, "", ReasonSetsEmpty},
	} {
		t.Run(name, func(t *testing.T) {
			r := Schedule(facts(tc.placement, all, bound(tc.bound...)), noon)
			if got := selected(r); got != tc.want {
				t.Errorf("selected %q, want %q", got, tc.want)
			}
			if got := r.Conditions()[0]; got.Reason != tc.reason {
				t.Errorf("%s: %s", got.Reason, got.Message)
			}
		})
	}
}

// OCM-16.3
func TestPredicates(t *testing.T) {
	all := fleet(
		cluster("east", label("region", "eu"), claim("gpu", "2"), func(c *clusterv1.ManagedCluster) { c.Status.Version.Kubernetes = "v1.31.2" }),
		cluster("west", label("region", "us"), claim("gpu", "0"), claim("config", `{"tiers":["gold"]}`)))
	scores := scoresFor("load", "cpu", nil, map[string]int32{"east": 40, "west": 90})
	for name, tc := range map[string]struct {
		placement *clusterv1beta1.Placement
		want      string
		left      []string
	}{
		"none is all": {placement: policyOf(), want: "east west"},
		"by label": {placement: policyOf(predicates(byLabel("region", "eu"))), want: "east",
			left: []string{"west Predicate: label region=eu is not met"}},
		"entries are alternatives": {placement: policyOf(predicates(byLabel("region", "eu"), byLabel("region", "us"))), want: "east west"},
		"no alternative holds": {placement: policyOf(predicates(byLabel("region", "eu"), byClaim("gpu", "In", "8"))), want: "east",
			left: []string{"west Predicate: none of 2 predicates is met: label region=eu is not met, nor claim gpu in (8) is not met"}},
		"selectors of one entry are all wanted": {placement: policyOf(predicates(clusterv1beta1.ClusterSelector{
			LabelSelector: byLabel("region", "eu").LabelSelector, ClaimSelector: byClaim("gpu", "In", "0").ClaimSelector})),
			left: []string{"east Predicate: claim gpu in (0) is not met", "west Predicate: label region=eu is not met"}},
		"a claim that exists": {placement: policyOf(predicates(byClaim("config", "Exists"))), want: "west",
			left: []string{"east Predicate: claim config is not met"}},
		"CEL sees labels": {placement: policyOf(predicates(byCEL(`managedCluster.metadata.labels["region"] == "us"`))), want: "west",
			left: []string{`east Predicate: CEL managedCluster.metadata.labels["region"] == "us" is not met`}},
		"CEL sees status": {placement: policyOf(predicates(byCEL(
			`managedCluster.status.clusterClaims.exists(c, c.name == "gpu" && quantity(c.value).isGreaterThan(quantity("1")))`,
			`semver(managedCluster.status.version.kubernetes, true).isGreaterThan(semver("1.30.0"))`))), want: "east",
			left: []string{`west Predicate: CEL managedCluster.status.clusterClaims.exists(c, c.name == "gpu" && quantity(c.value).isGreaterThan(quantity("1"))) is not met`}},
		"CEL sees scores": {placement: policyOf(predicates(byCEL(`managedCluster.scores("load").exists(s, s.name == "cpu" && s.value > 50)`))), want: "west",
			left: []string{`east Predicate: CEL managedCluster.scores("load").exists(s, s.name == "cpu" && s.value > 50) is not met`}},
		"CEL knows no scores of that name": {placement: policyOf(predicates(byCEL(`managedCluster.scores("other").size() == 0`))), want: "east west"},
		"CEL reads JSON": {placement: policyOf(predicates(byCEL(
			`managedCluster.status.clusterClaims.exists(c, c.name == "config" && "gold" in c.value.parseJSON().tiers)`,
			`parseJSON("[1]").size() == 1`))), want: "west",
			left: []string{`east Predicate: CEL managedCluster.status.clusterClaims.exists(c, c.name == "config" && "gold" in c.value.parseJSON().tiers) is not met`}},
		"a runtime error is no match": {placement: policyOf(predicates(byCEL(`managedCluster.metadata.annotations["owner"] == "me"`))),
			left: []string{`east Predicate: CEL managedCluster.metadata.annotations["owner"] == "me" fails: no such key: annotations`,
				`west Predicate: CEL managedCluster.metadata.annotations["owner"] == "me" fails: no such key: annotations`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := Schedule(facts(tc.placement, all, scores), noon)
			if r.Problem != nil {
				t.Fatal(r.Problem)
			}
			if got := selected(r); got != tc.want {
				t.Errorf("selected %q, want %q", got, tc.want)
			}
			if d := cmp.Diff(tc.left, refusals(r)); d != "" {
				t.Error(d)
			}
		})
	}
}

// OCM-16.3: what one expression may cost is limited, and what all of them cost together.
func TestCELHasItsLimits(t *testing.T) {
	costly := `[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, [1,2,3,4,5,6,7,8,9,10].map(c, [1,2,3,4,5,6,7,8,9,10].map(d, a*b*c*d)))).size() > 0`
	r := Schedule(facts(policyOf(predicates(byCEL(costly[:0]+`[1,2,3,4,5,6,7,8,9,10].map(z, `+costly+`).size() == 10`))), fleet(cluster("east"))), noon)
	if r.Problem != nil || len(r.Left) != 1 || !strings.Contains(r.Left[0].Why, "cost limit exceeded") {
		t.Errorf("%v %v", r.Problem, refusals(r))
	}
	var many []*clusterv1.ManagedCluster
	for i := range 1000 {
		many = append(many, cluster(fmt.Sprintf("c%03d", i)))
	}
	r = Schedule(facts(policyOf(predicates(byCEL(costly))), fleet(many...), had("c001")), noon)
	if r.Problem == nil || r.Problem.Misconfigured || !r.Keep["c001"] || r.Selected != 1 {
		t.Errorf("%+v keep %v", r.Problem, r.Keep)
	}
	if c := r.Conditions(); c[0].Reason != ReasonNotScheduled || !strings.Contains(c[0].Message, "too costly") || c[1].Status != metav1.ConditionFalse {
		t.Errorf("%+v", c)
	}
}

// OCM-16.4
func TestTaints(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	no, ifNew, prefer := clusterv1.TaintEffectNoSelect, clusterv1.TaintEffectNoSelectIfNew, clusterv1.TaintEffectPreferNoSelect
	for name, tc := range map[string]struct {
		cluster     *clusterv1.ManagedCluster
		tolerations []clusterv1beta1.Toleration
		had         []string
		why         string
		recheck     time.Duration
	}{
		"NoSelect is never tolerated by itself":  {cluster: cluster("east", taint("gpu", no)), why: "taint gpu:NoSelect is not tolerated"},
		"nor when the cluster is selected":       {cluster: cluster("east", taint("gpu", no)), had: []string{"east"}, why: "taint gpu:NoSelect is not tolerated"},
		"PreferNoSelect always is":               {cluster: cluster("east", taint("gpu", prefer))},
		"NoSelectIfNew keeps a new cluster away": {cluster: cluster("east", taint("gpu", ifNew)), why: "taint gpu:NoSelectIfNew is not tolerated"},
		"and an old one stays":                   {cluster: cluster("east", taint("gpu", ifNew)), had: []string{"east"}},
		"every taint must be tolerated": {cluster: cluster("east", taint("gpu", no), taint("old", no)),
			tolerations: []clusterv1beta1.Toleration{{Key: "gpu", Operator: "Exists"}}, why: "taint old:NoSelect is not tolerated"},
		"an empty key with Exists tolerates all": {cluster: cluster("east", taint("gpu", no), taint("old", ifNew)),
			tolerations: []clusterv1beta1.Toleration{{Operator: "Exists"}}},
		"an empty operator means Equal": {cluster: cluster("east", taint("gpu", no)), tolerations: []clusterv1beta1.Toleration{{Key: "gpu"}}},
		"another value": {cluster: cluster("east", taint("gpu", no)),
			tolerations: []clusterv1beta1.Toleration{{Key: "gpu", Operator: "Equal", Value: "a100"}}, why: "taint gpu:NoSelect is not tolerated"},
		"another effect": {cluster: cluster("east", taint("gpu", no)),
			tolerations: []clusterv1beta1.Toleration{{Key: "gpu", Effect: ifNew}}, why: "taint gpu:NoSelect is not tolerated"},
		"seconds count from when the taint was added, and the end wakes us": {cluster: cluster("east", taint("gpu", no)),
			tolerations: []clusterv1beta1.Toleration{{Key: "gpu", TolerationSeconds: seconds(90)}}, recheck: 30 * time.Second},
		"at the very moment it is over": {cluster: cluster("east", taint("gpu", no)),
			tolerations: []clusterv1beta1.Toleration{{Key: "gpu", TolerationSeconds: seconds(60)}}, why: "taint gpu:NoSelect is no longer tolerated"},
		"the longest toleration counts": {cluster: cluster("east", taint("gpu", no)),
			tolerations: []clusterv1beta1.Toleration{{Key: "gpu", TolerationSeconds: seconds(70)}, {Key: "gpu", TolerationSeconds: seconds(80)}}, recheck: 20 * time.Second},
		"the taint that ends first wakes us": {cluster: cluster("east", taint("gpu", no), taint("old", no)),
			tolerations: []clusterv1beta1.Toleration{{Key: "gpu", TolerationSeconds: seconds(100)}, {Key: "old", TolerationSeconds: seconds(61)}}, recheck: time.Second},
		"a toleration for ever needs no waking": {cluster: cluster("east", taint("gpu", no)),
			tolerations: []clusterv1beta1.Toleration{{Key: "gpu", TolerationSeconds: seconds(70)}, {Key: "gpu"}}},
		"as long as a number can say is for ever": {cluster: cluster("east", taint("gpu", no)),
			tolerations: []clusterv1beta1.Toleration{{Key: "gpu", TolerationSeconds: seconds(1 << 62)}}, recheck: 100*365*24*time.Hour - time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			r := Schedule(facts(policyOf(tolerations(tc.tolerations...)), fleet(tc.cluster), had(tc.had...)), noon)
			got := ""
			if len(r.Left) > 0 {
				got = r.Left[0].Why
			}
			if got != tc.why || r.Recheck != tc.recheck {
				t.Errorf("%q and look again after %v, want %q and %v", got, r.Recheck, tc.why, tc.recheck)
			}
		})
	}
}

// OCM-16.5, OCM-16.6
func TestScores(t *testing.T) {
	three := fleet(cluster("east", cpu("10")), cluster("north", cpu("20")), cluster("west", cpu("60")))
	hour := metav1.NewTime(noon.Add(time.Hour))
	past := metav1.NewTime(noon)
	for name, tc := range map[string]struct {
		placement *clusterv1beta1.Placement
		facts     []factsOption
		want      string
		text      string
		warning   string
		recheck   time.Duration
	}{
		"ties go by name": {placement: policyOf(number(2)), want: "east north", text: "east:100 north:100 west:100"},
		"a selected cluster stays": {placement: policyOf(number(1)), facts: []factsOption{had("west")}, want: "west",
			text: "west:200 east:100 north:100"},
		"a busy cluster is avoided, and truncation is towards zero": {placement: policyOf(number(1)),
			facts: []factsOption{used(map[string]int{"east": 3, "north": 1})}, want: "west", text: "west:100 north:32 east:-100"},
		"a large difference in balance outweighs Steady": {placement: policyOf(number(1)),
			facts: []factsOption{had("east"), used(map[string]int{"east": 5}, "east")}, want: "north", text: "north:100 west:100 east:0"},
		"decisions of the placement itself do not count": {placement: policyOf(number(1)),
			facts: []factsOption{had("east"), used(map[string]int{"east": 1}, "east")}, want: "east", text: "east:200 north:100 west:100"},
		"clusters outside the candidates set the scale too": {placement: policyOf(number(1)),
			facts: []factsOption{used(map[string]int{"east": 1, "gone": 4})}, want: "north", text: "north:100 west:100 east:50"},
		"weight 0 switches off": {placement: policyOf(number(1), additive(weigh(Steady, 0), weigh(Balance, 0))), facts: []factsOption{had("west")},
			want: "east", text: "east:0 north:0 west:0"},
		"Exact uses what is listed": {placement: policyOf(number(1), exact(weigh(ResourceAllocatableCPU, 1))), facts: []factsOption{had("east")},
			want: "west", text: "west:100 north:-60 east:-100"},
		"a negative weight turns the order round": {placement: policyOf(number(1), exact(weigh(ResourceAllocatableMemory, -2))), want: "east",
			text: "east:200 north:120 west:-200"},
		"Additive adds": {placement: policyOf(number(1), additive(weigh(ResourceAllocatableCPU, 3))), want: "west",
			text: "west:400 north:-80 east:-200"},
		"scores of add-ons": {placement: policyOf(number(1), exact(weigh("load/cpu", 1))),
			facts: []factsOption{scoresFor("load", "cpu", nil, map[string]int32{"north": 7, "west": -7})}, want: "north", text: "north:7 east:0 west:-7"},
		"a score that is valid wakes us when it ends": {placement: policyOf(number(1), exact(weigh("load/cpu", 1))),
			facts: []factsOption{scoresFor("load", "cpu", &hour, map[string]int32{"west": 9})}, want: "west", text: "west:9 east:0 north:0", recheck: time.Hour},
		"an expired score counts 0 and is told": {placement: policyOf(number(1), exact(weigh("load/cpu", 1))),
			facts: []factsOption{scoresFor("load", "cpu", &past, map[string]int32{"west": 9})}, want: "east", text: "east:0 north:0 west:0",
			warning: "AddOnPlacementScore load is expired and counts 0 for cluster west"},
		"a negative number is zero": {placement: policyOf(number(-3)), want: "", text: "east:100 north:100 west:100"},
		"a negative Steady would never rest": {placement: policyOf(number(1), exact(weigh(Steady, -1))), facts: []factsOption{had("east")},
			want: "east", text: "east:0 north:0 west:0", warning: "weight -1 of Steady counts as 0: each decision would undo the one before"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Schedule(facts(tc.placement, three, tc.facts...), noon)
			if got := selected(r); got != tc.want {
				t.Errorf("selected %q, want %q", got, tc.want)
			}
			if got := r.ScoreText(); got != tc.text {
				t.Errorf("scores %q, want %q", got, tc.text)
			}
			if got := strings.Join(r.Warnings, " "); got != tc.warning || r.Recheck != tc.recheck {
				t.Errorf("warned %q, look again after %v", got, r.Recheck)
			}
		})
	}
}

func TestAllocatableThatIsEqualOrUnknown(t *testing.T) {
	r := Schedule(facts(policyOf(exact(weigh(ResourceAllocatableCPU, 1))), fleet(cluster("a", cpu("8")), cluster("b", cpu("8")), cluster("c"))), noon)
	if got := r.ScoreText(); got != "a:100 b:100 c:0" {
		t.Error(got)
	}
}

// OCM-17.4: the text stays below 1 KiB.
func TestScoreTextIsCut(t *testing.T) {
	var many []*clusterv1.ManagedCluster
	for i := range 500 {
		many = append(many, cluster(fmt.Sprintf("cluster-%03d", i)))
	}
	r := Schedule(facts(policyOf(), fleet(many...)), noon)
	if text := r.ScoreText(); len(text) > 1024 || !strings.HasSuffix(text, "......") || !strings.HasPrefix(text, "cluster-000:100 cluster-001:100 ") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

// OCM-16.4, OCM-16.5, OCM-17.3: what only the user can mend.
func TestMisconfigured(t *testing.T) {
	for name, tc := range map[string]struct {
		with placementOption
		want string
	}{
		"label selector": {predicates(clusterv1beta1.ClusterSelector{LabelSelector: metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}}),
			`Predicate:predicate 0: label selector: "Near" is not a valid label selector operator`},
		"claim selector":  {predicates(byClaim("a", "In")), "Predicate:predicate 0: claim selector: "},
		"CEL":             {predicates(byCEL("managedCluster.")), "Predicate:predicate 0: CEL expression 0: ERROR"},
		"CEL of no truth": {predicates(byLabel("a", "b"), byCEL(`"yes"`)), `Predicate:predicate 1: CEL expression 0: "yes" is a string, not a bool`},
		"empty key":       {tolerations(clusterv1beta1.Toleration{Operator: "Equal"}), "TaintToleration:toleration 0: an empty key needs operator Exists"},
		"value and Exists": {tolerations(clusterv1beta1.Toleration{Key: "a", Operator: "Exists", Value: "b"}),
			`TaintToleration:toleration 0: operator Exists takes no value, got "b"`},
		"unknown operator":      {tolerations(clusterv1beta1.Toleration{Key: "a", Operator: "Like"}), "TaintToleration:toleration 0: operator \"Like\""},
		"unknown prioritizer":   {exact(weigh("Cheapest", 1)), `Prioritizer:configuration 0: no built-in prioritizer is called "Cheapest"`},
		"no coordinate":         {exact(clusterv1beta1.PrioritizerConfig{Weight: 1}), "Prioritizer:configuration 0 has no scoreCoordinate"},
		"add-on without add-on": {exact(clusterv1beta1.PrioritizerConfig{ScoreCoordinate: &clusterv1beta1.ScoreCoordinate{Type: "AddOn"}}), "Prioritizer:configuration 0 is of type AddOn and has no addOn"},
		"unknown type":          {exact(clusterv1beta1.PrioritizerConfig{ScoreCoordinate: &clusterv1beta1.ScoreCoordinate{Type: "Oracle"}}), "Prioritizer:configuration 0: type \"Oracle\""},
		"group length":          {groups(intstr.FromString("many")), "DecisionStrategy:clustersPerDecisionGroup: many is neither"},
		"group selector":        {groups(intstr.FromInt32(1), clusterv1beta1.DecisionGroup{ClusterSelector: clusterv1beta1.GroupClusterSelector{ClaimSelector: byClaim("a", "In").ClaimSelector}}), "DecisionStrategy:decision group 0: claim selector"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Schedule(facts(policyOf(tc.with), fleet(cluster("east"), cluster("west")), had("west", "gone")), noon)
			if r.Problem == nil || !r.Problem.Misconfigured || !strings.HasPrefix(r.Problem.Error(), tc.want) {
				t.Fatalf("%v", r.Problem)
			}
			// OCM-16.6: decisions stay, but for what is not bound any more.
			if d := cmp.Diff(map[string]bool{"west": true}, r.Keep); d != "" || r.Selected != 1 {
				t.Errorf("keep %s", d)
			}
			c := r.Conditions()
			if len(c) != 2 || c[0].Status != metav1.ConditionFalse || c[0].Reason != ReasonNotScheduled || c[0].Message != r.Problem.Error() ||
				c[1].Type != "PlacementMisconfigured" || c[1].Status != metav1.ConditionTrue || c[1].Reason != "Misconfigured" || c[1].Message != r.Problem.Error() {
				t.Errorf("%+v", c)
			}
		})
	}
}

// A namespace that lost its binding must not keep clusters by breaking its placement.
func TestABindingThatIsGoneIsGoneForMisconfiguredPlacementsToo(t *testing.T) {
	r := Schedule(facts(policyOf(exact(weigh("Cheapest", 1))), fleet(cluster("east")), had("east"), bound()), noon)
	if r.Problem == nil || len(r.Keep) != 0 || r.Conditions()[0].Reason != ReasonNoBindings {
		t.Errorf("%v keeps %v, %v", r.Problem, r.Keep, r.Conditions()[0])
	}
}

// OCM-17.1: a longer name makes no valid label.
func TestANameThatIsTooLongIsMisconfigured(t *testing.T) {
	p := policyOf()
	p.Name = strings.Repeat("x", 63)
	if r := Schedule(facts(p, fleet(cluster("east"))), noon); r.Problem != nil {
		t.Error(r.Problem)
	}
	p.Name += "x"
	if r := Schedule(facts(p, fleet(cluster("east"))), noon); r.Problem == nil || !strings.HasPrefix(r.Problem.Error(), "Name:the name has 64 characters") {
		t.Error(r.Problem)
	}
}
