package schedule

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// Spread comes after filters and scores and before the cut. OCM-16.6
func TestSpread(t *testing.T) {
	zoned := fleet(
		cluster("a1", label("zone", "a"), label("kind", "big")), cluster("a2", label("zone", "a"), label("kind", "big")),
		cluster("a3", label("zone", "a"), label("kind", "small")), cluster("b1", label("zone", "b"), label("kind", "big")),
		cluster("none"))
	hard, soft := clusterv1beta1.DoNotSchedule, clusterv1beta1.ScheduleAnyway
	for name, tc := range map[string]struct {
		placement *clusterv1beta1.Placement
		facts     []factsOption
		want      string
		left      []string
	}{
		"without constraints nothing is different": {placement: policyOf(number(3)), want: "a1 a2 a3",
			left: []string{"b1 NumberOfClusters: numberOfClusters is 3 and others score higher or come first by name",
				"none NumberOfClusters: numberOfClusters is 3 and others score higher or come first by name"}},
		"a hard constraint alternates": {placement: policyOf(number(2), spread(over("zone", 1, hard))), want: "a1 b1",
			left: []string{"a2 NumberOfClusters: numberOfClusters is 2 and others score higher or come first by name",
				"a3 NumberOfClusters: numberOfClusters is 2 and others score higher or come first by name",
				"none Spread: the cluster has no label zone that spread constraint 0 is about"}},
		"and stops where it cannot be kept": {placement: policyOf(spread(over("zone", 1, hard))), want: "a1 a2 b1",
			left: []string{"a3 Spread: one more with label zone=a would exceed maxSkew 1: it has 2, the least is 1",
				"none Spread: the cluster has no label zone that spread constraint 0 is about"}},
		"a wider skew lets more in": {placement: policyOf(number(4), spread(over("zone", 2, hard))), want: "a1 a2 a3 b1",
			left: []string{"none Spread: the cluster has no label zone that spread constraint 0 is about"}},
		"scores decide inside a domain": {placement: policyOf(number(2), spread(over("zone", 1, hard))), facts: []factsOption{had("a3")}, want: "a3 b1",
			left: []string{"a1 NumberOfClusters: numberOfClusters is 2 and others score higher or come first by name",
				"a2 NumberOfClusters: numberOfClusters is 2 and others score higher or come first by name",
				"none Spread: the cluster has no label zone that spread constraint 0 is about"}},
		"a soft constraint prefers": {placement: policyOf(number(2), spread(over("zone", 1, soft))), want: "a1 b1",
			left: []string{"a2 NumberOfClusters: numberOfClusters is 2 and others score higher or come first by name",
				"a3 NumberOfClusters: numberOfClusters is 2 and others score higher or come first by name",
				"none NumberOfClusters: numberOfClusters is 2 and others score higher or come first by name"}},
		"and gives way": {placement: policyOf(spread(over("zone", 1, soft))), want: "a1 a2 a3 b1 none"},
		"the first constraint goes first": {placement: policyOf(number(3), spread(over("zone", 1, soft), over("kind", 1, soft))), want: "a1 a3 b1",
			left: []string{"a2 NumberOfClusters: numberOfClusters is 3 and others score higher or come first by name",
				"none NumberOfClusters: numberOfClusters is 3 and others score higher or come first by name"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := Schedule(facts(tc.placement, zoned, tc.facts...), noon)
			if got := selected(r); got != tc.want {
				t.Errorf("selected %q, want %q", got, tc.want)
			}
			if d := cmp.Diff(tc.left, refusals(r)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSpreadByClaim(t *testing.T) {
	term := clusterv1beta1.SpreadConstraintsTerm{TopologyKey: "region", TopologyKeyType: clusterv1beta1.TopologyKeyTypeClaim, MaxSkew: 1,
		WhenUnsatisfiable: clusterv1beta1.DoNotSchedule}
	r := Schedule(facts(policyOf(number(2), spread(term)), fleet(cluster("a", claim("region", "eu")), cluster("b", claim("region", "eu")), cluster("c", claim("region", "us")))), noon)
	if got := selected(r); got != "a c" {
		t.Error(got)
	}
}
