package schedule

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/cel-go/common/types/traits"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
)

// Cluster is a ManagedCluster, read once for all placements.
type Cluster struct {
	// Name of the cluster.
	Name string

	object  *clusterv1.ManagedCluster
	labels  labels.Set
	claims  labels.Set
	amounts map[clusterv1.ResourceName]float64 // allocatable
	leaving bool
	cel     func() (traits.Mapper, error)
}

// NewCluster reads a ManagedCluster, which must not change any more.
func NewCluster(object *clusterv1.ManagedCluster) *Cluster {
	claims := make(labels.Set, len(object.Status.ClusterClaims))
	for _, c := range object.Status.ClusterClaims {
		claims[c.Name] = c.Value
	}
	amounts := make(map[clusterv1.ResourceName]float64, 2)
	for _, resource := range []clusterv1.ResourceName{clusterv1.ResourceCPU, clusterv1.ResourceMemory} {
		if quantity, known := object.Status.Allocatable[resource]; known {
			amounts[resource] = quantity.AsApproximateFloat64()
		}
	}
	return &Cluster{
		Name: object.Name, object: object, labels: object.Labels, claims: claims, amounts: amounts,
		leaving: !object.DeletionTimestamp.IsZero(),
		cel:     sync.OnceValues(func() (traits.Mapper, error) { return celValue(object) }),
	}
}

// Object is the ManagedCluster: read only.
func (c *Cluster) Object() *clusterv1.ManagedCluster { return c.object }

// Fleet is every cluster of the hub at one moment. It never changes, so that placements can share it.
type Fleet struct {
	clusters []*Cluster // by name
	bySet    map[string][]int32
	bound    sync.Map // key of a Set to the []int32 of its members
}

// NewFleet takes clusters in any order; each name must be there once.
func NewFleet(clusters ...*Cluster) *Fleet {
	f := &Fleet{clusters: slices.SortedFunc(slices.Values(clusters), func(a, b *Cluster) int { return strings.Compare(a.Name, b.Name) }),
		bySet: map[string][]int32{}}
	for i, c := range f.clusters {
		if set := c.labels[clusterv1beta2.ClusterSetLabel]; set != "" {
			f.bySet[set] = append(f.bySet[set], int32(i))
		}
	}
	return f
}

// Len is the number of clusters.
func (f *Fleet) Len() int { return len(f.clusters) }

// Set is a ManagedClusterSet as far as membership goes.
type Set struct {
	// Name of the set.
	Name string

	selector labels.Selector // nil is by exclusive label
	key      string
}

// SetOf reads a ManagedClusterSet. A selector type that is not known, or a selector that cannot be read, selects
// nothing: it must not select everything. OCM-8.1
func SetOf(s *clusterv1beta2.ManagedClusterSet) Set {
	set := Set{Name: s.Name}
	switch s.Spec.ClusterSelector.SelectorType {
	case clusterv1beta2.ExclusiveClusterSetLabel, "":
		return set
	case clusterv1beta2.LabelSelector:
		selector, err := metav1.LabelSelectorAsSelector(s.Spec.ClusterSelector.LabelSelector)
		if err == nil {
			set.selector = selector
			set.key = fmt.Sprintf("%v %s", selector.Empty(), selector)
			return set
		}
	}
	set.selector = labels.Nothing()
	return set
}

// Has says whether a cluster with these labels is a member.
func (s Set) Has(of map[string]string) bool {
	if s.selector == nil {
		return of[clusterv1beta2.ClusterSetLabel] == s.Name
	}
	return s.selector.Matches(labels.Set(of))
}

// Eligible are the bound sets that a placement draws from, by name: those it lists, or all. OCM-16.2
func Eligible(bound []Set, listed []string) []Set {
	var eligible []Set
	for _, s := range bound {
		if len(listed) == 0 || slices.Contains(listed, s.Name) {
			eligible = append(eligible, s)
		}
	}
	slices.SortFunc(eligible, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(eligible, func(a, b Set) bool { return a.Name == b.Name })
}

// members are the positions of a set's clusters, in the order of names.
func (f *Fleet) members(s Set) []int32 {
	if s.selector == nil {
		return f.bySet[s.Name]
	}
	if known, ok := f.bound.Load(s.key); ok {
		return known.([]int32)
	}
	var members []int32
	for i, c := range f.clusters {
		if s.selector.Matches(c.labels) {
			members = append(members, int32(i))
		}
	}
	f.bound.Store(s.key, members)
	return members
}

// union are the positions of all clusters of the sets, each once, in the order of names. The caller may change it.
func (f *Fleet) union(sets []Set) []int32 {
	if len(sets) == 1 {
		return slices.Clone(f.members(sets[0]))
	}
	in := make([]bool, len(f.clusters))
	n := 0
	for _, s := range sets {
		for _, at := range f.members(s) {
			if !in[at] {
				in[at] = true
				n++
			}
		}
	}
	all := make([]int32, 0, n)
	for at, is := range in {
		if is {
			all = append(all, int32(at))
		}
	}
	return all
}

// Scores are AddOnPlacementScores, by their name and by cluster: read only.
type Scores map[string]map[string]*clusterv1alpha1.AddOnPlacementScore
