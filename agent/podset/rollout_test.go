package podset_test

import (
	"testing"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/podsettest"
)

// play runs a story for many seeds: random size, budgets, hooks, order and
// luck. more are seeds that once found a bug.
func play(t *testing.T, story func(w *podsettest.World, look func()), more ...int64) {
	t.Helper()
	seeds := int64(500)
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		more = append(more, seed)
	}
	for _, seed := range more {
		w := podsettest.New(t, seed)
		story(w, func() { w.AtLeastUp(); w.AtMostLive() })
	}
}

func TestRolloutKeepsItsPromises(t *testing.T) {
	play(t, func(w *podsettest.World, look func()) {
		w.RollTo("b")
		w.UntilStill(look)
		w.AllOn("b")
	}, 2368, 8360)
}

func TestRolloutThroughScaling(t *testing.T) {
	play(t, func(w *podsettest.World, look func()) {
		w.RollTo("b")
		w.Run(w.Size(15), look)
		w.ScaleTo(w.Size(20))
		w.Run(w.Size(15), look)
		w.ScaleTo(w.Size(20))
		w.UntilStill(look)
		w.AllOn("b")
	}, 863, 2717)
}

func TestRollbackHalfWay(t *testing.T) {
	play(t, func(w *podsettest.World, look func()) {
		w.RollTo("b")
		w.Run(w.Size(20), look)
		w.RollTo("c")
		w.Run(w.Size(20), look)
		w.RollTo("a")
		w.UntilStill(look)
		w.AllOn("a")
	}, 7452)
}

func TestPartitionIsKept(t *testing.T) {
	play(t, func(w *podsettest.World, look func()) {
		w.KeepOld(w.Size(12))
		w.RollTo("b")
		w.UntilStill(look)
		w.AllOn("b")
		w.Kept("a")
		w.KeepOld(w.Size(w.Spec.Partition))
		w.UntilStill(look)
		w.AllOn("b")
		w.Kept("a")
	})
}

func TestUsersDeletePods(t *testing.T) {
	play(t, func(w *podsettest.World, look func()) {
		w.RollTo("b")
		for range 4 {
			w.Run(w.Size(8), look)
			w.DeleteOne()
		}
		w.UntilStill(look)
		w.AllOn("b")
	})
}

func TestBrokenRevisionStopsAtTheBudget(t *testing.T) {
	for _, cure := range []string{"a", "c"} {
		play(t, func(w *podsettest.World, look func()) {
			w.Spec.ScaleMaxUnavailable = podset.Unlimited // with it, broken pods may hold missing ones back for ever (DESIGN.md)
			w.Break("b")
			w.RollTo("b")
			w.UntilStill(look)
			w.StuckOn("b")
			w.RollTo(cure)
			w.UntilStill(look)
			w.AllOn(cure)
		}, 50, 286, 1276)
	}
}

func TestPauseHolds(t *testing.T) {
	play(t, func(w *podsettest.World, look func()) {
		w.RollTo("b")
		w.Run(w.Size(10), look)
		resume := w.Pause()
		w.Unchanged(func() { w.UntilStill(look) })
		resume()
		w.UntilStill(look)
		w.AllOn("b")
	})
}

func TestScaleToNothingAndBack(t *testing.T) {
	play(t, func(w *podsettest.World, look func()) {
		w.ScaleTo(0)
		w.UntilStill(look)
		w.AllOn("a")
		w.ScaleTo(1 + w.Size(20))
		w.UntilStill(look)
		w.AllOn("a")
	})
}
