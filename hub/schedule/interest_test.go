package schedule

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// OCM-16.6: a round is for what can change the answer, and for nothing else.
func TestChanged(t *testing.T) {
	condition := func(status metav1.ConditionStatus, at time.Time) clusterOption {
		return func(c *clusterv1.ManagedCluster) {
			c.Status.Conditions = []metav1.Condition{{Type: "Available", Status: status, Reason: "A", Message: at.String(), LastTransitionTime: metav1.NewTime(at)}}
		}
	}
	before := cluster("east", label("a", "b"), claim("gpu", "1"), cpu("4"), condition("True", noon))
	for name, tc := range map[string]struct {
		change clusterOption
		want   Facet
	}{
		"nothing":              {func(*clusterv1.ManagedCluster) {}, 0},
		"a heartbeat":          {condition("True", noon.Add(time.Minute)), 0},
		"a resource version":   {func(c *clusterv1.ManagedCluster) { c.ResourceVersion = "9" }, 0},
		"a label":              {label("a", "c"), Membership | Anything},
		"a taint":              {taint("gpu", "NoSelect"), Membership | Anything},
		"leaving":              {leaving, Membership | Anything},
		"a claim":              {claim("gpu", "2"), Claims | Anything},
		"what it has to give":  {cpu("5"), Allocatable | Anything},
		"its health":           {condition("False", noon), Anything},
		"its version":          {func(c *clusterv1.ManagedCluster) { c.Status.Version.Kubernetes = "v1.2.3" }, Anything},
		"an annotation":        {func(c *clusterv1.ManagedCluster) { c.Annotations = map[string]string{"a": "b"} }, Anything},
		"the hub's acceptance": {func(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = true }, Anything},
		"what it can hold":     {func(c *clusterv1.ManagedCluster) { c.Status.Capacity = c.Status.Allocatable }, Anything},
	} {
		t.Run(name, func(t *testing.T) {
			after := before.DeepCopy()
			tc.change(after)
			if got := Changed(before, after); got != tc.want {
				t.Errorf("%b, want %b", got, tc.want)
			}
		})
	}
}

func TestInterestOf(t *testing.T) {
	term := over("zone", 1, clusterv1beta1.DoNotSchedule)
	claimTerm := term
	claimTerm.TopologyKeyType = clusterv1beta1.TopologyKeyTypeClaim
	for name, tc := range map[string]struct {
		with   placementOption
		facets Facet
		load   bool
	}{
		"by default membership":      {number(1), Membership, false},
		"labels are membership":      {predicates(byLabel("a", "b")), Membership, false},
		"claims":                     {predicates(byClaim("a", "Exists")), Membership | Claims, false},
		"claims of groups":           {groups(clusterv1beta1.PlacementSpec{}.DecisionStrategy.GroupStrategy.ClustersPerDecisionGroup, clusterv1beta1.DecisionGroup{ClusterSelector: clusterv1beta1.GroupClusterSelector{ClaimSelector: byClaim("a", "Exists").ClaimSelector}}), Membership | Claims, false},
		"spread by label":            {spread(term), Membership, false},
		"spread by claim":            {spread(claimTerm), Membership | Claims, false},
		"allocatable":                {additive(weigh(ResourceAllocatableCPU, 1)), Membership | Allocatable, false},
		"what has no weight is idle": {additive(weigh(ResourceAllocatableCPU, 0), weigh("load/cpu", 0)), Membership, false},
		"CEL sees anything":          {predicates(byCEL("true")), Membership | Anything, false},
		"CEL may see scores":         {predicates(byCEL(`managedCluster.scores("load").size() > 0`)), Membership | Anything, true},
		"scores":                     {additive(weigh("load/cpu", 1)), Membership, true},
	} {
		t.Run(name, func(t *testing.T) {
			in := InterestOf(&policyOf(tc.with).Spec)
			if in.Facets != tc.facets || in.Uses("load") != tc.load {
				t.Errorf("%b, uses scores: %v", in.Facets, in.Uses("load"))
			}
		})
	}
}

func TestMembershipBySet(t *testing.T) {
	gold := set("gold", &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}})
	for name, tc := range map[string]struct {
		set  Set
		of   *clusterv1.ManagedCluster
		want bool
	}{
		"by label":          {set("prod", nil), cluster("a"), true},
		"of another set":    {set("dev", nil), cluster("a"), false},
		"by selector":       {gold, cluster("a", label("tier", "gold")), true},
		"not by selector":   {gold, cluster("a"), false},
		"everybody":         {set("global", &metav1.LabelSelector{}), cluster("a"), true},
		"a broken selector": {set("bad", &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}), cluster("a"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.set.Has(tc.of.Labels) != tc.want || (len(fleet(tc.of).members(tc.set)) == 1) != tc.want {
				t.Error("wrong")
			}
		})
	}
}
