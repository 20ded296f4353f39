package federateddeployment

import (
	"fmt"
	"testing"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

var noon = time.Date(2026, 11, 23, 12, 3, 4, 0, time.UTC)

type edit = func(*v1alpha1.FederatedDeployment)

// web has 10 replicas: 2 in zone a and 3 in zone b of east, and half of them in zone c of west.
func web(edits ...edit) *v1alpha1.FederatedDeployment {
	labels := map[string]string{"app": "web"}
	obj := &v1alpha1.FederatedDeployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "web-uid", Generation: 1},
		Spec: v1alpha1.FederatedDeploymentSpec{
			Replicas: new(int32(10)),
			Selector: metav1.LabelSelector{MatchLabels: labels},
			Template: v1alpha1.SubsetTemplate{CloneSetTemplate: &kruisev1alpha1.CloneSetTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: kruisev1alpha1.CloneSetSpec{Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:v1"}}},
				}},
			}},
			Topology: v1alpha1.Topology{Subsets: []v1alpha1.Subset{inZone("a"), inZone("b"), inZone("c")}},
		},
	}
	obj.Spec.Topology.Subsets[2].Replicas = new(intstr.FromString("50%"))
	for _, e := range edits {
		e(obj)
	}
	return obj
}

func inZone(zone string) v1alpha1.Subset {
	return v1alpha1.Subset{Name: zone, NodeSelectorTerm: &corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
		{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{zone}},
	}}}
}

func image(image string) edit {
	return func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Template.CloneSetTemplate.Spec.Template.Spec.Containers[0].Image = image
	}
}

func replicas(n int32) edit {
	return func(o *v1alpha1.FederatedDeployment) { o.Spec.Replicas = &n }
}

func subset(i int, change func(*v1alpha1.Subset)) edit {
	return func(o *v1alpha1.FederatedDeployment) { change(&o.Spec.Topology.Subsets[i]) }
}

func without(i int) edit {
	return func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Topology.Subsets = append(o.Spec.Topology.Subsets[:i:i], o.Spec.Topology.Subsets[i+1:]...)
	}
}

func onCluster(i int, name string) edit {
	return subset(i, func(s *v1alpha1.Subset) { s.Cluster = name })
}

func partitioned(subset string, n int32) edit {
	return func(o *v1alpha1.FederatedDeployment) {
		o.Spec.UpdateStrategy = v1alpha1.UpdateStrategy{Type: v1alpha1.UpdateManual, ManualUpdate: &v1alpha1.ManualUpdate{Partitions: map[string]int32{subset: n}}}
	}
}

func deleting(o *v1alpha1.FederatedDeployment) {
	o.DeletionTimestamp = new(metav1.NewTime(noon))
	o.Finalizers = []string{v1alpha1.FinalizerWorks}
}

// asWritten is the template as a user would have written it.
func asWritten(obj *v1alpha1.FederatedDeployment) map[string]any {
	template, _ := runtime.DefaultUnstructuredConverter.ToUnstructured(&obj.Spec.Template) // a typed object always converts
	return template
}

// fleet is east with zones a and b, and west with zone c, all well.
func fleet() map[string]cluster {
	return map[string]cluster{
		"east": {name: "east", accepted: true, heard: true, zones: []string{"a", "b"}, regions: []string{"eu"}, labels: map[string]string{"env": "prod"}},
		"west": {name: "west", accepted: true, heard: true, zones: []string{"c"}, regions: []string{"us"}, labels: map[string]string{"env": "prod", "side": "west"}},
	}
}

// blank is what is seen of an object of which nothing has been made yet.
func blank(obj *v1alpha1.FederatedDeployment) facts {
	return facts{template: asWritten(obj), clusters: fleet()}
}

// after carries a plan out, in memory and completely.
func after(t testing.TB, obj *v1alpha1.FederatedDeployment, seen facts) facts {
	t.Helper()
	plan := decide(obj, seen)
	if len(plan.problems) > 0 {
		t.Fatalf("cannot start from %v", plan.problems)
	}
	var works []work
	for _, w := range seen.works {
		gone := false
		for _, r := range plan.remove {
			gone = gone || r.work.live == w.live
		}
		for _, c := range plan.works {
			gone = gone || c.live == w.live
		}
		if !gone {
			works = append(works, w)
		}
	}
	for i, c := range plan.works {
		live := c.want.DeepCopy()
		live.UID, live.ResourceVersion, live.Generation = types.UID(fmt.Sprint("work-", live.Name)), "1", 1
		live.CreationTimestamp = metav1.NewTime(noon.Add(time.Duration(i) * time.Second))
		if c.live != nil {
			live.Generation = c.live.Generation + 1
			live.Status = c.live.Status
		}
		works = append(works, worked(live))
	}
	seen.works = works
	if !knows(seen, plan.update.Name) {
		seen.revisions = append(seen.revisions, *plan.update.DeepCopy())
	}
	return seen
}

func knows(seen facts, revision string) bool {
	for _, r := range seen.revisions {
		if r.Name == revision {
			return true
		}
	}
	return false
}

func worked(live *workv1.ManifestWork) work {
	c := read(live)
	return work{live: live, carried: c, feedback: hear(live, c)}
}

// now is what is seen after the spec became another.
func now(obj *v1alpha1.FederatedDeployment, seen facts) facts {
	seen.template = asWritten(obj)
	return seen
}

func decide(obj *v1alpha1.FederatedDeployment, seen facts) Plan {
	return (&steps{}).Decide(obj, seen, noon)
}

// reported answers for one subset's cluster: all replicas there and ready, or what the values say instead.
func reported(seen facts, subset string, values map[string]any) facts {
	seen.works = append([]work{}, seen.works...)
	for i, w := range seen.works {
		if w.subset() != subset {
			continue
		}
		live := w.live.DeepCopy()
		n := int64(w.replicas)
		all := map[string]any{
			valueContent: w.content, valueGeneration: int64(1), valueObserved: int64(1), valueReplicas: n, valueReady: n,
			valueAvailable: n, valueUpdated: n, valueUpdatedReady: n,
		}
		for k, v := range values {
			all[k] = v
		}
		status(live, all)
		seen.works[i] = worked(live)
	}
	return seen
}

// status writes what an agent would.
func status(live *workv1.ManifestWork, values map[string]any) {
	var list []workv1.FeedbackValue
	for name, value := range values {
		v := workv1.FeedbackValue{Name: name}
		switch value := value.(type) {
		case int64:
			v.Value = workv1.FieldValue{Type: workv1.Integer, Integer: &value}
		case int:
			v.Value = workv1.FieldValue{Type: workv1.Integer, Integer: new(int64(value))}
		case string:
			v.Value = workv1.FieldValue{Type: workv1.String, String: &value}
		}
		list = append(list, v)
	}
	c := read(live)
	meta.SetStatusCondition(&live.Status.Conditions, metav1.Condition{
		Type: workv1.WorkApplied, Status: metav1.ConditionTrue, Reason: "AppliedManifestWorkComplete", ObservedGeneration: live.Generation,
	})
	live.Status.ResourceStatus.Manifests = []workv1.ManifestCondition{
		{ResourceMeta: workv1.ManifestResourceMeta{Ordinal: 0, Kind: "Namespace", Name: live.Labels[v1alpha1.LabelFederatedDeploymentNamespace]}, Conditions: []metav1.Condition{}},
		{ResourceMeta: workv1.ManifestResourceMeta{Ordinal: 1, Group: c.group, Kind: c.kind, Name: c.name}, Conditions: []metav1.Condition{},
			StatusFeedbacks: workv1.StatusFeedbackResult{Values: list}},
	}
}

// running is everything made, reported and ready.
func running(t *testing.T, obj *v1alpha1.FederatedDeployment) facts {
	t.Helper()
	seen := after(t, obj, blank(obj))
	for _, s := range obj.Spec.Topology.Subsets {
		seen = reported(seen, s.Name, nil)
	}
	return seen
}

func with1(seen facts, name string, change func(*cluster)) facts {
	clusters := map[string]cluster{}
	for k, v := range seen.clusters {
		clusters[k] = v
	}
	c := clusters[name]
	c.name = name
	change(&c)
	clusters[name] = c
	seen.clusters = clusters
	return seen
}

func silent(c *cluster) { c.heard, c.since = false, noon }
