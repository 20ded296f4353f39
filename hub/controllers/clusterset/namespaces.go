package clusterset

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/sets"
)

// place is one managed namespace of one set.
type place struct{ set, name string }

// wanted are the namespaces that the sets of a cluster manage, in order.
type wanted struct {
	places []place
	// unsure are sets that nobody can tell the members of; what they managed before stays.
	unsure map[string]bool
}

// entries are the managed namespaces to write.
type entries []clusterv1.ClusterSetManagedNamespaceConfig

// Recheck is never: clusters and sets are watched.
func (entries) Recheck() time.Duration { return 0 }

// namespaceSteps tells one cluster which namespaces its sets manage. OCM-5.3
type namespaceSteps struct {
	Hub client.Reader
}

// Observe looks through all sets.
func (s *namespaceSteps) Observe(ctx context.Context, cluster *clusterv1.ManagedCluster) (wanted, error) {
	var all clusterv1beta2.ManagedClusterSetList
	if err := s.Hub.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return wanted{}, fmt.Errorf("list cluster sets: %w", err)
	}
	return wantedOf(cluster, all.Items), nil
}

func wantedOf(cluster *clusterv1.ManagedCluster, all []clusterv1beta2.ManagedClusterSet) wanted {
	seen := wanted{unsure: map[string]bool{}}
	for i := range all {
		set := &all[i]
		in, err := sets.Contains(set, cluster)
		if err != nil {
			seen.unsure[set.Name] = true
		}
		if !in || !set.DeletionTimestamp.IsZero() {
			continue
		}
		for _, n := range set.Spec.ManagedNamespaces {
			seen.places = append(seen.places, place{set.Name, n.Name})
		}
	}
	slices.SortFunc(seen.places, func(a, b place) int { return cmp.Or(cmp.Compare(a.set, b.set), cmp.Compare(a.name, b.name)) })
	return seen
}

// Decide keeps the entries there are where they are, with what the agent said of them, and adds the others. OCM-5.3
func (*namespaceSteps) Decide(cluster *clusterv1.ManagedCluster, seen wanted, _ time.Time) (out entries) {
	have := cluster.Status.ManagedNamespaces
	if !cluster.DeletionTimestamp.IsZero() {
		return have // it keeps what it has until it is gone
	}
	there := map[place]bool{}
	for _, e := range have {
		p := place{e.ClusterSet, e.Name}
		if seen.unsure[e.ClusterSet] || slices.Contains(seen.places, p) {
			there[p] = true
			out = append(out, e)
		}
	}
	for _, p := range slices.Compact(seen.places) {
		if !there[p] {
			e := clusterv1.ClusterSetManagedNamespaceConfig{ClusterSet: p.set}
			e.Name = p.name
			out = append(out, e)
		}
	}
	return out
}

// Act has nothing to do.
func (*namespaceSteps) Act(context.Context, *clusterv1.ManagedCluster, entries) error { return nil }

// Report writes the list; nothing but the conditions inside is the agent's.
func (*namespaceSteps) Report(cluster *clusterv1.ManagedCluster, _ wanted, p entries, _ error) {
	cluster.Status.ManagedNamespaces = p
}
