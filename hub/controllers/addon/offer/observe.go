package offer

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
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/hub/rollout"
)

// facts are what the hub has for an offer. Installations are shared with the cache: read only.
type facts struct {
	// braked keeps installations of which too many at once are no longer selected.
	braked bool
	// selfDriven: the add-on's own controller does everything but owners.
	selfDriven bool
	// installed on all clusters, in the order of their names.
	installed []*installation
	// placements in the order of the offer's strategies.
	placements []placement
	// clusters that are selected or were, by name; one that does not exist is not in it.
	clusters map[string]*clusterv1.ManagedCluster
	// configs that the hub reads and that exist.
	configs map[config.Ref]hashed
	// leftAt is since when the cluster of an installation has not been selected.
	leftAt map[types.UID]time.Time
}

// hashed is a configuration.
type hashed struct {
	hash       string
	generation int64
}

// placement is what the Placement of a strategy has decided.
type placement struct {
	// found says that it exists.
	found bool
	// selected clusters, with their decision group.
	selected map[string]rollout.Group
	// decisions is the number of PlacementDecisions, announced how many clusters the Placement says it has selected.
	decisions, announced int
}

// undecided: there is no decision yet, not even an empty one, or the decisions do not hold all that the Placement says it
// selected. What they lack may come back. OCM-17.1
func (p placement) undecided() bool {
	return !p.found || p.decisions == 0 || len(p.selected) < p.announced
}

// Observe reads. Any read that fails ends the round before anything is decided.
func (s *Steps) Observe(ctx context.Context, obj *offer) (facts, error) {
	found, err := catalog.Installations(ctx, s.Hub, obj.Name)
	if err != nil {
		return facts{}, err
	}
	seen := facts{braked: s.Braked, selfDriven: catalog.SelfDriven(obj), clusters: map[string]*clusterv1.ManagedCluster{}, configs: map[config.Ref]hashed{}}
	for i := range found {
		seen.installed = append(seen.installed, &found[i])
	}
	slices.SortFunc(seen.installed, func(a, b *installation) int { return cmp.Compare(a.Namespace, b.Namespace) })
	if seen.selfDriven {
		return seen, nil
	}
	for _, strategy := range placed(obj) {
		p, err := s.placement(ctx, strategy.PlacementRef)
		if err != nil {
			return facts{}, err
		}
		seen.placements = append(seen.placements, p)
	}
	if err := s.readClusters(ctx, seen); err != nil {
		return facts{}, err
	}
	if err := s.readConfigs(ctx, obj, seen); err != nil {
		return facts{}, err
	}
	seen.leftAt = s.left.note(obj.UID, unselected(seen), s.Clock.Now())
	return seen, nil
}

// placement joins the decisions of a Placement by label. OCM-17.1
func (s *Steps) placement(ctx context.Context, ref addonv1alpha1.PlacementRef) (placement, error) {
	seen := placement{selected: map[string]rollout.Group{}}
	if !s.Placements {
		return seen, nil
	}
	var p clusterv1beta1.Placement
	err := s.Hub.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &p)
	if apierrors.IsNotFound(err) {
		return seen, nil
	}
	if err != nil {
		return seen, fmt.Errorf("get placement %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	var found clusterv1beta1.PlacementDecisionList
	err = s.Hub.List(ctx, &found, client.InNamespace(ref.Namespace), client.MatchingLabels{clusterv1beta1.PlacementLabel: ref.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return seen, fmt.Errorf("list decisions of placement %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	seen.found, seen.decisions, seen.announced = true, len(found.Items), int(p.Status.NumberOfSelectedClusters)
	for i := range found.Items {
		g := groupOf(&found.Items[i])
		for _, d := range found.Items[i].Status.Decisions {
			if had, twice := seen.selected[d.ClusterName]; d.ClusterName != "" && (!twice || g.Index < had.Index) {
				seen.selected[d.ClusterName] = g
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

// readClusters reads those that are selected, and those that an add-on may have to go from.
func (s *Steps) readClusters(ctx context.Context, seen facts) error {
	names := map[string]bool{}
	for _, p := range seen.placements {
		for name := range p.selected {
			names[name] = true
		}
	}
	for _, a := range seen.installed {
		names[a.Namespace] = names[a.Namespace] || a.Annotations[InstalledBy] != ""
	}
	for name, wanted := range names {
		var c clusterv1.ManagedCluster
		if !wanted {
			continue
		}
		err := s.Hub.Get(ctx, client.ObjectKey{Name: name}, &c)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("get cluster %s: %w", name, err)
		}
		if err == nil {
			seen.clusters[name] = &c
		}
	}
	return nil
}

// readConfigs reads those that the hub hashes by itself. OCM-19.3
func (s *Steps) readConfigs(ctx context.Context, obj *offer, seen facts) error {
	refs := layers(obj)
	for _, a := range seen.installed {
		refs = append(refs, config.Of(a.Spec.Configs)...)
	}
	for _, r := range refs {
		if _, twice := seen.configs[r]; twice || !slices.Contains(s.Options.Configs, r.Kind) {
			continue
		}
		o := empty(r.Kind)
		err := s.Configs.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.Name}, o)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", r, err)
		}
		hash, err := config.Hash(o.Object)
		if err != nil {
			return fmt.Errorf("hash %s: %w", r, err)
		}
		seen.configs[r] = hashed{hash, o.GetGeneration()}
	}
	return nil
}

// unselected are the installations that a Placement had asked for and that none selects.
func unselected(seen facts) (uids []types.UID) {
	for _, a := range seen.installed {
		if a.Annotations[InstalledBy] != "" && !seen.selects(a.Namespace) {
			uids = append(uids, a.UID)
		}
	}
	return uids
}

func (f facts) selects(cluster string) bool {
	return slices.ContainsFunc(f.placements, func(p placement) bool {
		_, selected := p.selected[cluster]
		return selected
	})
}

// key is an installation of an offer.
type key struct{ offer, installation types.UID }

// departures remembers since when installations have been without a decision. It is lost with the process, which then
// waits anew.
type departures struct {
	mu    sync.Mutex
	since map[key]time.Time
}

// note keeps the moment of those that were known already, and forgets those that are not named any more.
func (d *departures) note(offer types.UID, gone []types.UID, now time.Time) map[types.UID]time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	is := make(map[types.UID]time.Time, len(gone))
	for _, uid := range gone {
		is[uid] = now
		if at, known := d.since[key{offer, uid}]; known {
			is[uid] = at
		}
	}
	for k := range d.since {
		if k.offer == offer {
			delete(d.since, k)
		}
	}
	for uid, at := range is {
		d.since[key{offer, uid}] = at
	}
	return is
}
