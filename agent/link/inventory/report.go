package inventory

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

// Facts are what one round saw. A nil part could not be read this time, and is left as it was.
type Facts struct {
	Available *metav1.Condition // nil: keep
	Healthy   bool
	Nodes     *[]corev1.Node
	Version   string
	Claims    *[]clusterv1.ManagedClusterClaim
	// Namespaces are the managed namespaces with what became of them. The list is the hub's: it is the one of the
	// cluster that was looked at, and a patch of a newer cluster conflicts. OCM-5.3
	Namespaces *[]clusterv1.ClusterSetManagedNamespaceConfig
	dropped    []string // claims beyond the limit
}

// Silent says that nothing may be written to a ManagedCluster's status: we are not accepted, so we have no right
// to, or the hub holds our clock for wrong and with it all times we would write. OCM-4.3
func Silent(cluster *clusterv1.ManagedCluster) bool {
	conditions := cluster.Status.Conditions
	return !meta.IsStatusConditionTrue(conditions, clusterv1.ManagedClusterConditionHubAccepted) ||
		meta.IsStatusConditionFalse(conditions, clusterv1.ManagedClusterConditionClockSynced)
}

// Report writes what was seen into cluster's status, in memory and in the order of OCM-4.2.
func Report(cluster *clusterv1.ManagedCluster, seen Facts) {
	status := &cluster.Status
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: clusterv1.ManagedClusterConditionJoined, Status: metav1.ConditionTrue, Reason: "ManagedClusterJoined",
		Message: "Managed cluster joined", ObservedGeneration: cluster.Generation,
	})
	if seen.Available != nil {
		meta.SetStatusCondition(&status.Conditions, *seen.Available)
	}
	if !seen.Healthy {
		return // what an API server in trouble says of its nodes and claims is not worth telling
	}
	if seen.Nodes != nil {
		status.Capacity = Capacity(status.Capacity, *seen.Nodes)
		status.Allocatable = Allocatable(status.Allocatable, *seen.Nodes)
	}
	if seen.Version != "" {
		status.Version.Kubernetes = seen.Version
	}
	if seen.Claims != nil {
		status.ClusterClaims = *seen.Claims
	}
	if seen.Namespaces != nil && len(*seen.Namespaces) > 0 {
		status.ManagedNamespaces = *seen.Namespaces
	}
}
