package catalog

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// OCM-19.7: the key after the slash is limited to 63 characters, "addon-" included.
func TestALabelHasRoomForFiftySevenCharacters(t *testing.T) {
	if key, fits := FeatureLabel(strings.Repeat("a", 57)); !fits || !IsFeatureLabel(key) {
		t.Errorf("%s does not fit", key)
	}
	if key, fits := FeatureLabel(strings.Repeat("a", 58)); fits {
		t.Errorf("%s fits", key)
	}
}

// OCM-19.4
func TestAgentsAreToldApart(t *testing.T) {
	for user, want := range map[string]bool{
		"system:open-cluster-management:cluster:a:addon:logs:agent:x":   true,
		"system:open-cluster-management:cluster:ab:addon:logs:agent:x":  false,
		"system:open-cluster-management:cluster:a:addon:logs2:agent:x":  false,
		"system:open-cluster-management:cluster:a:addon:logs:agent:":    false,
		"system:open-cluster-management:cluster:a:addon:logs:agent:x:y": false,
		"system:open-cluster-management:cluster:a:addon:logs":           false,
	} {
		if IsAgent(user, "a", "logs") != want {
			t.Errorf("%s: want %v", user, want)
		}
	}
	if got := ServiceAccountUser("a", "logs"); got != "system:serviceaccount:a:logs-agent" {
		t.Error(got)
	}
}

// OCM-19.1
func TestTheHubDrivesUnlessTheAddOnDoes(t *testing.T) {
	for value, want := range map[string]bool{"": false, "addon-manager": false, "self": true} {
		offer := &addonv1alpha1.ClusterManagementAddOn{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"addon.open-cluster-management.io/lifecycle": value}}}
		if SelfDriven(offer) != want {
			t.Errorf("%q: want %v", value, want)
		}
	}
}

func TestInstallationsAreFoundByName(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := addonv1alpha1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	kind, key, extract := IndexOf()
	c := fake.NewClientBuilder().WithScheme(scheme).WithIndex(kind, key, extract).WithObjects(
		&addonv1alpha1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "logs"}},
		&addonv1alpha1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "mesh"}},
		&addonv1alpha1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "west", Name: "logs"}},
	).Build()
	found, err := Installations(t.Context(), c, "logs")
	if err != nil || len(found) != 2 {
		t.Errorf("%v, %v", found, err)
	}
}
