package stories

import (
	"strings"

	"github.com/flotilla-project/flotilla/test/fleet/system"
)

// explains asks kubectl describe about what cannot be satisfied: it must name the culprit and the number.
func (w *world) explains() {
	w.onHub("label", "--overwrite", "managedcluster", west, "tier=gold")
	w.send(aBinding)
	for _, wish := range []struct {
		kind, name, manifest string
		want                 []string
	}{
		{"placement", "three", aPlacement, []string{"2 cluster decisions unscheduled", "east: label tier=gold is not met"}},
		{"fdep", "nowhere", aFederatedDeployment, []string{`no accepted cluster has zone x, which subset "zone-x" asks for (accepted: east, west)`}},
		{"placement", "nobody", aPlacementForNobody, []string{"tier=silver", east, west}},
		{"fdep", "unplaced", anUnplacedFederatedDeployment, []string{`Placement "nobody" selects no cluster`, "2 clusters left out: east, west: label tier=silver is not met"}},
		{"fdep", "starving", aStarvingFederatedDeployment, []string{"subset west on west: 0 of 3 available", "Unschedulable (0/1 nodes are available: 1 Insufficient cpu)"}},
		{"uniteddeployment", "lost", aUnitedDeployment, []string{`no accepted cluster has zone x, which subset "zone-x" asks for (accepted: east, west)`}},
	} {
		w.send(wish.manifest)
		var said string
		w.until("describe "+wish.kind+" "+wish.name+" explains", func() string {
			said = w.onHub("-n", w.ns, "describe", wish.kind, wish.name)
			status := said[max(strings.Index(said, "\nStatus:"), 0):]
			for _, word := range wish.want {
				if !strings.Contains(status, word) {
					return "it lacks " + word + ":\n" + said
				}
			}
			return ""
		})
		w.Logf("kubectl describe %s %s\n%s", wish.kind, wish.name, said[max(strings.Index(said, "\nStatus:"), 0):])
	}
}

// send applies a manifest to the story's namespace on the hub, with which it goes.
func (w *world) send(manifest string) {
	w.Helper()
	manifest = strings.ReplaceAll(manifest, "NAMESPACE", w.ns)
	if err := w.Apply(w.Context(), system.HubCluster, manifest); err != nil {
		w.Fatal(err)
	}
}

const aBinding = `{"apiVersion":"cluster.open-cluster-management.io/v1beta2","kind":"ManagedClusterSetBinding",
"metadata":{"namespace":"NAMESPACE","name":"global"},"spec":{"clusterSet":"global"}}`

const aPlacement = `{"apiVersion":"cluster.open-cluster-management.io/v1beta1","kind":"Placement","metadata":{"namespace":"NAMESPACE","name":"three"},
"spec":{"numberOfClusters":3,"predicates":[{"requiredClusterSelector":{"labelSelector":{"matchLabels":{"tier":"gold"}}}}]}}`

const aTemplate = `"selector":{"matchLabels":{"app":"x"}},"template":{"cloneSetTemplate":{"metadata":{"labels":{"app":"x"}},"spec":{"selector":{"matchLabels":{"app":"x"}},
"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"main","image":"registry.local/web:v1"}]}}}}}`

const aFederatedDeployment = `{"apiVersion":"apps.flotilla.dev/v1alpha1","kind":"FederatedDeployment","metadata":{"namespace":"NAMESPACE","name":"nowhere"},
"spec":{"replicas":10,` + aTemplate + `,"topology":{"subsets":[
{"name":"zone-c","nodeSelectorTerm":{"matchExpressions":[{"key":"topology.kubernetes.io/zone","operator":"In","values":["c"]}]}},
{"name":"zone-x","nodeSelectorTerm":{"matchExpressions":[{"key":"topology.kubernetes.io/zone","operator":"In","values":["x"]}]}}]}}}`

const aStarvingFederatedDeployment = `{"apiVersion":"apps.flotilla.dev/v1alpha1","kind":"FederatedDeployment","metadata":{"namespace":"NAMESPACE","name":"starving"},
"spec":{"replicas":3,"selector":{"matchLabels":{"app":"y"}},"template":{"cloneSetTemplate":{"metadata":{"labels":{"app":"y"}},"spec":{"selector":{"matchLabels":{"app":"y"}},
"template":{"metadata":{"labels":{"app":"y"}},"spec":{"containers":[{"name":"main","image":"registry.local/web:v1","resources":{"requests":{"cpu":"1000"}}}]}}}}},
"topology":{"subsets":[{"name":"west","cluster":"west"}]}}}`

const anUnplacedFederatedDeployment = `{"apiVersion":"apps.flotilla.dev/v1alpha1","kind":"FederatedDeployment","metadata":{"namespace":"NAMESPACE","name":"unplaced"},
"spec":{"replicas":10,` + aTemplate + `,"topology":{"placementRef":{"name":"nobody"}}}}`

const aPlacementForNobody = `{"apiVersion":"cluster.open-cluster-management.io/v1beta1","kind":"Placement","metadata":{"namespace":"NAMESPACE","name":"nobody"},
"spec":{"predicates":[{"requiredClusterSelector":{"labelSelector":{"matchLabels":{"tier":"silver"}}}}]}}`

const aUnitedDeployment = `{"apiVersion":"apps.kruise.io/v1alpha1","kind":"UnitedDeployment","metadata":{"namespace":"NAMESPACE","name":"lost"},
"spec":{"replicas":10,` + aTemplate + `,"topology":{"subsets":[
{"name":"zone-c","nodeSelectorTerm":{"matchExpressions":[{"key":"topology.kubernetes.io/zone","operator":"In","values":["c"]}]}},
{"name":"zone-x","nodeSelectorTerm":{"matchExpressions":[{"key":"topology.kubernetes.io/zone","operator":"In","values":["x"]}]}}]}}}`
