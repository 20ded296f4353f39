package pernode

import (
	"cmp"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

const seeds = 300

func TestRolloutsKeepTheirPromises(t *testing.T) { // WL-3.7
	for seed := range int64(seeds) {
		w := newWorld(t, seed)
		w.untilStill()
		w.everyNodeHas(all("a"))
		w.rollTo("b")
		if seed%3 == 0 { // another one comes in between
			for range 5 {
				w.step()
			}
			w.rollTo("c")
		}
		w.untilStill()
		w.everyNodeHas(func(n Node) string {
			if !n.Run {
				return "" // with surge a node that only keeps its pod keeps it old
			}
			return w.spec.Revision
		})
	}
}

func TestPartitionedRolloutsEndWhereTheyShould(t *testing.T) { // WL-3.7, WL-3.12.3
	for seed := range int64(seeds) {
		w := newWorld(t, seed)
		w.fail = 0 // a pod that is lost comes back new, whatever the partition says
		w.untilStill()
		w.spec.Partition = 1 + w.random.IntN(len(w.spec.Nodes))
		w.rollTo("b")
		w.untilStill()
		if got, want := w.count("a"), min(w.spec.Partition, len(w.spec.Nodes)); got != want {
			w.fatal("%d nodes kept their pod, the partition is %d", got, w.spec.Partition)
		}
		names := slices.Collect(func(yield func(string) bool) {
			for _, n := range w.spec.Nodes {
				if !yield(n.Name) {
					return
				}
			}
		})
		slices.SortFunc(names, cmp.Compare[string])
		w.everyNodeHas(func(n Node) string {
			if slices.Index(names, n.Name) < w.spec.Partition {
				return "a"
			}
			return "b"
		})
	}
}

func TestOnlySelectedNodesChange(t *testing.T) { // WL-3.12.4
	for seed := range int64(seeds) {
		w := newWorld(t, seed)
		w.fail = 0
		w.untilStill()
		w.spec.Selective = true
		for i := range w.spec.Nodes {
			w.spec.Nodes[i].Selected = w.random.IntN(2) == 0
		}
		w.rollTo("b")
		w.untilStill()
		w.everyNodeHas(func(n Node) string { return map[bool]string{true: "b", false: "a"}[n.Selected] })
	}
}

func TestAPauseStopsTheUpdateAlone(t *testing.T) { // WL-3.3, WL-3.12.5
	for seed := range int64(seeds) {
		w := newWorld(t, seed)
		w.untilStill()
		w.spec.Rolling = false
		w.rollTo("b")
		w.untilStill()
		w.everyNodeHas(all("")) // lost pods came back, and new nodes have theirs
		if n := w.count("b"); w.fail == 0 && n > 0 {
			w.fatal("%d pods were updated", n)
		}
		w.spec.Rolling = true
		w.rollTo("b")
		w.untilStill()
		w.everyNodeHas(func(n Node) string { return map[bool]string{true: "b"}[n.Run] })
	}
}

func TestABadRevisionStopsAtTheBudgetAndAnotherHeals(t *testing.T) {
	for seed := range int64(seeds) {
		w := newWorld(t, seed)
		w.fail, w.bad["b"] = 0, true
		w.untilStill()
		w.rollTo("b")
		w.untilStill()
		up := 0
		for _, p := range w.pods {
			if p.Ready {
				up++
			}
		}
		if want := len(w.spec.Nodes) - w.spec.MaxUnavailable; up < want { // with surge all of them
			w.fatal("%d of %d pods are left, maxUnavailable is %d", up, len(w.spec.Nodes), w.spec.MaxUnavailable)
		}
		w.rollTo("c")
		w.untilStill()
		w.everyNodeHas(all("c"))
	}
}

// probe is a test that may fail.
type probe struct {
	testing.TB
	failed bool
}

func (p *probe) Fatalf(string, ...any) {
	p.failed = true
	runtime.Goexit()
}

// TestBrokenDecisionsAreCaught: a simulation that lets these pass proves nothing.
func TestBrokenDecisionsAreCaught(t *testing.T) {
	for name, broken := range map[string]func(Spec, []Pod, time.Time) Plan{
		"over the budget": func(s Spec, pods []Pod, now time.Time) Plan {
			s.MaxUnavailable++
			if s.MaxSurge > 0 {
				s.MaxSurge++
			}
			return Decide(s, pods, now)
		},
		"before it has soaked": func(s Spec, pods []Pod, now time.Time) Plan {
			s.MinReady = 0
			return Decide(s, pods, now)
		},
		"without the partition": func(s Spec, pods []Pod, now time.Time) Plan {
			s.Partition = 0
			return Decide(s, pods, now)
		},
		"without being woken": func(s Spec, pods []Pod, now time.Time) Plan {
			return Plan{Plan: podset.Plan{Create: Decide(s, pods, now).Create}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			caught := 0
			for seed := range int64(60) {
				probe := &probe{TB: t}
				done := make(chan struct{})
				go func() {
					defer close(done)
					w := newWorld(probe, seed)
					w.untilStill()
					w.decide = broken
					w.spec.Partition = int(seed % 2)
					w.rollTo("b")
					w.untilStill()
					if w.count("a") < w.spec.Partition && w.fail == 0 {
						w.fatal("the partition was not kept")
					}
					if w.spec.Partition == 0 {
						w.everyNodeHas(func(n Node) string { return map[bool]string{true: "b"}[n.Run] })
					}
				}()
				<-done
				if probe.failed {
					caught++
				}
			}
			if caught == 0 {
				t.Error("nothing noticed it")
			}
		})
	}
}
