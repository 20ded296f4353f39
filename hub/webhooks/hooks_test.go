package webhooks

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
)

// OCM-9.3, OCM-21.1, WL-0.9: the names that other software knows, and that all fail closed.
func TestWhatIsRegistered(t *testing.T) {
	want := map[string]string{
		"/mutate-cluster-open-cluster-management-io-v1-managedcluster":                  "managedclustermutators.admission.cluster.open-cluster-management.io CREATE,UPDATE managedclusters",
		"/validate-cluster-open-cluster-management-io-v1-managedcluster":                "managedclustervalidators.admission.cluster.open-cluster-management.io CREATE,UPDATE managedclusters",
		"/validate-cluster-open-cluster-management-io-v1beta2-managedclustersetbinding": "managedclustersetbindingvalidators.admission.cluster.open-cluster-management.io CREATE,UPDATE managedclustersetbindings",
		"/validate-work-open-cluster-management-io-v1-manifestwork":                     "manifestworkvalidators.admission.work.open-cluster-management.io CREATE,UPDATE,DELETE manifestworks",
		"/validate-work-open-cluster-management-io-v1alpha1-manifestworkreplicaset":     "manifestworkreplicasetvalidators.admission.work.open-cluster-management.io CREATE,UPDATE manifestworkreplicasets",
		"/mutate-apps-kruise-io-v1alpha1-uniteddeployment":                              "uniteddeploymentmutators.admission.apps.flotilla.dev CREATE,UPDATE uniteddeployments",
		"/validate-apps-kruise-io-v1alpha1-uniteddeployment":                            "uniteddeploymentvalidators.admission.apps.flotilla.dev CREATE,UPDATE uniteddeployments",
	}
	got := map[string]string{}
	answer := http.NotFoundHandler()
	for _, h := range hooks(handlers{answer, answer, answer, answer, answer, answer, answer}) {
		var operations []string
		for _, o := range h.Rules[0].Operations {
			operations = append(operations, string(o))
		}
		got[h.Path] = h.Configuration + " " + strings.Join(operations, ",") + " " + h.Rules[0].Resources[0]
		if h.Policy != admissionv1.Fail || h.Handler == nil || h.Mutating != strings.HasPrefix(h.Path, "/mutate") {
			t.Errorf("%s: policy %q, mutating %v", h.Path, h.Policy, h.Mutating)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if all := conversions(); len(all) != 3 || all[1].Definition != "managedclusteraddons.addon.open-cluster-management.io" {
		t.Errorf("%+v", all)
	}
}
