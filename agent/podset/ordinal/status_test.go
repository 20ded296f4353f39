package ordinal

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flotilla-project/flotilla/agent/podset"
)

func changingLive(p *Pod) {
	p.InPlace = podset.InPlace{Why: "container main still runs with cpu limit 1"}
}

func blocked(p *Pod) { starting(p); p.Blocked = "ImagePullBackOff" }

var summaries = map[string]struct {
	spec Spec
	pods []Pod
	want Summary
	says string
}{
	"all is well": {
		set(2, settledOn("b")), ups("b", 0, 1),
		Summary{Replicas: 2, Ready: 2, Available: 2, Current: 2, Updated: 2, UpdatedReady: 2, UpdatedAvailable: 2, CurrentRevision: "b", Progress: podset.Settled},
		"2 of 2 available",
	},
	"in the middle of a rollout": {
		set(3), []Pod{up(0, "a"), up(1, "a"), up(2, "b", unready)},
		Summary{Replicas: 3, Ready: 2, Available: 2, Current: 2, Updated: 1, CurrentRevision: "a", Progress: podset.Moving},
		"1 of 3 updated; 1 not available; waiting for web-2 on node-1 to be available",
	},
	"blocked": {
		set(3), []Pod{up(0, "a"), up(1, "a"), up(2, "b", blocked)},
		Summary{Replicas: 3, Ready: 2, Available: 2, Current: 2, Updated: 1, CurrentRevision: "a", Progress: podset.Stuck},
		"waiting for web-2 on node-1: ImagePullBackOff",
	},
	"a pod that serves while it changes is not settled": {
		set(2, settledOn("b")), []Pod{up(0, "b"), up(1, "b", changingLive)},
		Summary{Replicas: 2, Ready: 2, Available: 2, Current: 2, Updated: 2, UpdatedReady: 2, UpdatedAvailable: 2, CurrentRevision: "b", Progress: podset.Moving},
		"1 changing while they serve; waiting for web-1 on node-1: container main still runs with cpu limit 1",
	},
	"the node has no room for a pod that changes": {
		set(2, settledOn("b")), []Pod{up(0, "b"), up(1, "b", changingLive, func(p *Pod) { p.Blocked = "ResizeInfeasible" })},
		Summary{Replicas: 2, Ready: 2, Available: 2, Current: 2, Updated: 2, UpdatedReady: 2, UpdatedAvailable: 2, CurrentRevision: "b", Progress: podset.Stuck},
		"waiting for web-1 on node-1: ResizeInfeasible",
	},
	"a pod in its grace period says so": {
		set(2), []Pod{up(0, "a"), up(1, "b", unready, func(p *Pod) { p.InPlace = podset.InPlace{Grace: true, Why: "in its grace period"} })},
		Summary{Replicas: 2, Ready: 1, Available: 1, Current: 1, Updated: 1, CurrentRevision: "a", Progress: podset.Moving},
		"web-1 on node-1: in its grace period",
	},
	"of several, the one that is blocked": {
		set(4, settledOn("b"), parallel), []Pod{up(0, "b", unready), up(1, "b", in(podset.Updated)), up(2, "b", blocked), up(3, "b", unready)},
		Summary{Replicas: 4, Ready: 1, Available: 0, Current: 4, Updated: 4, UpdatedReady: 1, CurrentRevision: "b", Progress: podset.Moving},
		"waiting for web-2 on node-1: ImagePullBackOff",
	},
	"of several, the one whose user is asked": {
		set(3, settledOn("b"), parallel), []Pod{up(0, "b", unready), up(1, "b", in(podset.Updated)), up(2, "b", unready)},
		Summary{Replicas: 3, Ready: 1, Available: 0, Current: 3, Updated: 3, UpdatedReady: 1, CurrentRevision: "b", Progress: podset.Moving},
		"waiting for web-1 on node-1: hook inPlaceUpdate",
	},
	"a pod in its lifecycle is ready and not available": {
		set(2, settledOn("b"), hooks(preUpdate)), []Pod{up(0, "b"), up(1, "b", in(podset.Updated))},
		Summary{Replicas: 2, Ready: 2, Available: 1, Current: 2, Updated: 2, UpdatedReady: 2, UpdatedAvailable: 1, CurrentRevision: "b", Progress: podset.Moving},
		"hook inPlaceUpdate",
	},
	"a terminating pod is there, of no revision": {
		set(2, settledOn("b")), []Pod{up(0, "b"), up(1, "b", leaving)},
		Summary{Replicas: 2, Ready: 2, Available: 2, Current: 1, Updated: 1, UpdatedReady: 1, UpdatedAvailable: 1, CurrentRevision: "b", Progress: podset.Moving},
		"web-1 on node-1 to be gone",
	},
	"condemned pods count": {
		set(1), []Pod{up(0, "b"), up(1, "a")},
		Summary{Replicas: 2, Ready: 2, Available: 2, Current: 1, Updated: 1, UpdatedReady: 1, UpdatedAvailable: 1, CurrentRevision: "a", Progress: podset.Moving},
		"1 to be removed",
	},
	"completion needs readiness": {
		set(2), []Pod{up(0, "b"), up(1, "b", unready)},
		Summary{Replicas: 2, Ready: 1, Available: 1, Updated: 2, UpdatedReady: 1, UpdatedAvailable: 1, CurrentRevision: "a", Progress: podset.Moving},
		"2 of 2 updated",
	},
	"completion compares with what there is": {
		set(3, parallel), ups("b", 0, 1),
		Summary{Replicas: 2, Ready: 2, Available: 2, Current: 2, Updated: 2, UpdatedReady: 2, UpdatedAvailable: 2, CurrentRevision: "b", Progress: podset.Moving},
		"1 missing",
	},
	"a place that the partition keeps holds completion up": {
		set(2, partition(1)), []Pod{up(1, "b")},
		Summary{Replicas: 1, Ready: 1, Available: 1, Updated: 1, UpdatedReady: 1, UpdatedAvailable: 1, CurrentRevision: "a", Progress: podset.Moving},
		"1 missing",
	},
	"OnDelete never completes": {
		set(1, onDelete), ups("b", 0, 0),
		Summary{Replicas: 1, Ready: 1, Available: 1, Updated: 1, UpdatedReady: 1, UpdatedAvailable: 1, CurrentRevision: "a", Progress: podset.Settled},
		"the others when they are deleted",
	},
	"what the partition keeps is settled": {
		set(2, partition(1)), []Pod{up(0, "a"), up(1, "b")},
		Summary{Replicas: 2, Ready: 2, Available: 2, Current: 1, Updated: 1, UpdatedReady: 1, UpdatedAvailable: 1, CurrentRevision: "a", Progress: podset.Settled},
		"1 of 1 updated, partition keeps 1",
	},
	"a pause is what the spec wants": {
		set(1, paused), ups("a", 0, 0),
		Summary{Replicas: 1, Ready: 1, Available: 1, Current: 1, CurrentRevision: "a", Progress: podset.Settled},
		"paused",
	},
	"refused": {
		set(1, inPlaceOnly), ups("c", 0, 0),
		Summary{Replicas: 1, Ready: 1, Available: 1, CurrentRevision: "a", Progress: podset.Stuck},
		"refused web-0",
	},
	"a marked pod is not where it should be": {
		set(2, settledOn("b"), parallel), []Pod{up(0, "b", marked), up(1, "b", unready)},
		Summary{Replicas: 2, Ready: 1, Available: 1, Current: 2, Updated: 2, UpdatedReady: 1, UpdatedAvailable: 1, CurrentRevision: "b", Progress: podset.Moving},
		"1 marked for deletion",
	},
	"claims that are being resized": {
		set(1, settledOn("b"), resize), []Pod{up(0, "b", claims(Claims{Unready: true, Incomplete: true, Growing: true}))},
		Summary{Replicas: 1, Ready: 1, Available: 1, Current: 1, Updated: 1, UpdatedReady: 1, UpdatedAvailable: 1, CurrentRevision: "b", Progress: podset.Moving},
		"1 with claims that are being resized",
	},
	"an update that waits for claims": {
		set(2, resize, parallel), []Pod{up(0, "a"), up(1, "a", claims(Claims{Unready: true, Incomplete: true}))},
		Summary{Replicas: 2, Ready: 2, Available: 2, Current: 2, CurrentRevision: "a", Progress: podset.Moving},
		"waiting for web-1 on node-1 to have its claims resized",
	},
	"the claim of the pod before": {
		set(1, settledOn("b"), func(s *Spec) { s.Stale = map[int]string{0: "data-web-0"} }), nil,
		Summary{CurrentRevision: "b", Progress: podset.Moving},
		"1 missing; waiting for claim data-web-0",
	},
}

func TestSummarize(t *testing.T) { // WL-2.14, WL-2.5
	for name, tc := range summaries {
		t.Run(name, func(t *testing.T) {
			got := Summarize(tc.spec, tc.pods, Decide(tc.spec, tc.pods, noon), noon)
			if d := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(Summary{}, "Message")); d != "" {
				t.Error(d)
			}
			if !strings.Contains(got.Message, tc.says) {
				t.Errorf("it says %q, and not %q", got.Message, tc.says)
			}
		})
	}
}
