package integration

import (
	"testing"

	. "github.com/onsi/gomega"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
	"github.com/flotilla-project/flotilla/hub/controllers/uniteddeployment"
)

// WL-5.2, WL-5.3: what is not said is filled in, what is wrong is refused with its field, and a spec that became wrong
// through its scale keeps nobody from deleting the object.
func TestAUnitedDeploymentIsJudgedBeforeItIsStored(t *testing.T) {
	f := federate(t, "judged")
	f.run(t, func(m ctrl.Manager) error { return uniteddeployment.Register(m, federateddeployment.Options{}) })
	ud := func(edits ...func(map[string]any)) *unstructured.Unstructured {
		all := []func(map[string]any){set("apps.kruise.io/v1alpha1", "apiVersion"), set("UnitedDeployment", "kind"), ofKind("advancedStatefulSetTemplate", 1)}
		return f.object(append(all, edits...)...)
	}
	for name, tc := range map[string]struct {
		edit func(map[string]any)
		says string
	}{
		"numbers":     {ofSubset(0, map[string]any{"replicas": int64(9)}), "spec.topology.subsets[2].replicas: Forbidden"},
		"labels":      {set(map[string]any{"app": "api"}, "spec", "selector", "matchLabels"), "spec.template.advancedStatefulSetTemplate.spec.template.metadata.labels"},
		"a partition": {set(map[string]any{"x": int64(1)}, "spec", "updateStrategy", "manualUpdate", "partitions"), "spec.updateStrategy.manualUpdate.partitions[x]"},
	} {
		err := f.Admin.Create(t.Context(), ud(tc.edit))
		f.Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%s: %v", name, err)
		f.Expect(err.Error()).To(ContainSubstring(tc.says))
	}
	live := ud(ofSubset(2, map[string]any{"replicas": int64(5)}))
	f.Expect(f.Admin.Create(t.Context(), live)).To(Succeed())
	f.Expect(live.Object["spec"]).To(And(HaveKeyWithValue("revisionHistoryLimit", int64(10)), HaveKeyWithValue("updateStrategy", And(HaveKeyWithValue("type", "Manual"), HaveKey("manualUpdate")))))
	f.Eventually(func() bool { return f.work("west", "c") != nil }, soon, interval).Should(BeTrue())

	key := client.ObjectKeyFromObject(live)
	f.Eventually(func() error {
		if err := f.Admin.Get(t.Context(), key, live); err != nil {
			return err
		}
		set("other", "spec", "template", "advancedStatefulSetTemplate", "spec", "serviceName")(live.Object)
		return f.Admin.Update(t.Context(), live)
	}, soon, interval).Should(MatchError(ContainSubstring("spec.template.advancedStatefulSetTemplate.spec.serviceName: Forbidden: is immutable")))

	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 3}}
	f.Eventually(func() error {
		if err := f.Admin.Get(t.Context(), key, live); err != nil {
			return err
		}
		return f.Admin.SubResource("scale").Update(t.Context(), live, client.WithSubResourceBody(scale))
	}, soon, interval).Should(Succeed())
	f.Expect(f.Admin.Delete(t.Context(), live)).To(Succeed())
	f.Eventually(func() bool { return apierrors.IsNotFound(f.Admin.Get(t.Context(), key, live)) }, soon, interval).Should(BeTrue())
}
