// Package protection keeps workloads from being deleted that carry the label policy.kruise.io/delete-protection. It is
// pure, and switched by the gate ResourcesDeletionProtection.
package protection

import (
	"fmt"

	policy "github.com/openkruise/kruise-api/policy/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Refusal says why a workload of so many replicas may not be deleted; empty if it may. // NP-9 (DP-1), WL-7.2
func Refusal(o metav1.Object, replicas *int32) string {
	if o.GetDeletionTimestamp() != nil {
		return ""
	}
	switch value := o.GetLabels()[policy.DeletionProtectionKey]; value {
	case policy.DeletionProtectionTypeAlways:
		return fmt.Sprintf("it is protected by label %s=%s; remove the label first", policy.DeletionProtectionKey, value)
	case policy.DeletionProtectionTypeCascading:
		if replicas != nil && *replicas > 0 {
			return fmt.Sprintf("it has %d replicas and is protected by label %s=%s; scale it to 0 or remove the label first",
				*replicas, policy.DeletionProtectionKey, value)
		}
	}
	return ""
}
