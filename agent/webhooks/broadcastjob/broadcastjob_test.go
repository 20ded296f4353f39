package broadcastjob

import (
	"context"
	"strings"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/pkg/webhook/webhooktest"
)

func job(changes ...func(*kruise.BroadcastJob)) *kruise.BroadcastJob {
	j := &kruise.BroadcastJob{
		ObjectMeta: metav1.ObjectMeta{Name: "pull", Namespace: "users"},
		Spec: kruise.BroadcastJobSpec{Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Image: "pull:1"}}},
		}},
	}
	for _, c := range changes {
		c(j)
	}
	return j
}

type judge struct{ says field.ErrorList }

func (j judge) Judge(context.Context, string, *corev1.PodTemplateSpec) (field.ErrorList, error) {
	return j.says, nil
}

func anyRestart(j *kruise.BroadcastJob) { j.Spec.Template.Spec.RestartPolicy = "" }

func TestDefaulter(t *testing.T) { // BJ-1
	patch := string(webhooktest.Ask(t, Defaulter(true), admissionv1.Create, nil, job(anyRestart)).Patch)
	for _, part := range []string{`2147483647`, `"FailFast"`, `"Always"`, `/spec/template/spec/restartPolicy`, `"OnFailure"`, `dnsPolicy`, `imagePullPolicy`} {
		if !strings.Contains(patch, part) {
			t.Errorf("%s is not in %s", part, patch)
		}
	}
	if patch := string(webhooktest.Ask(t, Defaulter(false), admissionv1.Create, nil, job()).Patch); strings.Contains(patch, "dnsPolicy") {
		t.Errorf("with TemplateNoDefaults the template was filled in: %s", patch)
	}
	stored := job(func(j *kruise.BroadcastJob) { Default(nil, j, false) })
	again := webhooktest.Ask(t, Defaulter(true), admissionv1.Update, stored, stored)
	if len(again.Patch) != 0 {
		t.Errorf("a template that did not change was filled in: %s", again.Patch)
	}
}

func TestValidator(t *testing.T) { // BJ-2
	wrong := judge{field.ErrorList{field.Required(field.NewPath("spec", "template", "spec", "containers").Index(0).Child("image"), "")}}
	always := func(j *kruise.BroadcastJob) { j.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyAlways }
	other := func(j *kruise.BroadcastJob) { j.Spec.Template.Spec.Containers[0].Image = "pull:2" }
	for name, tc := range map[string]struct {
		operation admissionv1.Operation
		old, now  *kruise.BroadcastJob
		judge     judge
		code      int32
		says      string
	}{
		"a good one":                {operation: "CREATE", now: job(), code: 200},
		"a bad policy":              {operation: "CREATE", now: job(always), code: 500, says: "spec.template.spec.restartPolicy"},
		"a name that is none":       {operation: "CREATE", now: job(func(j *kruise.BroadcastJob) { j.Name = "a.b" }), code: 500, says: "metadata.name"},
		"a bad template":            {operation: "CREATE", now: job(), judge: wrong, code: 500, says: "containers[0].image"},
		"one that goes bad":         {operation: "UPDATE", old: job(), now: job(other), judge: wrong, code: 500, says: "containers[0].image"},
		"a bad template that stays": {operation: "UPDATE", old: job(), now: job(func(j *kruise.BroadcastJob) { j.Spec.Paused = true }), judge: wrong, code: 200},
		"anything may change":       {operation: "UPDATE", old: job(), now: job(other), code: 200},
	} {
		t.Run(name, func(t *testing.T) {
			got := webhooktest.Ask(t, Validator(tc.judge), tc.operation, tc.old, tc.now)
			if got.Result.Code != tc.code || !strings.Contains(got.Result.Message, tc.says) {
				t.Errorf("%+v", got.Result)
			}
		})
	}
}
