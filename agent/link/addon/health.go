package addon

import (
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"open-cluster-management.io/api/addon/v1alpha1"
)

// grace is how old the lease of an add-on that is well may be: five times what it is renewed in. OCM-19.6
const grace = 5 * time.Minute

// health judges an add-on by its lease, nil if there is none, and says when the answer may change by time alone. The
// clocks are those of this cluster and of the agent, not the hub's. OCM-19.6
func health(addOn, namespace string, lease *coordinationv1.Lease, now time.Time) (metav1.Condition, time.Duration) {
	c := metav1.Condition{Type: v1alpha1.ManagedClusterAddOnConditionAvailable}
	switch {
	case lease == nil:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.AddonAvailableReasonLeaseLeaseNotFound
		c.Message = fmt.Sprintf("The status of add-on %s is unknown: lease %s/%s is not there, its agent has not made it yet.", addOn, namespace, addOn)
	case lease.Spec.RenewTime != nil && now.Sub(lease.Spec.RenewTime.Time) < grace:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.AddonAvailableReasonLeaseLeaseUpdated
		c.Message = fmt.Sprintf("Add-on %s is available.", addOn)
		return c, lease.Spec.RenewTime.Add(grace).Sub(now)
	default:
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.AddonAvailableReasonLeaseUpdateStopped
		c.Message = fmt.Sprintf("Add-on %s is not available: lease %s/%s was %s.", addOn, namespace, addOn, renewed(lease))
	}
	return c, 0
}

func renewed(lease *coordinationv1.Lease) string {
	if lease.Spec.RenewTime == nil {
		return "never renewed"
	}
	return fmt.Sprintf("last renewed at %s, over %s ago", lease.Spec.RenewTime.UTC().Format(time.RFC3339), grace)
}
