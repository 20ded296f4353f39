package history

import (
	"encoding/json"
	"testing"

	clusterv1 "open-cluster-management.io/api/cluster/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

func TestIDsAreNotRepeated(t *testing.T) {
	if a, b := NewID(), NewID(); a == b || len(a) < 20 {
		t.Errorf("%s %s", a, b)
	}
}

func TestMarkChangesNothingButTheID(t *testing.T) {
	for name, stored := range map[string]string{
		"no annotations": `{"kind":"ManagedCluster","metadata":{"name":"east","generation":12345678901},"spec":{"leaseDurationSeconds":60}}`,
		"another id":     `{"kind":"ManagedCluster","metadata":{"name":"east","generation":12345678901,"annotations":{"flotilla.dev/hub-history":"old","a":"b"}},"spec":{"leaseDurationSeconds":60}}`,
	} {
		t.Run(name, func(t *testing.T) {
			marked, err := Mark([]byte(stored), "new")
			if err != nil {
				t.Fatal(err)
			}
			var c clusterv1.ManagedCluster
			if err := json.Unmarshal(marked, &c); err != nil {
				t.Fatal(err)
			}
			if c.Annotations[v1alpha1.AnnotationHubHistory] != "new" || c.Name != "east" || c.Generation != 12345678901 || c.Spec.LeaseDurationSeconds != 60 {
				t.Errorf("%s", marked)
			}
			if again, err := Mark(marked, "new"); err != nil || string(again) != string(marked) {
				t.Errorf("%s %v", again, err)
			}
		})
	}
}

func TestWhatIsNoJSONIsNotTouched(t *testing.T) {
	for _, stored := range []string{"k8s\x00...", `{"kind":"ManagedCluster"}`} {
		if marked, err := Mark([]byte(stored), "new"); err == nil {
			t.Errorf("%q became %q", stored, marked)
		}
	}
}
