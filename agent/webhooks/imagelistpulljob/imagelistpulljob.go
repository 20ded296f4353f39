// Package imagelistpulljob is admission for ImageListPullJobs. The rules are those of the controller, which keeps to them also
// where no webhook is registered. It reads and writes nothing.
package imagelistpulljob

import (
	"context"
	"errors"
	"net/http"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	controller "github.com/flotilla-project/flotilla/agent/controllers/imagelistpulljob"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Defaulter is the handler that fills a list in. // IL-1
func Defaulter() http.Handler {
	return webhook.Defaulter(func(_ context.Context, r webhook.Request[*kruise.ImageListPullJob]) error {
		r.New.Spec = controller.Default(r.New).Spec
		return nil
	})
}

// Validator is the handler that judges a list; with the gate off it refuses all. // IL-2, SJ-0.5
func Validator(on bool) http.Handler {
	return webhook.Validator(func(_ context.Context, r webhook.Request[*kruise.ImageListPullJob]) error {
		if !on {
			return apierrors.NewForbidden(kruise.Resource("imagelistpulljobs"), r.New.Name, errors.New("feature gate ImagePullJobGate is off"))
		}
		if problems := controller.Validate(controller.Default(r.New)); len(problems) > 0 {
			return webhook.BadRequest("%v", problems.ToAggregate())
		}
		return nil
	})
}
