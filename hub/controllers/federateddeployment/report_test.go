package federateddeployment

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

type report struct {
	was   *v1alpha1.FederatedDeployment // what runs, completely and reported
	obj   *v1alpha1.FederatedDeployment // what is asked for
	seen  func(facts) facts
	acted error
	want  string // sums: desired replicas ready updated updatedReady unconfirmed clusters
	ready string // status reason: message
	more  map[string]string
	lines []string
}

var reports = map[string]report{
	"all there": {
		was: web(), obj: web(), want: "10 10 10 10 10 0 2/2", ready: "True AllReplicasReady: all 10 replicas are ready and updated",
		more:  map[string]string{condition.Reconciling: "False Settled: ", condition.Stalled: "False Settled: "},
		lines: []string{"a east a 2 2 2 2", "b east b 3 3 3 3", "c west c 5 5 5 5"},
	},
	"nothing said yet": {
		obj: web(), seen: func(f facts) facts { return f }, want: "10 0 0 0 0 0 2/2",
		ready: "False Progressing: waiting for east to report on subset a; waiting for east to report on subset b; waiting for west to report on subset c",
		lines: []string{"a east a 2 0 0 0 (waiting for east to report on subset a)", "b east b 3 0 0 0 (waiting for east to report on subset b)",
			"c west c 5 0 0 0 (waiting for west to report on subset c)"},
	},
	"one pod is not ready": {
		was: web(), obj: web(), seen: func(f facts) facts {
			return reported(f, "c", map[string]any{valueReady: 4, valueUpdatedReady: 4, valueProgress: "1 pod is starting"})
		},
		want: "10 10 9 10 9 0 2/2", ready: "False Progressing: subset c on west has 4 of 5 replicas ready",
		more:  map[string]string{condition.Reconciling: "True Progressing: subset c on west has 4 of 5 replicas ready"},
		lines: []string{"a east a 2 2 2 2", "b east b 3 3 3 3", "c west c 5 5 4 5 (1 pod is starting)"},
	},
	"a new image has not arrived: pods of the old one are not updated": {
		was: web(), obj: web(image("web:v2")), want: "10 10 10 0 0 0 2/2",
		ready: "False Progressing: waiting for east to report on subset a; waiting for east to report on subset b; waiting for west to report on subset c",
	},
	"the member's controller has not seen the new spec yet": {
		was: web(), obj: web(), seen: func(f facts) facts { return reported(f, "a", map[string]any{valueGeneration: 2}) },
		want: "10 10 10 8 8 0 2/2", ready: "False Progressing: waiting for east to report on subset a",
	},
	"scaling up does not take back what was confirmed": {
		was: web(), obj: web(replicas(25)), want: "25 10 10 10 10 0 2/2",
		ready: "False Progressing: subset a on east has 2 of 6 replicas ready; subset b on east has 3 of 6 replicas ready; subset c on west has 5 of 13 replicas ready",
	},
	"scaling down is waited for": {
		was: web(), obj: web(replicas(4)), want: "4 10 10 10 10 0 2/2",
		ready: "False Progressing: subset a on east has 2 replicas and shall have 1; subset b on east has 3 replicas and shall have 1; subset c on west has 5 replicas and shall have 2",
	},
	"ready for less than minReadySeconds is not ready yet": {
		was: web(), obj: web(), seen: func(f facts) facts { return reported(f, "c", map[string]any{valueAvailable: 4}) },
		want:  "10 10 10 10 10 0 2/2",
		ready: "False Progressing: subset c on west has 4 of 5 replicas available, the others are ready since too short a time",
	},
	"a silent cluster's numbers are not confirmed": {
		was: web(), obj: web(), seen: func(f facts) facts { return with1(f, "west", silent) },
		want: "10 5 5 5 5 5 1/2", ready: "Unknown ClusterSilent: 5 replicas on west unconfirmed since 2026-11-23T12:03:04Z; see to the agent there and its way to the hub, or set spec.failover to start its replicas elsewhere",
		lines: []string{"a east a 2 2 2 2", "b east b 3 3 3 3", "c west c 5 5 5 5 silent (not heard from since 2026-11-23T12:03:04Z)"},
	},
	"a cluster that is gone is silent": {
		was: web(), obj: web(), seen: func(f facts) facts { delete(f.clusters, "west"); return f },
		want: "10 5 5 5 5 5 1/2", more: map[string]string{condition.Stalled: `True ClusterUnresolved: spec.topology.subsets[2]: "west" is no ManagedCluster; register it, or name another cluster for subset "c"`},
	},
	"a stuck rollout says where and why": {
		was: web(), obj: web(), seen: func(f facts) facts {
			return reported(f, "c", map[string]any{valueReady: 4, valueUpdated: 1, valueUpdatedReady: 0, valueMessage: "1 of 5 updated pods is not ready: web-7f4 on node-2: ImagePullBackOff"})
		},
		want: "10 10 9 6 5 0 2/2", ready: "False RolloutStuck: subset c on west: 1 of 5 updated pods is not ready: web-7f4 on node-2: ImagePullBackOff; correct the template, or bring the one before back (kubectl flotilla undo web)",
		more: map[string]string{condition.Stalled: "True RolloutStuck: subset c on west: 1 of 5 updated pods is not ready: web-7f4 on node-2: ImagePullBackOff; correct the template, or bring the one before back (kubectl flotilla undo web)"},
	},
	"a stuck rollout that was taken back is no longer a reason to act": {
		was: web(image("bad")), obj: web(), seen: func(f facts) facts {
			return reported(f, "c", map[string]any{valueReady: 4, valueMessage: "ImagePullBackOff"})
		},
		want: "10 10 9 0 0 0 2/2", more: map[string]string{condition.Stalled: "False Settled: "},
	},
	"partitions hold the rollout": {
		was: web(partitioned("c", 3)), obj: web(partitioned("c", 3)), seen: func(f facts) facts {
			return reported(f, "c", map[string]any{valueUpdated: 2, valueUpdatedReady: 2})
		},
		want: "10 10 10 7 7 0 2/2", ready: "True RolloutHeld: all 10 replicas are ready; partitions keep 3 of them from revision REVISION, lower spec.updateStrategy.manualUpdate.partitions to go on",
	},
	"a pause holds the rollout": {
		was: web(), obj: web(image("web:v2"), func(o *v1alpha1.FederatedDeployment) { o.Spec.UpdateStrategy.Paused = true }),
		want: "10 10 10 0 0 0 2/2", seen: func(f facts) facts { return f },
		ready: "True RolloutHeld: all 10 replicas are ready; spec.updateStrategy.paused keeps 10 of them from revision REVISION, unset it to go on",
	},
	"a member refuses": {
		was: web(), obj: web(), seen: func(f facts) facts {
			live := f.works[2].live.DeepCopy()
			meta.SetStatusCondition(&live.Status.Conditions, metav1.Condition{Type: workv1.WorkApplied, Status: metav1.ConditionFalse, Reason: "AppliedManifestWorkFailed"})
			live.Status.Conditions[0].ObservedGeneration = live.Generation
			live.Status.ResourceStatus.Manifests[1].Conditions = []metav1.Condition{{Type: workv1.ManifestApplied, Status: metav1.ConditionFalse, Message: "Failed to apply manifest: no kind CloneSet"}}
			f.works[2] = worked(live)
			return f
		},
		want: "10 10 10 10 10 0 2/2", ready: "False WorkRefused: subset c on west: CloneSet web-c: Failed to apply manifest: no kind CloneSet; correct the template, or what refuses it on west",
	},
	"the hub refuses": {
		was: web(), obj: web(image("web:v2")), acted: fmt.Errorf("half: %w", refusedError{apierrors.NewBadRequest("manifests too large")}),
		want: "10 10 10 0 0 0 2/2", ready: "False WorkRefused: manifests too large",
	},
	"a write that failed is said, and tried again": {
		was: web(), obj: web(image("web:v2")), acted: errors.New("create work: timeout"),
		want: "10 10 10 0 0 0 2/2", more: map[string]string{condition.Stalled: "False Settled: "},
		ready: "False Progressing: create work: timeout; waiting for east to report on subset a; waiting for east to report on subset b; and 1 more",
	},
	"a spec at fault leaves what runs, and says so": {
		was: web(), obj: web(subset(0, func(s *v1alpha1.Subset) { s.Replicas = new(intstr.FromInt32(9)) })),
		want:  "10 10 10 10 10 0 2/2",
		ready: `False AllocationFailed: spec.topology.subsets[2].replicas: "50%" of 10 is 5 and the subsets before take 9: 14 is more than spec.replicas 10; lower one of them`,
	},
	"a subset on its way out is counted until it is gone": {
		was: web(), obj: web(without(0)), want: "10 10 10 8 8 0 2/2",
		ready: "False Progressing: subset b on east has 3 of 5 replicas ready; subset a is being removed from east",
		lines: []string{"b east b 5 3 3 3 (subset b on east has 3 of 5 replicas ready)", "c west c 5 5 5 5", "a east  0 2 2 0 (waiting for east to remove it)"},
	},
	"a subset without cluster": {
		obj: web(onCluster(2, "north")), want: "10 0 0 0 0 0 1/1",
		ready: `False ClusterUnresolved: spec.topology.subsets[2].cluster: "north" is no ManagedCluster; register it, or name another cluster for subset "c"`,
	},
	"a subset that cannot move goes on where it is": {
		was: web(), obj: web(onCluster(2, "north")), want: "10 10 10 5 5 0 2/2",
	},
	"a move is told, and both ends are counted": {
		was: web(), obj: web(onCluster(0, "west")), want: "10 10 10 8 8 0 2/2",
		ready: "False Progressing: subset a is moving from east to west",
	},
	"a deleted object names whom it waits for": {
		was: web(), obj: web(deleting), seen: func(f facts) facts { return with1(f, "west", silent) }, want: "0 5 5 0 0 5 1/2",
		ready: "False Removing: waiting for east to remove subset a; east to remove subset b; west to remove subset c (not heard from since 2026-11-23T12:03:04Z; if it is gone for good, kubectl flotilla detach west)",
	},
	"a removal that the member's brake holds is for a user to confirm": {
		was: web(), obj: web(deleting), seen: heldOnWest, want: "0 10 10 0 0 0 2/2",
		more: map[string]string{condition.Stalled: "True RemovalHeld: subset c on west: annotate this work"},
	},
	"a work that somebody deleted is not as good as there": {
		was: web(), obj: web(), seen: func(f facts) facts {
			live := f.works[2].live.DeepCopy()
			live.DeletionTimestamp = new(metav1.NewTime(noon))
			f.works[2] = worked(live)
			return f
		},
		want: "10 10 10 5 5 0 2/2", ready: "False Progressing: waiting for west to report on subset c",
	},
	"a work that somebody deleted and the brake holds": {
		was: web(), obj: web(), seen: heldOnWest, want: "10 10 10 5 5 0 2/2", ready: "False WorkRefused: subset c on west: annotate this work",
	},
	"a message of a condition that is over": {
		was: web(), obj: web(), seen: func(f facts) facts {
			return reported(f, "c", map[string]any{valueMessage: "was stuck", valueStalled: "False"})
		},
		want: "10 10 10 10 10 0 2/2", ready: "True AllReplicasReady: all 10 replicas are ready and updated",
	},
	"no replicas are soon all ready": {
		was: web(replicas(0)), obj: web(replicas(0)), want: "0 0 0 0 0 0 2/2", ready: "True AllReplicasReady: all 0 replicas are ready and updated",
	},
}

func heldOnWest(f facts) facts {
	live := f.works[2].live.DeepCopy()
	live.DeletionTimestamp = new(metav1.NewTime(noon))
	meta.SetStatusCondition(&live.Status.Conditions, metav1.Condition{Type: workv1.WorkDeleting, Status: metav1.ConditionFalse, Reason: "HeldByBrake", Message: "annotate this work"})
	f.works[2] = worked(live)
	return f
}

func TestReport(t *testing.T) {
	for name, tc := range reports {
		t.Run(name, func(t *testing.T) {
			seen := blank(tc.obj)
			if tc.was != nil {
				seen = now(tc.obj, running(t, tc.was))
			}
			if tc.seen != nil {
				seen = tc.seen(seen)
			}
			obj := tc.obj.DeepCopy()
			plan := decide(obj, seen)
			(&steps{}).Report(obj, seen, plan, tc.acted)
			s := obj.Status
			sums := fmt.Sprint(s.DesiredReplicas, s.Replicas, s.ReadyReplicas, s.UpdatedReplicas, s.UpdatedReadyReplicas, s.UnconfirmedReplicas) + " " + s.Clusters
			if sums != tc.want {
				t.Errorf("sums %s, want %s", sums, tc.want)
			}
			if tc.ready != "" {
				check(t, obj, condition.Ready, tc.ready)
			}
			for kind, want := range tc.more {
				check(t, obj, kind, want)
			}
			if d := cmp.Diff(tc.lines, drawn(s.Subsets)); tc.lines != nil && d != "" {
				t.Error(d)
			}
			once := obj.DeepCopy()
			(&steps{}).Report(obj, seen, plan, tc.acted)
			if d := cmp.Diff(once.Status, obj.Status); d != "" && once.Status.CollisionCount == nil {
				t.Errorf("the same facts gave another status: %s", d)
			}
		})
	}
}

func check(t *testing.T, obj *v1alpha1.FederatedDeployment, kind, want string) {
	t.Helper()
	c := condition.Find(obj.Status.Conditions, kind)
	if c == nil {
		t.Errorf("no condition %s", kind)
		return
	}
	want = strings.ReplaceAll(want, "REVISION", obj.Status.UpdateRevision)
	if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); got != want || c.ObservedGeneration != obj.Generation {
		t.Errorf("%s is\n%s\nwant\n%s", kind, got, want)
	}
}

// drawn are lines as a user sees them: name, cluster, zone, desired, there, ready, updated.
func drawn(lines []v1alpha1.SubsetStatus) []string {
	var all []string
	for _, l := range lines {
		text := fmt.Sprintf("%s %s %s %d %d %d %d", l.Name, l.Cluster, l.Zone, l.DesiredReplicas, l.Replicas, l.ReadyReplicas, l.UpdatedReplicas)
		if l.Silent {
			text += " silent"
		}
		if l.Message != "" {
			text += " (" + l.Message + ")"
		}
		all = append(all, text)
	}
	return all
}

// WL-5.10
func TestCurrentRevisionMovesOnceAllPodsAreOnTheNewOne(t *testing.T) {
	one, two := web(), web(image("web:v2"))
	seen := running(t, one)
	told := func(obj *v1alpha1.FederatedDeployment, seen facts, acted error) string {
		(&steps{}).Report(obj, seen, decide(obj, seen), acted)
		return obj.Status.CurrentRevision
	}
	first := told(one, seen, nil)
	two.Status = one.Status
	seen = now(two, seen)
	if got := told(two, seen, nil); got != first || two.Status.UpdateRevision == first {
		t.Fatalf("current %s and update %s, want %s and another", got, two.Status.UpdateRevision, first)
	}
	seen = after(t, two, seen)
	if got := told(two, seen, nil); got != first {
		t.Errorf("moved to %s before any pod did", got)
	}
	seen = reported(reported(seen, "a", nil), "b", nil)
	if got := told(two, seen, nil); got != first {
		t.Errorf("moved to %s while west is on the old one", got)
	}
	seen = reported(seen, "c", nil)
	if got := told(two, with1(seen, "west", silent), nil); got != first {
		t.Errorf("moved to %s while west is silent", got)
	}
	if got := told(two, seen, nil); got != two.Status.UpdateRevision {
		t.Errorf("still on %s, want %s", got, two.Status.UpdateRevision)
	}
}

// WL-0.5
func TestATakenRevisionNameCountsACollision(t *testing.T) {
	obj := web()
	seen := blank(obj)
	before := decide(obj, seen)
	(&steps{}).Report(obj, seen, before, fmt.Errorf("create: %w", errNameTaken))
	if obj.Status.CollisionCount == nil || *obj.Status.CollisionCount != 1 || obj.Status.CurrentRevision != "" {
		t.Fatalf("status %+v", obj.Status)
	}
	if after := decide(obj, seen); after.update.Name == before.update.Name {
		t.Errorf("the name %s is tried again", after.update.Name)
	}
}

// Deployments and native StatefulSets do not say how many updated pods are ready: only what is certain counts.
func TestUpdatedReadyIsNeverGuessedTooHigh(t *testing.T) {
	for name, tc := range map[string]struct{ replicas, ready, updated, want int }{
		"all updated":                 {5, 4, 5, 4},
		"every ready one may be old":  {5, 3, 2, 0},
		"more ready than old ones":    {5, 4, 3, 2},
		"never more than updated":     {5, 5, 2, 2},
		"counts of different moments": {2, 5, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			live := running(t, web()).works[0].live.DeepCopy()
			status(live, map[string]any{valueReplicas: tc.replicas, valueReady: tc.ready, valueUpdated: tc.updated})
			if got := worked(live).feedback.updatedReady; got != int32(tc.want) {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}
