package podprobemarker

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func marker(change ...func(*kruise.PodProbeMarker)) *kruise.PodProbeMarker {
	m := &kruise.PodProbeMarker{
		ObjectMeta: metav1.ObjectMeta{Name: "game", Namespace: "shop", UID: "m", Generation: 3},
		Spec: kruise.PodProbeMarkerSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "game"}},
			Probes:   []kruise.PodContainerProbe{exec("idle")},
		},
	}
	for _, c := range change {
		c(m)
	}
	return m
}

func exec(name string) kruise.PodContainerProbe {
	return kruise.PodContainerProbe{Name: name, ContainerName: "main", Probe: command(name)}
}

func command(name string) kruise.ContainerProbeSpec {
	return kruise.ContainerProbeSpec{Probe: corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{name}}}}}
}

func goes(m *kruise.PodProbeMarker) {
	m.DeletionTimestamp, m.Finalizers = new(metav1.NewTime(noon)), []string{finalizer}
}

func pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name + "-uid"), Labels: map[string]string{"app": "game"}},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{
			{Name: "main", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}}, {Name: "other", Ports: []corev1.ContainerPort{{Name: "admin", ContainerPort: 9090}}},
		}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func on(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }
func young(p *corev1.Pod)              { p.Status.Conditions = nil }
func foreign(p *corev1.Pod)            { p.Labels = nil }
func ended(p *corev1.Pod)              { p.Status.Phase = corev1.PodFailed }

func node(name string, labels ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for _, l := range labels {
		n.Labels["type"] = l
	}
	return n
}

func probes(node string, entries ...kruise.PodProbe) *kruise.NodePodProbe {
	return &kruise.NodePodProbe{ObjectMeta: metav1.ObjectMeta{Name: node, ResourceVersion: "1"}, Spec: kruise.NodePodProbeSpec{PodProbes: entries}}
}

func entry(pod, ip string, names ...string) kruise.PodProbe {
	e := kruise.PodProbe{Name: pod, Namespace: "shop", UID: pod + "-uid", IP: ip}
	for _, name := range names {
		e.Probes = append(e.Probes, kruise.ContainerProbe{Name: name, ContainerName: "main", Probe: command(name[len("game#"):])})
	}
	return e
}

func TestDecide(t *testing.T) {
	for name, tc := range map[string]struct {
		m       *kruise.PodProbeMarker
		pods    []*corev1.Pod
		nodes   map[string]bool
		has     []kruise.PodProbe
		want    []kruise.PodProbe // nil is no change
		matched int64
	}{
		// PM-4
		"a pod":                  {m: marker(), pods: []*corev1.Pod{pod("a")}, want: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle")}, matched: 1},
		"nothing new":            {m: marker(), pods: []*corev1.Pod{pod("a")}, has: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle")}, matched: 1},
		"others":                 {m: marker(), pods: []*corev1.Pod{pod("a", foreign), pod("b", ended), pod("c", young), pod("d", on(""))}},
		"a node that is gone":    {m: marker(), pods: []*corev1.Pod{pod("a", on("node-9"))}},
		"a virtual node":         {m: marker(), pods: []*corev1.Pod{pod("a", on("cloud"))}, matched: 1},
		"a node without daemons": {m: marker(), pods: []*corev1.Pod{pod("a", on("node-2"))}, nodes: map[string]bool{"node-2": false}, matched: 1},
		// PM-6
		"a new probe": {m: marker(func(m *kruise.PodProbeMarker) { m.Spec.Probes = append(m.Spec.Probes, exec("busy")) }), pods: []*corev1.Pod{pod("a")},
			has: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle")}, want: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle", "game#busy")}, matched: 1},
		"a probe that was dropped": {m: marker(func(m *kruise.PodProbeMarker) { m.Spec.Probes = []kruise.PodContainerProbe{exec("busy")} }), pods: []*corev1.Pod{pod("a")},
			has: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle")}, want: []kruise.PodProbe{entry("a", "10.0.0.1", "game#busy")}, matched: 1},
		"an address is filled in": {m: marker(), pods: []*corev1.Pod{pod("a")}, has: []kruise.PodProbe{entry("a", "", "game#idle")},
			want: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle")}, matched: 1},
		"and never corrected": {m: marker(), pods: []*corev1.Pod{pod("a")}, has: []kruise.PodProbe{entry("a", "10.0.0.9", "game#idle")}, matched: 1},
		"those of others stay": {m: marker(), pods: []*corev1.Pod{pod("a")}, has: []kruise.PodProbe{entry("a", "10.0.0.1", "idle#game#x"), entry("z", "10.0.0.3", "mygame#idle")},
			want: []kruise.PodProbe{entry("a", "10.0.0.1", "idle#game#x", "game#idle"), entry("z", "10.0.0.3", "mygame#idle")}, matched: 1},
		"another pod of the name": {m: marker(), pods: []*corev1.Pod{pod("a")}, has: []kruise.PodProbe{{Name: "a", Namespace: "shop", UID: "old", Probes: entry("a", "", "game#idle").Probes}},
			want: []kruise.PodProbe{{Name: "a", Namespace: "shop", UID: "old", Probes: entry("a", "", "game#idle").Probes}, entry("a", "10.0.0.1", "game#idle")}, matched: 1},
		"a pod that lost its label": {m: marker(), pods: []*corev1.Pod{pod("a", foreign)}, has: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle")}, want: []kruise.PodProbe{}},
		"one that starts again":     {m: marker(), pods: []*corev1.Pod{pod("a", young)}, has: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle")}},
		// PM-5, PM-8
		"the marker goes": {m: marker(goes), has: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle", "mygame#idle"), entry("b", "10.0.0.2", "game#idle")},
			want: []kruise.PodProbe{entry("a", "10.0.0.1", "mygame#idle")}},
		"one of that name goes elsewhere": {m: marker(goes, func(m *kruise.PodProbeMarker) { m.Namespace = "other" }), has: []kruise.PodProbe{entry("a", "10.0.0.1", "game#idle")}},
	} {
		t.Run(name, func(t *testing.T) {
			s := seen{nodes: map[string]bool{"node-1": false, "cloud": true}, probes: []kruise.NodePodProbe{*probes("node-1", tc.has...)}}
			if tc.nodes != nil {
				s.nodes = tc.nodes
			}
			for _, p := range tc.pods {
				s.pods = append(s.pods, *p)
			}
			p := (&steps{}).Decide(tc.m, s, noon)
			if p.matched != tc.matched {
				t.Errorf("%d pods match", p.matched)
			}
			if tc.want == nil {
				if len(p.changes) != 0 {
					t.Errorf("%+v", p.changes[0].of(tc.has))
				}
				return
			}
			if len(p.changes) != 1 {
				t.Fatalf("%d changes", len(p.changes))
			}
			if d := cmp.Diff(tc.want, append([]kruise.PodProbe{}, p.changes[0].of(tc.has)...)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPortsAreResolved(t *testing.T) { // PM-7
	for name, tc := range map[string]struct {
		port  intstr.IntOrString
		want  int
		found bool
	}{
		"a number":                  {intstr.FromInt32(80), 80, true},
		"a name":                    {intstr.FromString("web"), 8080, true},
		"a number in letters":       {intstr.FromString("81"), 81, true},
		"a name of another":         {intstr.FromString("admin"), 0, false},
		"a name that nobody has":    {intstr.FromString("none"), 0, false},
		"a number that is too long": {intstr.FromString("99999999999"), 0, false},
	} {
		p := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: tc.port}}}
		if found := resolve(p, pod("a"), "main"); found != tc.found || found && p.TCPSocket.Port.IntValue() != tc.want {
			t.Errorf("%s: %v %v", name, found, p.TCPSocket.Port)
		}
	}
	m := marker(func(m *kruise.PodProbeMarker) {
		m.Spec.Probes = append(m.Spec.Probes, kruise.PodContainerProbe{Name: "web", ContainerName: "main", Probe: kruise.ContainerProbeSpec{
			Probe: corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("none")}}}}})
	})
	if got := probesOf(m, pod("a")); len(got.Probes) != 1 || got.Probes[0].Name != "game#idle" {
		t.Errorf("%+v", got.Probes)
	}
}

type world struct {
	client.Client
	writes int
	// rival writes just before us.
	rival func()
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	s := runtime.NewScheme()
	if err := kruise.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	if err := corev1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	w := &world{}
	w.Client = fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithStatusSubresource(&kruise.PodProbeMarker{}).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			w.writes++
			if rival := w.rival; rival != nil {
				w.rival = nil
				rival()
			}
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			w.writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	return w
}

func (w *world) must(t *testing.T) {
	t.Helper()
	l := &loop.Loop[*kruise.PodProbeMarker, seen, plan]{Steps: &steps{local: w, fresh: w}, Client: w, New: func() *kruise.PodProbeMarker { return &kruise.PodProbeMarker{} }}
	if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "game"}}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) names(t *testing.T) (all []string) {
	t.Helper()
	var n kruise.NodePodProbe
	if err := w.Get(t.Context(), client.ObjectKey{Name: "node-1"}, &n); err != nil {
		t.Fatal(err)
	}
	for _, e := range n.Spec.PodProbes {
		for _, p := range e.Probes {
			all = append(all, e.Name+" "+p.Name)
		}
	}
	return all
}

func TestAMarkerComesAndGoes(t *testing.T) { // PM-4, PM-5, PM-6
	w := newWorld(t, marker(), pod("a"), pod("b"), node("node-1"), probes("node-1"))
	for range 3 {
		w.must(t)
	}
	var m kruise.PodProbeMarker
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "game"}, &m); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(kruise.PodProbeMarkerStatus{ObservedGeneration: 3, MatchedPods: 2}, m.Status); d != "" || len(m.Finalizers) != 1 || w.writes != 3 {
		t.Error(d, m.Finalizers, w.writes)
	}
	if d := cmp.Diff([]string{"a game#idle", "b game#idle"}, w.names(t)); d != "" {
		t.Error(d)
	}
	if err := w.Delete(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	w.must(t)
	if got := w.names(t); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(&m), &m); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestMarkersShareADaemon(t *testing.T) { // PM-6
	w := newWorld(t, marker(), pod("a"), node("node-1"), probes("node-1"))
	w.must(t) // with the finalizer there, the first patch of the next round is that of the daemon
	w = newWorld(t, marker(func(m *kruise.PodProbeMarker) { m.Finalizers = []string{finalizer} }), pod("a"), node("node-1"), probes("node-1"))
	w.rival = func() {
		var n kruise.NodePodProbe
		if err := w.Get(t.Context(), client.ObjectKey{Name: "node-1"}, &n); err != nil {
			t.Fatal(err)
		}
		n.Spec.PodProbes = []kruise.PodProbe{entry("a", "10.0.0.1", "rival#idle")}
		if err := w.Update(t.Context(), &n); err != nil {
			t.Fatal(err)
		}
	}
	w.must(t)
	if d := cmp.Diff([]string{"a rival#idle", "a game#idle"}, w.names(t)); d != "" {
		t.Error(d)
	}
}

func TestWhatOfAPodIsNews(t *testing.T) { // PM-13
	moved := func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.2" }
	for name, tc := range map[string]struct {
		old, pod *corev1.Pod
		want     bool
	}{
		"nothing":                {pod("a"), pod("a"), false},
		"it is initialised":      {pod("a", young), pod("a"), true},
		"its address":            {pod("a"), pod("a", moved), true},
		"the address of one not": {pod("a", young), pod("a", young, moved), false},
		"its end":                {pod("a"), pod("a", ended), false},
	} {
		if got := news().Update(event.UpdateEvent{ObjectOld: tc.old, ObjectNew: tc.pod}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if news().Create(event.CreateEvent{Object: pod("a")}) || news().Delete(event.DeleteEvent{Object: pod("a")}) {
		t.Error("a pod that comes or goes is no news")
	}
	w := newWorld(t, marker(), marker(func(m *kruise.PodProbeMarker) { m.Name, m.Spec.Selector.MatchLabels["app"] = "other", "other" }))
	if got := markersOf(w)(t.Context(), pod("a")); len(got) != 1 || got[0].Name != "game" {
		t.Errorf("%v", got)
	}
	if got := allMarkers(w)(t.Context(), probes("node-1")); len(got) != 2 {
		t.Errorf("%v", got)
	}
}
