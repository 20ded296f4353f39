package webhooks

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
)

// NP-8.1: names, paths and operations that other software knows, and that all fail closed.
func TestWhatIsRegisteredForJobs(t *testing.T) {
	want := map[string]string{
		"/mutate-apps-kruise-io-v1alpha1-broadcastjob":      "kruise-mutating-webhook-configuration mbroadcastjob.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 broadcastjobs",
		"/validate-apps-kruise-io-v1alpha1-broadcastjob":    "kruise-validating-webhook-configuration vbroadcastjob.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 broadcastjobs",
		"/mutate-apps-kruise-io-v1alpha1-advancedcronjob":   "kruise-mutating-webhook-configuration madvancedcronjob.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 advancedcronjobs",
		"/validate-apps-kruise-io-v1alpha1-advancedcronjob": "kruise-validating-webhook-configuration vadvancedcronjob.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 advancedcronjobs",
		"/validate-apps-kruise-io-v1alpha1-ephemeraljob":    "kruise-validating-webhook-configuration vephemeraljobs.kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 ephemeraljobs",
	}
	got := map[string]string{}
	for _, h := range jobs(nil, true) {
		got[h.Path] = described(h)
		if h.Policy != admissionv1.Fail || h.Handler == nil || h.Mutating != strings.HasPrefix(h.Path, "/mutate") || h.TimeoutSeconds != 30 {
			t.Errorf("%s: policy %q, mutating %v", h.Path, h.Policy, h.Mutating)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
