package advancedcronjob

import (
	"context"
	"strings"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/pkg/webhook/webhooktest"
)

func pods() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "backup:1"}}}}
}

func acj(changes ...func(*kruise.AdvancedCronJob)) *kruise.AdvancedCronJob {
	a := &kruise.AdvancedCronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "backup", Namespace: "users"},
		Spec: kruise.AdvancedCronJobSpec{
			Schedule: "0 * * * *",
			Template: kruise.CronJobTemplate{JobTemplate: &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: pods()}}},
		},
	}
	for _, c := range changes {
		c(a)
	}
	return a
}

func broadcasts(a *kruise.AdvancedCronJob) {
	a.Spec.Template = kruise.CronJobTemplate{BroadcastJobTemplate: &kruise.BroadcastJobTemplateSpec{Spec: kruise.BroadcastJobSpec{Template: pods()}}}
}

type judge struct{ says field.ErrorList }

func (j judge) Judge(context.Context, string, *corev1.PodTemplateSpec) (field.ErrorList, error) {
	return j.says, nil
}

func TestDefaulter(t *testing.T) { // CJ-2
	for at, made := range map[string]*kruise.AdvancedCronJob{"jobTemplate": acj(), "broadcastJobTemplate": acj(broadcasts)} {
		patch := string(webhooktest.Ask(t, Defaulter(true), admissionv1.Create, nil, made).Patch)
		for _, part := range []string{`"Allow"`, `/spec/paused`, `successfulJobsHistoryLimit`, `failedJobsHistoryLimit`, at + `/spec/template/spec/dnsPolicy`, `"OnFailure"`} {
			if !strings.Contains(patch, part) {
				t.Errorf("%s: %s is not in %s", at, part, patch)
			}
		}
		if strings.Contains(patch, "parallelism") {
			t.Errorf("the job itself was filled in: %s", patch)
		}
		if patch := string(webhooktest.Ask(t, Defaulter(false), admissionv1.Create, nil, made).Patch); strings.Contains(patch, "dnsPolicy") {
			t.Errorf("with TemplateNoDefaults the template was filled in: %s", patch)
		}
	}
}

func TestValidator(t *testing.T) { // CJ-3, CJ-4
	wrong := judge{field.ErrorList{field.Required(field.NewPath("spec", "template", "spec", "containers").Index(0).Child("image"), "")}}
	may := func(a *kruise.AdvancedCronJob) {
		a.Spec.Schedule, a.Spec.TimeZone, a.Spec.ConcurrencyPolicy = "1 * * * *", new("Asia/Tokyo"), kruise.ForbidConcurrent
		a.Spec.SuccessfulJobsHistoryLimit, a.Spec.FailedJobsHistoryLimit = new(int32(0)), new(int32(0))
		a.Spec.StartingDeadlineSeconds, a.Spec.Paused = new(int64(1)), new(true)
	}
	for name, tc := range map[string]struct {
		operation admissionv1.Operation
		old, now  *kruise.AdvancedCronJob
		judge     judge
		code      int32
		says      string
	}{
		"a good one":          {operation: "CREATE", now: acj(), code: 200},
		"a bad schedule":      {operation: "CREATE", now: acj(func(a *kruise.AdvancedCronJob) { a.Spec.Schedule = "now" }), code: 422, says: "spec.schedule"},
		"a name that is none": {operation: "CREATE", now: acj(func(a *kruise.AdvancedCronJob) { a.Name = "a.b" }), code: 422, says: "metadata.name"},
		"a bad template":      {operation: "CREATE", now: acj(), judge: wrong, code: 422, says: "spec.template.jobTemplate.spec.template.spec.containers[0].image"},
		"another bad one":     {operation: "CREATE", now: acj(broadcasts), judge: wrong, code: 422, says: "spec.template.broadcastJobTemplate.spec.template.spec.containers[0].image"},
		"what may change":     {operation: "UPDATE", old: acj(), now: acj(may), code: 200},
		"another template":    {operation: "UPDATE", old: acj(), now: acj(broadcasts), code: 422, says: "spec.template"},
		"another image": {operation: "UPDATE", old: acj(), now: acj(func(a *kruise.AdvancedCronJob) {
			a.Spec.Template.JobTemplate.Spec.Template.Spec.Containers[0].Image = "backup:2"
		}), code: 422, says: "spec.template"},
	} {
		t.Run(name, func(t *testing.T) {
			got := webhooktest.Ask(t, Validator(tc.judge), tc.operation, tc.old, tc.now)
			if got.Result.Code != tc.code || !strings.Contains(got.Result.Message, tc.says) {
				t.Errorf("%+v", got.Result)
			}
		})
	}
}
