package schedule

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// Facet is a side of a cluster that a placement may look at. A change of another side makes no round.
type Facet uint8

const (
	// Membership is labels, taints, coming and going: every placement looks at them.
	Membership Facet = 1 << iota
	// Claims are what a cluster says of itself.
	Claims
	// Allocatable is what a cluster has to give.
	Allocatable
	// Anything is whatever a CEL expression can see, but for the times at which conditions changed.
	Anything
)

// Changed says what is different between two versions of a cluster.
func Changed(before, after *clusterv1.ManagedCluster) Facet {
	var f Facet
	if before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!equality.Semantic.DeepEqual(before.Labels, after.Labels) || !equality.Semantic.DeepEqual(before.Spec.Taints, after.Spec.Taints) {
		f |= Membership | Anything
	}
	if !slices.Equal(before.Status.ClusterClaims, after.Status.ClusterClaims) {
		f |= Claims | Anything
	}
	if !equality.Semantic.DeepEqual(before.Status.Allocatable, after.Status.Allocatable) {
		f |= Allocatable | Anything
	}
	if f&Anything == 0 && visible(before, after) {
		f |= Anything
	}
	return f
}

// visible says whether CEL can see a difference that is none of the above.
func visible(before, after *clusterv1.ManagedCluster) bool {
	return !equality.Semantic.DeepEqual(before.Annotations, after.Annotations) ||
		!equality.Semantic.DeepEqual(before.Spec, after.Spec) ||
		before.Status.Version != after.Status.Version ||
		!equality.Semantic.DeepEqual(before.Status.Capacity, after.Status.Capacity) ||
		!slices.EqualFunc(before.Status.Conditions, after.Status.Conditions, func(a, b metav1.Condition) bool {
			return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason
		})
}

// Interest is what makes a placement worth looking at again.
type Interest struct {
	Facets Facet
	// Resources are the names of AddOnPlacementScores it uses.
	Resources []string
	// AllResources says that a CEL expression may use any of them.
	AllResources bool
}

// InterestOf reads a spec, without checking it.
func InterestOf(spec *clusterv1beta1.PlacementSpec) Interest {
	in := Interest{Facets: Membership}
	for _, p := range spec.Predicates {
		in.selector(p.RequiredClusterSelector)
	}
	for _, g := range spec.DecisionStrategy.GroupStrategy.DecisionGroups {
		in.claims(g.ClusterSelector.ClaimSelector)
	}
	for _, t := range spec.SpreadPolicy.SpreadConstraints {
		if t.TopologyKeyType == clusterv1beta1.TopologyKeyTypeClaim {
			in.Facets |= Claims
		}
	}
	for _, c := range spec.PrioritizerPolicy.Configurations {
		in.prioritizer(c)
	}
	return in
}

func (in *Interest) selector(s clusterv1beta1.ClusterSelector) {
	in.claims(s.ClaimSelector)
	for _, expression := range s.CelSelector.CelExpressions {
		in.Facets |= Anything
		in.AllResources = in.AllResources || strings.Contains(expression, "scores")
	}
}

func (in *Interest) claims(s clusterv1beta1.ClusterClaimSelector) {
	if len(s.MatchExpressions) > 0 {
		in.Facets |= Claims
	}
}

func (in *Interest) prioritizer(c clusterv1beta1.PrioritizerConfig) {
	switch {
	case c.ScoreCoordinate == nil || c.Weight == 0:
	case c.ScoreCoordinate.AddOn != nil && c.ScoreCoordinate.Type == clusterv1beta1.ScoreCoordinateTypeAddOn:
		in.Resources = append(in.Resources, c.ScoreCoordinate.AddOn.ResourceName)
	case c.ScoreCoordinate.BuiltIn == ResourceAllocatableCPU, c.ScoreCoordinate.BuiltIn == ResourceAllocatableMemory:
		in.Facets |= Allocatable
	}
}

// Uses says whether scores of that name matter.
func (in Interest) Uses(resource string) bool {
	return in.AllResources || slices.Contains(in.Resources, resource)
}
