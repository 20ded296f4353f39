package webhooks

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// WL-0.9, NP-8.1: names, paths and operations that other software knows, and that all fail closed.
func TestWhatIsRegistered(t *testing.T) {
	want := map[string]string{
		"/mutate-apps-kruise-io-v1alpha1-cloneset":                 "kruise-mutating-webhook-configuration mcloneset.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 clonesets",
		"/validate-apps-kruise-io-v1alpha1-cloneset":               "kruise-validating-webhook-configuration vcloneset.kb.io CREATE,UPDATE,DELETE apps.kruise.io/v1alpha1 clonesets",
		"/mutate-apps-kruise-io-statefulset":                       "kruise-mutating-webhook-configuration mstatefulset.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1,v1beta1 statefulsets",
		"/validate-apps-kruise-io-statefulset":                     "kruise-validating-webhook-configuration vstatefulset.kb.io CREATE,UPDATE,DELETE apps.kruise.io/v1alpha1,v1beta1 statefulsets",
		"/mutate-apps-kruise-io-v1alpha1-daemonset":                "kruise-mutating-webhook-configuration mdaemonset.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 daemonsets",
		"/validate-apps-kruise-io-v1alpha1-daemonset":              "kruise-validating-webhook-configuration vdaemonset.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 daemonsets",
		"/mutate-apps-kruise-io-v1alpha1-containerrecreaterequest": "kruise-mutating-webhook-configuration mcontainerrecreaterequest.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 containerrecreaterequests",
		"/validate-apps-kruise-io-podprobemarker":                  "kruise-validating-webhook-configuration vpodprobemarker.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 podprobemarkers",
		"/mutate-pod": "kruise-mutating-webhook-configuration mpod.kb.io CREATE /v1 pods",
	}
	got := map[string]string{}
	answer := http.NotFoundHandler()
	for _, h := range append(workloads(handlers{answer, answer, answer, answer, answer, answer}), pods(answer, false, "home"), recreateRequests(answer), probeMarkers(answer)) {
		got[h.Path] = described(h)
		if h.Policy != admissionv1.Fail || h.Handler == nil || h.Mutating != strings.HasPrefix(h.Path, "/mutate") || h.TimeoutSeconds != 30 {
			t.Errorf("%s: policy %q, mutating %v", h.Path, h.Policy, h.Mutating)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if all := conversions(); len(all) != 1 || all[0].Definition != "statefulsets.apps.kruise.io" || all[0].Path != "/convert" {
		t.Errorf("%+v", all)
	}
}

// NP-8.1, NP-8 (WH-1): objects of Kubernetes itself are asked about only with the label, and never held up by us.
func TestProtectionOfKindsOfKubernetes(t *testing.T) {
	all := protected(http.NotFoundHandler())
	if len(all) != 7 {
		t.Fatalf("%d hooks", len(all))
	}
	for _, h := range all {
		ours, err := metav1.LabelSelectorAsSelector(h.Objects)
		if err != nil {
			t.Fatal(err)
		}
		where, err := metav1.LabelSelectorAsSelector(h.Namespaces)
		if err != nil {
			t.Fatal(err)
		}
		if h.Policy != admissionv1.Ignore || ours.Matches(labels.Set{}) || !ours.Matches(labels.Set{"policy.kruise.io/delete-protection": "Always"}) ||
			where.Matches(labels.Set{"kubernetes.io/metadata.name": "kube-system"}) || h.Rules[0].Operations[0] != admissionv1.Delete {
			t.Errorf("%s: %+v", h.Name, h)
		}
	}
	if got := described(all[0]); got != "kruise-validating-webhook-configuration vbuiltindeployment.kb.io DELETE apps/v1 deployments" {
		t.Error(got)
	}
}

func described(h webhook.Hook) string {
	r := h.Rules[0]
	var operations []string
	for _, o := range r.Operations {
		operations = append(operations, string(o))
	}
	return strings.Join([]string{
		h.Configuration, h.Name, strings.Join(operations, ","),
		r.APIGroups[0] + "/" + strings.Join(r.APIVersions, ","), strings.Join(r.Resources, ","),
	}, " ")
}

// WL-0.9, NP-8 (WH-1): what a cluster needs to heal does not wait for us.
func TestPodsOfTheSystemAreLeftAlone(t *testing.T) {
	selector, err := metav1.LabelSelectorAsSelector(pods(http.NotFoundHandler(), false, "home").Namespaces)
	if err != nil {
		t.Fatal(err)
	}
	const name = "kubernetes.io/metadata.name"
	for namespace, tc := range map[string]struct {
		labels labels.Set
		seen   bool
	}{
		"a user's":     {labels.Set{name: "users"}, true},
		"the system's": {labels.Set{name: "kube-system"}, false},
		"our own":      {labels.Set{name: "home"}, false},
		"one as such":  {labels.Set{name: "other", "control-plane": "openkruise"}, false},
	} {
		if selector.Matches(tc.labels) != tc.seen {
			t.Errorf("%s namespace: %v", namespace, !tc.seen)
		}
	}
	if all := pods(http.NotFoundHandler(), true, ""); len(all.Conditions) != 0 || len(pods(http.NotFoundHandler(), false, "").Conditions) != 1 {
		t.Error("pods of everybody are seen at the wrong time")
	}
}
