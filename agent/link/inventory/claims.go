package inventory

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// The claims this agent writes on its own cluster beside those of zones and regions, and the label that keeps a claim from the hub.
const (
	claimID      = "id.k8s.io"
	claimVersion = "kubeversion.open-cluster-management.io"
	spokeOnly    = "open-cluster-management.io/spoke-only"

	longestClaim = 1024 // OCM-5.2
)

// Known is what the claims of ours are made from.
type Known struct {
	ClusterID string // UID of namespace kube-system
	Version   string // GitVersion of the local API server
	Nodes     []corev1.Node
}

// Claims are the values to have, by name. What is not known is left out, and then left alone.
func (k Known) Claims() map[string]string {
	out := map[string]string{}
	for name, value := range map[string]string{
		claimID: k.ClusterID, claimVersion: k.Version,
		appsv1alpha1.ClaimZones:   join(k.Nodes, corev1.LabelTopologyZone),
		appsv1alpha1.ClaimRegions: join(k.Nodes, corev1.LabelTopologyRegion),
	} {
		if value != "" {
			out[name] = value
		}
	}
	return out
}

// join lists the distinct values of a node label, sorted. What no longer fits a claim is dropped whole, because
// half a zone name would match nothing or, worse, another zone.
func join(nodes []corev1.Node, label string) string {
	var values []string
	for i := range nodes {
		if v := nodes[i].Labels[label]; v != "" {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	var out strings.Builder
	for _, v := range slices.Compact(values) {
		if out.Len()+len(v)+1 > longestClaim {
			break
		}
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.WriteString(v)
	}
	return out.String()
}

// Reported turns ClusterClaims into what the hub is told: reserved names first, then up to most others, each
// part by name. dropped are the names that did not fit. OCM-5.2
func Reported(claims []clusterv1alpha1.ClusterClaim, reservedSuffixes []string, most int) (out []clusterv1.ManagedClusterClaim, dropped []string) {
	var reserved, custom []clusterv1.ManagedClusterClaim
	for i := range claims {
		c := &claims[i]
		if _, hidden := c.Labels[spokeOnly]; hidden {
			continue
		}
		claim := clusterv1.ManagedClusterClaim{Name: c.Name, Value: c.Spec.Value}
		if isReserved(c.Name, reservedSuffixes) {
			reserved = append(reserved, claim)
		} else {
			custom = append(custom, claim)
		}
	}
	byName := func(a, b clusterv1.ManagedClusterClaim) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(reserved, byName)
	slices.SortFunc(custom, byName)
	if len(custom) > most {
		for _, c := range custom[most:] {
			dropped = append(dropped, c.Name)
		}
		custom = custom[:most]
	}
	return append(reserved, custom...), dropped
}

// isReserved also counts the claims of ours: twenty custom claims of a user must not push the zones out, by
// which the hub places workloads.
func isReserved(name string, suffixes []string) bool {
	if slices.Contains(clusterv1alpha1.ReservedClusterClaimNames[:], name) || name == appsv1alpha1.ClaimZones || name == appsv1alpha1.ClaimRegions {
		return true
	}
	return slices.ContainsFunc(suffixes, func(s string) bool { return s != "" && strings.HasSuffix(name, s) })
}
