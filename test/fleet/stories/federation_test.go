package stories

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// quickSilence makes a member count as silent after five seconds instead of five minutes, until the story ends.
func (w *world) quickSilence(member string) {
	w.Helper()
	set := func(ctx context.Context, seconds int32) {
		patch := fmt.Sprintf(`{"spec":{"leaseDurationSeconds":%d}}`, seconds)
		cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: member}}
		err := w.hub.Patch(ctx, cluster, client.RawPatch(types.MergePatchType, []byte(patch)))
		if client.IgnoreNotFound(err) != nil { // a story may have let it go
			w.Error(err)
		}
	}
	set(w.Context(), 1)
	w.Cleanup(func() { set(context.Background(), 60) })
}

// cut breaks the network between west and the hub until the story ends or mends it.
func (w *world) cut() {
	w.wire.Cut()
	w.Cleanup(w.wire.Mend)
}

// seen reads d and returns its status.
func (w *world) seen(d *appsv1alpha1.FederatedDeployment) *appsv1alpha1.FederatedDeploymentStatus {
	w.Helper()
	if err := w.hub.Get(w.Context(), client.ObjectKeyFromObject(d), d); err != nil {
		w.Fatal(err)
	}
	return &d.Status
}

func inWaves(waves ...appsv1alpha1.Wave) func(*appsv1alpha1.FederatedDeployment) {
	return func(d *appsv1alpha1.FederatedDeployment) {
		d.Spec.UpdateStrategy = appsv1alpha1.UpdateStrategy{
			Type:        appsv1alpha1.UpdateProgressive,
			Progressive: &appsv1alpha1.ProgressiveUpdate{Waves: waves, ProgressDeadlineSeconds: new(int32(25))},
		}
	}
}

// An update that never becomes ready stops in its first wave and is taken back, and says who was the culprit.
func TestAWaveThatFailsItsGateRollsBackByItself(t *testing.T) {
	w := beside(t)
	d := w.web(6, inWaves(appsv1alpha1.Wave{Name: "canary", Subsets: []string{"zone-a"}}))
	w.apply(d)
	w.ready(d)
	stable := d.Status.UpdateRevision
	untouched := uids(w.pods(west))
	eyes := w.watchPods(west)

	w.change(d, toImage("invalid"))
	w.until("the update is rolled back", func() string {
		s := w.seen(d)
		if r := s.Rollout; r == nil || r.Phase != appsv1alpha1.RolloutRolledBack {
			return describe(d)
		}
		return ""
	})
	c := condition.Find(d.Status.Conditions, appsv1alpha1.ConditionStalled)
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != appsv1alpha1.ReasonRolledBack || !strings.Contains(c.Message, "zone-a") {
		t.Errorf("the failed update is not explained: %s", describe(d))
	}
	t.Logf("%s", d.Status.Rollout.Message)
	if r := d.Status.Rollout; r.StableRevision != stable || r.Wave != 1 {
		t.Errorf("rolled back to %s in wave %d, want %s in wave 1", r.StableRevision, r.Wave, stable)
	}
	w.until("all pods are ready on the old image", func() string {
		for _, member := range []string{east, west} {
			pods := w.pods(member)
			if len(pods) != 3 {
				return fmt.Sprintf("%s has %d pods", member, len(pods))
			}
			for _, p := range pods {
				if !isReady(&p) || p.Spec.Containers[0].Image != image("v1") {
					return fmt.Sprintf("%s is on %s, ready %v", p.Name, p.Spec.Containers[0].Image, isReady(&p))
				}
			}
		}
		return ""
	})
	for _, uid := range untouched {
		if images := eyes.images(uid); len(images) != 1 {
			t.Errorf("a pod outside of the canary was touched: %v", images)
		}
	}

	// A good template is a new attempt.
	w.change(d, toImage("v2"))
	w.ready(d)
	if p := d.Status.Rollout.Phase; p != appsv1alpha1.RolloutComplete {
		t.Errorf("the next update is %s, want Complete", p)
	}
}

// A network that breaks in the middle of an update stops nothing that runs, and what is missing is made up for afterwards.
func TestAMemberCutOffMidRolloutLosesNothing(t *testing.T) {
	w := begin(t)
	d := w.web(6)
	w.apply(d)
	w.ready(d)
	before := uids(w.pods(west))
	eyes := w.watchPods(west)
	w.cut()
	w.change(d, toImage("v2"))
	w.until("east is updated", func() string {
		for _, s := range w.seen(d).Subsets {
			if s.Cluster == east && s.UpdatedReadyReplicas != s.DesiredReplicas {
				return describe(d)
			}
		}
		return ""
	})
	if now := uids(w.pods(west)); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("pods of the member that was cut off changed: %v, were %v", now, before)
	}
	w.wire.Mend()
	w.ready(d)
	if now := uids(w.pods(west)); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("in-place update made other pods: %v, were %v", now, before)
	}
	if least := eyes.fewestUp("zone-c"); least < 2 {
		t.Errorf("only %d of 3 pods were ready at some time, maxUnavailable is 1", least)
	}
}

// sample is what users had at a moment.
type sample struct {
	at                time.Duration
	east, west, total int
}

// watchAvailable samples the ready pods of both members, as their own API servers know them, until stop is called.
func (w *world) watchAvailable() (stop func() []sample) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan []sample)
	count := func(member string) (n int, ok bool) {
		var list corev1.PodList
		if err := w.member(member).List(ctx, &list, client.InNamespace(w.ns)); err != nil {
			return 0, false
		}
		for _, p := range list.Items {
			if p.DeletionTimestamp == nil && isReady(&p) {
				n++
			}
		}
		return n, true
	}
	go func() {
		var all []sample
		began := time.Now()
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				done <- all
				return
			case <-tick.C:
				e, ok1 := count(east)
				v, ok2 := count(west)
				if ok1 && ok2 {
					all = append(all, sample{at: time.Since(began), east: e, west: v, total: e + v})
				}
			}
		}
	}()
	return func() []sample { cancel(); return <-done }
}

// graph prints available pods over time, a line whenever the numbers changed.
func graph(samples []sample) string {
	var b strings.Builder
	last := sample{east: -1}
	for _, s := range samples {
		if s.east == last.east && s.west == last.west {
			continue
		}
		last = s
		fmt.Fprintf(&b, "%7.1fs  %s%s %d\n", s.at.Seconds(), strings.Repeat("e", s.east), strings.Repeat("w", s.west), s.total)
	}
	return b.String()
}

func least(samples []sample) int {
	n := samples[0].total
	for _, s := range samples {
		n = min(n, s.total)
	}
	return n
}

// spread gives both clusters what they need to take each other's place.
func spread(mode appsv1alpha1.FailoverMode) func(*appsv1alpha1.FederatedDeployment) {
	return func(d *appsv1alpha1.FederatedDeployment) {
		d.Spec.Topology.Subsets = []appsv1alpha1.Subset{
			{Name: "zone-a", NodeSelectorTerm: zone("a"), MinReplicas: new(intstr.FromInt32(3))},
			{Name: "zone-c", NodeSelectorTerm: zone("c"), MinReplicas: new(intstr.FromInt32(3))},
		}
		d.Spec.Failover = &appsv1alpha1.Failover{
			Mode: mode, AfterSeconds: 10, ReturnAfterSeconds: new(int32(5)), MaxSilentPercent: new(int32(50)),
		}
	}
}

// Replicas of a silent cluster start elsewhere, and when it is back they return without a gap.
func TestFailoverAndOrderlyReturn(t *testing.T) {
	w := begin(t)
	d := w.web(6, spread(appsv1alpha1.FailoverKeepRunning))
	w.apply(d)
	w.ready(d)
	w.quickSilence(west)
	stop := w.watchAvailable()
	w.cut()
	w.until("east runs all six", func() string {
		if n := readyOf(w.pods(east)); n != 6 {
			return fmt.Sprintf("%d are ready there; %s", n, describe(w.read(d)))
		}
		return ""
	})
	if n := readyOf(w.pods(west)); n != 3 {
		t.Errorf("west was told nothing and was to keep running, but %d of 3 are ready", n)
	}
	w.wire.Mend()
	w.until("each has its three again", func() string {
		e, v := w.pods(east), w.pods(west)
		if len(e) != 3 || len(v) != 3 || readyOf(e) != 3 || readyOf(v) != 3 {
			return fmt.Sprintf("east %d, west %d; %s", len(e), len(v), describe(w.read(d)))
		}
		return ""
	})
	w.ready(d)
	samples := stop()
	t.Logf("available pods over time (e in east, w in west):\n%s", graph(samples))
	if n := least(samples); n < 6 {
		t.Errorf("only %d of 6 were available at some time", n)
	}
}

// With StepDown a cluster that is cut off stops its replicas by itself before they start elsewhere: never twelve, and
// after its return never less than there was.
func TestAClusterThatStepsDownNeverRunsTwice(t *testing.T) {
	w := begin(t)
	d := w.web(6, spread(appsv1alpha1.FailoverStepDown))
	w.apply(d)
	w.ready(d)
	w.quickSilence(west)
	stop := w.watchAvailable()
	w.cut()
	w.until("west stepped down and east runs all six", func() string {
		if e, v := readyOf(w.pods(east)), len(w.pods(west)); e != 6 || v != 0 {
			return fmt.Sprintf("east %d, west %d; %s", e, v, describe(w.read(d)))
		}
		return ""
	})
	away := stop()
	stop = w.watchAvailable()
	w.wire.Mend()
	w.until("each has its three again", func() string {
		e, v := w.pods(east), w.pods(west)
		if len(e) != 3 || len(v) != 3 || readyOf(e) != 3 || readyOf(v) != 3 {
			return fmt.Sprintf("east %d, west %d; %s", len(e), len(v), describe(w.read(d)))
		}
		return ""
	})
	w.ready(d)
	back := stop()
	t.Logf("available pods over time, cut off:\n%sand back:\n%s", graph(away), graph(back))
	for _, s := range away {
		if s.total > 6 {
			t.Errorf("%d ran at %s, more than were asked for", s.total, s.at.Round(time.Second))
			break
		}
	}
	if n := least(back); n < 6 {
		t.Errorf("only %d of 6 were available during the return", n)
	}
}

// read is d as the hub has it now.
func (w *world) read(d *appsv1alpha1.FederatedDeployment) *appsv1alpha1.FederatedDeployment {
	w.Helper()
	w.seen(d)
	return d
}

func readyOf(pods []corev1.Pod) (n int) {
	for _, p := range pods {
		if isReady(&p) {
			n++
		}
	}
	return n
}
