// Package webhooks lists what the hub's admission and conversion webhooks are: path, rules, and what happens while nobody
// answers. It knows the packages below it and decides nothing itself.
package webhooks

import (
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/flotilla-project/flotilla/hub/controllers/placement"
	"github.com/flotilla-project/flotilla/hub/webhooks/addon"
	"github.com/flotilla-project/flotilla/hub/webhooks/managedcluster"
	"github.com/flotilla-project/flotilla/hub/webhooks/managedclustersetbinding"
	"github.com/flotilla-project/flotilla/hub/webhooks/manifestwork"
	"github.com/flotilla-project/flotilla/hub/webhooks/uniteddeployment"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Options are the few values that the hub's webhooks depend on.
type Options struct {
	// Server is where they are served.
	Server webhook.Options
	// DefaultClusterSet puts new clusters without a set into the default one.
	DefaultClusterSet bool
	// NilExecutorValidating asks for a right where a work names no executor.
	NilExecutorValidating bool
	// ManifestLimit is how many bytes the manifests of a work may come to.
	ManifestLimit int
	// MassRemovalShare of all works, in percent, may go in a short time; 100 is all.
	MassRemovalShare int
	// DebugPlacements answers how a Placement is decided (OCM-17.5).
	DebugPlacements bool
}

// Register serves the webhooks in m, in every replica.
func Register(m ctrl.Manager, o Options) error {
	rights, err := webhook.NewReviews(m.GetConfig())
	if err != nil {
		return err
	}
	brake := manifestwork.NewBrake(o.MassRemovalShare, m.GetClient(), m.GetCache(), clock.RealClock{})
	if err := m.Add(brake); err != nil {
		return err
	}
	works := manifestwork.Rules{Limit: o.ManifestLimit, NilExecutor: o.NilExecutorValidating, Rights: rights, Brake: brake}
	server, err := webhook.New(m.GetConfig(), o.Server, webhook.Set{
		Hooks: hooks(handlers{
			clusterDefaults: managedcluster.Defaulter(o.DefaultClusterSet, clock.RealClock{}),
			clusters:        managedcluster.Validator(m.GetAPIReader(), rights),
			bindings:        managedclustersetbinding.Validator(rights),
			works:           works.Validator(),
			templates:       works.TemplateValidator(),
			unitedDefaults:  uniteddeployment.Defaulter(),
			united:          uniteddeployment.Validator(),
		}),
		Conversions: conversions(),
		Pages:       pages(m, o, rights),
	})
	if err != nil {
		return fmt.Errorf("make webhook server: %w", err)
	}
	if err := m.Add(server); err != nil {
		return err
	}
	return m.AddReadyzCheck("webhook-ready", server.Ready)
}

func pages(m ctrl.Manager, o Options, rights *webhook.Reviews) map[string]http.Handler {
	if !o.DebugPlacements {
		return nil
	}
	return map[string]http.Handler{
		placement.DebugPath: &placement.Debug{Hub: m.GetClient(), Guard: rights, Clock: clock.RealClock{}},
	}
}

func conversions() (all []webhook.Conversion) {
	handler := addon.Converter()
	for _, definition := range addon.Definitions {
		all = append(all, webhook.Conversion{Definition: definition, Path: "/convert", Handler: handler})
	}
	return all
}

func rule(group, version, resource string, operations ...admissionv1.OperationType) []admissionv1.RuleWithOperations {
	return []admissionv1.RuleWithOperations{{
		Operations: operations,
		Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}},
	}}
}

// Conditions keep requests away that a webhook has nothing to say about, so that finalizers, annotations and status can
// be written while the hub is down.
const (
	createOrSpec         = "oldObject == null || object.spec != oldObject.spec"
	createOrSpecOrLabels = createOrSpec + " || has(object.metadata.labels) != has(oldObject.metadata.labels)" +
		" || has(object.metadata.labels) && object.metadata.labels != oldObject.metadata.labels"
	// Comparing works costs too much; the API server counts changes of their spec.
	newContentOrRemoval = "request.operation == 'DELETE' || oldObject == null || object.metadata.generation != oldObject.metadata.generation"
)

func when(expression string) []admissionv1.MatchCondition {
	return []admissionv1.MatchCondition{{Name: "concerns-us", Expression: expression}}
}
