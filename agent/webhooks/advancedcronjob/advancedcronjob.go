// Package advancedcronjob is admission for AdvancedCronJobs. The rules are those of the controller, which keeps to them also
// where no webhook is registered. It reads and writes nothing.
package advancedcronjob

import (
	"context"
	"net/http"
	"strings"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	controller "github.com/flotilla-project/flotilla/agent/controllers/advancedcronjob"
	"github.com/flotilla-project/flotilla/agent/podset/defaults"
	"github.com/flotilla-project/flotilla/agent/webhooks/change"
	"github.com/flotilla-project/flotilla/agent/webhooks/plainname"
	"github.com/flotilla-project/flotilla/agent/webhooks/template"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Defaulter is the handler that fills an AdvancedCronJob in; templates says whether also what Kubernetes would fill into its
// pod template (gate TemplateNoDefaults).
func Defaulter(templates bool) http.Handler {
	return webhook.Defaulter(func(_ context.Context, r webhook.Request[*kruise.AdvancedCronJob]) error {
		Default(r.Old, r.New, templates)
		return nil
	})
}

// Default fills an AdvancedCronJob in. Pods that say nothing of restarts get the policy that a BroadcastJob would give them:
// no kind of job takes the one that pods have by default. // CJ-2
func Default(old, acj *kruise.AdvancedCronJob, templates bool) {
	*acj = *controller.Default(acj)
	if !templates || old != nil && equality.Semantic.DeepEqual(old.Spec.Template, acj.Spec.Template) {
		return
	}
	for _, t := range podTemplates(acj) {
		if t.pods.Spec.RestartPolicy == "" {
			t.pods.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		}
		defaults.Template(t.pods)
	}
}

type podTemplate struct {
	pods *corev1.PodTemplateSpec
	path string // in place of spec.template
}

func podTemplates(acj *kruise.AdvancedCronJob) (all []podTemplate) {
	if t := acj.Spec.Template.JobTemplate; t != nil {
		all = append(all, podTemplate{&t.Spec.Template, "spec.template.jobTemplate.spec.template"})
	}
	if t := acj.Spec.Template.BroadcastJobTemplate; t != nil {
		all = append(all, podTemplate{&t.Spec.Template, "spec.template.broadcastJobTemplate.spec.template"})
	}
	return all
}

// Validator is the handler that judges an AdvancedCronJob.
func Validator(judge template.Judge) http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*kruise.AdvancedCronJob]) error {
		problems := Validate(r.Old, r.New)
		if r.Old == nil {
			for _, t := range podTemplates(r.New) {
				problems = append(problems, judged(ctx, judge, r.Namespace, t)...)
			}
		}
		return webhook.Invalid(kruise.SchemeGroupVersion.WithKind(kruise.AdvancedCronJobKind).GroupKind(), r.New.Name, problems)
	})
}

func judged(ctx context.Context, judge template.Judge, namespace string, t podTemplate) (problems field.ErrorList) {
	for _, p := range template.Add(ctx, judge, namespace, t.pods, nil) {
		moved := *p
		moved.Field = t.path + strings.TrimPrefix(p.Field, "spec.template")
		problems = append(problems, &moved)
	}
	return problems
}

// Validate lists what is wrong with an AdvancedCronJob. // CJ-3, CJ-4
func Validate(old, acj *kruise.AdvancedCronJob) field.ErrorList {
	problems := append(plainname.Check(acj.Name), controller.Validate(controller.Default(acj))...)
	if old == nil {
		return problems
	}
	return append(problems, change.Fixed(&old.Spec, &acj.Spec, "schedule", "timeZone", "concurrencyPolicy", "successfulJobsHistoryLimit",
		"failedJobsHistoryLimit", "startingDeadlineSeconds", "paused")...)
}
