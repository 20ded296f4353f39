package podset

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// WL-1.15
func TestCounts(t *testing.T) {
	spec := toRevision("b", 6, partition(2), minReady(time.Minute))
	pods := []Pod{
		up("1", "a"), up("2", "a", readyFor(time.Second)), up("3", "b"), down("4", "b"),
		up("5", "b", in(Updating)), up("6", "b", readyFor(time.Second)), up("7", "b", terminating), up("8", "a", finished),
	}
	got := Status(spec, pods, noon)
	got.Message, got.Progress = "", Settled
	want := Summary{
		Replicas: 6, Ready: 5, Available: 2, Updated: 4, UpdatedReady: 3, UpdatedAvailable: 1,
		ExpectedUpdated: 4, CurrentRevision: "a",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// WL-1.15, WL-1.19 8
func TestCurrentRevisionAdvances(t *testing.T) {
	for name, tc := range map[string]struct {
		pods []Pod
		want string
	}{
		"when every replica has the update revision, ready or not": {[]Pod{down("1", "b"), down("2", "b")}, "b"},
		"not before":                          {[]Pod{up("1", "a"), up("2", "b")}, "a"},
		"not with too few":                    {[]Pod{up("1", "b")}, "a"},
		"not with too many":                   {ups(3, "b"), "a"},
		"a terminating old pod is no replica": {append(ups(2, "b"), up("1", "a", terminating)), "b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Status(toRevision("b", 2), tc.pods, noon).CurrentRevision; got != tc.want {
				t.Errorf("current revision %s, want %s", got, tc.want)
			}
		})
	}
}

func TestMessage(t *testing.T) {
	const pull = "ImagePullBackOff"
	hooks := lifecycle(Lifecycle{PreNormal: &Hook{}, InPlaceUpdate: &Hook{}, PreDelete: &Hook{}})
	for name, tc := range map[string]struct {
		spec     Spec
		pods     []Pod
		progress Progress
		message  string
	}{
		"all is well": {
			steady(3), ups(3, "b"), Settled, "3 of 3 available",
		},
		"nothing is wanted and nothing there": {
			steady(0), nil, Settled, "0 of 0 available",
		},
		"bad image: the updated pods use up the budget": {
			toRevision("b", 10, maxUnavailable(2), inPlace),
			join(ups(7, "a"), ups(1, "b"), []Pod{
				down("web-7f4", "b", on("node-2"), blocked(pull)), down("web-9c2", "b", on("node-1"), blocked(pull)),
			}),
			Stuck, "3 of 10 updated; 2 not ready, waiting for web-7f4 on node-2: ImagePullBackOff",
		},
		"one is blocked, another still comes up": {
			toRevision("b", 10, maxUnavailable(2), inPlace),
			join(ups(8, "a"), []Pod{down("web-1", "b"), down("web-2", "b", blocked(pull))}),
			Moving, "2 of 10 updated; 2 not ready, waiting for web-2 on node-web-2: ImagePullBackOff",
		},
		"blocked, but the budget lets the next one go": {
			toRevision("b", 4, maxUnavailable(2), inPlace),
			join(ups(3, "a"), []Pod{down("web-2", "b", blocked(pull))}),
			Moving, "1 of 4 updated; 1 not ready, waiting for web-2 on node-web-2: ImagePullBackOff",
		},
		"rolled out, but one pod never came up": {
			toRevision("b", 2), []Pod{up("1", "b"), down("2", "b", blocked("CrashLoopBackOff"))},
			Stuck, "2 of 2 updated; 1 not ready, waiting for 2 on node-2: CrashLoopBackOff",
		},
		"a pod broke long after": {
			steady(2), []Pod{up("1", "b"), down("2", "b", blocked("CrashLoopBackOff"))},
			Stuck, "1 of 2 available; 1 not ready, waiting for 2 on node-2: CrashLoopBackOff",
		},
		"the updated culprit is named before the old one": {
			toRevision("b", 3, inPlace),
			[]Pod{down("1", "a", blocked("Old")), down("2", "b", blocked("New")), up("3", "a")},
			Stuck, "1 of 3 updated; 2 not ready, waiting for 2 on node-2: New",
		},
		"no node, no room": {
			steady(1), []Pod{down("1", "b", phase(Pending), unassigned, blocked("Unschedulable"))},
			Stuck, "0 of 1 available; 1 not ready, waiting for 1: Unschedulable",
		},
		"a pod that its user let go does not keep a stuck set moving": {
			toRevision("b", 2, hooks, inPlace), []Pod{down("1", "b", blocked(pull)), up("2", "a", in(PreparingUpdate))},
			Stuck, "1 of 2 updated; 1 not ready, waiting for 1 on node-1: ImagePullBackOff",
		},
		"nor one that its hook made not ready": {
			toRevision("b", 2, hooks, inPlace), []Pod{down("1", "b", blocked(pull)), down("2", "a", in(PreparingUpdate))},
			Stuck, "1 of 2 updated; 1 not ready, waiting for 1 on node-1: ImagePullBackOff",
		},
		"pods start": {
			steady(2), []Pod{up("1", "b"), down("2", "b")},
			Moving, "1 of 2 available; 1 not ready, waiting for 2 on node-2",
		},
		"pods are missing": {
			steady(3), ups(1, "b"), Moving, "1 of 3 available; 2 missing",
		},
		"a missing pod waits for its name": {
			steady(2, reuse("gone")), []Pod{up("1", "b"), up("gone", "b", terminating)},
			Moving, "1 of 2 available; 1 missing",
		},
		"missing pods wait for a blocked one": {
			steady(3, scaleBudget(1)), []Pod{up("1", "b"), down("2", "b", blocked(pull))},
			Stuck, "1 of 3 available; 1 missing; 1 not ready, waiting for 2 on node-2: ImagePullBackOff",
		},
		"pods are too many": {
			steady(1), ups(3, "b"), Moving, "3 of 1 available; 2 too many",
		},
		"a rollout goes on": {
			toRevision("b", 3, inPlace), append(ups(2, "a"), up("3", "b")), Moving, "1 of 3 updated",
		},
		"surge pods are not too many": {
			toRevision("b", 3, maxUnavailable(0), maxSurge(1)), append(ups(3, "a"), up("3", "b")), Moving, "1 of 3 updated",
		},
		"surge pods are, once all are updated": {
			steady(1, maxSurge(1)), ups(2, "b"), Moving, "2 of 1 available; 1 too many",
		},
		"without surge, pods are too many in a rollout as well": {
			toRevision("b", 1), append(ups(2, "a"), up("3", "b")), Moving, "1 of 1 updated; 2 too many",
		},
		"paused when nothing was left to update": {
			toRevision("b", 2, paused, partition(1)), []Pod{up("1", "a"), up("2", "b")}, Settled, "1 of 1 updated, partition keeps 1",
		},
		"the partition is reached": {
			toRevision("b", 3, partition(2)), append(ups(2, "a"), up("3", "b")), Settled, "1 of 1 updated, partition keeps 2",
		},
		"paused": {
			toRevision("b", 3, paused), ups(3, "a"), Settled, "0 of 3 updated, paused",
		},
		"ready, but not for long enough": {
			steady(2, minReady(30*time.Second)), []Pod{up("1", "b"), up("2", "b", readyFor(time.Second))},
			Moving, "1 of 2 available; 1 ready for less than 30s, waiting for 2 on node-2",
		},
		"a blocked pod beside one that is ready soon": {
			steady(2, minReady(30*time.Second)), []Pod{down("1", "b", blocked(pull)), up("2", "b", readyFor(time.Second))},
			Moving, "0 of 2 available; 1 not ready, waiting for 1 on node-1: ImagePullBackOff",
		},
		"a pod that changes says why it has not": {
			toRevision("b", 2, inPlace), []Pod{up("1", "a"), down("2", "b", in(Updating), changing("container main still runs its old image"))},
			Moving, "1 of 2 updated; 1 not ready, waiting for 2 on node-2: container main still runs its old image",
		},
		"a pod that is blocked says that before": {
			toRevision("b", 2, inPlace), []Pod{up("1", "a"), down("2", "b", in(Updating), blocked(pull), changing("container main still runs its old image"))},
			Stuck, "1 of 2 updated; 1 not ready, waiting for 2 on node-2: ImagePullBackOff",
		},
		"a pod that serves while it changes": {
			toRevision("b", 2, inPlace), []Pod{up("1", "a"), up("2", "b", in(Updating), changing("container main still runs with cpu limit 1"))},
			Moving, "1 of 2 updated; 1 changing while they serve, waiting for 2 on node-2: container main still runs with cpu limit 1",
		},
		"the node has no room for a pod that changes": {
			toRevision("b", 2, inPlace), []Pod{up("1", "a"), up("2", "b", in(Updating), changing("container main still runs with cpu limit 1"), blocked("ResizeInfeasible"))},
			Stuck, "1 of 2 updated; 1 changing while they serve, waiting for 2 on node-2: ResizeInfeasible",
		},
		"one has no room, and one starts": {
			toRevision("b", 3, inPlace, maxUnavailable(2)), []Pod{up("1", "a"), up("2", "b", in(Updating), changing("cpu"), blocked("ResizeInfeasible")), down("3", "b")},
			Moving, "2 of 3 updated; 1 not ready; 1 changing while they serve, waiting for 2 on node-2: ResizeInfeasible",
		},
		"a user has not let a pod go": {
			steady(1, hooks), append(ups(1, "b"), up("x", "b", in(PreparingDelete), hookedDelete)),
			Moving, "1 of 1 available; 1 too many; 1 to be deleted; 1 in their lifecycle, waiting for x on node-x: hook preDelete",
		},
		"a user has not let a pod change": {
			toRevision("b", 1, hooks, inPlace), []Pod{up("x", "a", in(PreparingUpdate), hookedUpdate)},
			Moving, "0 of 1 updated; 1 in their lifecycle, waiting for x on node-x: hook inPlaceUpdate",
		},
		"a user has not taken a pod back": {
			toRevision("b", 1, hooks, inPlace), []Pod{up("x", "b", in(Updated))},
			Moving, "1 of 1 updated; 1 in their lifecycle, waiting for x on node-x: hook inPlaceUpdate",
		},
		"a user has not released a new pod": {
			steady(1, hooks), []Pod{up("x", "b", in(PreparingNormal))},
			Moving, "0 of 1 available; 1 in their lifecycle, waiting for x on node-x: hook preNormal",
		},
		"a refused update": {
			toRevision("b", 1, inPlaceOnly), ups(1, "z"), Stuck,
			"0 of 1 updated; 1 refused, first z00: the change from z to b does not fit into a running pod and the update type is InPlaceOnly",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Status(tc.spec, tc.pods, noon)
			if got.Progress != tc.progress {
				t.Errorf("progress %d, want %d", got.Progress, tc.progress)
			}
			if d := cmp.Diff(tc.message, got.Message); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWaiting(t *testing.T) {
	for name, tc := range map[string]struct {
		spec Spec
		pods []Pod
		want Waiting
	}{
		"for scale-up": {
			steady(6, scaleBudget(2)), []Pod{up("x", "b"), down("y", "b")},
			Waiting{Creates: 3, Culprits: []Culprit{{Pod: "y", Node: "node-y"}}},
		},
		"for deletions": {steady(4), ups(4, "b", marked), Waiting{Deletes: 3}},
		"for scale-in": {
			steady(3, maxUnavailable(0)), append(ups(4, "b"), up("x", "b", marked, in(PreparingDelete), hookedDelete)),
			Waiting{ScaleIn: 2, Hooks: 1, Culprits: []Culprit{{Pod: "x", Node: "node-x", Hook: "preDelete"}}},
		},
		"for deletions and updates": { // the surplus old pod is up, and a new one is down
			toRevision("b", 3, maxUnavailable(0), inPlace), join(ups(2, "a"), ups(1, "b"), []Pod{down("x", "b")}),
			Waiting{Deletes: 1, Updates: 1, Culprits: []Culprit{{Pod: "x", Node: "node-x"}}},
		},
		"for updates": {toRevision("b", 5, maxUnavailable(2), inPlace), ups(5, "a"), Waiting{Updates: 3}},
		"for a hook": {
			toRevision("b", 1, inPlace), []Pod{up("x", "a", in(PreparingUpdate), hookedUpdate)},
			Waiting{Hooks: 1, Culprits: []Culprit{{Pod: "x", Node: "node-x", Hook: "inPlaceUpdate"}}},
		},
		"for no more than ten culprits": {
			steady(30), ups(30, "b", func(p *Pod) { p.Ready = false }),
			Waiting{Culprits: []Culprit{
				{Pod: "b00", Node: "node-b00"}, {Pod: "b01", Node: "node-b01"}, {Pod: "b02", Node: "node-b02"}, {Pod: "b03", Node: "node-b03"}, {Pod: "b04", Node: "node-b04"},
				{Pod: "b05", Node: "node-b05"}, {Pod: "b06", Node: "node-b06"}, {Pod: "b07", Node: "node-b07"}, {Pod: "b08", Node: "node-b08"}, {Pod: "b09", Node: "node-b09"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, Decide(tc.spec, tc.pods, noon).Waiting); d != "" {
				t.Error(d)
			}
		})
	}
}
