// Package broadcastjob is admission for BroadcastJobs. The rules are those of the controller, which keeps to them also where no
// webhook is registered. It reads and writes nothing.
package broadcastjob

import (
	"context"
	"net/http"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	controller "github.com/flotilla-project/flotilla/agent/controllers/broadcastjob"
	"github.com/flotilla-project/flotilla/agent/podset/defaults"
	"github.com/flotilla-project/flotilla/agent/webhooks/plainname"
	"github.com/flotilla-project/flotilla/agent/webhooks/template"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Defaulter is the handler that fills a BroadcastJob in; templates says whether also what Kubernetes would fill into its pod
// template (gate TemplateNoDefaults).
func Defaulter(templates bool) http.Handler {
	return webhook.Defaulter(func(_ context.Context, r webhook.Request[*kruise.BroadcastJob]) error {
		Default(r.Old, r.New, templates)
		return nil
	})
}

// Default fills a BroadcastJob in: the policies first, so that a template without a restart policy gets one that it may have.
// // BJ-1
func Default(old, job *kruise.BroadcastJob, templates bool) {
	*job = *controller.Default(job)
	if templates && (old == nil || !equality.Semantic.DeepEqual(old.Spec.Template, job.Spec.Template)) {
		defaults.Template(&job.Spec.Template)
	}
}

// Validator is the handler that judges a BroadcastJob.
func Validator(judge template.Judge) http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*kruise.BroadcastJob]) error {
		problems := Validate(r.New)
		if r.Old == nil || !equality.Semantic.DeepEqual(r.Old.Spec.Template, r.New.Spec.Template) {
			problems = template.Add(ctx, judge, r.Namespace, &r.New.Spec.Template, problems)
		}
		if len(problems) == 0 {
			return nil
		}
		return apierrors.NewInternalError(problems.ToAggregate()) // odd, and what clients of this kind see
	})
}

// Validate lists what is wrong with a BroadcastJob. // BJ-2
func Validate(job *kruise.BroadcastJob) field.ErrorList {
	return append(plainname.Check(job.Name), controller.Validate(controller.Default(job))...)
}
