package daemonset

import (
	"context"
	"strings"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/pkg/webhook/webhooktest"
)

func set(changes ...func(*kruise.DaemonSet)) *kruise.DaemonSet {
	ds := &kruise.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "log", Namespace: "users"},
		Spec: kruise.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "log"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "log"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "log:1"}}},
			},
		},
	}
	for _, c := range changes {
		c(ds)
	}
	return ds
}

type judge struct{ says field.ErrorList }

func (j judge) Judge(context.Context, string, *corev1.PodTemplateSpec) (field.ErrorList, error) {
	return j.says, nil
}

func TestDefaulter(t *testing.T) { // WL-3.1
	answer := webhooktest.Ask(t, Defaulter(), admissionv1.Create, nil, set())
	patch := string(answer.Patch)
	for _, part := range []string{`/spec/burstReplicas`, `250`, `"rollingUpdateType":"Standard"`, `"maxUnavailable":1`} {
		if !strings.Contains(patch, part) {
			t.Errorf("%s is not in %s", part, patch)
		}
	}
	if strings.Contains(patch, "dnsPolicy") {
		t.Errorf("the template was filled in: %s", patch)
	}
}

func TestValidator(t *testing.T) { // WL-3.1
	wrong := judge{field.ErrorList{field.Required(field.NewPath("spec", "template", "spec", "containers").Index(0).Child("image"), "")}}
	burst := func(ds *kruise.DaemonSet) { ds.Spec.BurstReplicas = new(intstr.FromInt32(-1)) }
	for name, tc := range map[string]struct {
		operation admissionv1.Operation
		old, now  *kruise.DaemonSet
		judge     judge
		code      int32
		says      string
	}{
		"a good one":                {operation: "CREATE", now: set(), code: 200},
		"a bad new one":             {operation: "CREATE", now: set(burst), code: 500, says: "spec.burstReplicas"},
		"one that goes bad":         {operation: "UPDATE", old: set(), now: set(burst), code: 422, says: "spec.burstReplicas"},
		"a name that is none":       {operation: "CREATE", now: set(func(ds *kruise.DaemonSet) { ds.Name = "A_b" }), code: 500, says: "metadata.name"},
		"a bad template":            {operation: "CREATE", now: set(), judge: wrong, code: 500, says: "containers[0].image"},
		"a bad template that stays": {operation: "UPDATE", old: set(), now: set(func(ds *kruise.DaemonSet) { ds.Spec.MinReadySeconds = 1 }), judge: wrong, code: 200},
		"another selector":          {operation: "UPDATE", old: set(), now: set(func(ds *kruise.DaemonSet) { ds.Spec.Selector.MatchLabels["a"], ds.Spec.Template.Labels["a"] = "b", "b" }), code: 422, says: "may change"},
	} {
		t.Run(name, func(t *testing.T) {
			got := webhooktest.Ask(t, Validator(tc.judge), tc.operation, tc.old, tc.now)
			if got.Result.Code != tc.code || !strings.Contains(got.Result.Message, tc.says) {
				t.Errorf("%+v", got.Result)
			}
		})
	}
}
