package federateddeployment

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// inWaves updates half of c first, then all of c, then the rest.
func inWaves(edits ...func(*v1alpha1.ProgressiveUpdate)) edit {
	p := &v1alpha1.ProgressiveUpdate{ProgressDeadlineSeconds: new(int32(120)), Waves: []v1alpha1.Wave{
		{Name: "canary", Subsets: []string{"c"}, Percent: new(int32(40)), SoakSeconds: 60}, {Name: "west", Subsets: []string{"c"}, Pause: true},
	}}
	for _, e := range edits {
		e(p)
	}
	return func(o *v1alpha1.FederatedDeployment) {
		o.Spec.UpdateStrategy = v1alpha1.UpdateStrategy{Type: v1alpha1.UpdateProgressive, Progressive: p}
	}
}

func resume(wave int) edit {
	return func(o *v1alpha1.FederatedDeployment) {
		o.Annotations = map[string]string{v1alpha1.AnnotationResume: fmt.Sprintf("%s/%d", o.Status.Rollout.Revision, wave)}
	}
}

func TestAnUpdateGoesOutInWaves(t *testing.T) {
	f := stage(t, web(inWaves()))
	f.run(2 * time.Minute)
	f.mustSay(condition.Ready, "True AllReplicasReady")
	first := f.web().Status.CurrentRevision
	f.atLeast(8) // one pod of a set at a time
	f.change(image("web:v2"))
	f.run(time.Minute)
	if on := f.on("web:v2"); on != "a:0 b:0 c:2" {
		t.Errorf("in the canary %s", on)
	}
	f.mustSay(condition.Ready, "False Progressing: wave 1 of 3 (canary): healthy since")
	f.mustSay(condition.Stalled, "False")
	f.run(3 * time.Minute)
	if on := f.on("web:v2"); on != "a:0 b:0 c:5" {
		t.Errorf("paused with %s", on)
	}
	f.mustSay(condition.Stalled, "True RolloutPaused: wave 2 of 3 (west): healthy, and waits to be let go on: kubectl flotilla resume")
	f.run(10 * time.Minute) // as long as it takes
	if s := f.web().Status; s.CurrentRevision != first || s.UpdatedReplicas != 5 || s.Rollout.Phase != v1alpha1.RolloutPaused {
		t.Errorf("status %+v, %+v", s, s.Rollout)
	}
	f.change(resume(2))
	f.run(3 * time.Minute)
	if on := f.on("web:v2"); on != "a:2 b:3 c:5" {
		t.Errorf("in the end %s", on)
	}
	f.mustSay(condition.Ready, "True AllReplicasReady")
	if s := f.web().Status; s.CurrentRevision == first || s.Rollout.Phase != v1alpha1.RolloutComplete {
		t.Errorf("status %+v, %+v", s, s.Rollout)
	}
	f.mustTell("RolloutStarted revision")
	f.mustTell("WaveStarted wave 3 of 3")
	f.mustTell("RolloutComplete")
}

func TestAnUpdateThatFailsRollsBackByItself(t *testing.T) {
	f := stage(t, web(inWaves()))
	f.run(2 * time.Minute)
	first := f.web().Status.CurrentRevision
	f.atLeast(9) // of a bad image just one pod
	f.bad["web:v2"] = true
	f.change(image("web:v2"))
	f.run(time.Minute)
	if on := f.on("web:v2"); on != "a:0 b:0 c:2" && on != "a:0 b:0 c:1" {
		t.Errorf("in the canary %s", on)
	}
	f.run(4 * time.Minute)
	if on := f.on("web:v1"); on != "a:2 b:3 c:5" {
		t.Errorf("rolled back to %s", on)
	}
	f.mustSay(condition.Stalled, "True RolledBack: wave 1 of 3 (canary) failed:", "subset c", "goes back to revision "+first)
	f.mustSay(condition.Ready, "False RolledBack")
	f.mustTell("Warning RolledBack wave 1 of 3 (canary) failed")
	s := f.web().Status
	if s.Rollout.Phase != v1alpha1.RolloutRolledBack || s.UpdatedReplicas != 0 || s.ReadyReplicas != 10 || s.Subsets[2].Revision != first {
		t.Errorf("status %+v, %+v", s, s.Rollout)
	}
	// It stays there until the template changes.
	f.run(10 * time.Minute)
	if writes, err := f.round(); len(writes) > 0 || err != nil {
		t.Errorf("still writes %v, %v", writes, err)
	}
	f.change(image("web:v1"))
	f.run(time.Minute)
	f.mustSay(condition.Ready, "True AllReplicasReady")
	f.mustSay(condition.Stalled, "False")
}

// In its new cluster a subset has no pod of the update that its wave does not allow.
func TestASubsetThatMovesKeepsToItsWave(t *testing.T) {
	f := stage(t, web(inWaves(func(p *v1alpha1.ProgressiveUpdate) { p.Waves[0].SoakSeconds, p.Waves[1].Pause = 180, false })))
	f.run(2 * time.Minute)
	f.change(image("web:v2"))
	f.run(30 * time.Second)
	f.each = func() {
		if set := f.sets["north/shop.web.c"]; set != nil && f.web().Status.Rollout.Wave == 1 {
			updated := 0
			for _, p := range set.pods {
				if p.image == "web:v2" {
					updated++
				}
			}
			if updated > 2 {
				t.Errorf("at %s %d of 5 pods are updated, 2 may be", f.clock.Now().Sub(noon), updated)
			}
		}
	}
	f.change(onCluster(2, "north"))
	f.run(6 * time.Minute)
	f.run(2 * time.Minute)
	f.mustSay(condition.Ready, "True AllReplicasReady")
	if f.sets["west/shop.web.c"] != nil || len(f.sets["north/shop.web.c"].pods) != 5 {
		t.Errorf("in the end %s", f.on("web:v2"))
	}
}

// Whatever revision is brought back, at whatever moment, although history keeps none beyond those in use.
func TestUndoAtAnyMoment(t *testing.T) {
	for name, tc := range map[string]struct {
		before  []edit // each followed by a minute
		bad     string
		undo    edit
		serving string // in the end
		soon    bool   // within a minute
	}{
		"while a wave runs":                    {before: []edit{image("web:v2")}, undo: image("web:v1"), serving: "web:v1", soon: true},
		"while it goes back by itself":         {before: []edit{image("web:v2"), nil, nil}, bad: "web:v2", undo: image("web:v1"), serving: "web:v1", soon: true},
		"while it goes back, to yet another":   {before: []edit{image("web:v2"), nil, nil}, bad: "web:v2", undo: image("web:v3"), serving: "web:v3"},
		"once it is back, to what failed":      {before: []edit{image("web:v2"), nil, nil, nil, nil, image("web:v1")}, undo: image("web:v2"), serving: "web:v2"},
		"over one that was never finished":     {before: []edit{image("web:v2"), image("web:v3"), image("web:v4")}, undo: image("web:v2"), serving: "web:v2"},
		"to what ran, over two that never did": {before: []edit{image("web:v2"), image("web:v3")}, undo: image("web:v1"), serving: "web:v1", soon: true},
		"while a subset comes":                 {before: []edit{image("web:v2"), north}, undo: image("web:v1"), serving: "web:v1", soon: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := stage(t, web(inWaves(func(p *v1alpha1.ProgressiveUpdate) { p.Waves[1].Pause = false }), func(o *v1alpha1.FederatedDeployment) { o.Spec.RevisionHistoryLimit = new(int32(0)) }))
			f.run(2 * time.Minute)
			f.bad[tc.bad] = true
			for _, e := range tc.before {
				if e != nil {
					f.change(e)
				}
				f.run(time.Minute)
			}
			f.bad[tc.bad] = false
			f.change(tc.undo)
			if tc.soon {
				f.run(time.Minute)
			} else {
				f.run(5 * time.Minute)
			}
			f.mustSay(condition.Ready, "True AllReplicasReady")
			if on := f.on(tc.serving); strings.Contains(on, ":0") {
				t.Errorf("in the end %s", on)
			}
			f.run(time.Minute)
			var all appsv1.ControllerRevisionList
			if err := f.Hub.List(context.Background(), &all); err != nil || len(all.Items) != 1 {
				t.Errorf("%d revisions are left, %v", len(all.Items), err)
			}
		})
	}
}

func north(o *v1alpha1.FederatedDeployment) {
	o.Spec.Topology.Subsets = append(o.Spec.Topology.Subsets, v1alpha1.Subset{Name: "n", Cluster: "north"})
}

func TestAnUpdateThatFailsMayWaitForAHuman(t *testing.T) {
	f := stage(t, web(inWaves(func(p *v1alpha1.ProgressiveUpdate) { p.OnFailure = v1alpha1.FailurePause })))
	f.run(2 * time.Minute)
	f.bad["web:v2"] = true
	f.change(image("web:v2"))
	f.run(5 * time.Minute)
	f.mustSay(condition.Stalled, "True RolloutFailed: wave 1 of 3 (canary) failed:", "kubectl flotilla resume")
	if w := wishOf(carriedBy(t, f.hub, "west", "shop.web.c")); !w.Spec.UpdateStrategy.Paused || w.image() != "web:v2" {
		t.Errorf("the member goes on: %+v", w)
	}
	f.bad["web:v2"] = false
	f.change(resume(1))
	f.run(time.Minute)
	f.mustSay(condition.Stalled, "False")
}

func TestPausedStopsWhereItIs(t *testing.T) {
	paused := func(is bool) edit {
		return func(o *v1alpha1.FederatedDeployment) { o.Spec.UpdateStrategy.Paused = is }
	}
	for name, strategy := range map[string]edit{"manual": func(*v1alpha1.FederatedDeployment) {}, "progressive": inWaves()} {
		t.Run(name, func(t *testing.T) {
			f := stage(t, web(strategy))
			f.run(2 * time.Minute)
			f.change(paused(true))
			f.run(time.Minute)
			f.change(image("web:v2"))
			f.run(5 * time.Minute)
			if on := f.on("web:v1"); on != "a:2 b:3 c:5" {
				t.Errorf("while paused %s", on)
			}
			f.change(replicas(20)) // scaling is no update
			f.run(time.Minute)
			if on := f.on("web:v1"); on != "a:5 b:5 c:10" {
				t.Errorf("scaled while paused %s", on)
			}
			f.change(paused(false))
			f.run(5 * time.Minute)
			if on := f.on("web:v2"); on != "a:5 b:5 c:10" && on != "a:0 b:0 c:10" {
				t.Errorf("afterwards %s", on)
			}
		})
	}
}

// failingOver waits for five minutes, and for one when the cluster is back.
func failingOver(mode v1alpha1.FailoverMode) edit {
	return func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Failover = &v1alpha1.Failover{Mode: mode, AfterSeconds: 300, ReturnAfterSeconds: new(int32(60))}
	}
}

func TestReplicasOfASilentClusterRunElsewhereAndReturn(t *testing.T) {
	f := stage(t, web(failingOver(v1alpha1.FailoverKeepRunning)))
	f.run(2 * time.Minute)
	f.cut("west", true)
	f.run(4 * time.Minute)
	if heard, _ := f.available(); heard != 5 {
		t.Errorf("%d pods before the time", heard)
	}
	f.mustSay(condition.Ready, "Unknown ClusterSilent")
	f.run(2 * time.Minute)
	if heard, _ := f.available(); heard != 10 {
		t.Errorf("%d pods elsewhere", heard)
	}
	if line := f.web().Status.Subsets[2]; line.FailedOverSince == nil || !line.Silent || line.DesiredReplicas != 5 || !strings.Contains(line.Message, "its 5 replicas are due elsewhere since") {
		t.Errorf("line %+v", line)
	}
	f.run(10 * time.Minute)
	f.cut("west", false)
	f.atLeast(10)
	f.run(30 * time.Second)
	if line := f.web().Status.Subsets[2]; line.BackSince == nil {
		t.Errorf("line %+v", line)
	}
	f.run(5 * time.Minute)
	if on := f.on("web:v1"); on != "a:2 b:3 c:5" && on != "a:3 b:2 c:5" { // the surplus stays with the biggest (WL-5.5.1)
		t.Errorf("in the end %s", on)
	}
	if line := f.web().Status.Subsets[2]; line.FailedOverSince != nil || line.BackSince != nil {
		t.Errorf("line %+v", line)
	}
	f.mustSay(condition.Ready, "True AllReplicasReady")
}

func TestAnAgentThatStepsDownIsAskedTo(t *testing.T) {
	f := stage(t, web(failingOver(v1alpha1.FailoverStepDown)))
	f.run(2 * time.Minute)
	w := carriedBy(t, f.hub, "west", "shop.web.c")
	if got := w.Annotations[v1alpha1.AnnotationStepDownAfter]; got != "5m0s" {
		t.Errorf("asked to step down after %q", got)
	}
	f.cut("west", true)
	f.run(5 * time.Minute) // it may not have stepped down yet
	if heard, _ := f.available(); heard != 5 {
		t.Errorf("%d pods too early", heard)
	}
	f.run(2 * time.Minute)
	if heard, _ := f.available(); heard != 10 {
		t.Errorf("%d pods elsewhere", heard)
	}
	f.cut("west", false)
	f.change(func(o *v1alpha1.FederatedDeployment) { o.Spec.Failover = nil })
	f.run(5 * time.Minute)
	if w := carriedBy(t, f.hub, "west", "shop.web.c"); w.Annotations[v1alpha1.AnnotationStepDownAfter] != "" {
		t.Errorf("still asked to step down after %q", w.Annotations[v1alpha1.AnnotationStepDownAfter])
	}
	if on := f.on("web:v1"); on != "a:2 b:3 c:5" && on != "a:3 b:2 c:5" {
		t.Errorf("in the end %s", on)
	}
}

// An agent that does not step down is not taken to have.
func TestAnAgentThatHasNotConfirmedIsNotReplaced(t *testing.T) {
	f := stage(t, web(failingOver(v1alpha1.FailoverStepDown), onCluster(2, "west")))
	c := &clusterv1.ManagedCluster{}
	if err := f.Hub.Get(context.Background(), client.ObjectKey{Name: "west"}, c); err != nil {
		t.Fatal(err)
	}
	c.Status.ClusterClaims = nil // an agent of OCM's own
	if err := f.Hub.Update(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	f.run(2 * time.Minute)
	f.cut("west", true)
	f.run(20 * time.Minute)
	if heard, _ := f.available(); heard != 5 {
		t.Errorf("%d pods", heard)
	}
	if line := f.web().Status.Subsets[2]; !strings.Contains(line.Message, "its replicas stay, because the agent of west is none that steps down; use mode KeepRunning") {
		t.Errorf("line %+v", line)
	}
}

func TestAHubThatIsCutOffMovesNothing(t *testing.T) {
	f := stage(t, web(failingOver(v1alpha1.FailoverKeepRunning)))
	f.run(2 * time.Minute)
	f.cut("west", true)
	f.cut("east", true)
	f.run(20 * time.Minute)
	f.mustSay(condition.Stalled, "True FailoverHeld: all 2 clusters are silent, the hub is probably cut off: nothing moves")
	f.cut("west", false)
	f.cut("east", false)
	f.run(20 * time.Minute)
	f.mustSay(condition.Stalled, "False")
	if on := f.on("web:v1"); on != "a:2 b:3 c:5" {
		t.Errorf("in the end %s", on)
	}
}

// A Placement that changes its mind: replicas start where they go before they stop where they are.
func TestReplicasFollowAPlacementWithoutAGap(t *testing.T) {
	f := stage(t, spread(), everywhere(2, "east", "west")...)
	f.run(2 * time.Minute)
	if on := f.on("web:v1"); on != "east:5 west:5" {
		t.Fatal(on)
	}
	f.atLeast(10)
	f.decide(3, "east", "west", "north")
	f.run(2 * time.Minute)
	if on := f.on("web:v1"); on != "east:3 north:3 west:4" && on != "east:4 north:3 west:3" {
		t.Error(on)
	}
	f.decide(1, "north")
	f.run(2 * time.Minute)
	if on := f.on("web:v1"); on != "north:10" {
		t.Error(on)
	}
	f.decide(0)
	f.run(2 * time.Minute)
	if on := f.on("web:v1"); on != "north:10" {
		t.Error(on)
	}
	f.mustSay(condition.Stalled, "True PlacementUnresolved", `Placement "everywhere" selects no cluster`, "1 cluster keep")
}

// decide lets the Placement decide anew.
func (f *theatre) decide(selected int32, clusters ...string) {
	f.t.Helper()
	for _, want := range everywhere(selected, clusters...) {
		there := want.DeepCopyObject().(client.Object)
		if err := f.Hub.Get(context.Background(), client.ObjectKeyFromObject(want), there); err != nil {
			f.t.Fatal(err)
		}
		switch there := there.(type) {
		case *clusterv1beta1.Placement:
			there.Status = want.(*clusterv1beta1.Placement).Status
		case *clusterv1beta1.PlacementDecision:
			there.Status = want.(*clusterv1beta1.PlacementDecision).Status
		}
		if err := f.Hub.Update(context.Background(), there); err != nil {
			f.t.Fatal(err)
		}
	}
}
