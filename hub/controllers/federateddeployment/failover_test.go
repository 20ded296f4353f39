package federateddeployment

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

func adaptively(o *v1alpha1.FederatedDeployment) {
	o.Spec.Topology.ScheduleStrategy = &v1alpha1.ScheduleStrategy{Type: v1alpha1.ScheduleAdaptive}
}

func fixedAt(numbers ...int32) edit {
	return func(o *v1alpha1.FederatedDeployment) {
		for i, n := range numbers {
			o.Spec.Topology.Subsets[i].Replicas = new(intstr.FromInt32(n))
		}
	}
}

func between(i int, least, most int32) edit {
	return subset(i, func(s *v1alpha1.Subset) {
		s.Replicas, s.MinReplicas = nil, new(intstr.FromInt32(least))
		if most > 0 {
			s.MaxReplicas = new(intstr.FromInt32(most))
		}
	})
}

// Numbers of subsets are wishes for normal times, whichever way they are said; only maxReplicas limits what a subset
// takes in (WL-5.5). Whatever was moved returns.
func TestWhatAFailoverMayMove(t *testing.T) {
	for name, tc := range map[string]struct {
		edits []edit
		away  string // while west is silent
		back  []string
		says  string
	}{
		"shares of the rest":                       {away: "a:7 b:3 c:5", back: []string{"a:2 b:3 c:5", "a:3 b:2 c:5"}},
		"numbers in every subset":                  {edits: []edit{fixedAt(2, 3, 5)}, away: "a:7 b:3 c:5", back: []string{"a:2 b:3 c:5"}},
		"numbers and no total":                     {edits: []edit{fixedAt(2, 3, 5), func(o *v1alpha1.FederatedDeployment) { o.Spec.Replicas = nil }}, away: "a:7 b:3 c:5", back: []string{"a:2 b:3 c:5"}},
		"a maximum that leaves room":               {edits: []edit{between(0, 2, 4), between(1, 3, 0), between(2, 3, 3)}, away: "a:4 b:6 c:3", back: []string{"a:4 b:3 c:3"}},
		"a maximum, and no room":                   {edits: []edit{between(0, 2, 4), between(1, 3, 4), between(2, 2, 0)}, away: "a:4 b:4 c:2", back: []string{"a:4 b:4 c:2"}, says: "True Unschedulable: 2 of 2 replicas of c have no place: a is at its maxReplicas 4, b is at its maxReplicas 4"},
		"adaptive, which holds on to no stand-ins": {edits: []edit{adaptively, between(0, 1, 2), between(1, 1, 0), between(2, 5, 0)}, away: "a:2 b:8 c:5", back: []string{"a:2 b:3 c:5"}},
		"adaptive with a maximum of one":           {edits: []edit{adaptively, between(0, 1, 0), between(1, 3, 3), between(2, 5, 0)}, away: "a:7 b:3 c:5", back: []string{"a:2 b:3 c:5"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := stage(t, web(append([]edit{failingOver(v1alpha1.FailoverKeepRunning)}, tc.edits...)...))
			f.run(2 * time.Minute)
			before := f.on("web:v1")
			f.cut("west", true)
			f.run(8 * time.Minute)
			if on := f.on("web:v1"); on != tc.away {
				t.Errorf("before %s, while west is silent %s", before, on)
			}
			if tc.says != "" {
				f.mustSay(condition.Stalled, tc.says)
			}
			f.cut("west", false)
			f.run(8 * time.Minute)
			if on := f.on("web:v1"); !strings.Contains(strings.Join(tc.back, "|"), on) {
				t.Errorf("in the end %s", on)
			}
			for _, line := range f.web().Status.Subsets {
				if line.FailedOverSince != nil || line.StandInReplicas > 0 {
					t.Errorf("line %+v", line)
				}
			}
		})
	}
}

// A Placement drops a silent cluster at once; what spec.failover says of it holds all the same.
func TestFailoverDecidesAboutSilentClustersOfAPlacement(t *testing.T) {
	for _, mode := range []v1alpha1.FailoverMode{v1alpha1.FailoverKeepRunning, v1alpha1.FailoverStepDown} {
		t.Run(string(mode), func(t *testing.T) {
			f := stage(t, spread(failingOver(mode)), everywhere(2, "east", "west")...)
			f.run(2 * time.Minute)
			first := f.sets["west/shop.web.west"]
			f.cut("west", true)
			f.decide(1, "east")
			f.run(4 * time.Minute) // nobody knows yet that it is gone, and it may serve
			if on := f.on("web:v1"); on != "east:5 west:5" {
				t.Errorf("before its time %s", on)
			}
			f.run(4 * time.Minute)
			if on := f.on("web:v1"); on != "east:10 west:5" {
				t.Errorf("after its time %s", on)
			}
			f.cut("west", false)
			f.atLeast(10)
			f.run(30 * time.Second) // the Placement takes its time
			f.decide(2, "east", "west")
			f.run(3 * time.Minute)
			if on := f.on("web:v1"); on != "east:5 west:5" {
				t.Errorf("in the end %s", on)
			}
			if f.sets["west/shop.web.west"] != first {
				t.Error("its work was made anew, and with it all pods")
			}
			f.mustSay(condition.Ready, "True AllReplicasReady")
		})
	}
}

func TestAClusterThatIsBackAndNoLongerDecidedForGoes(t *testing.T) {
	f := stage(t, spread(failingOver(v1alpha1.FailoverKeepRunning)), everywhere(2, "east", "west")...)
	f.run(2 * time.Minute)
	f.cut("west", true)
	f.decide(1, "east")
	f.run(time.Minute)
	f.cut("west", false)
	f.atLeast(10)
	f.run(30 * time.Second)
	if on := f.on("web:v1"); on != "east:5 west:5" {
		t.Errorf("while the Placement may change its mind %s", on)
	}
	f.mustSay(condition.Reconciling, `subset west stays until`, `so that Placement "everywhere" may decide for its cluster again, which was silent`)
	f.run(2 * time.Minute)
	if on := f.on("web:v1"); on != "east:10" {
		t.Errorf("in the end %s", on)
	}
}

func TestStandInsAreTold(t *testing.T) {
	f := stage(t, web(failingOver(v1alpha1.FailoverKeepRunning)))
	f.run(2 * time.Minute)
	f.cut("west", true)
	f.run(6 * time.Minute)
	line := f.web().Status.Subsets[0]
	if line.StandInReplicas != 5 || line.DesiredReplicas != 7 {
		t.Errorf("line %+v", line)
	}
}

func volumes(o *v1alpha1.FederatedDeployment) {
	o.Spec.Template.CloneSetTemplate.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
}

// Hub and agent agree about what cannot be stopped (pkg/stepdown), or it would run twice. The user reads it before it
// matters.
func TestAWorkloadThatCannotStepDownIsNotReplaced(t *testing.T) {
	f := stage(t, web(failingOver(v1alpha1.FailoverStepDown), volumes))
	f.run(2 * time.Minute)
	why := "CloneSet shop/web-c has volumeClaimTemplates, and without replicas its volumes would be deleted"
	if got := f.web().Status.Subsets[2].Message; got != "is not failed over should its cluster fall silent: "+why {
		t.Errorf("message %q", got)
	}
	f.mustSay(condition.Ready, "True AllReplicasReady")
	f.cut("west", true)
	f.run(20 * time.Minute)
	if on := f.on("web:v1"); on != "a:2 b:3 c:5" {
		t.Errorf("moved to %s", on)
	}
	if got := f.web().Status.Subsets[2].Message; !strings.Contains(got, "its replicas stay, because "+why) {
		t.Errorf("message %q", got)
	}
}

// Stand-ins find a node or not; a revision is judged by the others.
func TestStandInsDoNotFailAnUpdate(t *testing.T) {
	obj := web(inWaves(func(p *v1alpha1.ProgressiveUpdate) { p.Waves = []v1alpha1.Wave{{Subsets: []string{"a"}}} }), failingOver(v1alpha1.FailoverKeepRunning))
	seen := running(t, obj)
	plan := decide(obj, seen)
	(&steps{}).Report(obj, seen, plan, nil)
	obj.Status.Subsets[2].FailedOverSince = new(metav1.NewTime(noon.Add(-time.Hour)))
	seen = with1(seen, "west", func(c *cluster) { c.heard, c.since = false, noon.Add(-2*time.Hour) })
	in := decide(obj, seen)
	if got := in.moved["a"]; got.Extra != 5 {
		t.Fatalf("target %+v", got)
	}
	image("web:v2")(obj)
	seen = after(t, obj, now(obj, seen))
	(&steps{}).Report(obj, seen, decide(obj, seen), nil)
	seen = after(t, obj, seen)
	seen = reported(seen, "a", map[string]any{valueAvailable: 3, valueUpdatedAvailable: 3})
	if got := decide(obj, seen).rollout; got.Wave != 2 {
		t.Errorf("rollout %+v", got)
	}
}

// Nothing is brought to a cluster that is on its way out; what is there stays.
func TestAClusterThatIsBeingDetachedGetsNothingNew(t *testing.T) {
	detaching := func(c *cluster) { c.detaching = true }
	for name, tc := range map[string]struct {
		obj  *v1alpha1.FederatedDeployment
		seen func(facts) facts
		want string
		says string
	}{
		"a new subset": {web(onCluster(2, "west")), func(facts) facts { return with1(blank(web()), "west", detaching) },
			"new revision\ncreate east/shop.web.a x2\ncreate east/shop.web.b x3\nClusterUnresolved c",
			`spec.topology.subsets[2].cluster: cluster "west" is being detached, so nothing new is brought there; name another cluster for subset "c"`},
		"one that looks for a cluster passes it over": {web(), func(facts) facts { return with1(blank(web()), "west", detaching) },
			"new revision\ncreate east/shop.web.a x2\ncreate east/shop.web.b x3\nClusterUnresolved c", "no accepted cluster has zone c"},
		"one that is there already is left as it is": {web(image("web:v2")), func(f facts) facts { return with1(f, "west", detaching) },
			"new revision\nchange east/shop.web.a x2\nchange east/shop.web.b x3\nClusterUnresolved c", `cluster "west" is being detached`},
		"a Placement's": {spread(image("web:v2")), func(facts) facts {
			f := after(t, spread(), onThree(blank(spread())))
			return now(spread(image("web:v2")), with1(f, "west", detaching))
		}, "new revision\nchange east/shop.web.east x3\nchange north/shop.web.north x3\nClusterUnresolved west",
			`cluster "west" is being detached, so nothing new is brought there; let Placement "everywhere" decide for another cluster`},
		"stand-ins": {web(failingOver(v1alpha1.FailoverKeepRunning), onCluster(0, "north")), func(facts) facts {
			obj := web(failingOver(v1alpha1.FailoverKeepRunning), onCluster(0, "north"))
			f := with1(blank(obj), "north", func(c *cluster) { c.accepted, c.heard = true, true })
			f = with1(after(t, obj, f), "north", detaching)
			return with1(f, "west", func(c *cluster) { c.heard, c.since = false, noon.Add(-2*time.Hour) })
		}, "change east/shop.web.b x8\nClusterUnresolved a", "is being detached"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := decide(tc.obj, tc.seen(now(tc.obj, running(t, web()))))
			if d := cmp.Diff(tc.want, outline(plan)); d != "" {
				t.Error(d)
			}
			if len(plan.problems) == 0 || !strings.Contains(plan.problems[0].message, tc.says) {
				t.Errorf("problems %+v", plan.problems)
			}
		})
	}
}
