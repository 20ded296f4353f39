package uniteddeployment

import (
	"strings"
	"testing"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisev1beta1 "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var labels = map[string]string{"app": "web"}

func stateful(edits ...func(*appsv1.StatefulSetSpec)) edit {
	spec := appsv1.StatefulSetSpec{ServiceName: "web", Template: pod(labels)}
	for _, e := range edits {
		e(&spec)
	}
	return func(ud *kruisev1alpha1.UnitedDeployment) {
		ud.Spec.Template = kruisev1alpha1.SubsetTemplate{StatefulSetTemplate: &kruisev1alpha1.StatefulSetTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}}
	}
}

func advanced(service, image string) edit {
	return func(ud *kruisev1alpha1.UnitedDeployment) {
		spec := kruisev1beta1.StatefulSetSpec{ServiceName: service, Template: pod(labels)}
		spec.Template.Spec.Containers[0].Image = image
		ud.Spec.Template = kruisev1alpha1.SubsetTemplate{AdvancedStatefulSetTemplate: &kruisev1alpha1.AdvancedStatefulSetTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}}
	}
}

func part(i int, change func(*kruisev1alpha1.Subset)) edit {
	return func(ud *kruisev1alpha1.UnitedDeployment) { change(&ud.Spec.Topology.Subsets[i]) }
}

func numbers(replicas, least, most any) func(*kruisev1alpha1.Subset) {
	value := func(v any) *intstr.IntOrString {
		switch v := v.(type) {
		case int:
			return new(intstr.FromInt(v))
		case string:
			return new(intstr.FromString(v))
		}
		return nil
	}
	return func(s *kruisev1alpha1.Subset) {
		s.Replicas, s.MinReplicas, s.MaxReplicas = value(replicas), value(least), value(most)
	}
}

func total(n *int32) edit { return func(ud *kruisev1alpha1.UnitedDeployment) { ud.Spec.Replicas = n } }

// WL-5.3: what is refused names field and remedy; empty is let through.
func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		old, ud *kruisev1alpha1.UnitedDeployment
		want    string
	}{
		"as in the book": {ud: web()},
		"no selector":    {ud: web(func(ud *kruisev1alpha1.UnitedDeployment) { ud.Spec.Selector = nil }), want: "spec.selector: Required"},
		"two templates": {ud: web(func(ud *kruisev1alpha1.UnitedDeployment) {
			ud.Spec.Template.DeploymentTemplate = &kruisev1alpha1.DeploymentTemplateSpec{}
		}), want: "spec.template: Invalid"},
		"a CloneSet template is not looked at": {ud: web(func(ud *kruisev1alpha1.UnitedDeployment) {
			ud.Spec.Template.CloneSetTemplate.Spec.Template.Labels = nil
		})},
		"a StatefulSet template is": {ud: web(stateful(func(s *appsv1.StatefulSetSpec) { s.Replicas = new(int32(1)) })),
			want: "spec.template.statefulSetTemplate.spec.replicas: Invalid"},
		"a subset twice":                   {ud: web(part(1, func(s *kruisev1alpha1.Subset) { s.Name = "a" })), want: "spec.topology.subsets[1].name: Invalid"},
		"more than there are":              {ud: web(part(0, numbers(12, nil, nil))), want: "spec.topology.subsets[0].replicas: Forbidden: 12 is more than spec.replicas 10; lower it, or raise spec.replicas"},
		"less than there are":              {ud: web(part(0, numbers(4, nil, nil)), part(1, numbers("50%", nil, nil))), want: "all subsets together take 9, less than spec.replicas 10"},
		"exactly as many":                  {ud: web(part(0, numbers(5, nil, nil)), part(1, numbers("50%", nil, nil)))},
		"no total":                         {ud: web(total(nil), part(0, numbers(4, nil, nil))), want: "spec.topology.subsets[1].replicas: Forbidden: is not set and neither is spec.replicas"},
		"no total, and all numbers":        {ud: web(total(nil), part(0, numbers(4, nil, nil)), part(1, numbers(5, nil, nil)))},
		"no total, and a percentage":       {ud: web(total(nil), part(0, numbers(4, nil, nil)), part(1, numbers("50%", nil, nil))), want: "spec.topology.subsets[1].replicas: Invalid"},
		"a minimum over its maximum":       {ud: web(part(0, numbers(nil, 4, "30%"))), want: `spec.topology.subsets[0].minReplicas: Forbidden: 4 is more than maxReplicas "30%" (3)`},
		"maxima everywhere":                {ud: web(part(0, numbers(nil, nil, 4)), part(1, numbers(nil, nil, 40))), want: "spec.topology.subsets: Forbidden"},
		"both ways":                        {ud: web(part(0, numbers(2, nil, nil)), part(1, numbers(nil, nil, 4))), want: "spec.topology.subsets: Forbidden"},
		"the same again":                   {old: web(stateful()), ud: web(stateful())},
		"another image":                    {old: web(advanced("web", "web:v1")), ud: web(advanced("web", "web:v2"))},
		"another service":                  {old: web(advanced("web", "web:v1")), ud: web(advanced("other", "web:v2")), want: "spec.template.advancedStatefulSetTemplate.spec.serviceName: Forbidden: is immutable"},
		"another service of a native one":  {old: web(stateful()), ud: web(stateful(func(s *appsv1.StatefulSetSpec) { s.ServiceName = "other" })), want: "spec.template.statefulSetTemplate.spec.serviceName: Forbidden: is immutable"},
		"another strategy":                 {old: web(stateful()), ud: web(stateful(func(s *appsv1.StatefulSetSpec) { s.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType }))},
		"another kind":                     {old: web(stateful()), ud: web(advanced("other", "web:v1"))},
		"a CloneSet may change all it has": {old: web(), ud: web(func(ud *kruisev1alpha1.UnitedDeployment) { ud.Spec.Template.CloneSetTemplate.Spec.MinReadySeconds = 9 })},
		"another zone": {old: web(), ud: web(part(0, func(s *kruisev1alpha1.Subset) { s.NodeSelectorTerm = corev1.NodeSelectorTerm{} })),
			want: "spec.topology.subsets[0].nodeSelectorTerm: Forbidden: is immutable; add a subset of another name and remove this one"},
		"another toleration": {old: web(), ud: web(part(1, func(s *kruisev1alpha1.Subset) {
			s.Tolerations = []corev1.Toleration{{Key: "x", Operator: corev1.TolerationOpExists}}
		})), want: "spec.topology.subsets[1].tolerations: Forbidden: is immutable"},
		"an empty list of tolerations is none": {old: web(), ud: web(part(1, func(s *kruisev1alpha1.Subset) { s.Tolerations = []corev1.Toleration{} }))},
		"another order": {old: web(), ud: web(func(ud *kruisev1alpha1.UnitedDeployment) {
			ud.Spec.Topology.Subsets = []kruisev1alpha1.Subset{inZone("b"), inZone("a")}
		})},
		"another subset": {old: web(), ud: web(part(1, func(s *kruisev1alpha1.Subset) { *s = inZone("c") }))},
	} {
		t.Run(name, func(t *testing.T) {
			errs := Validate(tc.old, tc.ud)
			if got := errs.ToAggregate(); tc.want == "" && got != nil || tc.want != "" && (len(errs) != 1 || !strings.Contains(got.Error(), tc.want)) {
				t.Errorf("got %v, want %q", got, tc.want)
			}
		})
	}
}
