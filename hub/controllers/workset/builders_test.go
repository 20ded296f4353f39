package workset

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"

	"github.com/flotilla-project/flotilla/hub/rollout"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const (
	setLabel       = "work.open-cluster-management.io/manifestworkreplicaset"
	placementLabel = "work.open-cluster-management.io/placementname"
)

func manifest(version string) workv1.ManifestWorkSpec {
	raw := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default"},"data":{"version":%q}}`, version)
	return workv1.ManifestWorkSpec{Workload: workv1.ManifestsTemplate{Manifests: []workv1.Manifest{{RawExtension: runtime.RawExtension{Raw: []byte(raw)}}}}}
}

// web is a set that rolls v1 out to the clusters of placement p, all at once.
func web(change ...func(*set)) *set {
	s := &set{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "web", UID: "set-1", Generation: 1, Labels: map[string]string{"app": "web"},
			Finalizers: []string{workv1alpha1.ManifestWorkReplicaSetFinalizer}},
		Spec: workv1alpha1.ManifestWorkReplicaSetSpec{
			ManifestWorkTemplate: manifest("v1"),
			PlacementRefs:        []workv1alpha1.LocalPlacementReference{{Name: "p", RolloutStrategy: clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.All}}},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func deleted(policy workv1alpha1.CascadeDeletionPolicy) func(*set) {
	return func(s *set) {
		s.DeletionTimestamp, s.Spec.CascadeDeletionPolicy = &metav1.Time{Time: noon}, policy
	}
}

func placedBy(names ...string) func(*set) {
	return func(s *set) {
		s.Spec.PlacementRefs = nil
		for _, name := range names {
			s.Spec.PlacementRefs = append(s.Spec.PlacementRefs, workv1alpha1.LocalPlacementReference{Name: name,
				RolloutStrategy: clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.All}})
		}
	}
}

func progressively(concurrency, maxFailures int32) func(*set) {
	return func(s *set) {
		s.Spec.PlacementRefs[0].RolloutStrategy = clusterv1alpha1.RolloutStrategy{Type: clusterv1alpha1.Progressive,
			Progressive: &clusterv1alpha1.RolloutProgressive{MaxConcurrency: intstr.FromInt32(concurrency),
				RolloutConfig: clusterv1alpha1.RolloutConfig{MaxFailures: intstr.FromInt32(maxFailures)}}}
	}
}

func template2(s *set) { s.Spec.ManifestWorkTemplate = manifest("v2") }

// workOf is the work of a set for a cluster, selected by placement p, with v1 in it.
func workOf(cluster string, change ...func(*workv1.ManifestWork)) *workv1.ManifestWork {
	w := &workv1.ManifestWork{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: "web-x1", UID: types.UID("work-" + cluster), ResourceVersion: "7", Generation: 1,
			CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour)),
			Labels:            map[string]string{"app": "web", setLabel: "team.web", placementLabel: "p"}},
		Spec: manifest("v1"),
	}
	for _, c := range change {
		c(w)
	}
	return w
}

func of(placement string) func(*workv1.ManifestWork) {
	return func(w *workv1.ManifestWork) { w.Labels[placementLabel] = placement }
}

func called(name string) func(*workv1.ManifestWork) {
	return func(w *workv1.ManifestWork) {
		w.Name, w.UID = name, types.UID(name)
		w.CreationTimestamp = metav1.NewTime(noon)
	}
}

func leaving(w *workv1.ManifestWork) {
	w.DeletionTimestamp, w.Finalizers = &metav1.Time{Time: noon}, []string{workv1.ManifestWorkFinalizer}
}

// says puts True conditions of the present generation on a work; a "!" before the type is False.
func says(kinds ...string) func(*workv1.ManifestWork) {
	return func(w *workv1.ManifestWork) {
		for _, kind := range kinds {
			status := metav1.ConditionTrue
			if kind[0] == '!' {
				kind, status = kind[1:], metav1.ConditionFalse
			}
			w.Status.Conditions = append(w.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: "Test",
				ObservedGeneration: w.Generation, LastTransitionTime: metav1.NewTime(noon.Add(-time.Minute))})
		}
	}
}

// selecting is a decided placement.
func selecting(clusters ...string) placement {
	p := placement{selected: map[string]rollout.Group{}, decisions: 1}
	for _, c := range clusters {
		p.selected[c] = rollout.Group{}
	}
	return p
}

func seeing(p map[string]placement, works ...*workv1.ManifestWork) facts {
	return facts{placements: p, works: works}
}

func only(clusters ...string) map[string]placement {
	return map[string]placement{"p": selecting(clusters...)}
}

func placementObject(name string, selected int32) *clusterv1beta1.Placement {
	return &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name},
		Status: clusterv1beta1.PlacementStatus{NumberOfSelectedClusters: selected}}
}

func decisionObject(placement string, n int, clusters ...string) *clusterv1beta1.PlacementDecision {
	d := &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: fmt.Sprintf("%s-decision-%d", placement, n),
		Labels: map[string]string{clusterv1beta1.PlacementLabel: placement, clusterv1beta1.DecisionGroupIndexLabel: fmt.Sprint(n - 1), clusterv1beta1.DecisionGroupNameLabel: ""}}}
	for _, c := range clusters {
		d.Status.Decisions = append(d.Status.Decisions, clusterv1beta1.ClusterDecision{ClusterName: c})
	}
	return d
}

func clusterObject(name string, available metav1.ConditionStatus) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if available != "" {
		c.Status.Conditions = []metav1.Condition{{Type: clusterv1.ManagedClusterConditionAvailable, Status: available, Reason: "Test"}}
	}
	return c
}
