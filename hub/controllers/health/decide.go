package health

import (
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

// Reasons and messages of the conditions written here. OCM-4.2
const (
	ReasonLeaseStopped  = "ManagedClusterLeaseUpdateStopped"
	ReasonClockSynced   = "ManagedClusterClockSynced"
	ReasonClockOff      = "ManagedClusterClockOutOfSync"
	messageLeaseStopped = "Registration agent stopped updating its lease."
	messageClockSynced  = "The clock of the managed cluster is synced with the hub's."

	// LeaseName is the lease that an agent renews, in the namespace of its cluster. OCM-4.1
	LeaseName = "managed-cluster-lease"

	// graceFactor is how many lease durations without renewal end the hub's patience. OCM-4.1
	graceFactor = 5
	// defaultLease is the duration that 0 stands for. OCM-4.1
	defaultLease = 60 * time.Second
)

// facts are what the hub has of a cluster besides the object itself.
type facts struct {
	lease *coordinationv1.Lease
	// home says that the cluster's namespace is there to hold a lease.
	home bool
	// beat is the last renewal that this process saw happen, if it saw any.
	beat *beat
}

// plan writes one cluster's lease, conditions and taints. Conditions go first: taints follow from what was observed,
// and both are writes to the same object.
type plan struct {
	lease     *coordinationv1.Lease
	lost      *time.Time // the agent stopped renewing after this; say so
	available *metav1.Condition
	clock     *metav1.Condition
	retaint   bool
	taints    []clusterv1.Taint
	recheck   time.Duration
}

// Recheck is when the lease runs out. OCM-4.1
func (p plan) Recheck() time.Duration { return p.recheck }

// decide judges a cluster by its lease. It never finds a cluster available: only its agent knows that. OCM-4.1
func decide(cluster *clusterv1.ManagedCluster, seen facts, now time.Time) plan {
	var p plan
	gone := !cluster.DeletionTimestamp.IsZero()
	known := meta.FindStatusCondition(cluster.Status.Conditions, clusterv1.ManagedClusterConditionHubAccepted) != nil
	available := meta.FindStatusCondition(cluster.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
	if known {
		p.watchLease(cluster, seen, available, gone, now)
	}
	if seen.beat != nil && !gone {
		p.clock = changed(cluster, clockCondition(*seen.beat, grace(cluster)))
	}
	if p.available == nil && p.clock == nil && !gone {
		p.taints, p.retaint = taints(cluster.Spec.Taints, available, now)
	}
	return p
}

// watchLease makes the lease of a cluster that has none, and judges the one there is.
func (p *plan) watchLease(cluster *clusterv1.ManagedCluster, seen facts, available *metav1.Condition, gone bool, now time.Time) {
	silent := available != nil && available.Status == metav1.ConditionUnknown
	switch {
	case seen.lease == nil && gone: // OCM-4.1
		if !silent {
			p.available = leaseStopped()
		}
	case seen.lease == nil:
		if seen.home {
			p.lease = newLease(cluster.Name, now)
		}
	case silent: // the next renewal is an event
	default:
		renewed := renewal(seen.lease)
		if left := renewed.Add(grace(cluster)).Sub(now); left > 0 {
			p.recheck = left
			return
		}
		p.available, p.lost = leaseStopped(), &renewed
	}
}

// grace follows the cluster's lease duration, not the lease's own. OCM-4.1
func grace(cluster *clusterv1.ManagedCluster) time.Duration {
	if s := cluster.Spec.LeaseDurationSeconds; s > 0 {
		return graceFactor * time.Duration(s) * time.Second
	}
	return graceFactor * defaultLease
}

// renewal is when the lease was renewed last; the making counts as the first time.
func renewal(lease *coordinationv1.Lease) time.Time {
	if lease.Spec.RenewTime != nil {
		return lease.Spec.RenewTime.Time
	}
	return lease.CreationTimestamp.Time
}

func newLease(cluster string, now time.Time) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: LeaseName, Namespace: cluster, Labels: map[string]string{clusterv1.ClusterNameLabelKey: cluster},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: new(LeaseName), RenewTime: &metav1.MicroTime{Time: now}},
	}
}

func leaseStopped() *metav1.Condition {
	return &metav1.Condition{Type: clusterv1.ManagedClusterConditionAvailable, Status: metav1.ConditionUnknown,
		Reason: ReasonLeaseStopped, Message: messageLeaseStopped}
}

// clockCondition compares a renewal with the moment it arrived. OCM-4.3
func clockCondition(b beat, grace time.Duration) metav1.Condition {
	off := b.heard.Sub(b.renewed)
	if off.Abs() < grace {
		return metav1.Condition{Type: clusterv1.ManagedClusterConditionClockSynced, Status: metav1.ConditionTrue,
			Reason: ReasonClockSynced, Message: messageClockSynced}
	}
	side := "behind"
	if off < 0 {
		side = "ahead of"
	}
	return metav1.Condition{Type: clusterv1.ManagedClusterConditionClockSynced, Status: metav1.ConditionFalse, Reason: ReasonClockOff,
		Message: fmt.Sprintf("The clock of the managed cluster is %s %s the hub's, more than the %s allowed; set it right, for example with NTP.",
			off.Abs().Round(time.Second), side, grace)}
}

// changed is the condition if it says something new. The offset in a message changes with every renewal and is not new.
func changed(cluster *clusterv1.ManagedCluster, c metav1.Condition) *metav1.Condition {
	if have := meta.FindStatusCondition(cluster.Status.Conditions, c.Type); have != nil && have.Status == c.Status && have.Reason == c.Reason {
		return nil
	}
	return &c
}

// taints keeps everybody else's taints in their order and says whether ours have to change. Admission owns timeAdded, so
// a new taint comes without; where no admission gave it one, it gets it in the next round. OCM-4.4
func taints(have []clusterv1.Taint, available *metav1.Condition, now time.Time) ([]clusterv1.Taint, bool) {
	want := clusterv1.ManagedClusterTaintUnreachable
	switch {
	case available != nil && available.Status == metav1.ConditionTrue:
		want = ""
	case available != nil && available.Status == metav1.ConditionFalse:
		want = clusterv1.ManagedClusterTaintUnavailable
	}
	found, timeless := false, false
	kept := slices.DeleteFunc(slices.Clone(have), func(t clusterv1.Taint) bool {
		if t.Key != clusterv1.ManagedClusterTaintUnavailable && t.Key != clusterv1.ManagedClusterTaintUnreachable {
			return false
		}
		right := t.Key == want && t.Effect == clusterv1.TaintEffectNoSelect && !found
		found = found || right
		return !right
	})
	if want != "" && !found {
		kept = append(kept, clusterv1.Taint{Key: want, Effect: clusterv1.TaintEffectNoSelect})
		return kept, true
	}
	for i := range kept {
		if kept[i].Key == want && kept[i].TimeAdded.IsZero() {
			kept[i].TimeAdded, timeless = metav1.NewTime(now), true
		}
	}
	return kept, timeless || len(kept) != len(have)
}
