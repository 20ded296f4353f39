package clusterset

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/sets"
)

// Reasons and messages of ClusterSetEmpty. OCM-8.4
const (
	ReasonNoClusterMatched  = "NoClusterMatched"
	ReasonClustersSelected  = "ClustersSelected"
	messageNoClusterMatched = "No ManagedCluster selected"
)

// verdict is a condition to write, nil for none.
type verdict struct{ condition *metav1.Condition }

// Recheck is never: clusters, sets and bindings are watched.
func (verdict) Recheck() time.Duration { return 0 }

// members are how many clusters a set holds, or why nobody can tell.
type members struct {
	count  int
	broken error
}

// setSteps counts the clusters of one set.
type setSteps struct {
	Hub client.Reader
}

// Observe counts.
func (s *setSteps) Observe(ctx context.Context, set *clusterv1beta2.ManagedClusterSet) (members, error) {
	var all clusterv1.ManagedClusterList
	if err := s.Hub.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return members{}, fmt.Errorf("list clusters: %w", err)
	}
	var seen members
	for i := range all.Items {
		in, err := sets.Contains(set, &all.Items[i])
		if err != nil {
			return members{broken: err}, nil //nolint:nilerr // it is an observation, for its user to mend
		}
		if in {
			seen.count++
		}
	}
	return seen, nil
}

// Decide says whether anybody is in the set. OCM-8.4
func (*setSteps) Decide(set *clusterv1beta2.ManagedClusterSet, seen members, _ time.Time) verdict {
	c := metav1.Condition{
		Type: clusterv1beta2.ManagedClusterSetConditionEmpty, Status: metav1.ConditionTrue, Reason: ReasonNoClusterMatched,
		Message: messageNoClusterMatched, ObservedGeneration: set.Generation,
	}
	switch {
	case seen.broken != nil:
		c.Message += ": " + seen.broken.Error()
	case seen.count > 0:
		c.Status, c.Reason = metav1.ConditionFalse, ReasonClustersSelected
		c.Message = fmt.Sprintf("%d ManagedClusters selected", seen.count)
	}
	return verdict{&c}
}

// Act has nothing to do.
func (*setSteps) Act(context.Context, *clusterv1beta2.ManagedClusterSet, verdict) error { return nil }

// Report writes the verdict.
func (*setSteps) Report(set *clusterv1beta2.ManagedClusterSet, _ members, v verdict, _ error) {
	meta.SetStatusCondition(&set.Status.Conditions, *v.condition)
}
