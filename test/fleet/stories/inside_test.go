package stories

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// The README's way to install on clusters one has: everything runs as pods, under its own service account and probes.
func TestHubAndAgentRunAsPodsInOneCluster(t *testing.T) {
	w := beside(t)
	inside := w.Fleet.Cluster(self)
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := w.Kubectl(t.Context(), self, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const namespace = "open-cluster-management-agent"

	kubectl("apply", "-k", w.Source("deploy/hub"))
	kubectl("apply", "-k", w.Source("deploy/member"))
	// Nodes here have their runtimes in folders of their own, not in the one /var/run of the machine that they share.
	socket, err := inside.RuntimeSocket(inside.Nodes()[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	kubectl("-n", namespace, "patch", "daemonset", "noded", "--type=json", "-p",
		`[{"op":"replace","path":"/spec/template/spec/volumes/0/hostPath/path","value":"`+filepath.Dir(socket)+`"}]`)
	kubectl("-n", "flotilla-system", "rollout", "status", "deployment/hub", "--timeout=120s")
	kubectl("-n", namespace, "rollout", "status", "deployment/agent", "--timeout=120s")
	kubectl("-n", namespace, "rollout", "status", "daemonset/noded", "--timeout=120s")

	// Without a hub to join, the agent already is a workload manager.
	if err := w.Apply(t.Context(), self, aCloneSet); err != nil {
		t.Fatal(err)
	}
	kubectl("wait", "cloneset/alone", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=120s")

	bootstrap, err := w.CLIAs(t.Context(), inside.Kubeconfig(), "bootstrap", "--server", inside.InsideURL())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bootstrap")
	if err := os.WriteFile(file, []byte(bootstrap), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl("-n", namespace, "create", "configmap", "agent", "--from-literal=cluster-name=self")
	kubectl("-n", namespace, "create", "secret", "generic", "bootstrap-hub-kubeconfig", "--from-file=kubeconfig="+file)
	kubectl("-n", namespace, "rollout", "restart", "deployment", "agent")
	kubectl("wait", "--for=create", "managedcluster/self", "--timeout=120s")
	if _, err := w.CLIAs(t.Context(), inside.Kubeconfig(), "accept", "self", "--wait"); err != nil {
		t.Fatal(err)
	}
	kubectl("wait", "--for=condition=ManagedClusterConditionAvailable", "managedcluster/self", "--timeout=120s")

	kubectl("create", "namespace", "shop")
	d := w.web(2, func(d *appsv1alpha1.FederatedDeployment) {
		d.Namespace = "shop"
		d.Spec.Topology.Subsets = []appsv1alpha1.Subset{{Name: "zone-s", NodeSelectorTerm: zone("s")}}
	})
	if err := connect(t, w.Fleet, self).Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	kubectl("-n", "shop", "wait", "fdep/web", "--for=condition=Ready", "--timeout=120s")
	if pods := kubectl("-n", "shop", "get", "pods", "--no-headers"); strings.Count(pods, "Running") != 2 {
		t.Errorf("pods of the FederatedDeployment:\n%s", pods)
	}
}

const aCloneSet = `{"apiVersion":"apps.kruise.io/v1alpha1","kind":"CloneSet","metadata":{"name":"alone","namespace":"default"},
"spec":{"replicas":2,"selector":{"matchLabels":{"app":"alone"}},"template":{"metadata":{"labels":{"app":"alone"}},
"spec":{"containers":[{"name":"main","image":"registry.local/web:v1"}]}}}}`
