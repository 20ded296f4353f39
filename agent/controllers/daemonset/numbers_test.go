package daemonset

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/pernode"
)

func TestNumbersAndRounding(t *testing.T) { // WL-0.4, WL-3.7
	burst := func(v string, last int32) func(*kruise.DaemonSet) {
		return func(ds *kruise.DaemonSet) {
			ds.Spec.BurstReplicas, ds.Status.DesiredNumberScheduled = new(intstr.Parse(v)), last
		}
	}
	nodes := []corev1.Node{*node("n0"), *node("n1"), *node("n2"), *node("n3"), *node("n4"), *node("x", taint("x", corev1.TaintEffectNoSchedule))}
	for name, tc := range map[string]struct {
		change func(*kruise.DaemonSet)
		want   pernode.Spec
	}{
		"defaults":                     {func(*kruise.DaemonSet) {}, pernode.Spec{Rolling: true, MaxUnavailable: 1, Burst: 250}},
		"maxUnavailable up":            {maxUnavailable("21%"), pernode.Spec{Rolling: true, MaxUnavailable: 2, Burst: 250}},
		"maxSurge up":                  {maxSurge("1%"), pernode.Spec{Rolling: true, MaxSurge: 1, Surge: true, Burst: 250}},
		"neither":                      {maxUnavailable("0"), pernode.Spec{Rolling: true, MaxUnavailable: 1, Burst: 250}},
		"burst down, of the last look": {burst("50%", 3), pernode.Spec{Rolling: true, MaxUnavailable: 1, Burst: 1}},
		"paused":                       {rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.Paused = new(true) }), pernode.Spec{MaxUnavailable: 1, Burst: 250}},
		"on delete":                    {func(ds *kruise.DaemonSet) { ds.Spec.UpdateStrategy.Type = "OnDelete" }, pernode.Spec{Burst: 250}},
		"partition":                    {partition(2), pernode.Spec{Rolling: true, MaxUnavailable: 1, Partition: 2, Burst: 250}},
		"progressive needs a partition": {func(ds *kruise.DaemonSet) {
			annotated(progressiveCreate, "true")(ds)
			ds.Spec.MinReadySeconds = 5
		}, pernode.Spec{Rolling: true, MaxUnavailable: 1, MinReady: 5 * time.Second, Burst: 250}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &plan{set: Default(daemonSet(tc.change))}
			where, err := placementOf(&p.set.Spec.Template)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.engineSpec(where, nodes)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Nodes) != 6 || got.Nodes[5].Run || !got.Nodes[5].Keep || !got.Nodes[0].Run {
				t.Errorf("nodes %+v", got.Nodes)
			}
			got.Nodes = nil
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFailingNodesRestLongerAndLonger(t *testing.T) { // WL-3.5: 1 s doubling to 15 min
	b := newBackoff(time.Second, 15*time.Minute)
	at := place{"owner", 1, "n0"}
	now := noon
	if !b.until(at).IsZero() {
		t.Error("a node rests that never failed")
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900} {
		b.failed(at, now)
		if got := b.until(at).Sub(now); got != want*time.Second {
			t.Errorf("failure %d: %s, want %s", i+1, got, want*time.Second)
		}
	}
	if !b.until(place{"owner", 2, "n0"}).IsZero() || !b.until(place{"owner", 1, "n1"}).IsZero() {
		t.Error("another spec or node rests too")
	}
	now = now.Add(31 * time.Minute)
	b.failed(at, now)
	if got := b.until(at).Sub(now); got != time.Second {
		t.Errorf("after a long quiet it rests for %s", got)
	}
}

func TestWhoeverCouldAdoptIsWoken(t *testing.T) { // WL-0.6
	w := newWorld(t, 0, daemonSet())
	woken := func(pod *corev1.Pod) int { return len(adopters(w.Server)(t.Context(), pod)) }
	orphan := running(daemonSet(), "logs-x", "n0", "now")
	if n := woken(orphan); n != 0 {
		t.Errorf("a pod that has an owner wakes %d", n)
	}
	orphan.OwnerReferences = nil
	if n := woken(orphan); n != 1 {
		t.Errorf("an orphan wakes %d", n)
	}
	orphan.Labels["app"] = "other"
	if n := woken(orphan); n != 0 {
		t.Errorf("an orphan of others wakes %d", n)
	}
}

func TestOwnStatusWritesWakeNobody(t *testing.T) {
	before := daemonSet()
	for name, tc := range map[string]struct {
		change func(*kruise.DaemonSet)
		want   bool
	}{
		"status":      {func(ds *kruise.DaemonSet) { ds.Status.NumberReady = 3 }, false},
		"desired":     {func(ds *kruise.DaemonSet) { ds.Status.DesiredNumberScheduled = 3 }, true}, // WL-3.12.6
		"spec":        {func(ds *kruise.DaemonSet) { ds.Generation++ }, true},
		"labels":      {func(ds *kruise.DaemonSet) { metav1.SetMetaDataLabel(&ds.ObjectMeta, "a", "b") }, true},
		"progressive": {annotated(progressiveCreate, "true"), true},
	} {
		after := before.DeepCopy()
		tc.change(after)
		if got := podset.Changed(desired()).Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
