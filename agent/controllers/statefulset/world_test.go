package statefulset

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// standard are the gates as they are by default. // WL-0.3
var standard = Options{AutoDeletePVC: true, PodIndexLabel: true}

// statefulSet is one without a single default, as a user writes it where no webhook runs.
func statefulSet(change ...func(*kruise.StatefulSet)) *kruise.StatefulSet {
	set := &kruise.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "owner", Generation: 1},
		Spec: kruise.StatefulSetSpec{
			Replicas: new(int32(3)), ServiceName: "webs",
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"team": "a"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}},
			},
		},
	}
	for _, c := range change {
		c(set)
	}
	return set
}

func parallel(set *kruise.StatefulSet) {
	set.Spec.PodManagementPolicy = appsv1.ParallelPodManagement
}

func replicas(n int32) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) { set.Spec.Replicas = &n }
}

// rolling changes the rolling update.
func rolling(change func(*kruise.RollingUpdateStatefulSetStrategy)) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) {
		fill(&set.Spec.UpdateStrategy.RollingUpdate, kruise.RollingUpdateStatefulSetStrategy{})
		change(set.Spec.UpdateStrategy.RollingUpdate)
	}
}

func inPlaceIfPossible(set *kruise.StatefulSet) {
	set.Spec.Template.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: pub.InPlaceUpdateReady}}
	rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) {
		r.PodUpdatePolicy = kruise.InPlaceIfPossiblePodUpdateStrategyType
	})(set)
}

func maxUnavailable(v string) func(*kruise.StatefulSet) {
	return rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) { r.MaxUnavailable = new(intstr.Parse(v)) })
}

func partition(n int32) func(*kruise.StatefulSet) {
	return rolling(func(r *kruise.RollingUpdateStatefulSetStrategy) { r.Partition = &n })
}

func withClaims(set *kruise.StatefulSet) {
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{
		ObjectMeta: metav1.ObjectMeta{Name: "data", Labels: map[string]string{"tier": "disk"}, Annotations: map[string]string{"note": "kept"}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}}
}

func retention(deleted, scaled kruise.PersistentVolumeClaimRetentionPolicyType) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) {
		set.Spec.PersistentVolumeClaimRetentionPolicy = &kruise.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: deleted, WhenScaled: scaled}
	}
}

func toImage(image string) func(*kruise.StatefulSet) {
	return func(set *kruise.StatefulSet) { set.Spec.Template.Spec.Containers[0].Image = image }
}

// world is one StatefulSet, an API server in memory and a kubelet.
type world struct {
	*acttest.Stage
	loop   *loop.Loop[*kruise.StatefulSet, seen, *plan]
	broken string // an image that nobody can pull
}

func newWorld(t *testing.T, o Options, objects ...client.Object) *world {
	t.Helper()
	w := &world{acttest.NewStage(t, types.NamespacedName{Namespace: "shop", Name: "web"}, noon, objects...), nil, "web:bad"}
	w.Good = func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image != w.broken }
	w.loop = &loop.Loop[*kruise.StatefulSet, seen, *plan]{
		Steps: newSteps(w.Server, w.Server.Plain, w.Events, w.Clock, o), Client: w.Server, Events: w.Events, Clock: w.Clock,
		New: func() *kruise.StatefulSet { return &kruise.StatefulSet{} },
	}
	w.Loop = w.loop
	return w
}

// running lists ordinals with what they run: "0 web:1".
func (w *world) running() []string {
	w.Helper()
	var all []string
	for _, pod := range w.Pods() {
		all = append(all, strings.TrimPrefix(pod.Name, "web-")+" "+pod.Spec.Containers[0].Image)
	}
	return all
}

func (w *world) pod(name string) *corev1.Pod {
	w.Helper()
	var pod corev1.Pod
	if err := w.Server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: name}, &pod); err != nil {
		w.Fatal(err)
	}
	return &pod
}

func (w *world) claim(name string) *corev1.PersistentVolumeClaim {
	w.Helper()
	var claim corev1.PersistentVolumeClaim
	if err := w.Server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: name}, &claim); err != nil {
		w.Fatal(err)
	}
	return &claim
}

func (w *world) set() *kruise.StatefulSet {
	w.Helper()
	var set kruise.StatefulSet
	if err := w.Server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "web"}, &set); err != nil {
		w.Fatal(err)
	}
	return &set
}

func (w *world) change(changes ...func(*kruise.StatefulSet)) {
	w.Helper()
	set := w.set()
	for _, f := range changes {
		f(set)
	}
	set.Generation++
	w.save(set)
}

func (w *world) save(obj client.Object) {
	w.Helper()
	if err := w.Server.Plain.Update(context.Background(), obj); err != nil {
		w.Fatal(err)
	}
}

func (w *world) conditionIs(kind string, want corev1.ConditionStatus, part string) {
	w.Helper()
	for _, c := range w.set().Status.Conditions {
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

// told is whether an event with the reason came since the last time.
func (w *world) told(reason string) bool {
	w.Helper()
	found := false
	for {
		select {
		case e := <-w.Events.Events:
			found = found || slices.Contains(strings.Fields(e), reason)
		default:
			return found
		}
	}
}
