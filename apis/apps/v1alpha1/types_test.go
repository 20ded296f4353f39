package v1alpha1

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// united is a UnitedDeployment as its users write it, apart from apiVersion and kind.
const united = `
metadata: {name: web, namespace: shop}
spec:
  replicas: 10
  revisionHistoryLimit: 5
  selector: {matchLabels: {app: web}}
  template:
    cloneSetTemplate:
      metadata: {labels: {app: web}}
      spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "web:v1"}]}}}
  topology:
    scheduleStrategy: {type: Fixed}
    subsets:
    - name: a
      nodeSelectorTerm: {matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [a]}]}
      tolerations: [{key: spot, operator: Exists}]
      minReplicas: 2
      maxReplicas: 50%
      patch: {spec: {priorityClassName: low}}
    - name: b
      replicas: 3
  updateStrategy: {type: Manual, manualUpdate: {partitions: {a: 1}}}
`

func TestAUnitedDeploymentBecomesAFederatedDeploymentByItsNameAlone(t *testing.T) {
	var d FederatedDeployment
	if err := yaml.UnmarshalStrict([]byte(united), &d); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(d.Spec)
	if err != nil {
		t.Fatal(err)
	}
	var was, is map[string]any
	if err := yaml.Unmarshal([]byte(united), &was); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &is); err != nil {
		t.Fatal(err)
	}
	// What the embedded templates add of themselves (empty strategies, null times) is not ours to compare.
	delete(is, "template")
	delete(was["spec"].(map[string]any), "template")
	if d := cmp.Diff(was["spec"], any(is)); d != "" {
		t.Errorf("a field is lost or changed:\n%s", d)
	}
}

func TestACopyIsItsOwn(t *testing.T) {
	var d FederatedDeployment
	if err := yaml.Unmarshal([]byte(united), &d); err != nil {
		t.Fatal(err)
	}
	c := d.DeepCopy()
	c.Spec.UpdateStrategy.ManualUpdate.Partitions["a"] = 7
	c.Spec.Topology.Subsets[0].Tolerations[0].Key = "other"
	if d.Spec.UpdateStrategy.ManualUpdate.Partitions["a"] != 1 || d.Spec.Topology.Subsets[0].Tolerations[0].Key != "spot" {
		t.Error("the copy shares with its original")
	}
}
