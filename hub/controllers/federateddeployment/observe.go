package federateddeployment

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// Observe reads. Any read that fails ends the round before anything is decided.
func (s *steps) Observe(ctx context.Context, obj *v1alpha1.FederatedDeployment) (facts, error) {
	seen := facts{malformed: s.malformed, template: s.template}
	var err error
	if seen.works, err = worksOf(ctx, s.hub, obj); err != nil {
		return facts{}, err
	}
	if seen.placement, err = placementOf(ctx, s.hub, obj); err != nil {
		return facts{}, err
	}
	if seen.clusters, err = s.clustersFor(ctx, obj, seen); err != nil {
		return facts{}, err
	}
	if !obj.DeletionTimestamp.IsZero() {
		return s.lastLook(ctx, obj, seen)
	}
	if seen.revisions, err = revisionsOf(ctx, s.hub, obj); err != nil {
		return facts{}, err
	}
	if seen.materials, err = s.shelf.fetch(ctx, obj, seen); err != nil {
		return facts{}, err
	}
	seen.strangers = map[string][]*workv1.ManifestWork{}
	for _, name := range subsetNames(obj, seen) {
		if seen.strangers[name], err = strangersOf(ctx, s.hub, obj, name); err != nil {
			return facts{}, err
		}
	}
	return seen, nil
}

// lastLook asks the API server itself before a deleted object is let go: a cache may not know the last works of a
// leader before us.
func (s *steps) lastLook(ctx context.Context, obj *v1alpha1.FederatedDeployment, seen facts) (facts, error) {
	if len(seen.works) > 0 {
		return seen, nil
	}
	var found workv1.ManifestWorkList
	err := s.live.List(ctx, &found, client.MatchingLabels{originOf(obj).uid: string(obj.UID)})
	if err != nil {
		return facts{}, fmt.Errorf("list works that may be left: %w", err)
	}
	seen.works = sorted(found.Items, obj)
	return seen, nil
}

// clustersFor reads the clusters that are used, and all of them while a subset looks for one.
func (s *steps) clustersFor(ctx context.Context, obj *v1alpha1.FederatedDeployment, seen facts) (map[string]cluster, error) {
	clusters := map[string]cluster{}
	of := bySubset(seen.works)
	search := func(subset v1alpha1.Subset) bool { return searches(subset, of[subset.Name]) }
	if slices.ContainsFunc(obj.Spec.Topology.Subsets, search) {
		var all clusterv1.ManagedClusterList
		if err := s.hub.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list clusters: %w", err)
		}
		for i := range all.Items {
			clusters[all.Items[i].Name] = clusterFacts(&all.Items[i])
		}
		return clusters, nil
	}
	var names []string
	for _, subset := range obj.Spec.Topology.Subsets {
		if subset.Cluster != "" {
			names = append(names, subset.Cluster)
		}
	}
	if seen.placement != nil {
		names = append(names, seen.placement.clusters()...)
	}
	for _, w := range seen.works {
		names = append(names, w.cluster())
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		var c clusterv1.ManagedCluster
		err := s.hub.Get(ctx, client.ObjectKey{Name: name}, &c)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("get cluster %s: %w", name, err)
		}
		if err == nil {
			clusters[name] = clusterFacts(&c)
		}
	}
	return clusters, nil
}

// templateOf is spec.template as it was written.
func templateOf(u *unstructured.Unstructured) map[string]any {
	template, _, _ := unstructured.NestedMap(u.Object, "spec", "template")
	return template
}

// subsetNames are those that the spec, or the Placement, has.
func subsetNames(obj *v1alpha1.FederatedDeployment, seen facts) []string {
	var names []string
	for _, s := range obj.Spec.Topology.Subsets {
		names = append(names, s.Name)
	}
	if seen.placement != nil {
		names = append(names, seen.placement.clusters()...)
		for _, w := range seen.works {
			names = append(names, w.subset())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
