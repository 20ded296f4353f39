package placement

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"

	"github.com/flotilla-project/flotilla/hub/schedule"
)

// view is the fleet as all placements see it: built from watch events, handed out as snapshots that never change. A list
// from the cache would copy 5,000 clusters for each of 2,000 placements.
type view struct {
	mu       sync.Mutex
	clusters map[string]*schedule.Cluster
	snapshot *schedule.Fleet // nil when clusters changed since

	scores   schedule.Scores // by resource, then cluster; replaced, never changed, once handed out
	lent     map[string]bool // resources whose map was handed out
	decided  map[types.NamespacedName]decided
	own      map[types.NamespacedName]map[types.NamespacedName]bool // decisions by placement
	total    map[string]int
	totalOut bool // total was handed out
}

// decided is what one PlacementDecision says.
type decided struct {
	placement types.NamespacedName
	clusters  []string
}

func newView() *view {
	return &view{clusters: map[string]*schedule.Cluster{}, scores: schedule.Scores{}, lent: map[string]bool{},
		decided: map[types.NamespacedName]decided{}, own: map[types.NamespacedName]map[types.NamespacedName]bool{}, total: map[string]int{}}
}

// fleet is every cluster now.
func (v *view) fleet() *schedule.Fleet {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.snapshot == nil {
		v.snapshot = schedule.NewFleet(slices.Collect(maps.Values(v.clusters))...)
	}
	return v.snapshot
}

func (v *view) setCluster(c *clusterv1.ManagedCluster) {
	read := schedule.NewCluster(c)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clusters[c.Name], v.snapshot = read, nil
}

func (v *view) dropCluster(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.clusters, name)
	v.snapshot = nil
}

// scoresFor are the scores of the resources that a placement uses.
func (v *view) scoresFor(in schedule.Interest) schedule.Scores {
	v.mu.Lock()
	defer v.mu.Unlock()
	used := schedule.Scores{}
	for resource, byCluster := range v.scores {
		if in.Uses(resource) {
			used[resource], v.lent[resource] = byCluster, true
		}
	}
	return used
}

// setScore remembers the score of a cluster; nil forgets it.
func (v *view) setScore(resource, cluster string, score *clusterv1alpha1.AddOnPlacementScore) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lent[resource] {
		v.scores[resource] = maps.Clone(v.scores[resource])
		delete(v.lent, resource)
	}
	if v.scores[resource] == nil {
		v.scores[resource] = map[string]*clusterv1alpha1.AddOnPlacementScore{}
	}
	if score != nil {
		v.scores[resource][cluster] = score
		return
	}
	if delete(v.scores[resource], cluster); len(v.scores[resource]) == 0 {
		delete(v.scores, resource)
	}
}

// countsFor are the decisions of all placements, and which of them are the placement's own. OCM-16.5
func (v *view) countsFor(placement types.NamespacedName) schedule.Counts {
	v.mu.Lock()
	defer v.mu.Unlock()
	counts := schedule.Counts{All: v.total}
	v.totalOut = true
	for name := range v.own[placement] {
		counts.Own = append(counts.Own, v.decided[name].clusters...)
	}
	return counts
}

// setDecision counts what a PlacementDecision says now.
func (v *view) setDecision(d *clusterv1beta1.PlacementDecision) {
	name := types.NamespacedName{Namespace: d.Namespace, Name: d.Name}
	now := decided{placement: types.NamespacedName{Namespace: d.Namespace}}
	if of := placementNames(d); len(of) > 0 {
		now.placement.Name = of[0]
	}
	for _, c := range d.Status.Decisions {
		now.clusters = append(now.clusters, c.ClusterName)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(name)
	v.count(now.clusters, 1)
	v.decided[name] = now
	if v.own[now.placement] == nil {
		v.own[now.placement] = map[types.NamespacedName]bool{}
	}
	v.own[now.placement][name] = true
}

func (v *view) dropDecision(name types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(name)
}

// forget wants the lock.
func (v *view) forget(name types.NamespacedName) {
	was, known := v.decided[name]
	if !known {
		return
	}
	v.count(was.clusters, -1)
	delete(v.decided, name)
	if delete(v.own[was.placement], name); len(v.own[was.placement]) == 0 {
		delete(v.own, was.placement)
	}
}

// count wants the lock.
func (v *view) count(clusters []string, by int) {
	if len(clusters) > 0 && v.totalOut {
		v.total, v.totalOut = maps.Clone(v.total), false
	}
	for _, c := range clusters {
		if v.total[c] += by; v.total[c] == 0 {
			delete(v.total, c)
		}
	}
}
