package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// luck makes random facts.
type luck struct{ *rand.Rand }

func (l luck) of(values ...string) string { return values[l.IntN(len(values))] }

func (l luck) cluster(name string) *clusterv1.ManagedCluster {
	c := cluster(name, label("zone", l.of("a", "b", "c")), label("tier", l.of("gold", "tin")), claim("gpu", l.of("0", "1")), cpu(l.of("1", "2", "3", "4")))
	if l.IntN(4) == 0 {
		delete(c.Labels, "zone")
	}
	if l.IntN(3) == 0 {
		taint(l.of("old", "new"), clusterv1.TaintEffect(l.of("NoSelect", "NoSelectIfNew", "PreferNoSelect")))(c)
	}
	if l.IntN(10) == 0 {
		leaving(c)
	}
	return c
}

func (l luck) placement() *clusterv1beta1.Placement {
	p := policyOf()
	maybe := func(o placementOption) {
		if l.IntN(2) == 0 {
			o(&p.Spec)
		}
	}
	maybe(number(int32(l.IntN(8))))
	maybe(predicates(byLabel("tier", "gold")))
	maybe(predicates(byClaim("gpu", "In", "1")))
	maybe(predicates(byCEL(`managedCluster.metadata.name < "c5"`)))
	maybe(tolerations(clusterv1beta1.Toleration{Key: l.of("old", "new"), TolerationSeconds: new(int64(l.IntN(120)))}))
	maybe(additive(weigh(l.of(Steady, Balance, ResourceAllocatableCPU, "load/cpu"), int32(l.IntN(21)-10))))
	maybe(func(s *clusterv1beta1.PlacementSpec) {
		s.PrioritizerPolicy.Mode = clusterv1beta1.PrioritizerPolicyModeExact
	})
	maybe(spread(over("zone", int32(1+l.IntN(2)), clusterv1beta1.UnsatisfiableMaxSkewAction(l.of("DoNotSchedule", "ScheduleAnyway")))))
	maybe(groups(intstr.FromInt32(int32(l.IntN(4))), clusterv1beta1.DecisionGroup{GroupName: "gold",
		ClusterSelector: clusterv1beta1.GroupClusterSelector{LabelSelector: byLabel("tier", "gold").LabelSelector}}))
	maybe(func(s *clusterv1beta1.PlacementSpec) { s.SortBy = clusterv1beta1.PlacementSortByScore })
	return p
}

func (l luck) facts() (Facts, []*Cluster) {
	var clusters []*Cluster
	counts, scores := map[string]int{}, map[string]int32{}
	var hadThen []string
	for i := range 1 + l.IntN(12) {
		c := l.cluster(fmt.Sprintf("c%d", i))
		clusters = append(clusters, NewCluster(c))
		counts[c.Name] = l.IntN(4)
		if l.IntN(2) == 0 {
			scores[c.Name] = int32(l.IntN(201) - 100)
		}
		if l.IntN(3) == 0 {
			hadThen = append(hadThen, c.Name)
		}
	}
	until := metav1.NewTime(noon.Add(time.Duration(l.IntN(120)-30) * time.Second))
	return facts(l.placement(), NewFleet(clusters...), had(hadThen...), used(counts), scoresFor("load", "cpu", &until, scores),
		bound(set("prod", nil), set("gold", &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}))), clusters
}

var sameResult = []cmp.Option{cmp.AllowUnexported(standing{}, Result{}, Refusal{}), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".board" }, cmp.Ignore())}

func decisions(r Result) (all []clusterv1beta1.ClusterDecision) {
	for _, g := range r.Groups {
		all = append(all, g.Decisions...)
	}
	return all
}

// Invariants over random facts: OCM-16.2 to OCM-16.6 and OCM-17.2.
func TestScheduleKeepsItsPromises(t *testing.T) {
	for seed := range uint64(3000) {
		l := luck{rand.New(rand.NewPCG(seed, 7))}
		f, clusters := l.facts()
		r := Schedule(f, noon)
		if r.Problem != nil {
			t.Fatalf("seed %d: %v", seed, r.Problem)
		}
		l.eachClusterOnce(t, seed, f, r)

		// The order in which facts come does not matter, and facts are not changed by looking at them.
		l.Shuffle(len(clusters), func(i, j int) { clusters[i], clusters[j] = clusters[j], clusters[i] })
		shuffled := f
		shuffled.Fleet, shuffled.Bound = NewFleet(clusters...), []Set{f.Bound[1], f.Bound[0]}
		shuffled.Earlier = slices.Clone(f.Earlier)
		slices.Reverse(shuffled.Earlier)
		if d := cmp.Diff(r, Schedule(shuffled, noon), sameResult...); d != "" {
			t.Fatalf("seed %d: another order gives another result: %s", seed, d)
		}

		// What was decided stays decided: the result is its own successor, and nothing would be written.
		next := f
		next.Earlier, next.ScoredAt = decisions(r), noon
		again := Schedule(next, noon)
		if d := cmp.Diff(r.Groups, again.Groups); d != "" || again.Scored {
			t.Fatalf("seed %d: not steady: %s", seed, d)
		}
		comesToRest(t, seed, next)
	}
}

// comesToRest follows the wake-ups: when nothing but time passes, they end.
func comesToRest(t *testing.T, seed uint64, f Facts) {
	t.Helper()
	now := noon
	for range 10 {
		r := Schedule(f, now)
		if r.Recheck == 0 {
			return
		}
		now = now.Add(r.Recheck)
		f.Earlier = decisions(r)
		if r.Scored {
			f.ScoredAt = now
		}
	}
	t.Fatalf("seed %d: still wakes at %v", seed, now)
}

// eachClusterOnce wants every candidate either selected or refused, and no more than were asked for.
func (luck) eachClusterOnce(t *testing.T, seed uint64, f Facts, r Result) {
	t.Helper()
	seen := map[string]int{}
	for _, d := range decisions(r) {
		seen[d.ClusterName]++
	}
	if n := f.Placement.Spec.NumberOfClusters; n != nil && len(seen) > int(*n) || len(seen) != r.Selected {
		t.Fatalf("seed %d: %d selected", seed, len(seen))
	}
	for _, l := range r.Left {
		if seen[l.Cluster]++; l.Why == "" {
			t.Fatalf("seed %d: %s is left out without a reason", seed, l.Cluster)
		}
	}
	for _, at := range f.Fleet.union(f.Bound) {
		name := f.Fleet.clusters[at].Name
		if seen[name] != 1 {
			t.Fatalf("seed %d: %s is selected or refused %d times", seed, name, seen[name])
		}
		delete(seen, name)
	}
	if len(seen) != 0 {
		t.Fatalf("seed %d: no candidates: %v", seed, seen)
	}
}
