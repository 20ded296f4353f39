// Package uniteddeployment fills in and judges UnitedDeployments that are applied on the hub, before they are stored
// (WL-5.2, WL-5.3). It reads and writes nothing; the controller of the same name judges again what got past it.
package uniteddeployment

import (
	"context"
	"net/http"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/hub/controllers/uniteddeployment"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// revisionHistoryLimit holds where none is set.
const revisionHistoryLimit = 10

// Defaulter is the handler that fills in.
func Defaulter() http.Handler {
	return webhook.Defaulter(func(_ context.Context, r webhook.Request[*kruisev1alpha1.UnitedDeployment]) error {
		Default(r.New)
		return nil
	})
}

// Default fills in what is not said (WL-5.2). The pod template is left to the members, whose API servers know their own
// defaults, and the status to the API server, which takes none from here.
func Default(ud *kruisev1alpha1.UnitedDeployment) {
	if ud.Spec.RevisionHistoryLimit == nil {
		ud.Spec.RevisionHistoryLimit = new(int32(revisionHistoryLimit))
	}
	strategy := &ud.Spec.UpdateStrategy
	if strategy.Type == "" {
		strategy.Type = kruisev1alpha1.ManualUpdateStrategyType
	}
	if strategy.Type == kruisev1alpha1.ManualUpdateStrategyType && strategy.ManualUpdate == nil {
		strategy.ManualUpdate = &kruisev1alpha1.ManualUpdate{}
	}
	minima(ud.Spec.Topology.Subsets)
}

// minima are 0 where bounds are the way of the whole object.
func minima(subsets []kruisev1alpha1.Subset) {
	bounded := false
	for _, s := range subsets {
		if s.Replicas != nil {
			return
		}
		bounded = bounded || s.MinReplicas != nil || s.MaxReplicas != nil
	}
	for i := range subsets {
		if bounded && subsets[i].MinReplicas == nil {
			subsets[i].MinReplicas = new(intstr.FromInt32(0))
		}
	}
}

// Validator is the handler that judges.
func Validator() http.Handler {
	return webhook.Validator(func(_ context.Context, r webhook.Request[*kruisev1alpha1.UnitedDeployment]) error {
		if errs := uniteddeployment.Validate(r.Old, r.New); len(errs) > 0 {
			return webhook.Invalid(kruisev1alpha1.SchemeGroupVersion.WithKind("UnitedDeployment").GroupKind(), r.New.Name, errs)
		}
		return nil
	})
}
