package integration

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
	"github.com/flotilla-project/flotilla/hub/controllers/uniteddeployment"
)

// schedulable is what the status of either kind says of a subset's pods.
func (f federation) schedulable(of *unstructured.Unstructured, list, subset string) func() string {
	return func() string {
		live := &unstructured.Unstructured{}
		live.SetGroupVersionKind(of.GroupVersionKind())
		f.Expect(f.Admin.Get(f.t.Context(), client.ObjectKeyFromObject(of), live)).To(Succeed())
		lines, _, _ := unstructured.NestedSlice(live.Object, "status", list)
		for _, l := range lines {
			l := l.(map[string]any)
			conditions, _ := l["conditions"].([]any)
			for _, c := range conditions {
				if c := c.(map[string]any); l["name"] == subset && c["type"] == "Schedulable" {
					return fmt.Sprint(c["status"], " ", c["reason"])
				}
			}
		}
		return ""
	}
}

// WL-5.7: from what an agent counts to replicas elsewhere, which stay there, for both kinds of objects.
func TestReplicasWithoutNodesMoveToAnotherCluster(t *testing.T) {
	for _, of := range []struct{ prefix, apiVersion, kind, list string }{
		{"adapt-f", "apps.flotilla.dev/v1alpha1", "FederatedDeployment", "subsets"}, {"adapt-u", "apps.kruise.io/v1alpha1", "UnitedDeployment", "subsetStatuses"},
	} {
		t.Run(of.kind, func(t *testing.T) {
			f := federate(t, of.prefix)
			f.run(t, func(m ctrl.Manager) error { return uniteddeployment.Register(m, federateddeployment.Options{}) })
			adaptive := map[string]any{"type": "Adaptive", "adaptive": map[string]any{"rescheduleCriticalSeconds": int64(7), "unschedulableLastSeconds": int64(3)}}
			obj := f.object(set(of.apiVersion, "apiVersion"), set(of.kind, "kind"), ofKind("cloneSetTemplate", 1), set(adaptive, "spec", "topology", "scheduleStrategy"),
				ofSubset(0, map[string]any{"maxReplicas": int64(5)}), ofSubset(1, map[string]any{"maxReplicas": int64(0)}), ofSubset(2, map[string]any{"replicas": nil}))
			f.Expect(f.Admin.Create(t.Context(), obj)).To(Succeed())
			f.report("east", "a", 0)
			f.report("west", "c", 0)
			f.Expect(f.replicas("east", "a")()).To(Equal(int64(5)))
			f.Expect(workload(f.work("east", "a")).GetAnnotations()).To(HaveKeyWithValue("apps.flotilla.dev/reschedule-critical-seconds", "7"))
			stuck := workv1.FeedbackValue{Name: "unschedulableReplicas", Value: workv1.FieldValue{Type: workv1.String, String: new("2")}}
			f.report("east", "a", 2, stuck)
			f.Eventually(f.replicas("east", "a"), soon, interval).Should(Equal(int64(3)))
			f.Eventually(f.replicas("west", "c"), soon, interval).Should(Equal(int64(7)))
			f.Eventually(f.schedulable(obj, of.list, "a"), soon, interval).Should(Equal("False reschedule"))
			f.report("east", "a", 0)
			f.report("west", "c", 0)
			f.Eventually(f.schedulable(obj, of.list, "a"), soon, interval).Should(Equal("True recover"))
			f.Expect(f.replicas("east", "a")()).To(Equal(int64(3))) // what runs is not moved back
			f.Expect(f.replicas("west", "c")()).To(Equal(int64(7)))
			f.Expect(f.schedulable(obj, of.list, "c")()).To(BeEmpty())
		})
	}
}
