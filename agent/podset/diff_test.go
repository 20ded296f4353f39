package podset

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each row is worked out by hand from the text of WL-1.8.
func TestDiff(t *testing.T) {
	type row struct {
		spec       Spec
		fresh, old tally
		want       diff
	}
	plain := func(live int) tally { return tally{total: live, live: live} }
	for name, tc := range map[string]row{
		"nothing to do": {
			steady(3), plain(3), tally{}, diff{},
		},
		"all to update": {
			toRevision("b", 10, maxUnavailable(2)), tally{}, plain(10), diff{updateNum: 10, updateBudget: 2},
		},
		"surge for the rollout, of the update revision": { // b = 5, cut to 2
			toRevision("b", 5, maxSurge(2)), tally{}, plain(5),
			diff{up: 2, upNow: 2, updateNum: 5, updateBudget: 1},
		},
		"surge no more than is left to update": { // oldExcess 1, newExcess -1
			toRevision("b", 5, maxSurge(3)), plain(4), plain(1),
			diff{up: 1, upNow: 1, updateNum: 1, updateBudget: 1},
		},
		"no surge when the new pods are all there": { // newExcess 0
			toRevision("b", 3, maxSurge(1), partition(2)), plain(1), plain(3),
			diff{down: 1, downOld: 1, readyDeleteBudget: 2},
		},
		"no surge when no old pod is too many": { // oldExcess 0, newExcess -1: simply missing
			toRevision("b", 3, maxSurge(1), partition(2)), tally{}, plain(2),
			diff{up: 1, upNow: 1},
		},
		"fewer missing new than excess old: that many are updated": { // oldExcess 3, newExcess -2
			toRevision("b", 4, partition(1)), plain(1), plain(4),
			diff{down: 1, downOld: 3, readyDeleteBudget: 2, updateNum: 2, updateBudget: 2},
		},
		"fewer excess old than missing new: that many are updated": { // oldExcess 1, newExcess -3
			toRevision("b", 5, partition(2)), tally{}, plain(3),
			diff{up: 2, upNow: 2, updateNum: 1, updateBudget: -1},
		},
		"surge for marked pods, as far as they exceed what may be down": { // a = min(max(1+3-2, 0), 3) = 2
			steady(6, maxUnavailable(2), maxSurge(5)), tally{total: 6, live: 6, toDelete: 3, unavailable: 1}, tally{},
			diff{up: 2, upNow: 2, readyDeleteBudget: 1},
		},
		"surge for marked pods, never more than there are": { // a = min(4+1-0, 1) = 1
			steady(6, maxUnavailable(0), maxSurge(5)), tally{total: 6, live: 6, toDelete: 1, unavailable: 4}, tally{},
			diff{up: 1, upNow: 1},
		},
		"surge for marked pods up to maxSurge": { // a = 3
			steady(6, maxUnavailable(0), maxSurge(2)), tally{total: 6, live: 6, toDelete: 3}, tally{},
			diff{up: 2, upNow: 2},
		},
		"surge for marked old pods is old, less the marked new ones": { // a = 3, aOld = 3 - 1 = 2
			toRevision("b", 6, maxUnavailable(0), maxSurge(4), partition(4)),
			tally{total: 2, live: 2, toDelete: 1}, tally{total: 4, live: 4, toDelete: 2},
			diff{up: 3, upOld: 2, upNow: 3},
		},
		"surge for old pods is cut like surge": { // a = 3, aOld = 3, both cut to 1
			toRevision("b", 6, maxUnavailable(0), maxSurge(1), partition(6)),
			tally{}, tally{total: 6, live: 6, toDelete: 3},
			diff{up: 1, upOld: 1, upNow: 1},
		},
		"the rollout's surge when it is larger than that for marked pods": { // a = 1 (all old: aOld 1), b = 4
			toRevision("b", 6, maxUnavailable(0), maxSurge(5), partition(2)),
			tally{}, tally{total: 6, live: 6, toDelete: 1},
			diff{up: 4, upNow: 4, updateNum: 4, updateBudget: 0},
		},
		"and that for marked pods when they are even": { // a = 2, aOld = 2; b = 2
			toRevision("b", 6, maxUnavailable(0), maxSurge(5), partition(4)),
			tally{}, tally{total: 6, live: 6, toDelete: 2},
			diff{up: 2, upOld: 0, upNow: 2, updateNum: 2, updateBudget: 0},
		},
		"raised partition without the gate": { // oldExcess -2 -> 0, newExcess 2 -> 0
			toRevision("b", 4, partition(3), maxSurge(2)), plain(3), plain(1), diff{},
		},
		"raised partition with the gate: back to the current revision, surge of it": { // oldExcess -2, newExcess 2: |2| <= |2|
			toRevision("b", 4, partition(3), maxSurge(1), rollback), plain(3), plain(1),
			diff{up: 1, upOld: 3, upNow: 1, updateNum: -2, updateBudget: 1},
		},
		"back, with more new pods too many than old ones missing": { // oldExcess -1, newExcess 3; b = 1 = bOld
			toRevision("b", 4, partition(2), maxSurge(2), rollback), plain(5), plain(1),
			diff{down: 1, downOld: 0, readyDeleteBudget: 3, updateNum: -1, updateBudget: 3},
		},
		"back, with fewer new pods too many than old ones missing": { // oldExcess -3, newExcess 1; b = 1 = bOld
			toRevision("b", 5, partition(3), maxSurge(2), rollback), plain(3), tally{},
			diff{up: 3, upOld: 4, upNow: 3, updateNum: -1, updateBudget: -1},
		},
		"too many of both, with the gate: to the update revision": { // oldExcess 2, newExcess 2
			toRevision("b", 4, partition(2), rollback), plain(4), plain(4),
			diff{down: 4, downOld: 2, readyDeleteBudget: 5, updateNum: 2, updateBudget: 5},
		},
		"pods that prepare to go are had and down": {
			steady(4, maxUnavailable(3), scaleBudget(2)), tally{total: 3, live: 2, preDeleting: 1}, tally{},
			diff{up: 1, upNow: 1},
		},
		"or neither had nor, of the old, wanted": { // have 5 - 2, haveOld 3 - 1
			toRevision("b", 5, partition(3), excludeLeaving),
			tally{total: 2, live: 1, preDeleting: 1}, tally{total: 3, live: 2, preDeleting: 1},
			diff{up: 2, upOld: 1, upNow: 2},
		},
		"too many: what goes by itself is not too many, what is down uses the budget": { // 9 - 2 - 5; 2 + 9 - 5 - 3
			steady(5, maxUnavailable(2)), tally{total: 9, live: 8, preDeleting: 1, toDelete: 2, unavailable: 2}, tally{},
			diff{down: 2, readyDeleteBudget: 3},
		},
		"too many old ones, less those that go by themselves": { // 8 - 1 - 5; 6 - 1 - 2
			toRevision("b", 5, partition(2)), plain(2), tally{total: 6, live: 6, toDelete: 1},
			diff{down: 2, downOld: 3, readyDeleteBudget: 4, updateNum: 1, updateBudget: 4},
		},
		"marked pods, but more down than may be": {
			steady(5, maxUnavailable(1)), tally{total: 5, live: 5, toDelete: 1, unavailable: 3}, tally{}, diff{},
		},
		"the scale budget is used up": {
			steady(9, scaleBudget(2)), tally{total: 5, live: 5, unavailable: 3}, tally{}, diff{up: 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, tc.spec.diff(tc.fresh, tc.old), cmp.AllowUnexported(diff{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// WL-1.8: planned deletions come before the rollout when both ask for as many.
func TestSurgeForDeletionsAndRolloutAlike(t *testing.T) {
	spec := Spec{MaxSurge: 5}
	if surge, old := spec.surge(1, -1, 1, 0, 1); surge != 1 || old != 1 {
		t.Errorf("surge %d, of them %d old", surge, old)
	}
}
