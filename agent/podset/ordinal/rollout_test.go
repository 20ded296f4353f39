package ordinal

import (
	"slices"
	"testing"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

const seeds = 300

func simulate(t *testing.T, story func(*world), change ...func(*world)) {
	t.Helper()
	for seed := range int64(seeds) {
		w := newSimulation(t, seed, change...)
		w.luck = 30
		w.untilStill()
		w.allOn("a")
		story(w)
	}
}

func to(revision string) func(*Spec) { return func(s *Spec) { s.UpdateRevision = revision } }

func TestRolloutKeepsItsPromises(t *testing.T) { // WL-2.10
	simulate(t, func(w *world) {
		w.order(to("b"), "roll to b")
		w.untilStill()
		w.allOn("b")
	})
}

func TestPartitionedRolloutKeepsItsPromises(t *testing.T) { // WL-2.7
	simulate(t, func(w *world) {
		keep := w.dice.IntN(w.spec.Replicas + 1)
		w.order(func(s *Spec) { s.UpdateRevision, s.Partition = "b", keep }, "roll to b but for %d", keep)
		w.untilStill()
		w.allOn("b")
		if old := len(w.of("a")); old != keep {
			w.fail("%d pods are old, the partition keeps %d", old, keep)
		}
		w.order(func(s *Spec) { s.Partition = 0 }, "roll the rest")
		w.untilStill()
		w.allOn("b")
	})
}

func TestChangesOfMindKeepTheirPromises(t *testing.T) {
	simulate(t, func(w *world) {
		for range 3 {
			next := string("abc"[w.dice.IntN(3)])
			w.order(to(next), "roll to %s", next)
			for range w.dice.IntN(20) {
				w.step()
				w.atMostDown()
			}
			w.order(func(s *Spec) { s.Paused = !s.Paused }, "pause or go on")
			for range w.dice.IntN(10) {
				w.step()
				w.atMostDown()
			}
		}
		w.order(func(s *Spec) { s.Paused, s.UpdateRevision = false, "b" }, "roll to b")
		w.untilStill()
		w.allOn("b")
	})
}

func TestScalingKeepsItsPromises(t *testing.T) { // WL-2.4, WL-2.6
	simulate(t, func(w *world) {
		for range 3 {
			n, r := w.dice.IntN(8), w.dice.IntN(6)
			w.order(func(s *Spec) { s.Replicas, s.Reserved = n, []Range{{r, r + w.dice.IntN(3)}} }, "scale to %d without %d", n, r)
			for range w.dice.IntN(20) {
				w.step()
				w.atMostDown()
			}
		}
		w.order(to("b"), "roll to b")
		w.untilStill()
		w.allOn("b")
	})
}

func TestMarkedPodsComeBack(t *testing.T) { // WL-2.10
	simulate(t, func(w *world) {
		for range 3 {
			if p := w.pods[w.dice.IntN(len(w.pods))]; !p.gone {
				p.Marked = true
				w.changed(p)
			}
		}
		w.order(func(*Spec) {}, "delete some")
		w.untilStill()
		w.allOn("a")
		if slices.ContainsFunc(w.pods, func(p *simulated) bool { return !p.gone && p.Marked }) {
			w.fail("a marked pod is still there")
		}
	})
}

func TestBrokenRevisionStopsAtTheBudget(t *testing.T) { // WL-2.10
	simulate(t, func(w *world) {
		w.bad["x"] = true
		w.order(to("x"), "roll to x, which is broken")
		w.luck = 0
		w.untilStill()
		broken := 0
		for _, n := range w.window() {
			if p := w.at(n); p == nil || p.Revision == "x" { // the scale budget may hold its successor back
				broken++
			}
		}
		if broken > w.spec.MaxUnavailable {
			w.fail("%d pods are broken", broken)
		}
		w.order(to("b"), "roll to b")
		w.luck = 0
		w.untilStill()
		w.allOn("b")
	})
}

// The simulation is worth something only if it notices engines that break their promises.
func TestBrokenEnginesAreCaught(t *testing.T) {
	for name, broken := range map[string]func(Spec, []Pod, time.Time) Plan{
		"no budget": func(s Spec, pods []Pod, now time.Time) Plan {
			s.MaxUnavailable = 100
			return Decide(s, pods, now)
		},
		"no partition": func(s Spec, pods []Pod, now time.Time) Plan {
			s.Partition = 0
			return Decide(s, pods, now)
		},
		"no order": func(s Spec, pods []Pod, now time.Time) Plan {
			s.Ordered = false
			return Decide(s, pods, now)
		},
		"no refresh": func(s Spec, pods []Pod, now time.Time) Plan {
			p := Decide(s, pods, now)
			p.Refresh = nil
			return p
		},
		"no deletes": func(s Spec, pods []Pod, now time.Time) Plan {
			p := Decide(s, pods, now)
			p.Delete = nil
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			caught := 0
			for seed := range int64(20) {
				if !survives(seed, broken) {
					caught++
				}
			}
			if caught == 0 {
				t.Error("nobody noticed")
			}
		})
	}
}

// survives plays a rollout with a partition in a test of its own, which may fail.
func survives(seed int64, engine func(Spec, []Pod, time.Time) Plan) bool {
	var inner testing.T
	done := make(chan struct{})
	go func() { // Fatal ends its goroutine
		defer close(done)
		w := newSimulation(&inner, seed, func(w *world) { w.spec.Replicas, w.spec.UpdateType = 5, podset.Recreate })
		w.decide = engine
		w.luck = 10
		w.untilStill()
		w.allOn("a")
		w.order(func(s *Spec) { s.UpdateRevision, s.Partition = "b", 2 }, "roll to b but for 2")
		w.untilStill()
		w.allOn("b")
	}()
	<-done
	return !inner.Failed()
}
