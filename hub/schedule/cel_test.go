package schedule

import (
	"testing"

	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

// An expression is asked once about each version of a cluster: clusters that stay the same are carried from fleet to fleet.
func TestOutcomesAreRemembered(t *testing.T) {
	expression := `managedCluster.metadata.labels["tier"] == "gold" // TestOutcomesAreRemembered`
	east, west := NewCluster(cluster("east", label("tier", "gold"))), NewCluster(cluster("west", label("tier", "tin")))
	p := policyOf(predicates(byCEL(expression)))
	if got := selected(Schedule(facts(p, NewFleet(east, west)), noon)); got != "east" {
		t.Fatal(got)
	}
	program, err := programOf(expression)
	if err != nil {
		t.Fatal(err)
	}
	known := program.memo.Load().outcomes[1].Load()
	changed := NewFleet(NewCluster(cluster("east", label("tier", "tin"))), NewCluster(cluster("north", label("tier", "gold"))), west)
	if got := selected(Schedule(facts(p, changed), noon)); got != "north" {
		t.Error(got)
	}
	if again := program.memo.Load().outcomes[2].Load(); again != known {
		t.Error("west did not change and was looked at again")
	}
	if got := selected(Schedule(facts(p, NewFleet(west)), noon)); got != "" {
		t.Error(got)
	}
}

// What an expression says of scores is as new as the scores.
func TestOutcomesOfScoresAreNotRemembered(t *testing.T) {
	p := policyOf(predicates(byCEL(`managedCluster.scores("load").exists(s, s.value > 50)`)))
	f := fleet(cluster("east"))
	for value, want := range map[int32]string{40: "", 60: "east"} {
		if got := selected(Schedule(facts(p, f, scoresFor("load", "cpu", nil, map[string]int32{"east": value})), noon)); got != want {
			t.Errorf("%q at %d", got, value)
		}
	}
}

func TestABrokenExpressionOfOneClusterRefusesThatOnly(t *testing.T) {
	with := func(c *clusterv1.ManagedCluster) { c.Annotations = map[string]string{"owner": "me"} }
	r := Schedule(facts(policyOf(predicates(byCEL(`managedCluster.metadata.annotations.owner == "me"`))), fleet(cluster("east", with), cluster("west"))), noon)
	if selected(r) != "east" || len(r.Left) != 1 || r.Problem != nil {
		t.Error(selected(r), refusals(r))
	}
}
