package webhooks

import (
	"net/http"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

type handlers struct{ clusterDefaults, clusters, bindings, works, templates, unitedDefaults, united http.Handler }

// hooks is everything that admission asks the hub. Paths and configuration names are those of OCM-9. All fail closed
// (OCM-21.1): each guards a right or a fact that nobody else looks after, and a door that opens when the guard is down
// is none.
func hooks(h handlers) []webhook.Hook {
	const create, update, remove = admissionv1.Create, admissionv1.Update, admissionv1.Delete
	return []webhook.Hook{{
		// Fail: a taint without a time would be tolerated for ever, and a cluster in no set is found by nobody.
		Configuration: "managedclustermutators.admission.cluster.open-cluster-management.io",
		Name:          "managedclustermutators.admission.cluster.open-cluster-management.io",
		Mutating:      true, Policy: admissionv1.Fail,
		Path:       "/mutate-cluster-open-cluster-management-io-v1-managedcluster",
		Rules:      rule(clusterv1.GroupName, "v1", "managedclusters", create, update),
		Conditions: when(createOrSpec), Handler: h.clusterDefaults,
	}, {
		// Fail: who may let a cluster in is decided here and nowhere else.
		Configuration: "managedclustervalidators.admission.cluster.open-cluster-management.io",
		Name:          "managedclustervalidators.admission.cluster.open-cluster-management.io",
		Policy:        admissionv1.Fail,
		Path:          "/validate-cluster-open-cluster-management-io-v1-managedcluster",
		Rules:         rule(clusterv1.GroupName, "v1", "managedclusters", create, update),
		Conditions:    when(createOrSpecOrLabels), Handler: h.clusters,
	}, {
		// Fail: a binding opens a set's clusters to a namespace.
		Configuration: "managedclustersetbindingvalidators.admission.cluster.open-cluster-management.io",
		Name:          "managedclustersetbindingvalidators.admission.cluster.open-cluster-management.io",
		Policy:        admissionv1.Fail,
		Path:          "/validate-cluster-open-cluster-management-io-v1beta2-managedclustersetbinding",
		Rules:         rule(clusterv1.GroupName, "v1beta2", "managedclustersetbindings", create, update),
		Conditions:    when(createOrSpec), Handler: h.bindings,
	}, {
		// Fail: an executor is a right, and a brake that is outrun by stopping the hub is none.
		Configuration: "manifestworkvalidators.admission.work.open-cluster-management.io",
		Name:          "manifestworkvalidators.admission.work.open-cluster-management.io",
		Policy:        admissionv1.Fail, Counts: true,
		Path:       "/validate-work-open-cluster-management-io-v1-manifestwork",
		Rules:      rule(workv1.GroupName, "v1", "manifestworks", create, update, remove),
		Conditions: when(newContentOrRemoval), Handler: h.works,
	}, {
		// Fail: its executor is applied with the hub's right to name any.
		Configuration: "manifestworkreplicasetvalidators.admission.work.open-cluster-management.io",
		Name:          "manifestworkreplicasetvalidators.admission.work.open-cluster-management.io",
		Policy:        admissionv1.Fail,
		Path:          "/validate-work-open-cluster-management-io-v1alpha1-manifestworkreplicaset",
		Rules:         rule(workv1.GroupName, "v1alpha1", "manifestworkreplicasets", create, update),
		Conditions:    when(newContentOrRemoval), Handler: h.templates,
	}, {
		// Fail: as OpenKruise's own (WL-0.9), so that what is stored is what was checked.
		Configuration: "uniteddeploymentmutators.admission.apps.flotilla.dev",
		Name:          "muniteddeployment.kb.io",
		Mutating:      true, Policy: admissionv1.Fail,
		Path:       "/mutate-apps-kruise-io-v1alpha1-uniteddeployment",
		Rules:      rule(kruisev1alpha1.GroupVersion.Group, "v1alpha1", "uniteddeployments", create, update),
		Conditions: when(createOrSpec), Handler: h.unitedDefaults,
	}, {
		// Fail: what may not change would stop the members' workloads where they are.
		Configuration: "uniteddeploymentvalidators.admission.apps.flotilla.dev",
		Name:          "vuniteddeployment.kb.io",
		Policy:        admissionv1.Fail,
		Path:          "/validate-apps-kruise-io-v1alpha1-uniteddeployment",
		Rules:         rule(kruisev1alpha1.GroupVersion.Group, "v1alpha1", "uniteddeployments", create, update),
		Conditions:    when(createOrSpec), Handler: h.united,
	}}
}
