package health

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// east is an accepted cluster that carries the taint its availability asks for.
func east(change ...func(*clusterv1.ManagedCluster)) *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "east", UID: "east-1"},
		Spec:       clusterv1.ManagedClusterSpec{HubAcceptsClient: true, LeaseDurationSeconds: 60},
	}
	set(clusterv1.ManagedClusterConditionHubAccepted, metav1.ConditionTrue, "HubClusterAdminAccepted")(c)
	for _, change := range change {
		change(c)
	}
	return c
}

func set(kind string, status metav1.ConditionStatus, reason string) func(*clusterv1.ManagedCluster) {
	return func(c *clusterv1.ManagedCluster) {
		c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason})
	}
}

func available(status metav1.ConditionStatus) func(*clusterv1.ManagedCluster) {
	return set(clusterv1.ManagedClusterConditionAvailable, status, "Whatever")
}

func tainted(keys ...string) func(*clusterv1.ManagedCluster) {
	return func(c *clusterv1.ManagedCluster) {
		for _, key := range keys {
			c.Spec.Taints = append(c.Spec.Taints, taint(key, noon.Add(-time.Hour)))
		}
	}
}

// timeless is as a taint is sent: admission says when it was added.
func timeless(key string) clusterv1.Taint {
	return clusterv1.Taint{Key: key, Effect: clusterv1.TaintEffectNoSelect}
}

func taint(key string, added time.Time) clusterv1.Taint {
	return clusterv1.Taint{Key: key, Effect: clusterv1.TaintEffectNoSelect, TimeAdded: metav1.NewTime(added)}
}

func leaving(c *clusterv1.ManagedCluster) { c.DeletionTimestamp = &metav1.Time{Time: noon} }
func neverAccepted(c *clusterv1.ManagedCluster) {
	c.Status.Conditions, c.Spec.HubAcceptsClient = nil, false
}
func period(seconds int32) func(*clusterv1.ManagedCluster) {
	return func(c *clusterv1.ManagedCluster) { c.Spec.LeaseDurationSeconds = seconds }
}

// renewed is the lease with its last renewal so long before noon.
func renewed(ago time.Duration) *coordinationv1.Lease { return newLease("east", noon.Add(-ago)) }

const (
	unreachable = clusterv1.ManagedClusterTaintUnreachable
	unavailable = clusterv1.ManagedClusterTaintUnavailable
)

func TestDecide(t *testing.T) {
	longAgo := noon.Add(-time.Hour)
	for name, tc := range map[string]struct {
		cluster *clusterv1.ManagedCluster
		seen    facts
		want    plan
	}{
		// OCM-4.1
		"a cluster that nobody accepted gets no lease": {
			cluster: east(neverAccepted, tainted(unreachable)), seen: facts{home: true},
		},
		"an accepted cluster gets a lease": {
			cluster: east(tainted(unreachable)), seen: facts{home: true}, want: plan{lease: newLease("east", noon)},
		},
		"a denied cluster gets a lease, as any with a verdict": {
			cluster: east(neverAccepted, set(clusterv1.ManagedClusterConditionHubAccepted, metav1.ConditionFalse, "HubClusterAdminDenied"), tainted(unreachable)),
			seen:    facts{home: true}, want: plan{lease: newLease("east", noon)},
		},
		"no namespace, no lease": {cluster: east(tainted(unreachable))},
		"a fresh lease is looked at again exactly when it runs out": {
			cluster: east(available(metav1.ConditionTrue)), seen: facts{lease: renewed(time.Minute)},
			want: plan{recheck: 4 * time.Minute},
		},
		"grace follows the cluster's lease duration": {
			cluster: east(available(metav1.ConditionTrue), period(10)), seen: facts{lease: renewed(20 * time.Second)},
			want: plan{recheck: 30 * time.Second},
		},
		"a duration of 0 counts as 60": {
			cluster: east(available(metav1.ConditionTrue), period(0)), seen: facts{lease: renewed(299 * time.Second)},
			want: plan{recheck: time.Second},
		},
		"a lease that ran out makes the cluster Unknown": {
			cluster: east(available(metav1.ConditionTrue)), seen: facts{lease: renewed(time.Hour)},
			want: plan{available: leaseStopped(), lost: &longAgo},
		},
		"a cluster that never reported turns Unknown as well": {
			cluster: east(tainted(unreachable)), seen: facts{lease: renewed(time.Hour)},
			want: plan{available: leaseStopped(), lost: &longAgo},
		},
		"an Unknown cluster is not given up twice": {
			cluster: east(available(metav1.ConditionUnknown), tainted(unreachable)), seen: facts{lease: renewed(time.Hour)},
		},
		"a fresh lease does not make an Unknown cluster available": {
			cluster: east(available(metav1.ConditionUnknown), tainted(unreachable)), seen: facts{lease: renewed(0)},
		},
		"a leaving cluster without a lease is Unknown at once": {
			cluster: east(leaving, available(metav1.ConditionTrue)), want: plan{available: leaseStopped()},
		},
		// OCM-4.3
		"a beat in time says that the clocks agree": {
			cluster: east(available(metav1.ConditionTrue)), seen: facts{lease: renewed(0), beat: &beat{noon, noon.Add(time.Second)}},
			want: plan{recheck: 5 * time.Minute, clock: clockSays(metav1.ConditionTrue, ReasonClockSynced, messageClockSynced)},
		},
		"that is said once": {
			cluster: east(available(metav1.ConditionTrue), set(clusterv1.ManagedClusterConditionClockSynced, metav1.ConditionTrue, ReasonClockSynced)),
			seen:    facts{lease: renewed(0), beat: &beat{noon, noon.Add(time.Minute)}},
			want:    plan{recheck: 5 * time.Minute},
		},
		"a clock that is behind": {
			cluster: east(available(metav1.ConditionUnknown), tainted(unreachable)),
			seen:    facts{lease: renewed(time.Hour), beat: &beat{longAgo, noon}},
			want: plan{clock: clockSays(metav1.ConditionFalse, ReasonClockOff,
				"The clock of the managed cluster is 1h0m0s behind the hub's, more than the 5m0s allowed; set it right, for example with NTP.")},
		},
		"a clock that is ahead, by just too much": {
			cluster: east(available(metav1.ConditionTrue)),
			seen:    facts{lease: renewed(-5 * time.Minute), beat: &beat{noon.Add(5 * time.Minute), noon}},
			want: plan{recheck: 10 * time.Minute, clock: clockSays(metav1.ConditionFalse, ReasonClockOff,
				"The clock of the managed cluster is 5m0s ahead of the hub's, more than the 5m0s allowed; set it right, for example with NTP.")},
		},
		// OCM-4.4
		"a new cluster is tainted unreachable before it ever joins": {
			cluster: east(neverAccepted), want: plan{retaint: true, taints: []clusterv1.Taint{timeless(unreachable)}},
		},
		"an available cluster loses both taints and keeps others": {
			cluster: east(available(metav1.ConditionTrue), tainted(unreachable, "gpu", unavailable)), seen: facts{lease: renewed(0)},
			want: plan{recheck: 5 * time.Minute, retaint: true, taints: []clusterv1.Taint{taint("gpu", longAgo)}},
		},
		"a failing cluster is unavailable, not unreachable": {
			cluster: east(available(metav1.ConditionFalse), tainted(unreachable)), seen: facts{lease: renewed(0)},
			want: plan{recheck: 5 * time.Minute, retaint: true, taints: []clusterv1.Taint{timeless(unavailable)}},
		},
		"a taint of a wrong effect is put right": {
			cluster: east(available(metav1.ConditionUnknown), func(c *clusterv1.ManagedCluster) {
				c.Spec.Taints = []clusterv1.Taint{{Key: unreachable, Effect: clusterv1.TaintEffectPreferNoSelect}}
			}),
			seen: facts{lease: renewed(time.Hour)}, want: plan{retaint: true, taints: []clusterv1.Taint{timeless(unreachable)}},
		},
		"a taint that admission gave no time gets it": {
			cluster: east(neverAccepted, func(c *clusterv1.ManagedCluster) { c.Spec.Taints = []clusterv1.Taint{timeless(unreachable)} }),
			want:    plan{retaint: true, taints: []clusterv1.Taint{taint(unreachable, noon)}},
		},
		"a leaving cluster's taints stay": {cluster: east(leaving, available(metav1.ConditionUnknown))},
	} {
		t.Run(name, func(t *testing.T) {
			got := decide(tc.cluster, tc.seen, noon)
			if !got.retaint {
				got.taints = nil
			}
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(plan{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func clockSays(status metav1.ConditionStatus, reason, message string) *metav1.Condition {
	return &metav1.Condition{Type: clusterv1.ManagedClusterConditionClockSynced, Status: status, Reason: reason, Message: message}
}

func TestALeaseNeverRenewedCountsFromItsMaking(t *testing.T) {
	lease := renewed(0)
	lease.Spec.RenewTime, lease.CreationTimestamp = nil, metav1.NewTime(noon.Add(-time.Minute))
	if got := decide(east(available(metav1.ConditionTrue)), facts{lease: lease}, noon); got.recheck != 4*time.Minute {
		t.Errorf("rechecked after %v", got.recheck)
	}
}
