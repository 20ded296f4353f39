package webhooks

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
)

// NP-8.1: names, paths and operations that other software knows, and that all fail closed.
func TestHooksOfImages(t *testing.T) {
	want := map[string]string{}
	for _, kind := range []string{"imagepulljob", "imagelistpulljob", "nodeimage"} {
		want["/mutate-apps-kruise-io-v1alpha1-"+kind] = "kruise-mutating-webhook-configuration m" + kind + ".kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 " + kind + "s"
		want["/validate-apps-kruise-io-v1alpha1-"+kind] = "kruise-validating-webhook-configuration v" + kind + ".kb.io CREATE,UPDATE apps.kruise.io/v1alpha1 " + kind + "s"
	}
	got := map[string]string{}
	for _, h := range images(true, true) {
		got[h.Path] = described(h)
		if h.Policy != admissionv1.Fail || h.Handler == nil || h.Mutating != strings.HasPrefix(h.Path, "/mutate") || h.TimeoutSeconds != 30 {
			t.Errorf("%s: policy %q, mutating %v", h.Path, h.Policy, h.Mutating)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
