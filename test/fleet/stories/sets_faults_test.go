package stories

import (
	"context"
	"fmt"
	"strings"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// updated is how many pods of a set were given this image.
func (w *world) updated(name, tag string) (n int) {
	w.Helper()
	for _, p := range w.these(name) {
		if p.Spec.Containers[0].Image == image(tag) {
			n++
		}
	}
	return n
}

// Agent and API server die in the middle of three rollouts. Each goes on where it was: no budget is exceeded, and nothing is
// done twice. // WL-0.7
func (w *world) outlivesItsServers() {
	clones, state, daemons := w.newCloneSet("web", 6), w.newStatefulSet("db", 3), w.newDaemonSet("logs", rolling(kruisev1alpha1.InplaceRollingUpdateType, 1, 0))
	w.settles(clones, state, daemons)
	web, logs, db := w.lives("web"), w.lives("logs"), w.lives("db")
	d := w.keepDiary()
	w.alter(clones, func() { clones.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.alter(state, func() { state.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.alter(daemons, func() { daemons.Spec.Template.Spec.Containers[0].Image = image("v2") })
	under := func(least int) {
		w.Helper()
		w.until("the rollouts are under way", func() string {
			if web, db, logs := w.updated("web", "v2"), w.updated("db", "v2"), w.updated("logs", "v2"); web < least || db < 1 || logs < 1 {
				return fmt.Sprintf("%d, %d and %d pods are updated", web, db, logs)
			}
			return ""
		})
	}
	under(1)
	w.killAgent()
	under(w.updated("web", "v2") + 1) // which the new one wrote
	if n := w.updated("web", "v2"); n == 6 {
		w.Fatal("the rollout was over before the API server died")
	}
	if err := w.home().StopAPIServer(w.Context()); err != nil {
		w.Fatal(err)
	}
	if err := w.home().StartAPIServer(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.settles(clones, state, daemons)
	w.wentOn("web", web, 1)
	w.wentOn("logs", logs, 1)
	if names, _ := d.born("db"); len(names) != 6 { // the three that were there, and each once more
		w.Errorf("pods of the StatefulSet that were seen: %v", names)
	}
	for uid, is := range w.lives("db") {
		if _, old := db[uid]; old || is.restarts != 0 {
			w.Errorf("pod %s: made anew %v, %d restarts", is.name, !old, is.restarts)
		}
	}
	for name, places := range map[string]int{"web": 6, "db": 3, "logs": 3} {
		if wrong := d.overBudget(name, places, 1); wrong != "" {
			w.Error(wrong)
		}
	}
}

// A node falls silent in the middle of a rollout, and later another one's kubelet dies. What is lost counts against the
// budget; nothing is made anew, and what could not be told to a node is told when it is back.
func (w *world) missesItsNodes() {
	const lost, dead = east + "-n3", east + "-n2"
	set := w.newCloneSet("web", 6, func(set *kruisev1alpha1.CloneSet) {
		set.Spec.UpdateStrategy.MaxUnavailable = new(intstr.FromInt32(3))
		set.Spec.Template.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: labelled("web"),
		}}
	})
	w.settles(set)
	before, d := w.lives("web"), w.keepDiary()
	w.alter(set, func() {
		set.Spec.UpdateStrategy.Partition = new(intstr.FromInt32(3))
		set.Spec.Template.Spec.Containers[0].Image = image("v2")
	})
	w.settles(set)

	if err := w.home().PauseNode(w.Context(), lost); err != nil {
		w.Fatal(err)
	}
	w.afterwards(func(ctx context.Context) error { return w.home().ResumeNode(ctx, lost) })
	w.until("the pods of "+lost+" count as not ready", func() string { return w.readyBut(lost) })
	w.alter(set, func() { set.Spec.UpdateStrategy.Partition = new(intstr.FromInt32(0)) })
	w.until("all pods on other nodes are updated and ready", func() string {
		for _, p := range w.these("web") {
			if p.Spec.NodeName != lost && (!isReady(&p) || p.Spec.Containers[0].Image != image("v2")) {
				return w.shown("web")
			}
		}
		return ""
	})
	if wrong := w.readyBut(lost); wrong != "" {
		w.Errorf("the node came back too early, or more than its pods are down\n%s", wrong)
	}
	if err := w.home().ResumeNode(w.Context(), lost); err != nil {
		w.Fatal(err)
	}
	w.settles(set)
	w.wentOn("web", before, 1)

	if err := w.home().StopNode(w.Context(), dead); err != nil {
		w.Fatal(err)
	}
	w.afterwards(func(ctx context.Context) error { return w.home().StartNode(ctx, dead) })
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Image = image("v3") })
	w.until("the rollout waits for "+dead+" alone", func() string {
		for _, p := range w.these("web") {
			if done := isReady(&p) && p.Spec.Containers[0].Image == image("v3"); done == (p.Spec.NodeName == dead) {
				return w.shown("web")
			}
		}
		return ""
	})
	if err := w.home().StartNode(w.Context(), dead); err != nil {
		w.Fatal(err)
	}
	w.settles(set)
	w.wentOn("web", before, 2)
	if wrong := d.overBudget("web", 6, 3); wrong != "" {
		w.Error(wrong)
	}
}

// readyBut says what differs from: the pods on a node are not ready, all others are.
func (w *world) readyBut(node string) string {
	w.Helper()
	for _, p := range w.these("web") {
		if isReady(&p) == (p.Spec.NodeName == node) {
			return w.shown("web")
		}
	}
	return ""
}

// A node that is deleted takes its place in a DaemonSet with it; when it registers again it has its pod, and the other nodes
// never noticed. // WL-3.4, WL-3.10
func (w *world) losesANode() {
	const leaves = east + "-n2"
	set := w.newDaemonSet("logs")
	w.settles(set)
	stayed := w.lives("logs")
	for _, p := range w.these("logs") {
		if p.Spec.NodeName == leaves {
			delete(stayed, p.UID)
		}
	}
	if err := w.home().StopNode(w.Context(), leaves); err != nil {
		w.Fatal(err)
	}
	w.afterwards(func(ctx context.Context) error { return w.home().StartNode(ctx, leaves) })
	if err := w.east.Delete(w.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: leaves}}); err != nil {
		w.Fatal(err)
	}
	w.until("it wants two nodes", func() string {
		if err := w.east.Get(w.Context(), client.ObjectKeyFromObject(set), set); err != nil {
			return err.Error()
		}
		if n := set.Status; n.DesiredNumberScheduled != 2 || n.NumberAvailable != 2 {
			return statusOf(set)
		}
		return ""
	})
	if err := w.home().StartNode(w.Context(), leaves); err != nil {
		w.Fatal(err)
	}
	w.until("it is on all three nodes", func() string {
		if on := strings.Join(w.on("logs"), " "); on != "east-n1 east-n2 east-n3" {
			return w.shown("logs")
		}
		return ""
	})
	w.settles(set)
	is := w.lives("logs")
	for uid, was := range stayed {
		if is[uid] != was {
			w.Errorf("%s had nothing to do with it: %+v became %+v", was.name, was, is[uid])
		}
	}
	var n corev1.Node
	if err := w.east.Get(w.Context(), client.ObjectKey{Name: leaves}, &n); apierrors.IsNotFound(err) {
		w.Errorf("node %s did not register again", leaves)
	}
}
