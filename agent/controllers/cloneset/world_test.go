package cloneset

import (
	"context"
	"strings"
	"testing"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
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
	*acttest.Stage
}

func newWorld(t *testing.T, o Options, objects ...client.Object) *world {
	t.Helper()
	w := &world{acttest.NewStage(t, types.NamespacedName{Namespace: "shop", Name: "web"}, noon, objects...)}
	w.Loop = &loop.Loop[*kruise.CloneSet, seen, *plan]{
		Steps: newSteps(w.Server, w.Server.Plain, w.Events, w.Clock, o), Client: w.Server, Events: w.Events, Clock: w.Clock,
		New: func() *kruise.CloneSet { return &kruise.CloneSet{} },
	}
	return w
}

func (w *world) claims() []string {
	w.Helper()
	var claims corev1.PersistentVolumeClaimList
	if err := w.Server.Plain.List(context.Background(), &claims); err != nil {
		w.Fatal(err)
	}
	var names []string
	for _, c := range claims.Items {
		names = append(names, c.Name)
	}
	return names
}

func (w *world) cloneSet() *kruise.CloneSet {
	w.Helper()
	var cs kruise.CloneSet
	if err := w.Server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "web"}, &cs); err != nil {
		w.Fatal(err)
	}
	return &cs
}

func (w *world) change(f func(*kruise.CloneSet)) {
	w.Helper()
	cs := w.cloneSet()
	f(cs)
	cs.Generation++
	if err := w.Server.Plain.Update(context.Background(), cs); err != nil {
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
