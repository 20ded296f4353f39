// Package stepdown says which workloads can be stopped for as long as their cluster does not hear its hub, so that the
// agent, which stops them, and the hub, which starts others in their place, mean the same. It is pure.
package stepdown

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Refusal is why a workload cannot be left without replicas for a while; empty if it can. A CloneSet deletes the claims of
// the instances that it removes (WL-1.4), while StatefulSets can be told to keep them.
func Refusal(workload *unstructured.Unstructured) string {
	claims, _, _ := unstructured.NestedSlice(workload.Object, "spec", "volumeClaimTemplates")
	if workload.GetKind() != "CloneSet" || len(claims) == 0 {
		return ""
	}
	return fmt.Sprintf("CloneSet %s/%s has volumeClaimTemplates, and without replicas its volumes would be deleted", workload.GetNamespace(), workload.GetName())
}
