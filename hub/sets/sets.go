// Package sets says which clusters a ManagedClusterSet holds. It is pure; it reads and writes nothing.
package sets

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
)

// Label names the one set of selector type ExclusiveClusterSetLabel that a cluster is in. OCM-8.1
const Label = clusterv1beta2.ClusterSetLabel

// Contains says whether the set holds the cluster. A cluster on its way out is in no set, and a set whose selector type
// nobody knows holds none. Only a label selector that makes no sense is an error. OCM-8.1
func Contains(set *clusterv1beta2.ManagedClusterSet, cluster *clusterv1.ManagedCluster) (bool, error) {
	chosen, err := Selector(set)
	if err != nil || !cluster.DeletionTimestamp.IsZero() {
		return false, err
	}
	return chosen.Matches(labels.Set(cluster.Labels)), nil
}

// Selector is the set's choice as a selector of cluster labels. It does not know which clusters are on their way out.
func Selector(set *clusterv1beta2.ManagedClusterSet) (labels.Selector, error) {
	switch set.Spec.ClusterSelector.SelectorType {
	case clusterv1beta2.ExclusiveClusterSetLabel, "":
		return labels.SelectorFromSet(labels.Set{Label: set.Name}), nil
	case clusterv1beta2.LabelSelector:
		chosen, err := metav1.LabelSelectorAsSelector(set.Spec.ClusterSelector.LabelSelector)
		if err != nil {
			return nil, fmt.Errorf("spec.clusterSelector.labelSelector of ManagedClusterSet %s: %w", set.Name, err)
		}
		return chosen, nil
	}
	return labels.Nothing(), nil
}
