package protection

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/flotilla-project/flotilla/pkg/webhook/webhooktest"
)

func request(kind string, dry bool) admission.Request {
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Kind: metav1.GroupVersionKind{Kind: kind}, UserInfo: authenticationv1.UserInfo{Username: "alice"}, DryRun: &dry,
	}}
}

func guarded(t *testing.T) (guard *Guard, registry *prometheus.Registry, lines func() string) {
	t.Helper()
	folder := t.TempDir()
	journal, err := OpenJournal(folder)
	if err != nil {
		t.Fatal(err)
	}
	registry = prometheus.NewRegistry()
	guard, err = Guard{API: fake.NewClientBuilder().Build(), Journal: journal}.Counted(registry)
	if err != nil {
		t.Fatal(err)
	}
	return guard, registry, func() string {
		text, err := os.ReadFile(filepath.Join(folder, "protection.log"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// counted are the counters of a registry by name and first label.
func counted(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				key += " " + l.GetName() + "=" + l.GetValue()
			}
			all[key] = m.GetCounter().GetValue()
		}
	}
	return all
}

// NP-9 (DP-2), NP-14, WL-7.2
func TestRefusalsAreCountedAndWrittenDown(t *testing.T) {
	guard, registry, lines := guarded(t)
	protected := &metav1.ObjectMeta{Namespace: "shop", Name: "web", Labels: map[string]string{"policy.kruise.io/delete-protection": "Always"}}
	if err := guard.Workload(request("CloneSet", false), protected, nil); err == nil {
		t.Error("it may go")
	}
	if err := guard.Workload(request("CloneSet", true), protected, nil); err == nil {
		t.Error("it may go in a dry run")
	}
	if err := guard.Workload(request("CloneSet", false), &metav1.ObjectMeta{Name: "free"}, new(int32(3))); err != nil {
		t.Error(err)
	}
	for _, kind := range []string{"Namespace", "CustomResourceDefinition", "Service", "Ingress"} {
		if got := webhooktest.Ask(t, guard.Validator(), "DELETE", object(kind, "Always", 0), nil); got.Allowed {
			t.Errorf("%s may go", kind)
		}
	}
	want := `{"Event":"DeletionProtection","Kind":"CloneSet","Namespace":"shop","Name":"web","UserAgent":"alice"}
{"Event":"DeletionProtection","Kind":"Namespace","Namespace":"","Name":"web","UserAgent":""}
{"Event":"DeletionProtection","Kind":"CustomResourceDefinition","Namespace":"","Name":"web","UserAgent":""}
`
	if d := cmp.Diff(want, lines()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]float64{
		"workload_deletion_protection kind_namespace_name=CloneSet_shop_web username=alice": 1,
		"namespace_deletion_protection name=web username=":                                  1,
		"crd_deletion_protection name=web username=":                                        1,
	}, counted(t, registry)); d != "" {
		t.Error(d)
	}
}

func TestASecondManagerCountsOn(t *testing.T) {
	guard, registry, _ := guarded(t)
	again, err := Guard{}.Counted(registry)
	if err != nil {
		t.Fatal(err)
	}
	guard.counters.count("Namespace", "", "a", "alice")
	again.counters.count("Namespace", "", "a", "alice")
	if got := counted(t, registry)["namespace_deletion_protection name=a username=alice"]; got != 2 {
		t.Errorf("%v", got)
	}
}

func TestWithoutTheGateEverythingMayGo(t *testing.T) {
	var guard *Guard
	if err := guard.Workload(request("CloneSet", false), &metav1.ObjectMeta{Labels: map[string]string{"policy.kruise.io/delete-protection": "Always"}}, nil); err != nil {
		t.Error(err)
	}
}

// NP-9 (DP-2)
func TestAJournalThatCannotBeOpenedIsAnError(t *testing.T) {
	if _, err := OpenJournal(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
