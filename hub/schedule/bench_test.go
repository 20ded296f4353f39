package schedule

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
)

const (
	benchClusters   = 5000
	benchPlacements = 2000
	benchSets       = 20
)

// world is a fleet of the size that the budget names, with everything that a placement can look at.
type world struct {
	fleet      *Fleet
	sets       []Set
	scores     Scores
	counts     map[string]int
	placements []*clusterv1beta1.Placement
	earlier    [][]clusterv1beta1.ClusterDecision
}

func newWorld() *world {
	l := luck{rand.New(rand.NewPCG(1, 2))}
	w := &world{scores: Scores{"load": {}}, counts: map[string]int{}, earlier: make([][]clusterv1beta1.ClusterDecision, benchPlacements)}
	var clusters []*Cluster
	for i := range benchClusters {
		c := w.cluster(l, i)
		clusters = append(clusters, NewCluster(c))
		w.scores["load"][c.Name] = &clusterv1alpha1.AddOnPlacementScore{Status: clusterv1alpha1.AddOnPlacementScoreStatus{
			ValidUntil: &metav1.Time{Time: noon.Add(time.Hour)},
			Scores:     []clusterv1alpha1.AddOnPlacementScoreItem{{Name: "mem", Value: 1}, {Name: "cpu", Value: int32(l.IntN(201) - 100)}}}}
	}
	w.fleet = NewFleet(clusters...)
	for i := range benchSets {
		w.sets = append(w.sets, set(fmt.Sprintf("set-%d", i), nil))
	}
	w.sets = append(w.sets, set("global", &metav1.LabelSelector{}))
	for i := range benchPlacements {
		w.placements = append(w.placements, w.placement(l, i))
	}
	return w
}

func (*world) cluster(l luck, i int) *clusterv1.ManagedCluster {
	c := cluster(fmt.Sprintf("cluster-%04d", i), label(clusterv1beta2.ClusterSetLabel, fmt.Sprintf("set-%d", i%benchSets)),
		label("region", fmt.Sprintf("region-%d", i%7)), label("zone", fmt.Sprintf("zone-%d", i%21)), label("tier", l.of("gold", "tin")), cpu(fmt.Sprint(4+l.IntN(60))))
	for j := range 12 {
		claim(fmt.Sprintf("claim-%d.example.com", j), fmt.Sprint(l.IntN(5)))(c)
	}
	if i%20 == 0 {
		taint(clusterv1.ManagedClusterTaintUnreachable, clusterv1.TaintEffectNoSelect)(c)
	}
	return c
}

// placement is one of seven kinds; all draw from the whole fleet, which is the worst that a placement can do.
func (*world) placement(_ luck, i int) *clusterv1beta1.Placement {
	with := []placementOption{sets("global")}
	switch i % 7 {
	case 0: // everything there is
	case 1:
		with = append(with, number(10))
	case 2:
		with = append(with, number(50), predicates(byLabel("region", fmt.Sprintf("region-%d", i%7))))
	case 3:
		with = append(with, number(20), predicates(byClaim("claim-3.example.com", "In", "1", "2")), additive(weigh(ResourceAllocatableCPU, 2)))
	case 4:
		with = append(with, number(30), additive(weigh("load/cpu", 3)), tolerations(clusterv1beta1.Toleration{Operator: "Exists", TolerationSeconds: new(int64(300))}))
	case 5:
		with = append(with, number(100), spread(over("zone", 1, clusterv1beta1.DoNotSchedule), over("region", 1, clusterv1beta1.ScheduleAnyway)))
	case 6:
		with = append(with, number(40), predicates(byCEL(fmt.Sprintf(`managedCluster.metadata.labels["tier"] == "gold" && managedCluster.status.clusterClaims.exists(c, c.name == "claim-5.example.com" && c.value == "%d")`, i%5))))
	}
	p := policyOf(with...)
	p.Name = fmt.Sprintf("p-%d", i)
	return p
}

func (w *world) facts(i int) Facts {
	f := Facts{Placement: w.placements[i], Bound: w.sets, Fleet: w.fleet, Earlier: w.earlier[i], ScoredAt: noon, Scores: w.scores, Counts: Counts{All: w.counts}}
	for _, d := range w.earlier[i] {
		f.Counts.Own = append(f.Counts.Own, d.ClusterName)
	}
	return f
}

func (w *world) keep(i int, r Result) {
	for _, d := range w.earlier[i] {
		w.counts[d.ClusterName]--
	}
	w.earlier[i] = decisions(r)
	for _, d := range w.earlier[i] {
		w.counts[d.ClusterName]++
	}
}

// settle decides every placement once, so that the measured rounds find decisions.
func (w *world) settle() {
	for i := range w.placements {
		w.keep(i, Schedule(w.facts(i), noon))
	}
}

// BenchmarkSchedule is one placement after the other of 2,000, over 5,000 clusters. The budget is 20 ms for 99 of 100.
func BenchmarkSchedule(b *testing.B) {
	w := newWorld()
	w.settle()
	b.ReportAllocs()
	measure(b, func(n int) {
		f := w.facts(n % benchPlacements)
		r := Schedule(f, noon)
		_, _ = r.Conditions(), Slices(f.Placement.Name, r.Groups)
	})
}

// BenchmarkScheduleKinds is the same by kind of placement.
func BenchmarkScheduleKinds(b *testing.B) {
	w := newWorld()
	w.settle()
	for kind, name := range []string{"all", "number", "labels", "claims+allocatable", "add-on+tolerations", "spread", "CEL"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			measure(b, func(int) { Schedule(w.facts(kind), noon) })
		})
	}
}

// measure reports what half of the runs and what 99 of 100 took at most, by the clock and in CPU time.
func measure(b *testing.B, run func(n int)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	wall, cpu := make([]time.Duration, b.N), make([]time.Duration, b.N)
	b.ResetTimer()
	for n := range b.N {
		start, used := time.Now(), threadCPU()
		run(n)
		wall[n], cpu[n] = time.Since(start), threadCPU()-used
	}
	b.StopTimer()
	for _, m := range []struct {
		took []time.Duration
		unit string
	}{{wall, "ms"}, {cpu, "cpu-ms"}} {
		slices.Sort(m.took)
		at := func(share float64) float64 {
			return float64(m.took[int(share*float64(len(m.took)-1))].Microseconds()) / 1000
		}
		b.ReportMetric(at(0.5), m.unit+"-p50")
		b.ReportMetric(at(0.99), m.unit+"-p99")
	}
}
