package stories

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	addOnNamespace = "open-cluster-management-agent-addon"
	clusterLabel   = `jsonpath={.metadata.labels.feature\.open-cluster-management\.io/addon-logs}`
)

// An add-on is offered, and is on the clusters that a Placement chose: its manifests, and credentials of its own that open
// what its template names and nothing of other clusters. Its health is the cluster's label. When the offer goes, so does all of it.
func (w *world) offersAnAddOn() {
	w.Helper()
	w.send(aBinding)
	w.send(aPlacementForAddOns)
	// The hub hands on only what it has itself.
	w.onHub("create", "clusterrole", "logs-reader", "--verb=get,list", "--resource=configmaps")
	w.onHub("create", "clusterrolebinding", "flotilla:hub:logs-reader", "--clusterrole=logs-reader", "--serviceaccount=flotilla-system:hub")
	w.send(anAddOnTemplate)
	w.send(anAddOn)
	kubeconfigs := map[string]string{}
	for _, member := range []string{east, west} {
		kubeconfigs[member] = w.addOnKubeconfig(member)
	}
	for member, kubeconfig := range kubeconfigs {
		if who, err := w.KubectlAs(w.Context(), kubeconfig, "auth", "whoami"); err != nil || !strings.Contains(who, "system:open-cluster-management:cluster:"+member+":addon:logs:agent:") {
			w.Errorf("the add-on on %s is known as %s, %v", member, who, err)
		}
		w.until("the add-on on "+member+" may read its own namespace", func() string {
			if _, err := w.KubectlAs(w.Context(), kubeconfig, "get", "configmaps", "-n", member); err != nil {
				return err.Error()
			}
			return ""
		})
		if _, err := w.KubectlAs(w.Context(), kubeconfig, "get", "configmaps", "-n", map[string]string{east: west, west: east}[member]); err == nil {
			w.Errorf("the add-on on %s reads what is another cluster's", member)
		}
	}

	for _, member := range []string{east, west} {
		w.until(member+" is labelled as one whose add-on is available", func() string {
			if got := w.onHub("get", "managedcluster", member, "-o", clusterLabel); got != "available" {
				return fmt.Sprintf("it is %q\n%s", got, w.onHub("get", "managedclusteraddon", "logs", "-n", member, "-o", "yaml"))
			}
			return ""
		})
	}

	w.onHub("delete", "clustermanagementaddon", "logs", "--timeout=60s")
	for _, member := range []string{east, west} {
		w.until("nothing of the add-on is left on "+member, func() string { return w.addOnLeft(member) })
	}
}

// addOnKubeconfig waits for the add-on's credentials on a member, and lays them out as they are in its pod.
func (w *world) addOnKubeconfig(member string) string {
	w.Helper()
	var secret corev1.Secret
	w.until("the add-on has credentials on "+member, func() string {
		key := client.ObjectKey{Namespace: addOnNamespace, Name: "logs-hub-kubeconfig"}
		if err := w.member(member).Get(w.Context(), key, &secret); err != nil {
			return err.Error() + "\n" + w.onHub("get", "managedclusteraddon", "logs", "-n", member, "--ignore-not-found", "-o", "yaml")
		}
		return ""
	})
	folder := w.TempDir()
	for name, content := range secret.Data {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			w.Fatal(err)
		}
	}
	return filepath.Join(folder, "kubeconfig")
}

// addOnLeft is what is still there of the add-on.
func (w *world) addOnLeft(member string) string {
	w.Helper()
	left := w.onHub("get", "managedclusteraddons,manifestworks", "-n", member, "-o", "name", "--ignore-not-found")
	here, err := w.Kubectl(w.Context(), member, "get", "secrets,configmaps", "-n", addOnNamespace, "-o", "name")
	if err != nil {
		return err.Error()
	}
	return strings.Join(containing(left+here, "logs"), " ")
}

func containing(lines, word string) (out []string) {
	for line := range strings.Lines(lines) {
		if strings.Contains(line, word) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

const aPlacementForAddOns = `{"apiVersion":"cluster.open-cluster-management.io/v1beta1","kind":"Placement","metadata":{"namespace":"NAMESPACE","name":"everywhere"},"spec":{}}`

const anAddOnTemplate = `{"apiVersion":"addon.open-cluster-management.io/v1alpha1","kind":"AddOnTemplate","metadata":{"name":"logs-v1"},
"spec":{"addonName":"logs","agentSpec":{"workload":{"manifests":[
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"open-cluster-management-agent-addon","name":"logs-config"},"data":{"cluster":"{{CLUSTER_NAME}}"}}]}},
"registration":[{"type":"KubeClient","kubeClient":{"hubPermissions":[{"type":"CurrentCluster","currentCluster":{"clusterRoleName":"logs-reader"}}]}}]}}`

const anAddOn = `{"apiVersion":"addon.open-cluster-management.io/v1alpha1","kind":"ClusterManagementAddOn","metadata":{"name":"logs"},
"spec":{"supportedConfigs":[{"group":"addon.open-cluster-management.io","resource":"addontemplates","defaultConfig":{"name":"logs-v1"}}],
"installStrategy":{"type":"Placements","placements":[{"namespace":"NAMESPACE","name":"everywhere"}]}}}`
