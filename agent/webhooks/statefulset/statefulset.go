// Package statefulset is admission for StatefulSets of apps.kruise.io in both versions, and the conversion between them. The
// rules are those of the controller, which keeps to them also where no webhook is registered. It reads storage classes where
// claims may grow; it writes nothing.
package statefulset

import (
	"context"
	"fmt"
	"net/http"

	alpha "github.com/openkruise/kruise-api/apps/v1alpha1"
	beta "github.com/openkruise/kruise-api/apps/v1beta1"
	admissionv1 "k8s.io/api/admission/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	controller "github.com/flotilla-project/flotilla/agent/controllers/statefulset"
	"github.com/flotilla-project/flotilla/agent/podset/defaults"
	"github.com/flotilla-project/flotilla/agent/webhooks/protection"
	"github.com/flotilla-project/flotilla/agent/webhooks/template"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Rules are what admission of StatefulSets depends on.
type Rules struct {
	// Gates are those of the controller.
	Gates controller.Options
	// Templates get the defaults that Kubernetes has for them: off with gate TemplateNoDefaults.
	Templates bool
	// Guard is nil without gate ResourcesDeletionProtection.
	Guard *protection.Guard
	// Judge of pod templates.
	Judge template.Judge
	// API has the storage classes.
	API client.Reader
}

// Defaulter is the handler that fills a StatefulSet in. One of v1alpha1 makes the way through v1beta1. // WL-2.1
func (r Rules) Defaulter() http.Handler {
	return webhook.ByVersion(map[string]http.Handler{
		"v1beta1": webhook.Defaulter(func(_ context.Context, q webhook.Request[*beta.StatefulSet]) error {
			r.Default(q.Old, q.New)
			return nil
		}),
		"v1alpha1": webhook.Defaulter(func(_ context.Context, q webhook.Request[*alpha.StatefulSet]) error {
			old, set, err := both(q.Old, q.New)
			if err != nil {
				return err
			}
			r.Default(old, set)
			filled, err := toAlpha(set)
			if err == nil {
				*q.New = *filled
			}
			return err
		}),
	})
}

func both(old, set *alpha.StatefulSet) (*beta.StatefulSet, *beta.StatefulSet, error) {
	before, err := toBeta(old)
	if err != nil {
		return nil, nil, err
	}
	after, err := toBeta(set)
	return before, after, err
}

// Default fills a StatefulSet in. // WL-2.1, WL-0.9
func (r Rules) Default(old, set *beta.StatefulSet) {
	*set = *controller.Default(set, r.Gates)
	if !r.Templates {
		return
	}
	if old == nil || !equality.Semantic.DeepEqual(old.Spec.Template, set.Spec.Template) {
		defaults.Template(&set.Spec.Template)
	}
	if old == nil || !equality.Semantic.DeepEqual(old.Spec.VolumeClaimTemplates, set.Spec.VolumeClaimTemplates) {
		defaults.Claims(set.Spec.VolumeClaimTemplates)
	}
}

// Validator is the handler that judges a StatefulSet. // WL-2.3
func (r Rules) Validator() http.Handler {
	return webhook.ByVersion(map[string]http.Handler{
		"v1beta1": webhook.Validator(func(ctx context.Context, q webhook.Request[*beta.StatefulSet]) error {
			return r.judge(ctx, q.Request, q.Old, q.New)
		}),
		"v1alpha1": webhook.Validator(func(ctx context.Context, q webhook.Request[*alpha.StatefulSet]) error {
			old, set, err := both(q.Old, q.New)
			if err != nil {
				return err
			}
			return r.judge(ctx, q.Request, old, set)
		}),
	})
}

func (r Rules) judge(ctx context.Context, q admission.Request, old, set *beta.StatefulSet) error {
	if q.Operation == admissionv1.Delete {
		if old == nil {
			return nil
		}
		return r.Guard.Workload(q, old, old.Spec.Replicas)
	}
	classes, err := r.classes(ctx, old, set)
	if err != nil {
		return err
	}
	problems := r.Validate(old, set, classes)
	if old == nil || !equality.Semantic.DeepEqual(old.Spec.Template, set.Spec.Template) {
		pods := template.WithClaims(&set.Spec.Template, set.Spec.VolumeClaimTemplates)
		problems = template.Add(ctx, r.Judge, set.Namespace, pods, problems)
	}
	return webhook.Invalid(beta.SchemeGroupVersion.WithKind("StatefulSet").GroupKind(), set.Name, problems)
}

// classes are read only where claims are about to grow. // WL-2.3
func (r Rules) classes(ctx context.Context, old, set *beta.StatefulSet) ([]storagev1.StorageClass, error) {
	if !r.Gates.AutoResizePVC || old == nil || set.Spec.VolumeClaimUpdateStrategy.Type != beta.OnPodRollingUpdateVolumeClaimUpdateStrategyType ||
		equality.Semantic.DeepEqual(old.Spec.VolumeClaimTemplates, set.Spec.VolumeClaimTemplates) {
		return nil, nil
	}
	var all storagev1.StorageClassList
	if err := r.API.List(ctx, &all); err != nil {
		return nil, fmt.Errorf("list storage classes: %w", err)
	}
	return all.Items, nil
}

// Validate lists what is wrong with a StatefulSet. Templates are compared with defaults on both sides: one that was stored
// before there were any has pods that have them. // WL-2.3
func (r Rules) Validate(old, set *beta.StatefulSet, classes []storagev1.StorageClass) field.ErrorList {
	set = controller.Default(set, r.Gates)
	problems := controller.Validate(set)
	if old == nil {
		return problems
	}
	old = controller.Default(old, r.Gates)
	if !equality.Semantic.DeepEqual(old.Spec.Template, set.Spec.Template) {
		defaults.Template(&old.Spec.Template)
		defaults.Template(&set.Spec.Template)
	}
	return append(problems, controller.ValidateUpdate(old, set, r.Gates, classes)...)
}
