package nodepodprobe

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
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func node(change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
	for _, c := range change {
		c(n)
	}
	return n
}

func unready(n *corev1.Node) { n.Status.Conditions = nil }
func cloud(n *corev1.Node)   { n.Labels = map[string]string{"type": "virtual-kubelet"} }
func goes(n *corev1.Node) {
	n.DeletionTimestamp, n.Finalizers = new(metav1.NewTime(noon)), []string{"test/x"}
}

func pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name + "-uid"), Labels: map[string]string{"app": "game"}},
		Spec:       corev1.PodSpec{NodeName: "node-1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func ended(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }

func is(t corev1.PodConditionType, status corev1.ConditionStatus, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: t, Status: status, Message: message, LastProbeTime: metav1.NewTime(noon), LastTransitionTime: metav1.NewTime(noon)})
	}
}

func labelled(pairs ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		for i := 0; i < len(pairs); i += 2 {
			metav1.SetMetaDataLabel(&p.ObjectMeta, pairs[i], pairs[i+1])
		}
	}
}

func annotated(k, v string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, k, v) }
}

// marker has a probe idle with a condition and marks for both results, and a probe busy with a mark for success only.
func marker(change ...func(*kruise.PodProbeMarker)) *kruise.PodProbeMarker {
	m := &kruise.PodProbeMarker{ObjectMeta: metav1.ObjectMeta{Name: "game", Namespace: "shop"}, Spec: kruise.PodProbeMarkerSpec{Probes: []kruise.PodContainerProbe{
		{Name: "idle", PodConditionType: "game.io/idle", MarkerPolicy: []kruise.ProbeMarkerPolicy{
			{State: kruise.ProbeSucceeded, Labels: map[string]string{"idle": "yes"}, Annotations: map[string]string{"cost": "-10"}},
			{State: kruise.ProbeFailed, Annotations: map[string]string{"cost": "10"}},
		}},
		{Name: "busy", PodConditionType: "game.io/idle", MarkerPolicy: []kruise.ProbeMarkerPolicy{{State: kruise.ProbeSucceeded, Labels: map[string]string{"busy": "yes"}}}},
	}}}
	for _, c := range change {
		c(m)
	}
	return m
}

func state(name string, s kruise.ProbeState, message string) kruise.ContainerProbeState {
	return kruise.ContainerProbeState{Name: name, State: s, Message: message, LastProbeTime: metav1.NewTime(noon), LastTransitionTime: metav1.NewTime(noon)}
}

func TestMark(t *testing.T) { // PM-11, PM-12
	const idle corev1.PodConditionType = "game.io/idle"
	for name, tc := range map[string]struct {
		pod    *corev1.Pod
		marker *kruise.PodProbeMarker
		states []kruise.ContainerProbeState
		want   *corev1.Pod
	}{
		"success": {pod: pod("a"), states: []kruise.ContainerProbeState{state("game#idle", kruise.ProbeSucceeded, "x")},
			want: pod("a", is(idle, "True", "x"), labelled("idle", "yes"), annotated("cost", "-10"))},
		"failure": {pod: pod("a", is(idle, "True", "x"), labelled("idle", "yes"), annotated("cost", "-10")), states: []kruise.ContainerProbeState{state("game#idle", kruise.ProbeFailed, "y")},
			want: pod("a", is(idle, "False", "y"), annotated("cost", "10"))},
		"unknown is false, and not the last policy": {pod: pod("a", is(idle, "True", "x"), labelled("idle", "yes"), annotated("cost", "10")), states: []kruise.ContainerProbeState{state("game#idle", kruise.ProbeUnknown, "z")},
			want: pod("a", is(idle, "False", "z"), labelled("idle", "yes"), func(p *corev1.Pod) { p.Annotations = map[string]string{} })},
		"nothing new": {pod: pod("a", is(idle, "True", "x"), labelled("idle", "yes"), annotated("cost", "-10")), states: []kruise.ContainerProbeState{state("game#idle", kruise.ProbeSucceeded, "x")}},
		"another time is nothing new": {pod: pod("a", is(idle, "False", "x"), annotated("cost", "10")), states: []kruise.ContainerProbeState{
			{Name: "game#idle", State: kruise.ProbeFailed, Message: "x", LastProbeTime: metav1.NewTime(noon.Add(time.Hour))}}},
		"a failure takes the marks of success away": {pod: pod("a", labelled("busy", "yes")), states: []kruise.ContainerProbeState{state("game#busy", kruise.ProbeFailed, "")},
			want: pod("a", is(idle, "False", ""))},
		"the first of two probes has the condition": {pod: pod("a"), states: []kruise.ContainerProbeState{state("game#busy", kruise.ProbeSucceeded, "b"), state("game#idle", kruise.ProbeFailed, "i")},
			want: pod("a", is(idle, "True", "b"), labelled("busy", "yes"), annotated("cost", "10"))},
		"an empty state":         {pod: pod("a"), states: []kruise.ContainerProbeState{state("game#idle", "", "")}},
		"a probe that is gone":   {pod: pod("a"), states: []kruise.ContainerProbeState{state("game#other", kruise.ProbeFailed, "")}},
		"a marker that is gone":  {pod: pod("a"), states: []kruise.ContainerProbeState{state("other#idle", kruise.ProbeFailed, "")}},
		"a marker that goes":     {pod: pod("a"), marker: marker(func(m *kruise.PodProbeMarker) { m.DeletionTimestamp = new(metav1.NewTime(noon)) }), states: []kruise.ContainerProbeState{state("game#idle", kruise.ProbeFailed, "")}},
		"a name without a probe": {pod: pod("a"), states: []kruise.ContainerProbeState{state("game", kruise.ProbeFailed, "")}},
	} {
		t.Run(name, func(t *testing.T) {
			m := marker()
			if tc.marker != nil {
				m = tc.marker
			}
			got := mark(tc.pod, tc.states, map[types.NamespacedName]*kruise.PodProbeMarker{client.ObjectKeyFromObject(m): m})
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func probes(names ...string) *kruise.NodePodProbe {
	o := &kruise.NodePodProbe{ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "n", ResourceVersion: "7"}}
	for _, name := range names {
		o.Spec.PodProbes = append(o.Spec.PodProbes, kruise.PodProbe{Name: name, Namespace: "shop", UID: name + "-uid", Probes: []kruise.ContainerProbe{{Name: "game#idle", ContainerName: "main"}}})
		o.Status.PodProbeStatuses = append(o.Status.PodProbeStatuses, kruise.PodProbeStatus{Name: name, Namespace: "shop", UID: name + "-uid",
			ProbeStates: []kruise.ContainerProbeState{state("game#idle", kruise.ProbeSucceeded, "x")}})
	}
	return o
}

func TestDecide(t *testing.T) {
	for name, tc := range map[string]struct {
		o       *kruise.NodePodProbe
		node    *corev1.Node
		pods    []*corev1.Pod
		left    int
		remove  bool
		written int
	}{
		"a pod to mark":              {o: probes("a"), node: node(), pods: []*corev1.Pod{pod("a")}, left: 1, written: 1},      // PM-11
		"a pod that is gone":         {o: probes("a", "b"), node: node(), pods: []*corev1.Pod{pod("b")}, left: 1, written: 1}, // PM-10
		"a pod that has ended":       {o: probes("a"), node: node(), pods: []*corev1.Pod{pod("a", ended)}},                    // PM-10
		"a node that is gone":        {o: probes("a"), pods: []*corev1.Pod{pod("a")}, remove: true},                           // PM-9
		"a node that goes":           {o: probes("a"), node: node(goes), pods: []*corev1.Pod{pod("a")}, remove: true},         // PM-9
		"a node that does not serve": {o: probes("a"), node: node(unready), pods: []*corev1.Pod{pod("a")}, left: 1, written: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := seen{node: tc.node, pods: map[string]*corev1.Pod{}, markers: map[types.NamespacedName]*kruise.PodProbeMarker{{Namespace: "shop", Name: "game"}: marker()}}
			for _, p := range tc.pods {
				s.pods[string(p.UID)] = p
			}
			p := (&steps{}).Decide(tc.o, s, noon)
			if len(p.entries) != tc.left || p.prune != (!tc.remove && tc.left < len(tc.o.Spec.PodProbes)) || p.remove != tc.remove || len(p.pods) != tc.written {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestNodesThatAreServed(t *testing.T) { // PM-9
	for name, tc := range map[string]struct {
		node  *corev1.Node
		there bool
		want  birth
	}{
		"ready":           {node(), false, true},
		"it has one":      {node(), true, false},
		"not ready":       {node(unready), false, false},
		"a virtual one":   {node(cloud), false, false},
		"one that leaves": {node(goes), false, false},
	} {
		if got := (&nodes{}).Decide(tc.node, tc.there, noon); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

type world struct {
	client.Client
	writes []string
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
	w.Client = fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithStatusSubresource(&kruise.NodePodProbe{}).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			w.writes = append(w.writes, "spec")
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			w.writes = append(w.writes, "pods/"+sub)
			// The API server lets this endpoint change labels and annotations of pods, the fake does not.
			if err := c.(client.WithWatch).Patch(ctx, o.DeepCopyObject().(client.Object), p); err != nil {
				return err
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	return w
}

func (w *world) reconcile() error {
	l := &loop.Loop[*kruise.NodePodProbe, seen, plan]{Steps: &steps{local: w, fresh: w}, Client: w, New: func() *kruise.NodePodProbe { return &kruise.NodePodProbe{} }}
	_, err := l.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "node-1"}})
	return err
}

func TestResultsReachTheirPodInOneWrite(t *testing.T) { // PM-10, PM-11, PM-12
	o := probes("a", "b")
	w := newWorld(t, o, node(), pod("a", labelled("busy", "yes")), marker())
	if err := w.reconcile(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"pods/status", "spec"}, w.writes); d != "" {
		t.Error(d)
	}
	var p corev1.Pod
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "a"}, &p); err != nil {
		t.Fatal(err)
	}
	if p.Labels["idle"] != "yes" || p.Annotations["cost"] != "-10" || p.Labels["app"] != "game" || len(p.Status.Conditions) != 1 || p.Status.Phase != corev1.PodRunning {
		t.Errorf("%+v %+v", p.ObjectMeta, p.Status)
	}
	w.writes = nil
	if err := w.reconcile(); err != nil || len(w.writes) != 0 {
		t.Errorf("%v, written again: %v", err, w.writes)
	}
}

func TestTheObjectGoesWithItsNode(t *testing.T) { // PM-9
	w := newWorld(t, probes("a"))
	if err := w.reconcile(); err != nil {
		t.Fatal(err)
	}
	if err := w.Get(t.Context(), client.ObjectKey{Name: "node-1"}, &kruise.NodePodProbe{}); !apierrors.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}

func TestAReadThatFailsIsNoMissingNode(t *testing.T) {
	w := newWorld(t, probes("a"), node(), pod("a"))
	w.Client = interceptor.NewClient(w.Client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*corev1.Node); ok {
				return apierrors.NewTimeoutError("slow", 1)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	if err := w.reconcile(); err == nil {
		t.Error("absence was assumed")
	}
}

func TestANodeGetsItsObject(t *testing.T) { // PM-9
	w := newWorld(t, node())
	l := &loop.Loop[*corev1.Node, bool, birth]{Steps: &nodes{w}, Client: w, New: func() *corev1.Node { return &corev1.Node{} }}
	for range 2 {
		if _, err := l.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "node-1"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Get(t.Context(), client.ObjectKey{Name: "node-1"}, &kruise.NodePodProbe{}); err != nil {
		t.Error(err)
	}
}

func TestTriggers(t *testing.T) { // PM-13
	ends := leaves(podEnds)
	if !ends.Update(event.UpdateEvent{ObjectOld: pod("a"), ObjectNew: pod("a", ended)}) || ends.Update(event.UpdateEvent{ObjectOld: pod("a"), ObjectNew: pod("a", labelled("x", "y"))}) ||
		!ends.Delete(event.DeleteEvent{Object: pod("a")}) || ends.Create(event.CreateEvent{Object: pod("a")}) {
		t.Error("of pods, only their end is news")
	}
	ready := turnsReady()
	if !ready.Update(event.UpdateEvent{ObjectOld: node(unready), ObjectNew: node()}) || ready.Update(event.UpdateEvent{ObjectOld: node(), ObjectNew: node()}) || !ready.Create(event.CreateEvent{Object: node()}) {
		t.Error("of nodes, only that they turn ready is news")
	}
	if got := byNode(t.Context(), pod("a")); len(got) != 1 || got[0].Name != "node-1" {
		t.Errorf("%v", got)
	}
	w := newWorld(t, probes("a"), func() client.Object { o := probes(); o.Name = "node-2"; return o }())
	if got := allOf(w)(t.Context(), marker()); len(got) != 1 || got[0].Name != "node-1" {
		t.Errorf("%v", got)
	}
}
