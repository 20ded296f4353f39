// Package interop runs our hub with the agents of Open Cluster Management, and our agent with its hub: the programs of
// that project, built from its module, with nothing of theirs changed (OCM-21.1, OCM-21.2).
package interop

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/system"
	"github.com/flotilla-project/flotilla/test/fleet/testlevel"
)

const (
	theirHub    = "their-hub"
	theirMember = "theirs"
	ourMember   = "ours"
	agentSpace  = "open-cluster-management-agent"
	soon        = 90 * time.Second
)

// world is a hub of ours with one member of theirs to be, and a hub of theirs with one member of ours to be.
type world struct {
	*testing.T
	*system.System
}

func TestMain(m *testing.M) {
	member := func(name string) fleet.Cluster {
		return fleet.Cluster{Name: name, Kind: fleet.Fake, Nodes: []fleet.Node{{Zone: "z", Region: "r"}}}
	}
	fleet.Main(m, fleet.Config{Name: "interop", Clusters: []fleet.Cluster{
		{Name: system.HubCluster}, {Name: theirHub}, member(theirMember), member(ourMember),
	}})
}

// installed is our hub, which both tests have in common.
var installed struct {
	sync.Once
	system *system.System
	err    error
}

func begin(t *testing.T) *world {
	t.Helper()
	testlevel.Need(t, testlevel.E2E)
	f := fleet.Shared(t)
	installed.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		_, file, _, _ := runtime.Caller(0)
		installed.system, installed.err = system.Install(ctx, f, system.Options{
			Source: filepath.Join(filepath.Dir(file), "..", "..", ".."), Log: t.Output(), Leave: []string{theirHub, theirMember, ourMember},
		})
	})
	if installed.err != nil {
		t.Fatal(installed.err)
	}
	return &world{T: t, System: installed.system}
}

func (w *world) kubectl(cluster string, args ...string) string {
	w.Helper()
	out, err := w.Kubectl(w.Context(), cluster, args...)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

func (w *world) apply(cluster, manifest string) {
	w.Helper()
	if err := w.Apply(w.Context(), cluster, manifest); err != nil {
		w.Fatal(err)
	}
}

// file puts content where the fleet's processes find it.
func (w *world) file(name, content string) string {
	w.Helper()
	path := filepath.Join(w.Fleet.Dir(), "interop", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// run starts one of their programs.
func (w *world) run(program string, args ...string) {
	w.Helper()
	path, err := w.Fleet.Program(w.Context(), "ocm-"+program)
	if err != nil {
		w.Fatal(err)
	}
	args = append([]string{path}, args...)
	args = append(args, "--disable-leader-election", "--listen="+w.freeAddress()) // with port 0 they crash
	if err := w.Fleet.Beside(w.Context(), "ocm/"+program+"-"+args[1], args, nil); err != nil {
		w.Fatal(err)
	}
}

func (w *world) freeAddress() string {
	w.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// eventually waits until kubectl prints the words.
func (w *world) eventually(cluster, words string, args ...string) {
	w.Helper()
	NewWithT(w).Eventually(func() (string, error) { return w.Kubectl(w.Context(), cluster, args...) }, soon, 500*time.Millisecond).
		Should(ContainSubstring(words), "kubectl %s on %s", strings.Join(args, " "), cluster)
}

func TestTheirAgentsServeOurHub(t *testing.T) {
	w := begin(t)
	bootstrap, err := w.CLI(t.Context(), "bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range []string{"work.open-cluster-management.io_appliedmanifestworks", "clusters.open-cluster-management.io_clusterclaims"} {
		w.kubectl(theirMember, "apply", "-f", w.Source("deploy/member/crds/"+crd+".yaml"))
	}
	w.kubectl(theirMember, "create", "namespace", agentSpace)
	folder := filepath.Join(w.Fleet.Dir(), "interop", "hub-kubeconfig")
	w.run("registration", "agent", "--kubeconfig", w.Fleet.Cluster(theirMember).Kubeconfig(), "--namespace", agentSpace,
		"--spoke-cluster-name", theirMember, "--bootstrap-kubeconfig", w.file("bootstrap", bootstrap), "--hub-kubeconfig-dir", folder,
		"--cluster-healthcheck-period=5s")
	if err := w.Accept(t.Context(), theirMember); err != nil {
		t.Fatal(err)
	}
	w.run("work", "agent", "--kubeconfig", w.Fleet.Cluster(theirMember).Kubeconfig(), "--namespace", agentSpace,
		"--spoke-cluster-name", theirMember, "--hub-kubeconfig", filepath.Join(folder, "kubeconfig"), "--hub-kubeconfig-dir", folder,
		"--workload-source-config", filepath.Join(folder, "kubeconfig"), "--agent-id", "interop", "--status-sync-interval=2s")

	w.kubectl(system.HubCluster, "create", "namespace", "shop")
	w.apply(system.HubCluster, aDeployment)
	w.kubectl(system.HubCluster, "-n", "shop", "wait", "fdep/web", "--for=condition=Ready", "--timeout=90s")
	w.eventually(theirMember, "2", "-n", "shop", "get", "deployment", "web-one", "-o", "jsonpath={.status.readyReplicas}")

	w.kubectl(system.HubCluster, "-n", "shop", "scale", "fdep/web", "--replicas=3")
	w.eventually(theirMember, "3", "-n", "shop", "get", "deployment", "web-one", "-o", "jsonpath={.status.readyReplicas}")
	w.eventually(system.HubCluster, "3", "-n", "shop", "get", "fdep/web", "-o", "jsonpath={.status.readyReplicas}")

	w.kubectl(system.HubCluster, "-n", "shop", "delete", "fdep/web", "--timeout=90s")
	w.eventually(theirMember, "left: none", "-n", "shop", "get", "deployments", "-o", "jsonpath=left: {.items[*].metadata.name}none")
	w.eventually(system.HubCluster, "left: none", "-n", theirMember, "get", "manifestworks", "-o", "jsonpath=left: {.items[*].metadata.name}none")
}

func TestOurAgentServesTheirHub(t *testing.T) {
	w := begin(t)
	kubeconfig := w.Fleet.Cluster(theirHub).Kubeconfig()
	w.kubectl(theirHub, "apply", "-f", w.Source("deploy/hub/rbac/bootstrap.yaml"))
	crds, err := filepath.Glob(w.Source("deploy/hub/crds/*open-cluster-management*.yaml"))
	if err != nil || len(crds) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	for _, crd := range crds {
		w.kubectl(theirHub, "apply", "--server-side", "-f", crd)
	}
	w.kubectl(theirHub, "create", "namespace", "open-cluster-management-hub")
	w.run("registration", "controller", "--kubeconfig", kubeconfig, "--namespace", "open-cluster-management-hub")
	w.run("placement", "controller", "--kubeconfig", kubeconfig, "--namespace", "open-cluster-management-hub")
	w.run("work", "manager", "--kubeconfig", kubeconfig, "--namespace", "open-cluster-management-hub",
		"--work-driver-config", kubeconfig, "--feature-gates=ManifestWorkReplicaSet=true")

	bootstrap, err := w.CLIAs(t.Context(), kubeconfig, "bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Join(t.Context(), ourMember, bootstrap); err != nil {
		t.Fatal(err)
	}
	w.kubectl(theirHub, "wait", "--for=create", "managedcluster/"+ourMember, "--timeout=60s")
	if _, err := w.CLIAs(t.Context(), kubeconfig, "accept", ourMember, "--wait"); err != nil {
		t.Fatal(err)
	}
	w.kubectl(theirHub, "wait", "--for=condition=ManagedClusterConditionAvailable", "managedcluster/"+ourMember, "--timeout=90s")

	// Our workload controllers are an add-on to them, whose health their hub shows on the cluster. OCM-19.6, OCM-19.7
	w.apply(theirHub, anAddOn)
	w.kubectl(theirHub, "-n", ourMember, "wait", "managedclusteraddon/flotilla-workload-manager", "--for=condition=Available", "--timeout=90s")
	w.eventually(theirHub, "available", "get", "managedcluster", ourMember, "-o",
		`jsonpath={.metadata.labels.feature\.open-cluster-management\.io/addon-flotilla-workload-manager}`)

	// Straight, as clusteradm create work does.
	w.apply(theirHub, aWork)
	w.kubectl(theirHub, "-n", ourMember, "wait", "manifestwork/web", "--for=condition=Available", "--timeout=90s")
	w.eventually(theirHub, "2", "-n", ourMember, "get", "manifestwork/web", "-o",
		`jsonpath={.status.resourceStatus.manifests[0].statusFeedback.values[?(@.name=="ready")].fieldValue.integer}`)

	// Through their placement and their replica sets.
	w.kubectl(theirHub, "label", "managedcluster", ourMember, "cluster.open-cluster-management.io/clusterset=fleet")
	w.apply(theirHub, aReplicaSet)
	w.eventually(ourMember, "from their hub", "-n", "default", "get", "configmap", "greeting", "-o", "jsonpath={.data.text}")
	w.eventually(theirHub, "1", "-n", "default", "get", "manifestworkreplicaset/greeting", "-o", "jsonpath={.status.summary.available}")

	w.kubectl(theirHub, "-n", ourMember, "delete", "manifestwork/web", "--timeout=90s")
	w.eventually(ourMember, "left: none", "-n", "default", "get", "clonesets", "-o", "jsonpath=left: {.items[*].metadata.name}none")
	w.kubectl(theirHub, "-n", "default", "delete", "manifestworkreplicaset/greeting", "--timeout=90s")
	w.eventually(ourMember, "left: none", "-n", "default", "get", "configmaps", "-l", "from=their-hub", "-o", "jsonpath=left: {.items[*].metadata.name}none")
}

const aDeployment = `
apiVersion: apps.flotilla.dev/v1alpha1
kind: FederatedDeployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    deploymentTemplate:
      metadata: {labels: {app: web}}
      spec:
        selector: {matchLabels: {app: web}}
        template:
          metadata: {labels: {app: web}}
          spec: {containers: [{name: main, image: "registry.local/web:v1"}]}
  topology: {subsets: [{name: one, cluster: theirs}]}
`

const anAddOn = `
apiVersion: addon.open-cluster-management.io/v1alpha1
kind: ManagedClusterAddOn
metadata: {name: flotilla-workload-manager, namespace: ours}
spec: {}
`

const aWork = `
apiVersion: work.open-cluster-management.io/v1
kind: ManifestWork
metadata: {name: web, namespace: ours}
spec:
  workload:
    manifests:
    - apiVersion: apps.kruise.io/v1alpha1
      kind: CloneSet
      metadata: {name: web, namespace: default}
      spec:
        replicas: 2
        selector: {matchLabels: {app: web}}
        template:
          metadata: {labels: {app: web}}
          spec: {containers: [{name: main, image: "registry.local/web:v1"}]}
  manifestConfigs:
  - resourceIdentifier: {group: apps.kruise.io, resource: clonesets, name: web, namespace: default}
    feedbackRules: [{type: JSONPaths, jsonPaths: [{name: ready, path: .status.readyReplicas}]}]
`

const aReplicaSet = `
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSet
metadata: {name: fleet}
---
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {name: fleet, namespace: default}
spec: {clusterSet: fleet}
---
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: all, namespace: default}
spec: {clusterSets: [fleet]}
---
apiVersion: work.open-cluster-management.io/v1alpha1
kind: ManifestWorkReplicaSet
metadata: {name: greeting, namespace: default}
spec:
  placementRefs: [{name: all}]
  manifestWorkTemplate:
    workload:
      manifests:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: greeting, namespace: default, labels: {from: their-hub}}, data: {text: from their hub}}
`
