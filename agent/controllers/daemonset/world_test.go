package daemonset

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/nodefit"
	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
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
	*acttest.Stage
	loop *loop.Loop[*kruise.DaemonSet, seen, *plan]
	good func(*corev1.Pod) bool
}

func newWorld(t *testing.T, nodes int, objects ...client.Object) *world {
	t.Helper()
	for i := range nodes {
		objects = append(objects, node(fmt.Sprintf("n%d", i)))
	}
	w := &world{acttest.NewStage(t, types.NamespacedName{Namespace: "shop", Name: "logs"}, noon, objects...), nil, func(*corev1.Pod) bool { return true }}
	w.Good = func(p *corev1.Pod) bool { return !finished(p) && w.good(p) }
	w.Place = nodefit.Target
	w.restart(Options{})
	return w
}

// restart is another agent, which knows nothing of the last one.
func (w *world) restart(o Options) {
	w.loop = &loop.Loop[*kruise.DaemonSet, seen, *plan]{
		Steps: newSteps(w.Server, w.Server.Plain, w.Events, w.Clock, o), Client: w.Server, Events: w.Events, Clock: w.Clock,
		New: func() *kruise.DaemonSet { return &kruise.DaemonSet{} },
	}
	w.Loop = w.loop
}

// images are what the nodes run, like "n0=logs:1".
func (w *world) images() []string {
	w.Helper()
	var all []string
	for _, p := range w.Pods() {
		all = append(all, nodefit.Target(&p)+"="+p.Spec.Containers[0].Image)
	}
	slices.Sort(all)
	return all
}

func (w *world) on(node string) *corev1.Pod {
	w.Helper()
	for _, p := range w.Pods() {
		if nodefit.Target(&p) == node {
			return &p
		}
	}
	w.Fatalf("no pod on %s", node)
	return nil
}

func (w *world) daemonSet() *kruise.DaemonSet {
	w.Helper()
	var ds kruise.DaemonSet
	w.Must(w.Server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "logs"}, &ds))
	return &ds
}

func (w *world) change(changes ...func(*kruise.DaemonSet)) {
	w.Helper()
	ds := w.daemonSet()
	for _, f := range changes {
		f(ds)
	}
	ds.Generation++
	w.Must(w.Server.Plain.Update(context.Background(), ds))
}
