// Package imagepulljob is admission for ImagePullJobs. The rules are those of the controller, which keeps to them also where
// no webhook is registered. It reads and writes nothing.
package imagepulljob

import (
	"context"
	"errors"
	"net/http"
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	controller "github.com/flotilla-project/flotilla/agent/controllers/imagepulljob"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Defaulter is the handler that fills a job in; a new one is kept until its secrets are released. // IP-1
func Defaulter() http.Handler {
	return webhook.Defaulter(func(_ context.Context, r webhook.Request[*kruise.ImagePullJob]) error {
		Default(r.Old, r.New)
		return nil
	})
}

// Default changes job in place; old is nil when it is new.
func Default(old, job *kruise.ImagePullJob) {
	job.Spec = controller.Default(job).Spec
	if old == nil && !slices.Contains(job.Finalizers, controller.Finalizer) {
		job.Finalizers = append(job.Finalizers, controller.Finalizer)
	}
}

// Validator is the handler that judges a job; with the gate off it refuses all. // IP-2, SJ-0.5
func Validator(on bool) http.Handler {
	return webhook.Validator(func(_ context.Context, r webhook.Request[*kruise.ImagePullJob]) error {
		if !on {
			return apierrors.NewForbidden(kruise.Resource("imagepulljobs"), r.New.Name, errors.New("feature gate ImagePullJobGate is off"))
		}
		if problems := controller.Validate(controller.Default(r.New)); len(problems) > 0 {
			return webhook.BadRequest("%v", problems.ToAggregate())
		}
		return nil
	})
}
