package uniteddeployment

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func united(edits ...func(*kruisev1alpha1.UnitedDeploymentSpec)) *kruisev1alpha1.UnitedDeployment {
	ud := &kruisev1alpha1.UnitedDeployment{}
	for _, e := range edits {
		e(&ud.Spec)
	}
	return ud
}

func subsets(all ...kruisev1alpha1.Subset) func(*kruisev1alpha1.UnitedDeploymentSpec) {
	return func(s *kruisev1alpha1.UnitedDeploymentSpec) { s.Topology.Subsets = all }
}

func ten(s *kruisev1alpha1.UnitedDeploymentSpec) { s.RevisionHistoryLimit = new(int32(10)) }

func manual(s *kruisev1alpha1.UnitedDeploymentSpec) {
	s.UpdateStrategy.Type, s.UpdateStrategy.ManualUpdate = "Manual", &kruisev1alpha1.ManualUpdate{}
}

// WL-5.2
func TestDefault(t *testing.T) {
	number := new(intstr.FromInt32(3))
	none := new(intstr.FromInt32(0))
	for name, tc := range map[string]struct {
		ud, want *kruisev1alpha1.UnitedDeployment
	}{
		"nothing is said": {united(), united(ten, manual)},
		"everything is": {
			united(func(s *kruisev1alpha1.UnitedDeploymentSpec) {
				s.Replicas, s.RevisionHistoryLimit = new(int32(4)), new(int32(3))
				s.UpdateStrategy.Type, s.UpdateStrategy.ManualUpdate = "Manual", &kruisev1alpha1.ManualUpdate{Partitions: map[string]int32{"a": 1}}
			}),
			united(func(s *kruisev1alpha1.UnitedDeploymentSpec) {
				s.Replicas, s.RevisionHistoryLimit = new(int32(4)), new(int32(3))
				s.UpdateStrategy.Type, s.UpdateStrategy.ManualUpdate = "Manual", &kruisev1alpha1.ManualUpdate{Partitions: map[string]int32{"a": 1}}
			}),
		},
		"a maximum gives all a minimum": {
			united(subsets(kruisev1alpha1.Subset{Name: "a", MaxReplicas: number}, kruisev1alpha1.Subset{Name: "b"})),
			united(ten, manual, subsets(kruisev1alpha1.Subset{Name: "a", MinReplicas: none, MaxReplicas: number}, kruisev1alpha1.Subset{Name: "b", MinReplicas: none})),
		},
		"a minimum gives the others one": {
			united(subsets(kruisev1alpha1.Subset{Name: "a", MinReplicas: number}, kruisev1alpha1.Subset{Name: "b"})),
			united(ten, manual, subsets(kruisev1alpha1.Subset{Name: "a", MinReplicas: number}, kruisev1alpha1.Subset{Name: "b", MinReplicas: none})),
		},
		"numbers give none": {
			united(subsets(kruisev1alpha1.Subset{Name: "a", Replicas: number}, kruisev1alpha1.Subset{Name: "b", MaxReplicas: number})),
			united(ten, manual, subsets(kruisev1alpha1.Subset{Name: "a", Replicas: number}, kruisev1alpha1.Subset{Name: "b", MaxReplicas: number})),
		},
		"nor do shares of the rest": {
			united(subsets(kruisev1alpha1.Subset{Name: "a"})), united(ten, manual, subsets(kruisev1alpha1.Subset{Name: "a"})),
		},
	} {
		t.Run(name, func(t *testing.T) {
			Default(tc.ud)
			if d := cmp.Diff(tc.want, tc.ud); d != "" {
				t.Error(d)
			}
		})
	}
}
