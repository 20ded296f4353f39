package federateddeployment

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	appsv1 "k8s.io/api/apps/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
)

// facts is all that a decision knows besides the object.
type facts struct {
	// malformed says what in the spec cannot be read.
	malformed *field.Error
	// template is spec.template as the user wrote it, unknown fields included.
	template map[string]any
	// works that were made for this object, by cluster and name.
	works []work
	// strangers are works of others that have, or whose workload has, a name that a subset needs.
	strangers map[string][]*workv1.ManifestWork
	// clusters that matter, by name: all there are while a subset looks for one, else those used.
	clusters map[string]cluster
	// revisions of the template.
	revisions []appsv1.ControllerRevision
	// placement that the object refers to; nil without such a reference.
	placement *placed
	// materials are the ConfigMaps and Secrets that shall travel; nil if the hub does not read any.
	materials map[string]material
}

// bySubset groups works by the subset that they carry.
func bySubset(works []work) map[string][]work {
	groups := make(map[string][]work, len(works))
	for _, w := range works {
		groups[w.subset()] = append(groups[w.subset()], w)
	}
	return groups
}

// work is a ManifestWork of ours. The live object is shared with the cache: read only.
type work struct {
	live *workv1.ManifestWork
	carried
	feedback feedback
}

func (w work) cluster() string { return w.live.Namespace }
func (w work) subset() string  { return w.live.Labels[v1alpha1.LabelSubset] }
func (w work) leaving() bool   { return !w.live.DeletionTimestamp.IsZero() }

// applied says that the agent has applied the present spec.
func (w work) applied() bool {
	c := meta.FindStatusCondition(w.live.Status.Conditions, workv1.WorkApplied)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == w.live.Generation
}

// cluster is what is known of a ManagedCluster.
type cluster struct {
	name     string
	labels   map[string]string
	accepted bool
	leaving  bool
	// detaching: somebody ordered it detached, with everything left running.
	detaching bool
	// zones and regions that its agent found on its nodes.
	zones, regions []string
	// fenced agents stop replicas by themselves when asked to. Only ours publish such claims.
	fenced bool
	// heard is false while the cluster is silent, which it is since then.
	heard bool
	since time.Time
}

// barred says why nothing may be brought there; empty if it may.
func (c cluster) barred() string {
	switch {
	case c.leaving:
		return "is being removed"
	case c.detaching:
		return "is being detached"
	case !c.accepted:
		return "is not accepted"
	}
	return ""
}

func clusterFacts(c *clusterv1.ManagedCluster) cluster {
	f := cluster{name: c.Name, labels: c.Labels, accepted: c.Spec.HubAcceptsClient, leaving: !c.DeletionTimestamp.IsZero(), detaching: detach.Ordered(c)}
	for _, claim := range c.Status.ClusterClaims {
		switch claim.Name {
		case v1alpha1.ClaimZones:
			f.zones, f.fenced = strings.Split(claim.Value, ","), true
		case v1alpha1.ClaimRegions:
			f.regions, f.fenced = strings.Split(claim.Value, ","), true
		}
	}
	if available := meta.FindStatusCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionAvailable); available != nil {
		f.heard, f.since = available.Status == metav1.ConditionTrue, available.LastTransitionTime.Time
	}
	return f
}
