// Package daemonset is admission for DaemonSets of apps.kruise.io. The rules are those of the controller, which keeps to them
// also where no webhook is registered. It reads and writes nothing.
package daemonset

import (
	"context"
	"net/http"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	controller "github.com/flotilla-project/flotilla/agent/controllers/daemonset"
	"github.com/flotilla-project/flotilla/agent/webhooks/template"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Defaulter is the handler that fills a DaemonSet in; its template stays as it is. // WL-3.1
func Defaulter() http.Handler {
	return webhook.Defaulter(func(_ context.Context, r webhook.Request[*kruise.DaemonSet]) error {
		*r.New = *controller.Default(r.New)
		return nil
	})
}

// Validator is the handler that judges a DaemonSet.
func Validator(judge template.Judge) http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*kruise.DaemonSet]) error {
		problems := Validate(r.Old, r.New)
		if r.Old == nil || !equality.Semantic.DeepEqual(r.Old.Spec.Template, r.New.Spec.Template) {
			problems = template.Add(ctx, judge, r.Namespace, &r.New.Spec.Template, problems)
		}
		if len(problems) > 0 && r.Old == nil {
			return apierrors.NewInternalError(problems.ToAggregate()) // WL-3.1: odd, and what clients of this kind see
		}
		return webhook.Invalid(kruise.SchemeGroupVersion.WithKind("DaemonSet").GroupKind(), r.New.Name, problems)
	})
}

// Validate lists what is wrong with a DaemonSet. // WL-3.1
func Validate(old, ds *kruise.DaemonSet) (problems field.ErrorList) {
	for _, text := range apivalidation.NameIsDNSSubdomain(ds.Name, false) {
		problems = append(problems, field.Invalid(field.NewPath("metadata", "name"), ds.Name, text))
	}
	return append(problems, controller.Validate(old, controller.Default(ds))...)
}
