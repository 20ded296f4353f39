package workset

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
	"github.com/flotilla-project/flotilla/hub/rollout"
)

// facts are what the hub has for a set. Works are shared with the cache: read only.
type facts struct {
	// works of the set, oldest first.
	works []*workv1.ManifestWork
	// placements that the set refers to, by name. One that does not exist is not in it.
	placements map[string]placement
	// silent are the clusters that are known not to be heard from, leaving those that are being deleted, and detaching those
	// that somebody lets go with all that runs in them.
	silent, leaving, detaching map[string]bool
	// braked keeps works of which too many at once are no longer selected.
	braked bool
	// leftAt is since when the cluster of a work has not been selected.
	leftAt map[types.UID]time.Time
}

// placement is what a Placement has decided.
type placement struct {
	// selected clusters, with their decision group.
	selected map[string]rollout.Group
	// decisions is the number of PlacementDecisions.
	decisions int
	// announced is how many clusters the Placement says it has selected.
	announced int
}

// undecided: there is no decision yet, not even an empty one, or the decisions do not hold all that the Placement says it
// selected. What they lack may come back. OCM-17.1
func (p placement) undecided() bool { return p.decisions == 0 || len(p.selected) < p.announced }

// groups is the number of decision groups.
func (p placement) groups() int {
	seen := map[rollout.Group]bool{}
	for _, g := range p.selected {
		seen[g] = true
	}
	return len(seen)
}

// Observe reads. Any read that fails ends the round before anything is decided.
func (s *Steps) Observe(ctx context.Context, obj *set) (facts, error) {
	var found workv1.ManifestWorkList
	if err := s.Hub.List(ctx, &found, client.MatchingFields{bySet: labelOf(obj)}, client.UnsafeDisableDeepCopy); err != nil {
		return facts{}, fmt.Errorf("list works of %s/%s: %w", obj.Namespace, obj.Name, err)
	}
	seen := facts{works: sorted(found.Items), placements: map[string]placement{}, braked: s.Braked}
	if !obj.DeletionTimestamp.IsZero() {
		s.left.forget(obj.UID)
		return s.lastLook(ctx, obj, seen)
	}
	for _, ref := range obj.Spec.PlacementRefs {
		p, err := s.placement(ctx, obj.Namespace, ref.Name)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return facts{}, err
		}
		seen.placements[ref.Name] = p
	}
	if err := s.clusters(ctx, obj, &seen); err != nil {
		return facts{}, err
	}
	seen.leftAt = s.left.note(obj.UID, unselected(seen), s.Clock.Now())
	return seen, nil
}

// lastLook asks the API server itself before a deleted set is let go: a cache may not know the last works of a leader
// before us.
func (s *Steps) lastLook(ctx context.Context, obj *set, seen facts) (facts, error) {
	if slices.ContainsFunc(seen.works, staying) || invalidName(obj) != "" {
		return seen, nil
	}
	var found workv1.ManifestWorkList
	err := s.Live.List(ctx, &found, client.MatchingLabels{workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey: labelOf(obj)})
	if err != nil {
		return facts{}, fmt.Errorf("list works that may be left: %w", err)
	}
	seen.works = sorted(found.Items)
	return seen, nil
}

func sorted(found []workv1.ManifestWork) []*workv1.ManifestWork {
	works := make([]*workv1.ManifestWork, len(found))
	for i := range found {
		works[i] = &found[i]
	}
	slices.SortFunc(works, func(a, b *workv1.ManifestWork) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return works
}

// placement joins the decisions of a Placement by label. OCM-17.1
func (s *Steps) placement(ctx context.Context, namespace, name string) (placement, error) {
	var p clusterv1beta1.Placement
	if err := s.Hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &p); err != nil {
		return placement{}, fmt.Errorf("get placement %s/%s: %w", namespace, name, err)
	}
	var found clusterv1beta1.PlacementDecisionList
	err := s.Hub.List(ctx, &found, client.InNamespace(namespace), client.MatchingLabels{clusterv1beta1.PlacementLabel: name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return placement{}, fmt.Errorf("list decisions of placement %s/%s: %w", namespace, name, err)
	}
	seen := placement{selected: map[string]rollout.Group{}, decisions: len(found.Items), announced: int(p.Status.NumberOfSelectedClusters)}
	for _, d := range found.Items {
		g := groupOf(&d)
		for _, cluster := range d.Status.Decisions {
			// While decisions are rewritten a cluster may be in two of them; the earlier group has it. OCM-17.5
			if had, twice := seen.selected[cluster.ClusterName]; cluster.ClusterName != "" && (!twice || g.Index < had.Index) {
				seen.selected[cluster.ClusterName] = g
			}
		}
	}
	return seen, nil
}

func groupOf(d *clusterv1beta1.PlacementDecision) rollout.Group {
	index, err := strconv.ParseInt(d.Labels[clusterv1beta1.DecisionGroupIndexLabel], 10, 32)
	if err != nil {
		index = 0 // a decision without groups is one group
	}
	return rollout.Group{Index: int32(index), Name: d.Labels[clusterv1beta1.DecisionGroupNameLabel]}
}

// clusters looks at all there are, without a copy. Who is silent makes a difference only to a rollout in steps.
func (s *Steps) clusters(ctx context.Context, obj *set, seen *facts) error {
	if !s.Clusters {
		return nil
	}
	var found clusterv1.ManagedClusterList
	if err := s.Hub.List(ctx, &found, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list clusters: %w", err)
	}
	inSteps := slices.ContainsFunc(obj.Spec.PlacementRefs, func(r workv1alpha1.LocalPlacementReference) bool {
		return r.RolloutStrategy.Type != clusterv1alpha1.All && r.RolloutStrategy.Type != ""
	})
	seen.silent, seen.leaving, seen.detaching = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range found.Items {
		c := &found.Items[i]
		if inSteps && silent(c) {
			seen.silent[c.Name] = true
		}
		if detach.Ordered(c) {
			seen.detaching[c.Name] = true
		} else if !c.DeletionTimestamp.IsZero() {
			seen.leaving[c.Name] = true
		}
	}
	return nil
}

// unselected are the works whose placement is there and does not select their cluster.
func unselected(seen facts) (uids []types.UID) {
	for _, w := range seen.works {
		if p, ok := seen.placements[w.Labels[workv1alpha1.ManifestWorkReplicaSetPlacementNameLabelKey]]; ok {
			if _, selected := p.selected[w.Namespace]; !selected {
				uids = append(uids, w.UID)
			}
		}
	}
	return uids
}

// departures remembers since when works have been without a decision. It is lost with the process, which then waits anew.
type departures struct {
	mu    sync.Mutex
	bySet map[types.UID]map[types.UID]time.Time
}

func newDepartures() *departures {
	return &departures{bySet: map[types.UID]map[types.UID]time.Time{}}
}

// note keeps the moment of those that were known already, and forgets those that are not named any more.
func (d *departures) note(set types.UID, works []types.UID, now time.Time) map[types.UID]time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	had, is := d.bySet[set], make(map[types.UID]time.Time, len(works))
	for _, w := range works {
		is[w] = now
		if at, ok := had[w]; ok {
			is[w] = at
		}
	}
	delete(d.bySet, set)
	if len(is) > 0 {
		d.bySet[set] = is
	}
	return is
}

func (d *departures) forget(set types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.bySet, set)
}
