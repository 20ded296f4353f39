package work

import (
	"cmp"
	"slices"
)

// kindsByRank is the order in which kinds are applied, by kind name only. OCM-10.2
var kindsByRank = [][]string{
	{"PriorityClass", "Namespace", "CustomResourceDefinition", "StorageClass", "PersistentVolume", "PodSecurityPolicy"},
	{"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
	{"NetworkPolicy", "ResourceQuota", "LimitRange", "PodDisruptionBudget", "ServiceAccount"},
	{"Secret", "ConfigMap", "PersistentVolumeClaim"},
	{"Service"},
	{"DaemonSet", "Pod", "ReplicationController", "ReplicaSet", "Deployment", "HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob"},
	{"APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"},
}

// rank of a kind; unlisted kinds follow all listed ones, and what has no kind, being unreadable, comes last.
func rank(kind string) int {
	if kind == "" {
		return len(kindsByRank) + 1
	}
	for i, kinds := range kindsByRank {
		if slices.Contains(kinds, kind) {
			return i
		}
	}
	return len(kindsByRank)
}

// inOrder returns the manifests in the order to apply them; equal ranks keep spec order.
func inOrder(manifests []*manifest) []*manifest {
	out := slices.Clone(manifests)
	slices.SortStableFunc(out, func(a, b *manifest) int { return cmp.Compare(rank(a.meta.Kind), rank(b.meta.Kind)) })
	return out
}
