package cleanup

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	"github.com/flotilla-project/flotilla/hub/brake/order"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
)

const (
	// Finalizer keeps a cluster until its namespace holds nothing of the kinds that stand for it. OCM-7.2
	Finalizer = "cluster.open-cluster-management.io/resource-cleanup"

	// recheck is how often what is left is counted. OCM-7.2
	recheck = 5 * time.Second
	// shown is how many names a message holds.
	shown = 3
)

// left is what the cluster's namespace still holds of one kind.
type left struct {
	kind    string
	objects []metav1.PartialObjectMetadata
}

// facts are what is left, in the order in which kinds are removed.
type facts []left

type plan struct {
	add, drop bool
	remove    []metav1.PartialObjectMetadata
	verdict   *metav1.Condition
	wait      time.Duration
}

// Recheck counts again while something is left: the kinds are not all served, so not all can be watched.
func (p plan) Recheck() time.Duration { return p.wait }

// decide removes what is left of a leaving cluster, one kind and one priority at a time. Switched off, it removes
// nothing and keeps nobody.
func decide(cluster *clusterv1.ManagedCluster, seen facts, on bool) plan {
	held := slices.Contains(cluster.Finalizers, Finalizer)
	switch {
	case !on, detach.Ordered(cluster) && !cluster.DeletionTimestamp.IsZero():
		return plan{drop: held} // whoever detaches a cluster wants its workloads to stay
	case cluster.DeletionTimestamp.IsZero():
		return plan{add: !held}
	case !held:
		return plan{}
	}
	for _, l := range seen {
		if len(l.objects) > 0 {
			return plan{remove: next(l.objects), verdict: remaining(l), wait: recheck}
		}
	}
	if meta.IsStatusConditionTrue(cluster.Status.Conditions, clusterv1.ManagedClusterConditionDeleting) {
		return plan{drop: true}
	}
	// Said first and let go in the round that this brings, or nobody would see it.
	return plan{verdict: verdict(metav1.ConditionTrue, clusterv1.ConditionDeletingReasonNoResource, "No resource of the cluster is left.")}
}

// next are the objects of the lowest priority that is left, unless they go already; works that go without the order for it
// are given that. The next priority waits for them.
func next(objects []metav1.PartialObjectMetadata) (now []metav1.PartialObjectMetadata) {
	lowest := slices.MinFunc(objects, func(a, b metav1.PartialObjectMetadata) int { return cmp.Compare(priority(a), priority(b)) })
	for _, o := range objects {
		if priority(o) == priority(lowest) && (o.DeletionTimestamp.IsZero() || o.Kind == workKind && !order.Confirmed(&o)) {
			now = append(now, o)
		}
	}
	return now
}

// priority is 0 to 100; what is absent or makes no sense is 0. OCM-7.2
func priority(o metav1.PartialObjectMetadata) int {
	n, err := strconv.Atoi(o.Annotations[clusterv1.CleanupPriorityAnnotationKey])
	if err != nil || n < 0 || n > 100 {
		return 0
	}
	return n
}

// remaining is False while something is left, which is easily taken for the opposite. OCM-7.2
func remaining(l left) *metav1.Condition {
	names := make([]string, 0, shown)
	for _, o := range l.objects[:min(shown, len(l.objects))] {
		names = append(names, o.Name)
	}
	more := ""
	if len(l.objects) > shown {
		more = ", ..."
	}
	return verdict(metav1.ConditionFalse, clusterv1.ConditionDeletingReasonResourceRemaining,
		fmt.Sprintf("%d of kind %s are left (%s%s); each goes when the cluster's agent has removed it.", len(l.objects), l.kind, strings.Join(names, ", "), more))
}

func verdict(status metav1.ConditionStatus, reason, message string) *metav1.Condition {
	return &metav1.Condition{Type: clusterv1.ManagedClusterConditionDeleting, Status: status, Reason: reason, Message: message}
}
