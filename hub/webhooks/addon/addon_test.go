package addon

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	alpha = "addon.open-cluster-management.io/v1alpha1"
	beta  = "addon.open-cluster-management.io/v1beta1"
)

// fields decodes, without what is empty anyway.
func fields(t *testing.T, raw []byte) any {
	t.Helper()
	var o any
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return lean(o)
}

func lean(o any) any {
	switch o := o.(type) {
	case map[string]any:
		for key, value := range o {
			if value = lean(value); value == nil || value == "" || value == 0.0 {
				delete(o, key)
			} else {
				o[key] = value
			}
		}
		if len(o) == 0 {
			return nil
		}
	case []any:
		for i := range o {
			o[i] = lean(o[i])
		}
		if len(o) == 0 {
			return nil
		}
	}
	return o
}

func converted(t *testing.T, raw []byte, to string) []byte {
	t.Helper()
	o, err := Convert(raw, to)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func object(apiVersion, kind, rest string) []byte {
	return []byte(`{"apiVersion":"` + apiVersion + `","kind":"` + kind + `",` + rest + `}`)
}

// OCM-1.3, OCM-19.1: what each version says, and that going there and back loses nothing.
func TestBothVersionsSayTheSame(t *testing.T) {
	for name, tc := range map[string]struct{ kind, alpha, beta string }{
		"an offer": {"ClusterManagementAddOn",
			`"metadata":{"name":"a"},"spec":{"addOnMeta":{"displayName":"A"},"supportedConfigs":[{"group":"g","resource":"r","defaultConfig":{"namespace":"n","name":"x"}}],"installStrategy":{"type":"Manual"}}`,
			`"metadata":{"name":"a"},"spec":{"addOnMeta":{"displayName":"A"},"defaultConfigs":[{"group":"g","resource":"r","namespace":"n","name":"x"}],"installStrategy":{"type":"Manual"}}`},
		"a supported kind without a default": {"ClusterManagementAddOn",
			`"metadata":{"name":"a"},"spec":{"supportedConfigs":[{"group":"g","resource":"r"}],"installStrategy":{"type":"Manual"}}`,
			`"metadata":{"name":"a"},"spec":{"defaultConfigs":[{"group":"g","resource":"r","name":"__reserved_no_default__"}],"installStrategy":{"type":"Manual"}}`},
		"the spelling of default references": {"ClusterManagementAddOn",
			`"metadata":{"name":"a"},"spec":{"installStrategy":{"type":"Manual"}},"status":{"defaultconfigReferences":[{"group":"g","resource":"r","desiredConfig":{"name":"x","specHash":"h"}}]}`,
			`"metadata":{"name":"a"},"spec":{"installStrategy":{"type":"Manual"}},"status":{"defaultConfigReferences":[{"group":"g","resource":"r","desiredConfig":{"name":"x","specHash":"h"}}]}`},
		"where old offers are configured": {"ClusterManagementAddOn",
			`"metadata":{"name":"a"},"spec":{"addOnConfiguration":{"crdName":"c","crName":"d"},"installStrategy":{"type":"Manual"}}`,
			`"metadata":{"name":"a","annotations":{"flotilla.dev/addon-v1alpha1-fields":"{\"addOnConfiguration\":{\"crdName\":\"c\",\"crName\":\"d\"}}"}},"spec":{"installStrategy":{"type":"Manual"}}`},
		"an installation": {"ManagedClusterAddOn",
			`"metadata":{"name":"a","namespace":"east"},"spec":{"configs":[{"group":"g","resource":"r","name":"x"}]},"status":{"namespace":"n","healthCheck":{"mode":"Lease"}}`,
			`"metadata":{"name":"a","namespace":"east"},"spec":{"configs":[{"group":"g","resource":"r","name":"x"}]},"status":{"namespace":"n","healthCheck":{"mode":"Lease"}}`},
		"the namespace to install in": {"ManagedClusterAddOn",
			`"metadata":{"name":"a","annotations":{"k":"v"}},"spec":{"installNamespace":"secrets-here"}`,
			`"metadata":{"name":"a","annotations":{"k":"v","addon.open-cluster-management.io/v1alpha1-install-namespace":"secrets-here"}}`},
		"registrations": {"ManagedClusterAddOn",
			`"metadata":{"name":"a"},"status":{"kubeClientDriver":"csr","registrations":[
				{"signerName":"kubernetes.io/kube-apiserver-client","subject":{"user":"u","groups":["g"]}},
				{"signerName":"example.com/s","subject":{"user":"w","organizationUnit":["o"]}}]}`,
			`"metadata":{"name":"a"},"status":{"registrations":[
				{"type":"kubeClient","kubeClient":{"driver":"csr","subject":{"user":"u","groups":["g"]}}},
				{"type":"customSigner","customSigner":{"signerName":"example.com/s","subject":{"user":"w","organizationUnits":["o"]}}}]}`},
		"a driver before there are registrations": {"ManagedClusterAddOn",
			`"metadata":{"name":"a"},"status":{"kubeClientDriver":"token"}`,
			`"metadata":{"name":"a","annotations":{"flotilla.dev/addon-v1alpha1-fields":"{\"kubeClientDriver\":\"token\"}"}}`},
		"where old installations are configured": {"ManagedClusterAddOn",
			`"metadata":{"name":"a"},"status":{"addOnConfiguration":{"crName":"d"}}`,
			`"metadata":{"name":"a","annotations":{"flotilla.dev/addon-v1alpha1-fields":"{\"addOnConfiguration\":{\"crName\":\"d\"}}"}}`},
		"configs that are in use": {"ManagedClusterAddOn",
			`"metadata":{"name":"a"},"status":{"configReferences":[{"group":"g","resource":"r","name":"x","namespace":"n","desiredConfig":{"namespace":"n","name":"x","specHash":"h"}}]}`,
			`"metadata":{"name":"a"},"status":{"configReferences":[{"group":"g","resource":"r","desiredConfig":{"namespace":"n","name":"x","specHash":"h"}}]}`},
		"a config": {"AddOnDeploymentConfig",
			`"metadata":{"name":"a"},"spec":{"customizedVariables":[{"name":"n","value":"v"}],"agentInstallNamespace":"x","nodePlacement":{"nodeSelector":{"a":"b"}}}`,
			`"metadata":{"name":"a"},"spec":{"customizedVariables":[{"name":"n","value":"v"}],"agentInstallNamespace":"x","nodePlacement":{"nodeSelector":{"a":"b"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			old, new := object(alpha, tc.kind, tc.alpha), object(beta, tc.kind, tc.beta)
			if d := cmp.Diff(fields(t, new), fields(t, converted(t, old, beta))); d != "" {
				t.Errorf("up: %s", d)
			}
			if d := cmp.Diff(fields(t, old), fields(t, converted(t, new, alpha))); d != "" {
				t.Errorf("down: %s", d)
			}
		})
	}
}

// OCM-1.3: the sentinel stands for no object, and never shows where objects are named.
func TestTheSentinelNeverSurfacesInStatus(t *testing.T) {
	const hash = `{"name":"__reserved_no_default__","specHash":""}`
	for name, tc := range map[string]struct {
		raw []byte
		to  string
	}{
		"an offer":              {object(beta, "ClusterManagementAddOn", `"status":{"defaultConfigReferences":[{"desiredConfig":`+hash+`}],"installProgressions":[{"configReferences":[{"desiredConfig":`+hash+`,"lastAppliedConfig":`+hash+`,"lastKnownGoodConfig":`+hash+`}]}]}`), alpha},
		"an offer, read":        {object(alpha, "ClusterManagementAddOn", `"status":{"defaultconfigReferences":[{"desiredConfig":`+hash+`}]}`), beta},
		"an installation":       {object(beta, "ManagedClusterAddOn", `"status":{"configReferences":[{"desiredConfig":`+hash+`,"lastAppliedConfig":`+hash+`}]}`), alpha},
		"an installation, read": {object(alpha, "ManagedClusterAddOn", `"status":{"configReferences":[{"name":"__reserved_no_default__"}]}`), beta},
		"back in a spec":        {object(beta, "ClusterManagementAddOn", `"spec":{"defaultConfigs":[{"name":"__reserved_no_default__"}]}`), alpha},
	} {
		if got := converted(t, tc.raw, tc.to); strings.Contains(string(got), "__reserved") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestAReferenceFromBeforeThereWasADesiredConfigIsKept(t *testing.T) {
	got := converted(t, object(alpha, "ManagedClusterAddOn", `"status":{"configReferences":[{"group":"g","resource":"r","namespace":"n","name":"x"}]}`), beta)
	want := object(beta, "ManagedClusterAddOn", `"status":{"configReferences":[{"group":"g","resource":"r","desiredConfig":{"namespace":"n","name":"x"}}]}`)
	if d := cmp.Diff(fields(t, want), fields(t, got)); d != "" {
		t.Error(d)
	}
}

func TestWhatHasNoWayIsNamed(t *testing.T) {
	for _, raw := range []string{`{"apiVersion":"` + alpha + `","kind":"AddOnTemplate"}`, `{"apiVersion":"` + beta + `","kind":"ManagedClusterAddOn"}`, `[]`} {
		if _, err := Convert([]byte(raw), beta); err == nil {
			t.Errorf("%s was converted", raw)
		}
	}
	if _, err := Convert(object(beta, "ManagedClusterAddOn", `"metadata":{"name":"a","annotations":{"flotilla.dev/addon-v1alpha1-fields":"x"}}`), alpha); err == nil || !strings.Contains(err.Error(), "flotilla.dev/addon-v1alpha1-fields of a") {
		t.Errorf("%v", err)
	}
}
