package stories

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// Story 1: apply.
func TestPodsRunInTheRightClusterAndZone(t *testing.T) {
	w := beside(t)
	d := w.web(10)
	w.apply(d)
	// At no step may the hub claim more than the members have.
	w.until("web is ready, truthfully at each step", func() string {
		if err := w.hub.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
			return err.Error()
		}
		up := 0
		for _, member := range []string{east, west} {
			for _, p := range w.pods(member) {
				if isReady(&p) {
					up++
				}
			}
		}
		if int(d.Status.ReadyReplicas) > up {
			t.Fatalf("status claims %d ready replicas, the members have %d\n%s", d.Status.ReadyReplicas, up, describe(d))
		}
		if !condition.IsTrue(d.Status.Conditions, appsv1alpha1.ConditionReady) {
			return describe(d)
		}
		return ""
	})
	want := map[string]int{"a": 2, "b": 3, "c": 5}
	got := map[string]int{}
	for _, member := range []string{east, west} {
		for _, p := range w.pods(member) {
			got[w.zoneOf(member, &p)]++
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("pods by zone %v, want %v", got, want)
	}
	if s := d.Status; s.DesiredReplicas != 10 || s.ReadyReplicas != 10 || s.UpdatedReplicas != 10 || s.Clusters != "2/2" {
		t.Errorf("status %+v", s)
	}
	printed, err := w.Kubectl(t.Context(), "hub", "-n", w.ns, "get", "fdep", "web", "--no-headers")
	if err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(printed); len(f) < 5 || strings.Join(f[:5], " ") != "web 10 10 10 2/2" {
		t.Errorf("kubectl get fdep prints %q", printed)
	}
}

// facts is what must stay, and what must change, of a pod that is updated in place.
type facts struct {
	name, ip, imageID string
	restarts          int32
}

func (w *world) facts(members ...string) map[types.UID]facts {
	w.Helper()
	all := map[types.UID]facts{}
	for _, member := range members {
		for _, p := range w.pods(member) {
			if len(p.Status.ContainerStatuses) == 0 {
				w.Fatalf("pod %s has no container status", p.Name)
			}
			s := p.Status.ContainerStatuses[0]
			all[p.UID] = facts{name: p.Name, ip: p.Status.PodIP, imageID: s.ImageID, restarts: s.RestartCount}
		}
	}
	return all
}

// Story 2: in-place update.
func TestInPlaceUpdateKeepsThePods(t *testing.T) {
	w := beside(t)
	d := w.web(6)
	w.apply(d)
	w.ready(d)
	before := w.facts(east, west)
	onEast, onWest := w.watchPods(east), w.watchPods(west)

	w.change(d, toImage("v2"))
	w.ready(d)
	after := w.facts(east, west)
	for uid, was := range before {
		is, there := after[uid]
		switch {
		case !there:
			t.Errorf("pod %s was replaced", was.name)
		case is.name != was.name || is.ip != was.ip:
			t.Errorf("pod %s at %s became %s at %s", was.name, was.ip, is.name, is.ip)
		case is.imageID == was.imageID:
			t.Errorf("pod %s still runs image %s", is.name, is.imageID)
		case is.restarts != was.restarts+1:
			t.Errorf("pod %s restarted %d times, want once", is.name, is.restarts-was.restarts)
		}
	}
	// maxUnavailable is 1 in each subset.
	for subset, v := range map[string]*witness{"zone-a": onEast, "zone-b": onEast, "zone-c": onWest} {
		share := 0
		for _, s := range d.Status.Subsets {
			if s.Name == subset {
				share = int(s.DesiredReplicas)
			}
		}
		if least := v.fewestUp(subset); least < share-1 {
			t.Errorf("subset %s fell to %d of %d ready, maxUnavailable is 1", subset, least, share)
		}
	}
}

func TestABadImageStopsAtTheBudgetSaysWhyAndGoingBackHeals(t *testing.T) {
	w := beside(t)
	d := w.web(6)
	w.apply(d)
	w.ready(d)
	before := w.facts(east, west)

	w.change(d, toImage("invalid"))
	w.until("the status says where and why", func() string {
		if err := w.hub.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
			return err.Error()
		}
		c := condition.Find(d.Status.Conditions, appsv1alpha1.ConditionStalled)
		if c == nil || c.Status != "True" || c.Reason != appsv1alpha1.ReasonRolloutStuck {
			return describe(d)
		}
		for _, word := range []string{"zone-", "web-", "ImagePullBackOff"} {
			if !strings.Contains(c.Message, word) {
				return fmt.Sprintf("the message lacks %q: %s", word, c.Message)
			}
		}
		return ""
	})
	bad := map[string]int{}
	for _, member := range []string{east, west} {
		for _, p := range w.pods(member) {
			if p.Spec.Containers[0].Image == image("invalid") {
				bad[p.Labels[appsv1alpha1.LabelSubsetName]]++
			}
		}
	}
	for subset, n := range bad {
		if n > 1 {
			t.Errorf("subset %s gave the bad image to %d pods, maxUnavailable is 1", subset, n)
		}
	}
	if d.Status.ReadyReplicas < 3 {
		t.Errorf("%d of 6 ready, each subset may miss one", d.Status.ReadyReplicas)
	}

	w.change(d, toImage("v1"))
	w.ready(d)
	after := w.facts(east, west)
	for uid, was := range before {
		if _, there := after[uid]; !there {
			t.Errorf("pod %s was replaced on the way back", was.name)
		}
	}
}

// Story 3: scale.
func TestSharesHoldAtEachScale(t *testing.T) {
	w := beside(t)
	d := w.web(10)
	w.apply(d)
	for _, step := range []struct {
		replicas int32
		want     map[string]int
	}{
		{10, map[string]int{"zone-a": 2, "zone-b": 3, "zone-c": 5}},
		{25, map[string]int{"zone-a": 6, "zone-b": 6, "zone-c": 13}}, // 50% of 25 is 12.5, halves go up (WL-5.4)
		{3, map[string]int{"zone-a": 0, "zone-b": 1, "zone-c": 2}},
	} {
		w.change(d, func(d *appsv1alpha1.FederatedDeployment) { d.Spec.Replicas = new(step.replicas) })
		w.ready(d)
		w.shares(d, step.want)
	}
}

func TestMinAndMaxHoldAtEachScale(t *testing.T) {
	w := beside(t)
	d := w.web(5, func(d *appsv1alpha1.FederatedDeployment) {
		s := d.Spec.Topology.Subsets
		s[0].MinReplicas, s[0].MaxReplicas = new(intstr.FromInt32(2)), new(intstr.FromInt32(4))
		s[1].MaxReplicas = new(intstr.FromString("20%"))
		s[2].Replicas, s[2].MinReplicas = nil, new(intstr.FromInt32(1))
	})
	w.apply(d)
	for _, step := range []struct {
		replicas int32
		want     map[string]int
	}{
		{5, map[string]int{"zone-a": 4, "zone-b": 0, "zone-c": 1}},
		{12, map[string]int{"zone-a": 4, "zone-b": 2, "zone-c": 6}},
		{2, map[string]int{"zone-a": 2, "zone-b": 0, "zone-c": 0}},
	} {
		w.change(d, func(d *appsv1alpha1.FederatedDeployment) { d.Spec.Replicas = new(step.replicas) })
		w.ready(d)
		w.shares(d, step.want)
	}
}

// shares compares what the status promises and what the members run with what was asked.
func (w *world) shares(d *appsv1alpha1.FederatedDeployment, want map[string]int) {
	w.Helper()
	running := map[string]int{}
	for _, member := range []string{east, west} {
		for _, p := range w.pods(member) {
			running[p.Labels[appsv1alpha1.LabelSubsetName]]++
		}
	}
	for _, s := range d.Status.Subsets {
		if int(s.DesiredReplicas) != want[s.Name] || running[s.Name] != want[s.Name] {
			w.Errorf("%d replicas: subset %s desires %d and runs %d, want %d", *d.Spec.Replicas, s.Name, s.DesiredReplicas, running[s.Name], want[s.Name])
		}
	}
}

// Story 4: the agent is killed in the middle.
func TestAnUpdateGoesOnAfterItsAgentWasKilled(t *testing.T) {
	w := begin(t)
	d := w.web(8)
	w.apply(d)
	w.ready(d)
	before := w.facts(east, west)
	v := w.watchPods(west)

	w.change(d, toImage("v2"))
	updated := func() (n int) {
		for _, p := range w.pods(west) {
			if p.Spec.Containers[0].Image == image("v2") {
				n++
			}
		}
		return n
	}
	w.until("west is in the middle of its update", func() string {
		if n := updated(); n == 0 {
			return "no pod is updated yet"
		}
		return ""
	})
	if err := w.KillAgent(t.Context(), west); err != nil {
		t.Fatal(err)
	}
	if n := updated(); n == len(w.pods(west)) {
		t.Fatal("the update was over before the agent was killed")
	}
	if err := w.StartAgent(t.Context(), west); err != nil {
		t.Fatal(err)
	}
	w.ready(d)
	for uid, was := range before {
		images := v.images(uid)
		if images == nil {
			continue // a pod on east
		}
		if fmt.Sprint(images) != fmt.Sprint([]string{image("v1"), image("v2")}) {
			t.Errorf("pod %s was given images %v, want one update", was.name, images)
		}
	}
	if n := v.made(); n != 0 {
		t.Errorf("%d pods were made during an update in place", n)
	}
	after := w.facts(east, west)
	for uid, was := range before {
		if is, there := after[uid]; !there || is.restarts != was.restarts+1 {
			t.Errorf("pod %s: %+v became %+v", was.name, was, is)
		}
	}
}

func podOf(pods []corev1.Pod, subset string) *corev1.Pod {
	for _, p := range pods {
		if p.Labels[appsv1alpha1.LabelSubsetName] == subset {
			return &p
		}
	}
	return nil
}
