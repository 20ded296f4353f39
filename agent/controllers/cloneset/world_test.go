package cloneset

import (
	"context"
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

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
	shared "github.com/flotilla-project/flotilla/pkg/revision"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// cloneSet is one without a single default, as a user writes it where no webhook runs.
func cloneSet(change ...func(*kruise.CloneSet)) *kruise.CloneSet {
	cs := &kruise.CloneSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "owner", Generation: 1},
		Spec: kruise.CloneSetSpec{
			Replicas: new(int32(3)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"team": "a"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
			},
		},
	}
	for _, c := range change {
		c(cs)
	}
	return cs
}

func inPlaceIfPossible(cs *kruise.CloneSet) {
	cs.Spec.UpdateStrategy.Type = kruise.InPlaceIfPossibleCloneSetUpdateStrategyType
}

func allAtOnce(cs *kruise.CloneSet) {
	cs.Spec.UpdateStrategy.MaxUnavailable = new(intstr.FromString("100%"))
}

func withClaims(cs *kruise.CloneSet) {
	cs.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data", Labels: map[string]string{"tier": "disk"}}}}
}

// world is one CloneSet, an API server in memory and a kubelet.
type world struct {
	*testing.T
	server *acttest.Server
	clock  *clocktesting.FakePassiveClock
	loop   *loop.Loop[*kruise.CloneSet, seen, *plan]
	events *record.FakeRecorder
}

func newWorld(t *testing.T, o Options, objects ...client.Object) *world {
	t.Helper()
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, server: server, clock: clocktesting.NewFakePassiveClock(noon), events: record.NewFakeRecorder(1000)}
	w.loop = &loop.Loop[*kruise.CloneSet, seen, *plan]{
		Steps: newSteps(server, server.Plain, w.events, w.clock, o), Client: server, Events: w.events, Clock: w.clock,
		New: func() *kruise.CloneSet { return &kruise.CloneSet{} },
	}
	return w
}

// round reconciles once.
func (w *world) round() (reconcile.Result, error) {
	return w.loop.Reconcile(w.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}})
}

// settle reconciles, with the kubelet at work, until nothing is written any more.
func (w *world) settle() []string {
	w.Helper()
	var writes []string
	for range 60 {
		if _, err := w.round(); err != nil {
			w.Fatal(err)
		}
		ran := w.runPods()
		new := w.server.Writes()
		writes = append(writes, new...)
		if len(new) == 0 && !ran {
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
		if acttest.Run(&pod, w.clock.Now()) {
			ran = true
			if err := w.server.Plain.Status().Update(context.Background(), &pod); err != nil {
				w.Fatal(err)
			}
		}
	}
	return ran
}

func (w *world) pods() []corev1.Pod {
	w.Helper()
	var pods corev1.PodList
	if err := w.server.Plain.List(context.Background(), &pods); err != nil {
		w.Fatal(err)
	}
	return pods.Items
}

func (w *world) claims() []string {
	w.Helper()
	var claims corev1.PersistentVolumeClaimList
	if err := w.server.Plain.List(context.Background(), &claims); err != nil {
		w.Fatal(err)
	}
	var names []string
	for _, c := range claims.Items {
		names = append(names, c.Name)
	}
	return names
}

func (w *world) revisions() []appsv1.ControllerRevision {
	w.Helper()
	var revisions appsv1.ControllerRevisionList
	if err := w.server.Plain.List(context.Background(), &revisions); err != nil {
		w.Fatal(err)
	}
	return shared.Sorted(revisions.Items)
}

func (w *world) cloneSet() *kruise.CloneSet {
	w.Helper()
	var cs kruise.CloneSet
	if err := w.server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "web"}, &cs); err != nil {
		w.Fatal(err)
	}
	return &cs
}

func (w *world) change(f func(*kruise.CloneSet)) {
	w.Helper()
	cs := w.cloneSet()
	f(cs)
	cs.Generation++
	if err := w.server.Plain.Update(context.Background(), cs); err != nil {
		w.Fatal(err)
	}
}

func toImage(image string) func(*kruise.CloneSet) {
	return func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.Containers[0].Image = image }
}

func (w *world) conditionIs(kind string, want corev1.ConditionStatus, part string) {
	w.Helper()
	for _, c := range w.cloneSet().Status.Conditions {
		if string(c.Type) == kind {
			if c.Status != want || !strings.Contains(c.Message, part) {
				w.Errorf("%s is %s (%s), want %s with %q", kind, c.Status, c.Message, want, part)
			}
			return
		}
	}
	if want != "" {
		w.Errorf("there is no condition %s", kind)
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
