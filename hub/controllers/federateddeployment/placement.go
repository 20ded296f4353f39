package federateddeployment

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/allocate"
	"github.com/flotilla-project/flotilla/hub/schedule"
)

// placed is what is known of the Placement that an object refers to.
type placed struct {
	name string
	// there is false while there is no such Placement, or it is being deleted.
	there bool
	// satisfied and misconfigured are its conditions, if it has them.
	satisfied, misconfigured *metav1.Condition
	// leftOut says why it does not decide for other clusters.
	leftOut *metav1.Condition
	// selected is how many clusters it says it has selected.
	selected int
	// scores of the clusters that it decides for.
	scores map[string]int64
}

// clusters that it decides for, by name.
func (p *placed) clusters() []string {
	names := make([]string, 0, len(p.scores))
	for name := range p.scores {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// placementOf reads the Placement and joins its decisions (OCM-17.1). It is nil for an object that refers to none.
func placementOf(ctx context.Context, r client.Reader, obj *v1alpha1.FederatedDeployment) (*placed, error) {
	ref := obj.Spec.Topology.PlacementRef
	if ref == nil || !obj.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	p := &placed{name: ref.Name, scores: map[string]int64{}}
	var placement clusterv1beta1.Placement
	err := r.Get(ctx, client.ObjectKey{Namespace: obj.Namespace, Name: ref.Name}, &placement)
	if apierrors.IsNotFound(err) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get placement %s/%s: %w", obj.Namespace, ref.Name, err)
	}
	p.there, p.selected = placement.DeletionTimestamp.IsZero(), int(placement.Status.NumberOfSelectedClusters)
	p.satisfied = meta.FindStatusCondition(placement.Status.Conditions, clusterv1beta1.PlacementConditionSatisfied)
	p.misconfigured = meta.FindStatusCondition(placement.Status.Conditions, clusterv1beta1.PlacementConditionMisconfigured)
	p.leftOut = meta.FindStatusCondition(placement.Status.Conditions, schedule.ConditionLeftOut)
	var decisions clusterv1beta1.PlacementDecisionList
	err = r.List(ctx, &decisions, client.InNamespace(obj.Namespace), client.MatchingLabels{clusterv1beta1.PlacementLabel: ref.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list decisions of placement %s/%s: %w", obj.Namespace, ref.Name, err)
	}
	for _, file := range decisions.Items {
		for _, d := range file.Status.Decisions {
			if d.ClusterName != "" {
				p.scores[d.ClusterName] = d.Score
			}
		}
	}
	return p, nil
}

// undecided says why the decisions are nothing to go by. An empty list is no order to remove everything, whatever made it
// empty: whoever wants that scales to 0 or deletes the object.
func (p *placed) undecided() string {
	at := fmt.Sprintf("spec.topology.placementRef: Placement %q", p.name)
	switch {
	case !p.there:
		return at + " is not there; create it in this namespace, or name another"
	case p.misconfigured != nil && p.misconfigured.Status == metav1.ConditionTrue:
		return fmt.Sprintf("%s is misconfigured: %s; correct it", at, p.misconfigured.Message)
	case len(p.scores) == 0 && p.satisfied == nil:
		return at + " has not decided yet; wait, or see that a placement controller is running"
	case len(p.scores) == 0:
		return fmt.Sprintf("%s selects no cluster (%s: %s%s); change it, or scale to 0 replicas if none are wanted", at, p.satisfied.Reason, p.satisfied.Message, p.others())
	}
	return ""
}

// shownOthers is how much is repeated of why a Placement leaves clusters out; the rest is on the Placement.
const shownOthers = 400

// others says which clusters it does not decide for, and why.
func (p *placed) others() string {
	if p.leftOut == nil || p.leftOut.Status != metav1.ConditionTrue {
		return ""
	}
	why := p.leftOut.Message
	if len(why) > shownOthers {
		why = strings.ToValidUTF8(why[:shownOthers], "") + "..."
	}
	return "; " + why
}

// settling says that not all decisions are there yet, or some are there no longer: who is missing may only be on the way.
func (p *placed) settling() bool {
	return p != nil && p.satisfied != nil && p.selected != len(p.scores)
}

// topology is what the subsets are: those of the spec, or one for each cluster that the Placement decides for. While it
// does not decide, they are those that have a work already.
func (p *Plan) topology(obj *v1alpha1.FederatedDeployment, seen facts) {
	for i, s := range obj.Spec.Topology.Subsets {
		p.shares = append(p.shares, share{subset: s, at: fmt.Sprintf("spec.topology.subsets[%d]", i)})
	}
	if seen.placement == nil {
		return
	}
	names := seen.placement.clusters()
	if why := seen.placement.undecided(); why != "" {
		names = inUse(seen.works)
		if len(names) > 0 {
			why += fmt.Sprintf("; meanwhile %s keep what they have", counted(len(names), "cluster"))
		}
		p.problems = append(p.problems, problem{reason: v1alpha1.ReasonPlacementUnresolved, message: why})
	}
	for _, name := range names {
		s := v1alpha1.Subset{Name: name, Cluster: name}
		p.shares = append(p.shares, share{subset: s, at: fmt.Sprintf("spec.topology.placementRef (%s)", seen.placement.name)})
		if len(workloadName(obj.Name, name)) > maxNamed {
			p.problems = append(p.problems, problem{reason: v1alpha1.ReasonInvalidSpec, subset: name, message: fmt.Sprintf(
				"metadata.name: makes the workload %q, which has %d characters, at most %d may be; use a shorter name",
				workloadName(obj.Name, name), len(workloadName(obj.Name, name)), maxNamed)})
		}
	}
}

// inUse are the clusters that have a work named like them, and keep it.
func inUse(works []work) []string {
	var names []string
	for _, w := range works {
		if !w.leaving() && w.subset() == w.cluster() {
			names = append(names, w.cluster())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// weigh shares the replicas among the clusters of a Placement.
func (p *Plan) weigh(obj *v1alpha1.FederatedDeployment, seen facts, of map[string][]work) {
	ref := obj.Spec.Topology.PlacementRef
	troubled, lines := len(p.fits) > 0, standIns(obj)
	var shares []allocate.Share
	for _, s := range p.shares {
		part := allocate.Share{Name: s.name(), Weight: 1, High: allocate.Unlimited, Current: max(0, wantedOf(of[s.name()])-lines[s.name()].StandInReplicas)}
		switch {
		case seen.placement.undecided() != "":
			part.Weight = int64(part.Current) // nobody knows better than what there is
		case ref.Weighting == v1alpha1.WeightScore:
			part.Weight = seen.placement.scores[s.name()]
		}
		if ref.MaxReplicasPerCluster != nil {
			part.High = *ref.MaxReplicasPerCluster
		}
		f, unfit := p.fits[s.name()]
		switch {
		case unfit && f.bad:
			part.High = min(part.High, f.running)
		case troubled: // what runs is not moved back (WL-5.7)
			part.Low = min(ownOf(lines[s.name()], runningOf(of[s.name()]), wantedOf(of[s.name()])), part.High)
		}
		shares = append(shares, part)
	}
	total := *obj.Spec.Replicas
	give, left := allocate.Weighted(total, shares)
	for i := range p.shares {
		p.shares[i].replicas = give[i]
	}
	if left > 0 && len(p.shares) > 0 {
		p.short = cmp.Or(p.short, fmt.Sprintf("%d of %d replicas find no place in %s of Placement %q%s; let it select more clusters, or lower spec.replicas",
			left, total, counted(len(p.shares), "cluster"), ref.Name, limited(ref)))
	}
}

func limited(ref *v1alpha1.PlacementRef) string {
	if ref.MaxReplicasPerCluster == nil {
		return ""
	}
	return fmt.Sprintf(", each of which takes at most %d (maxReplicasPerCluster)", *ref.MaxReplicasPerCluster)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
