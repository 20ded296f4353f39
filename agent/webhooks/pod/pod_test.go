package pod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestInject(t *testing.T) { // WL-4.8, PR-1
	owned := func(apiVersion string, controller bool) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: apiVersion, Kind: "Any", Name: "web", Controller: &controller}}
	}
	gates := func(names ...corev1.PodConditionType) (all []corev1.PodReadinessGate) {
		for _, n := range names {
			all = append(all, corev1.PodReadinessGate{ConditionType: n})
		}
		return all
	}
	for name, tc := range map[string]struct {
		owners    []metav1.OwnerReference
		had, want []corev1.PodReadinessGate
		all       bool
	}{
		"a pod of a CloneSet":             {owners: owned("apps.kruise.io/v1alpha1", true), want: gates("KruisePodReady")},
		"the gates it has stay":           {owners: owned("apps.kruise.io/v1beta1", true), had: gates("InPlaceUpdateReady"), want: gates("InPlaceUpdateReady", "KruisePodReady")},
		"it has it already":               {owners: owned("apps.kruise.io/v1alpha1", true), had: gates("KruisePodReady"), want: gates("KruisePodReady")},
		"a pod of a Deployment":           {owners: owned("apps/v1", true)},
		"an owner that does not control":  {owners: owned("apps.kruise.io/v1alpha1", false)},
		"a group with the same beginning": {owners: owned("apps.kruise.io.example.com/v1", true)},
		"nobody's pod":                    {},
		"everybody's pods":                {all: true, want: gates("KruisePodReady")},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: tc.owners}, Spec: corev1.PodSpec{ReadinessGates: tc.had}}
			Inject(pod, tc.all)
			if d := cmp.Diff(tc.want, pod.Spec.ReadinessGates); d != "" {
				t.Error(d)
			}
		})
	}
}
