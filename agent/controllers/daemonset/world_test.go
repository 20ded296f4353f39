package daemonset

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/nodefit"
	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
	shared "github.com/flotilla-project/flotilla/pkg/revision"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// daemonSet is one without a single default, as a user writes it where no webhook runs.
func daemonSet(change ...func(*kruise.DaemonSet)) *kruise.DaemonSet {
	ds := &kruise.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "logs", Namespace: "shop", UID: "owner", Generation: 1},
		Spec: kruise.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "logs"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "logs"}, Annotations: map[string]string{"team": "a"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "logs:1"}}},
			},
		},
	}
	for _, c := range change {
		c(ds)
	}
	return ds
}

func rollingUpdate(change func(*kruise.RollingUpdateDaemonSet)) func(*kruise.DaemonSet) {
	return func(ds *kruise.DaemonSet) {
		if ds.Spec.UpdateStrategy.RollingUpdate == nil {
			ds.Spec.UpdateStrategy.RollingUpdate = &kruise.RollingUpdateDaemonSet{}
		}
		change(ds.Spec.UpdateStrategy.RollingUpdate)
	}
}

var inPlaceIfPossible = rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.Type = kruise.InplaceRollingUpdateType })

func maxUnavailable(v string) func(*kruise.DaemonSet) {
	return rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.MaxUnavailable = new(intstr.Parse(v)) })
}

func maxSurge(v string) func(*kruise.DaemonSet) {
	return rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) {
		r.MaxUnavailable, r.MaxSurge = new(intstr.FromInt32(0)), new(intstr.Parse(v))
	})
}

func partition(n int32) func(*kruise.DaemonSet) {
	return rollingUpdate(func(r *kruise.RollingUpdateDaemonSet) { r.Partition = &n })
}

func toImage(image string) func(*kruise.DaemonSet) {
	return func(ds *kruise.DaemonSet) { ds.Spec.Template.Spec.Containers[0].Image = image }
}

func annotated(key, value string) func(*kruise.DaemonSet) {
	return func(ds *kruise.DaemonSet) { metav1.SetMetaDataAnnotation(&ds.ObjectMeta, key, value) }
}

// node is n0, n1 and so on.
func node(name string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}}}
	for _, c := range change {
		c(n)
	}
	return n
}

func taint(key string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effect})
	}
}

func label(key, value string) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Labels[key] = value }
}

// world is one DaemonSet, an API server in memory, a scheduler and a kubelet.
type world struct {
	*testing.T
	server *acttest.Server
	clock  *clocktesting.FakePassiveClock
	loop   *loop.Loop[*kruise.DaemonSet, seen, *plan]
	events *record.FakeRecorder
	good   func(*corev1.Pod) bool
}

func newWorld(t *testing.T, nodes int, objects ...client.Object) *world {
	t.Helper()
	for i := range nodes {
		objects = append(objects, node(fmt.Sprintf("n%d", i)))
	}
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, server: server, clock: clocktesting.NewFakePassiveClock(noon), events: record.NewFakeRecorder(1000)}
	w.good = func(*corev1.Pod) bool { return true }
	w.restart(Options{})
	return w
}

// restart is another agent, which knows nothing of the last one.
func (w *world) restart(o Options) {
	w.loop = &loop.Loop[*kruise.DaemonSet, seen, *plan]{
		Steps: newSteps(w.server, w.server.Plain, w.events, w.clock, o), Client: w.server, Events: w.events, Clock: w.clock,
		New: func() *kruise.DaemonSet { return &kruise.DaemonSet{} },
	}
}

// round reconciles once.
func (w *world) round() (reconcile.Result, error) {
	return w.loop.Reconcile(w.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "logs"}})
}

// settle reconciles, with the cluster at work, until nothing is written any more.
func (w *world) settle() []string {
	w.Helper()
	var writes []string
	for range 60 {
		if _, err := w.round(); err != nil {
			w.Fatal(err)
		}
		ran := w.runPods()
		now := w.server.Writes()
		writes = append(writes, now...)
		if len(now) == 0 && !ran {
			return writes
		}
	}
	w.Fatalf("still writing after 60 rounds: %v", writes[len(writes)-5:])
	return nil
}

func (w *world) runPods() bool {
	w.Helper()
	ran := false
	for _, pod := range w.pods() {
		if pod.Spec.NodeName == "" {
			pod.Spec.NodeName = nodefit.Target(&pod)
			ran = true
			w.write(w.server.Plain.Update(context.Background(), &pod))
		}
		if !finished(&pod) && w.good(&pod) && acttest.Run(&pod, w.clock.Now()) {
			ran = true
			w.write(w.server.Plain.Status().Update(context.Background(), &pod))
		}
	}
	return ran
}

func (w *world) write(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) pods() []corev1.Pod {
	w.Helper()
	var pods corev1.PodList
	w.write(w.server.Plain.List(context.Background(), &pods))
	return pods.Items
}

// images are what the nodes run, like "n0=logs:1".
func (w *world) images() []string {
	w.Helper()
	var all []string
	for _, p := range w.pods() {
		all = append(all, nodefit.Target(&p)+"="+p.Spec.Containers[0].Image)
	}
	slices.Sort(all)
	return all
}

func (w *world) on(node string) *corev1.Pod {
	w.Helper()
	for _, p := range w.pods() {
		if nodefit.Target(&p) == node {
			return &p
		}
	}
	w.Fatalf("no pod on %s", node)
	return nil
}

func (w *world) revisions() []appsv1.ControllerRevision {
	w.Helper()
	var revisions appsv1.ControllerRevisionList
	w.write(w.server.Plain.List(context.Background(), &revisions))
	return shared.Sorted(revisions.Items)
}

func (w *world) daemonSet() *kruise.DaemonSet {
	w.Helper()
	var ds kruise.DaemonSet
	w.write(w.server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "logs"}, &ds))
	return &ds
}

func (w *world) change(changes ...func(*kruise.DaemonSet)) {
	w.Helper()
	ds := w.daemonSet()
	for _, f := range changes {
		f(ds)
	}
	ds.Generation++
	w.write(w.server.Plain.Update(context.Background(), ds))
}

// heard are the reasons of the events so far, which it forgets.
func (w *world) heard() []string {
	var all []string
	for {
		select {
		case e := <-w.events.Events:
			all = append(all, strings.Fields(e)[1])
		default:
			slices.Sort(all)
			return slices.Compact(all)
		}
	}
}

func count(writes []string, prefix string) int {
	n := 0
	for _, w := range writes {
		if strings.HasPrefix(w, prefix) {
			n++
		}
	}
	return n
}
