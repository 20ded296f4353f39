package podset

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rollout is a spec, the pods there are and the plan we want: its lines, with
// "*" for a new slot and without the reason where it does not matter.
type rollout struct {
	spec Spec
	pods []Pod
	want []string
	// recheck is when the plan asks to be made again.
	recheck time.Duration
}

func (r rollout) check(t *testing.T) {
	t.Helper()
	got := Decide(r.spec, r.pods, noon)
	if d := cmp.Diff(r.want, abridge(got, r.want)); d != "" {
		t.Errorf("plan (-want +got):\n%s", d)
	}
	if got.Recheck() != r.recheck {
		t.Errorf("recheck in %s, want %s", got.Recheck(), r.recheck)
	}
}

// abridge tells a plan in the detail that want is told in.
func abridge(p Plan, want []string) []string {
	for i := range p.Create {
		p.Create[i].Slot = "*"
	}
	lines := p.Lines()
	for i, line := range lines {
		if i < len(want) && !strings.Contains(want[i], ": ") {
			lines[i], _, _ = strings.Cut(line, ": ")
		}
	}
	return lines
}

func run(t *testing.T, table map[string]rollout) {
	t.Helper()
	for name, tc := range table {
		t.Run(name, func(t *testing.T) { tc.check(t) })
	}
}

// WL-1.17
func TestWorkedCases(t *testing.T) {
	run(t, map[string]rollout{
		"10 old pods, 20%: two are updated, the rest waits": {
			spec: toRevision("b", 10, percent("20%", "0"), inPlace),
			pods: ups(10, "a"),
			want: []string{"update a00 to b: within maxUnavailable", "update a01 to b: within maxUnavailable"},
		},
		"surge 30% of 5 makes two new pods before anything else": {
			spec: toRevision("b", 5, percent("20%", "30%")),
			pods: ups(5, "a"),
			want: []string{"create * of b: 5 of 7 pods are there", "create * of b: 5 of 7 pods are there"},
		},
		"while the two surge pods come up, exactly one old pod is marked": {
			spec: toRevision("b", 5, percent("20%", "30%")),
			pods: join(ups(5, "a"), []Pod{down("b00", "b"), down("b01", "b")}),
			want: []string{"mark a00 to recreate it as b: within maxUnavailable"},
		},
		"3 replicas, surge 1, 20% is 0 unavailable: surge first": {
			spec: toRevision("b", 3, percent("20%", "1")),
			pods: ups(3, "a"),
			want: []string{"create * of b"},
		},
		"and nothing else until the surge pod is up": {
			spec: toRevision("b", 3, percent("20%", "1")),
			pods: join(ups(3, "a"), []Pod{down("b00", "b")}),
		},
		"then one old pod goes": {
			spec: toRevision("b", 3, percent("20%", "1")),
			pods: append(ups(3, "a"), up("b00", "b")),
			want: []string{"mark a00 to recreate it as b"},
		},
		"a pod to delete goes at once when the budget has room": {
			spec: steady(5, percent("20%", "0")),
			pods: append(ups(4, "b"), up("x", "b", marked)),
			want: []string{"delete x: it is marked for deletion"},
		},
		"and is replaced, replicas unchanged": {
			spec: steady(5, percent("20%", "0")),
			pods: append(ups(4, "b"), up("x", "b", marked, terminating)),
			want: []string{"create * of b: 4 of 5 pods are there"},
		},
		"5 to 3 with one marked pod: the marked one goes first": {
			spec: steady(3),
			pods: append(ups(4, "b"), up("x", "b", marked)),
			want: []string{"delete x"},
		},
		"then one more": {
			spec: steady(3),
			pods: ups(4, "b"),
			want: []string{"delete b00: 1 too many"},
		},
		"partition 90% of 10 updates one": {
			spec: toRevision("b", 10, partition(9), maxUnavailable(2), inPlace),
			pods: ups(10, "a"),
			want: []string{"update a00 to b"},
		},
		"and then no other": {
			spec: toRevision("b", 10, partition(9), maxUnavailable(2), inPlace),
			pods: append(ups(9, "a"), up("b", "b")),
		},
	})
}

func TestScale(t *testing.T) {
	hooks := lifecycle(Lifecycle{PreDelete: &Hook{}})
	run(t, map[string]rollout{
		"a set from nothing": {
			spec: steady(2),
			want: []string{"create * of b: 0 of 2 pods are there", "create * of b: 0 of 2 pods are there"},
		},
		"a deleted set is left alone": {
			spec: steady(3, func(s *Spec) { s.Deleting = true }),
			pods: ups(5, "a"),
		},
		"finished and terminating pods are replaced": {
			spec: steady(3),
			pods: []Pod{up("x", "b"), up("y", "b", terminating), up("z", "b", finished)},
			want: []string{"create * of b", "create * of b"},
		},
		"the partition is filled with the current revision first": { // WL-1.9 step 3
			spec: toRevision("b", 5, partition(3)),
			pods: []Pod{up("x", "a")},
			want: []string{"create * of a", "create * of a", "create * of b", "create * of b"},
		},
		"more old pods may be missing than pods in all": { // WL-1.8: upOld may exceed up
			spec: toRevision("b", 4, partition(4)),
			pods: []Pod{up("x", "b"), up("y", "b"), up("z", "b")},
			want: []string{"create * of a"},
		},
		"scale-up waits for pods that are down, of any revision": { // WL-1.19 1
			spec: steady(6, scaleBudget(2)),
			pods: []Pod{up("x", "b"), down("y", "b")},
			want: []string{"create * of b"},
		},
		"held-back scale-up deletes nothing": { // WL-1.19 1
			spec: steady(4, scaleBudget(1)),
			pods: []Pod{down("x", "b"), up("y", "b", marked)},
		},
		"but for pods that their hook let go: they would hold it back for ever": {
			spec: steady(4, scaleBudget(1), hooks),
			pods: []Pod{up("w", "b"), up("x", "b", in(PreparingDelete), marked), up("y", "b", marked)},
			want: []string{"delete x: its preDelete hook let it go"},
		},
		"but updates go on meanwhile": { // WL-1.19 1
			spec: toRevision("b", 4, scaleBudget(1), maxUnavailable(4), inPlace),
			pods: []Pod{down("x", "a"), up("y", "a")},
			want: []string{"update x to b: already down, so it costs nothing", "update y to b: within maxUnavailable"},
		},
		"a marked pod that serves nobody is free": { // WL-1.9 step 5
			spec: steady(2, maxUnavailable(0)),
			pods: []Pod{down("x", "b", marked), up("y", "b", marked)},
			want: []string{"delete x"},
		},
		"a marked pod counts as serving before minReadySeconds are over": { // WL-1.9 step 5: podAvailable with 0
			spec:    steady(2, maxUnavailable(0), minReady(time.Minute)),
			pods:    []Pod{up("x", "b", marked, readyFor(20*time.Second)), up("y", "b")},
			recheck: 40 * time.Second,
		},
		"marked pods go as far as the budget": {
			spec: steady(4, maxUnavailable(2)),
			pods: ups(4, "b", marked),
			want: []string{"delete b00", "delete b01"},
		},
		"pods that are down use the budget up": {
			spec: steady(4, maxUnavailable(2)),
			pods: []Pod{down("w", "b"), up("x", "b", marked), up("y", "b", marked), up("z", "b")},
			want: []string{"delete x"},
		},
		"surge makes room for a planned deletion": { // WL-1.8: a
			spec: steady(3, maxUnavailable(0), maxSurge(1)),
			pods: append(ups(2, "b"), up("x", "b", marked)),
			want: []string{"create * of b: 3 of 4 pods are there"},
		},
		"surge for a marked old pod is of the old revision": { // WL-1.8: aOld
			spec: toRevision("b", 3, maxUnavailable(0), maxSurge(1), partition(3)),
			pods: append(ups(2, "a"), up("x", "a", marked)),
			want: []string{"create * of a"},
		},
		"scale-in takes surplus at once: what is too many is no loss": {
			spec: steady(3, maxUnavailable(0)),
			pods: ups(5, "b"),
			want: []string{"delete b00: 2 too many", "delete b01: 2 too many"},
		},
		"scale-in spares available pods while others are down": {
			spec: steady(3, maxUnavailable(0)),
			pods: []Pod{down("v", "b"), down("w", "b"), up("x", "b"), up("y", "b"), up("z", "b")},
			want: []string{"delete v", "delete w"},
		},
		"scale-in of old pods first, as many as the partition has too many": { // WL-1.9.1
			spec: toRevision("b", 3, partition(1)),
			pods: join(ups(2, "a"), ups(4, "b")),
			want: []string{"delete a00", "delete b00", "delete b01"},
		},
		"scale-in of old pods only, when these suffice": {
			spec: toRevision("b", 3),
			pods: join(ups(4, "a"), ups(1, "b")),
			want: []string{"delete a00", "delete a01"},
		},
		"scale-in of new pods only, when the partition wants every old one": {
			spec: toRevision("b", 3, partition(2)),
			pods: join(ups(2, "a"), ups(3, "b")),
			want: []string{"delete b00", "delete b01"},
		},
		"scale-in waits while a planned deletion is outstanding": { // WL-1.19 2
			spec: steady(3, maxUnavailable(0), hooks),
			pods: append(ups(4, "b"), up("x", "b", in(PreparingDelete), hookedDelete, marked)),
		},
		"but updates go on meanwhile, when scale-in waits": {
			spec: toRevision("b", 3, hooks, inPlace),
			pods: append(ups(4, "a"), up("x", "a", in(PreparingDelete), hookedDelete, marked)),
			want: []string{"update a00 to b", "update a01 to b"},
		},
		"a hooked pod prepares for its deletion": { // WL-1.9
			spec: steady(2, hooks),
			pods: append(ups(2, "b"), down("x", "b", hookedDelete)),
			want: []string{"refresh x to PreparingDelete: 1 too many"},
		},
		"and goes when its hook lets go": {
			spec: steady(2, hooks),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete))),
			want: []string{"delete x: its preDelete hook let it go"},
		},
		"before any other is deleted": { // WL-1.9 step 4
			spec: steady(2, hooks),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete)), up("y", "b", marked)),
			want: []string{"delete x"},
		},
		"preparing is enough for one plan": {
			spec: toRevision("b", 2, hooks, inPlace, maxUnavailable(2)),
			pods: append(ups(2, "a"), down("x", "a", hookedDelete)),
			want: []string{"refresh x to PreparingDelete"},
		},
		"a pod that prepares to go is not refreshed as well": {
			spec: steady(2, hooks),
			pods: append(ups(2, "b"), down("x", "b", hookedDelete, in(PreparingNormal))),
			want: []string{"refresh x to PreparingDelete"},
		},
		"and is kept while it is hooked": {
			spec: steady(2, hooks),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete), hookedDelete)),
		},
		"a deletion is cancelled when the set needs the pod": { // WL-1.9 step 1, WL-1.19 10
			spec: steady(3, hooks),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete), hookedDelete)),
			want: []string{"refresh x to PreparingNormal: its deletion is cancelled: the set needs it again"},
		},
		"as many as are needed and no more": {
			spec: steady(3, hooks),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete), hookedDelete), up("y", "b", in(PreparingDelete), hookedDelete)),
			want: []string{"refresh x to PreparingNormal"},
		},
		"never that of a marked pod": {
			spec: steady(3, hooks),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete), hookedDelete, marked)),
		},
		"but that of the next one": {
			spec: steady(3, hooks),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete), hookedDelete, marked), up("y", "b", in(PreparingDelete), hookedDelete)),
			want: []string{"refresh y to PreparingNormal"},
		},
		"and nothing else in the same plan": { // WL-1.9 step 1
			spec: toRevision("b", 3, hooks, inPlace, maxUnavailable(3)),
			pods: append(ups(2, "a"), up("x", "a", in(PreparingDelete), hookedDelete)),
			want: []string{"refresh x to PreparingNormal"},
		},
		"never when a hook has made the pod not ready": { // WL-1.19 10
			spec: steady(3, lifecycle(Lifecycle{PreDelete: &Hook{MarkNotReady: true}})),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete), hookedDelete)),
		},
		"nor when the other hook would have": {
			spec: steady(3, lifecycle(Lifecycle{PreDelete: &Hook{}, InPlaceUpdate: &Hook{MarkNotReady: true}})),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete), hookedDelete)),
		},
		"pods that wait for deletion count as had": { // WL-1.8
			spec: steady(3, hooks),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete), hookedDelete, marked)),
		},
		"unless they are excluded": { // WL-1.8: excludePreparingDelete
			spec: steady(3, hooks, excludeLeaving),
			pods: append(ups(2, "b"), up("x", "b", in(PreparingDelete), hookedDelete, marked)),
			want: []string{"create * of b"},
		},
		"excluded old pods are replaced by old ones": {
			spec: toRevision("b", 3, partition(3), hooks, excludeLeaving),
			pods: append(ups(2, "a"), up("x", "a", in(PreparingDelete), hookedDelete, marked)),
			want: []string{"create * of a"},
		},
		"pods preparing for an update count as updated when scaling, with the gate": { // WL-0.3
			spec: toRevision("b", 3, partition(2), preparingCounts, inPlace),
			pods: []Pod{up("x", "a"), up("y", "a", in(PreparingUpdate), hookedUpdate)},
			want: []string{"create * of a"},
		},
		"also when pods are too many": {
			spec: toRevision("b", 1, partition(1), preparingCounts, inPlace),
			pods: []Pod{up("x", "a"), up("y", "a", in(PreparingUpdate), hookedUpdate)},
			want: []string{"delete y"},
		},
		"and not without it": {
			spec: toRevision("b", 3, partition(2), inPlace),
			pods: []Pod{up("x", "a"), up("y", "a", in(PreparingUpdate), hookedUpdate)},
			want: []string{"create * of b"},
		},
	})
}

func TestUpdate(t *testing.T) {
	hook := lifecycle(Lifecycle{InPlaceUpdate: &Hook{}})
	run(t, map[string]rollout{
		"a pod that is already down is updated outside the budget": {
			spec: toRevision("b", 3, maxUnavailable(1)),
			pods: []Pod{up("0", "a"), down("1", "a"), up("2", "a")},
			want: []string{"mark 1 to recreate it as b: already down, so it costs nothing"},
		},
		"but no more of them than the budget": { // WL-1.10: downTarget + picked
			spec: toRevision("b", 4, maxUnavailable(2), inPlace),
			pods: []Pod{down("0", "a"), down("1", "a"), down("2", "a"), up("3", "a")},
			want: []string{"update 0 to b", "update 1 to b"},
		},
		"updated pods that are down hold the rest back": {
			spec: toRevision("b", 4, maxUnavailable(2), inPlace),
			pods: []Pod{down("0", "b"), down("1", "b"), down("2", "a"), up("3", "a")},
		},
		"updated pods that are up do not": {
			spec: toRevision("b", 4, maxUnavailable(1), inPlace),
			pods: []Pod{up("0", "b"), up("1", "b"), up("2", "a"), up("3", "a")},
			want: []string{"update 2 to b"},
		},
		"an updated pod is not up before minReadySeconds are over": {
			spec:    toRevision("b", 2, maxUnavailable(1), inPlace, minReady(time.Minute)),
			pods:    []Pod{up("0", "b", readyFor(59*time.Second)), up("1", "a")},
			recheck: time.Second,
		},
		"and is then": {
			spec: toRevision("b", 2, maxUnavailable(1), inPlace, minReady(time.Minute)),
			pods: []Pod{up("0", "b", readyFor(time.Minute)), up("1", "a")},
			want: []string{"update 1 to b"},
		},
		"a ready time that is not known is never long enough": { // WL-0.1 available(n)
			spec: toRevision("b", 2, inPlace, minReady(time.Minute)),
			pods: []Pod{up("0", "b", noTime), up("1", "a")},
		},
		"and does not matter without minReadySeconds": {
			spec: toRevision("b", 2, inPlace),
			pods: []Pod{up("0", "b", noTime), up("1", "a")},
			want: []string{"update 1 to b"},
		},
		"a closed gate is not up": { // WL-1.7
			spec: toRevision("b", 2, inPlace),
			pods: []Pod{up("0", "b", func(p *Pod) { p.GateClosed = true }), up("1", "a")},
		},
		"a new pod is not up before its lifecycle is Normal": { // WL-1.19 5
			spec: toRevision("b", 2, inPlace, lifecycle(Lifecycle{PreNormal: &Hook{}})),
			pods: []Pod{up("0", "b", in(PreparingNormal)), up("1", "a")},
		},
		"paused: nothing is updated": {
			spec: toRevision("b", 2, inPlace, paused),
			pods: ups(2, "a"),
		},
		"paused: pods are refreshed and scaled all the same": {
			spec: toRevision("b", 3, inPlace, paused),
			pods: []Pod{up("0", "a", in(PreparingNormal)), up("1", "a")},
			want: []string{"refresh 0 to Normal", "create * of b"},
		},
		"a refresh comes before updates": { // WL-1.10 step 1
			spec: toRevision("b", 2, inPlace),
			pods: []Pod{up("0", "a", in(PreparingNormal)), up("1", "a")},
			want: []string{"refresh 0 to Normal"},
		},
		"what does not fit in place is recreated": {
			spec: toRevision("b", 2, inPlace),
			pods: ups(2, "z"),
			want: []string{"mark z00 to recreate it as b"},
		},
		"or refused when only in place will do": {
			spec: toRevision("b", 2, inPlaceOnly),
			pods: ups(2, "z"),
			want: []string{"refuse z00: the change from z to b does not fit into a running pod and the update type is InPlaceOnly", "refuse z01"},
		},
		"what is refused does not hold up what fits": {
			spec: toRevision("b", 3, inPlaceOnly),
			pods: []Pod{up("0", "z"), up("1", "z"), up("2", "a")},
			want: []string{"update 2 to b", "refuse 0", "refuse 1"},
		},
		"InPlaceOnly updates what fits": {
			spec: toRevision("b", 2, inPlaceOnly),
			pods: ups(2, "a"),
			want: []string{"update a00 to b"},
		},
		"recreate never updates in place": {
			spec: toRevision("b", 2),
			pods: ups(2, "a"),
			want: []string{"mark a00 to recreate it as b"},
		},
		"a marked pod is deleted, not marked again": { // WL-1.13, least writes
			spec: toRevision("b", 2),
			pods: []Pod{up("0", "a"), up("1", "a", marked)},
			want: []string{"delete 1"},
		},
		"a marked pod that may not go yet holds the budget": {
			spec: toRevision("b", 3, maxUnavailable(1)),
			pods: []Pod{down("0", "b"), up("1", "a"), up("2", "a", marked)},
		},
		"a marked pod that may not go yet is as good as down": {
			spec: toRevision("b", 4, maxUnavailable(3), scaleBudget(1)),
			pods: []Pod{down("0", "b"), up("1", "a"), up("2", "a", marked)},
		},
		"unless it would not be updated": {
			spec: toRevision("b", 4, maxUnavailable(3), scaleBudget(1)),
			pods: []Pod{down("0", "b"), up("1", "a"), up("2", "b", marked)},
			want: []string{"mark 1 to recreate it as b"},
		},
		"missing pods that wait for their name do not hold up updates": { // WL-1.9: nothing created, so the update pass runs
			spec: toRevision("b", 3, maxUnavailable(2), inPlace, reuse("gone")),
			pods: []Pod{up("0", "a"), up("1", "a"), up("gone", "a", terminating)},
			want: []string{"update 0 to b"},
		},
		"a marked pod that may not go yet does not hold up what is free": {
			spec: toRevision("b", 3, maxUnavailable(1)),
			pods: []Pod{down("0", "a"), up("1", "a"), up("2", "a", marked)},
			want: []string{"mark 0 to recreate it as b"},
		},
		"the partition counts marked pods as chosen": {
			spec: toRevision("b", 4, maxUnavailable(1), partition(3)),
			pods: []Pod{down("0", "a"), up("1", "a"), up("2", "a"), up("3", "a", marked)},
		},
		"rollback to the first revision is just an update": {
			spec: toRevision("b", 3, inPlace),
			pods: []Pod{up("0", "b"), down("1", "a", in(Updating), func(p *Pod) { p.InPlace.Done = false }), up("2", "b")},
			want: []string{"update 1 to b: already down, so it costs nothing"},
		},
		"a raised partition takes nothing back": { // WL-1.19 9
			spec: toRevision("b", 3, partition(3), inPlace),
			pods: ups(3, "b"),
		},
		"unless the gate is on": {
			spec: toRevision("b", 3, partition(2), inPlace, rollback),
			pods: join(ups(1, "a"), ups(2, "b")),
			want: []string{"update b00 to a"},
		},
		"and even then not when nothing rolls": { // WL-1.19 9
			spec: steady(3, partition(2), inPlace, rollback),
			pods: ups(3, "b"),
		},
		"a pod in its grace period is not started over": { // WL-1.10 step 4
			spec: toRevision("c", 2, inPlace),
			pods: []Pod{down("0", "b", in(Updating), func(p *Pod) {
				p.InPlace = InPlace{Grace: true, Due: ApplyNow, NotBefore: noon.Add(5 * time.Second)}
			}), up("1", "c")},
			recheck: 5 * time.Second,
		},
		"a hooked pod prepares for its update": { // WL-1.13
			spec: toRevision("b", 2, inPlace, hook),
			pods: []Pod{up("0", "a", hookedUpdate), up("1", "a")},
			want: []string{"refresh 0 to PreparingUpdate: its inPlaceUpdate hook runs before the update"},
		},
		"and is waited for": {
			spec: toRevision("b", 2, inPlace, hook),
			pods: []Pod{up("0", "a"), up("1", "a", in(PreparingUpdate), hookedUpdate)},
		},
		"and goes on when the budget is nothing: it is down already": {
			spec: toRevision("b", 3, inPlace, hook, maxUnavailable(0), maxSurge(1), preparingCounts),
			pods: []Pod{up("0", "b"), up("1", "a", in(PreparingUpdate)), up("2", "b")},
			want: []string{"update 1 to b: already down, so it costs nothing"},
		},
		"and when missing pods wait for it": {
			spec: toRevision("b", 9, inPlace, hook, scaleBudget(1)),
			pods: []Pod{up("0", "b"), up("1", "a", in(PreparingUpdate)), up("2", "a")},
			want: []string{"update 1 to b: already down, so it costs nothing"},
		},
		"before any other, and updated when let go": { // WL-1.11 step 4
			spec: toRevision("b", 2, inPlace, hook),
			pods: []Pod{up("0", "a"), up("1", "a", in(PreparingUpdate))},
			want: []string{"update 1 to b"},
		},
		"an Updated pod that must change again gets its hook back": { // WL-1.13
			spec: toRevision("b", 2, inPlace, hook),
			pods: []Pod{up("0", "a", in(Updated)), up("1", "b")},
			want: []string{"refresh 0 to PreparingUpdate with its hook"},
		},
		"a pod on its way out is not updated": {
			spec: toRevision("b", 2, inPlace, lifecycle(Lifecycle{PreDelete: &Hook{MarkNotReady: true}})),
			pods: []Pod{up("0", "a", in(PreparingDelete), hookedDelete), up("1", "b")},
		},
		"and uses the budget up": {
			spec: toRevision("b", 4, inPlace, maxUnavailable(2), lifecycle(Lifecycle{PreDelete: &Hook{MarkNotReady: true}})),
			pods: append(ups(3, "a"), up("0", "b", in(PreparingDelete), hookedDelete)),
			want: []string{"update a00 to b"},
		},
		"a state nobody knows is refused": {
			spec: toRevision("b", 1, inPlace),
			pods: []Pod{up("0", "a", in("Dreaming"))},
			want: []string{`refuse 0: its lifecycle state "Dreaming" is unknown`},
		},
		"surplus pods allow more updates": { // WL-1.8: updateBudget
			spec: toRevision("b", 2, maxUnavailable(1), maxSurge(1), inPlace),
			pods: append(ups(2, "a"), up("b00", "b")),
			want: []string{"update a00 to b"},
		},
	})
}

func TestRecheckIsTheEarliestMoment(t *testing.T) {
	rollout{
		spec:    steady(3, minReady(time.Minute)),
		pods:    []Pod{up("0", "b", readyFor(10*time.Second)), up("1", "b", readyFor(50*time.Second)), down("2", "b", readyFor(55*time.Second))},
		recheck: 10 * time.Second,
	}.check(t)
}

// The order of a list is no fact, and a plan is decided by facts alone.
func TestSameFactsSamePlan(t *testing.T) {
	pods := join(ups(20, "a"), ups(20, "b"), []Pod{down("x", "a"), down("y", "b", marked), up("z", "a", in(PreparingDelete))})
	for _, spec := range []Spec{
		toRevision("b", 60, partition(25)), toRevision("b", 10, partition(3)), toRevision("b", 43, maxUnavailable(7), inPlace),
	} {
		want := Decide(spec, pods, noon)
		for seed := range uint64(20) {
			shuffled := slices.Clone(pods)
			rand.New(rand.NewPCG(seed, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if d := cmp.Diff(want, Decide(spec, shuffled, noon), cmp.AllowUnexported(Plan{})); d != "" {
				t.Fatalf("seed %d: the plan depends on the order of the list:\n%s", seed, d)
			}
		}
		if want.Empty() {
			t.Error("a plan with nothing in it proves nothing")
		}
	}
}

func TestDecideChangesNoFacts(t *testing.T) {
	pods := join(ups(5, "b"), ups(5, "a"))
	before := slices.Clone(pods)
	Decide(toRevision("b", 4), pods, noon)
	if d := cmp.Diff(before, pods); d != "" {
		t.Error(d)
	}
}
