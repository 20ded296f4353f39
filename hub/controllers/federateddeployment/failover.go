package federateddeployment

import (
	"fmt"
	"time"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/allocate"
	"github.com/flotilla-project/flotilla/hub/failover"
)

// failOver moves replicas of clusters that are silent for too long, and lets them return.
func (p *Plan) failOver(obj *v1alpha1.FederatedDeployment, seen facts, of map[string][]work, now time.Time) {
	before := map[string]time.Time{}
	for _, s := range obj.Status.Subsets {
		if s.FailedOverSince != nil {
			before[s.Name] = s.FailedOverSince.Time
		}
	}
	if obj.Spec.Failover == nil && len(before) == 0 {
		return
	}
	var subsets []failover.Subset
	p.unfenced = map[string]string{}
	for _, s := range p.shares {
		known := p.failoverSubset(obj, s, home(of[s.name()]), seen)
		known.FailedOver = before[s.name()]
		p.unfenced[s.name()] = known.Unfenced
		subsets = append(subsets, known)
	}
	plan := failover.Decide(policyOf(obj), subsets, now)
	if plan.Recheck > 0 {
		p.recheckAt(now.Add(plan.Recheck), now)
	}
	p.moved = map[string]failover.Target{}
	for i, t := range plan.Targets {
		p.shares[i].replicas, p.moved[t.Name] = t.Replicas, t
	}
	switch {
	case plan.Missing > 0:
		p.problems = append(p.problems, problem{reason: v1alpha1.ReasonUnschedulable, message: plan.Message, soft: true})
	case plan.Message != "":
		p.problems = append(p.problems, problem{reason: v1alpha1.ReasonFailoverHeld, message: plan.Message, soft: true})
	}
}

func policyOf(obj *v1alpha1.FederatedDeployment) *failover.Policy {
	f := obj.Spec.Failover
	if f == nil {
		return nil
	}
	p := &failover.Policy{Mode: failover.Mode(f.Mode), After: patience(f), ReturnAfter: seconds(f.ReturnAfterSeconds, time.Minute)}
	if f.MaxSilentPercent != nil {
		p.MaxSilentPercent = *f.MaxSilentPercent
	}
	return p
}

// patience is how long a cluster may be silent; the schema fills in 300.
func patience(f *v1alpha1.Failover) time.Duration {
	if f.AfterSeconds <= 0 {
		return 5 * time.Minute
	}
	return time.Duration(f.AfterSeconds) * time.Second
}

// stepDown is after what time without its hub an agent stops the replicas; empty is never.
func stepDown(obj *v1alpha1.FederatedDeployment) string {
	if f := obj.Spec.Failover; f != nil && f.Mode == v1alpha1.FailoverStepDown {
		return patience(f).String()
	}
	return ""
}

func (p *Plan) failoverSubset(obj *v1alpha1.FederatedDeployment, s share, w *work, seen facts) failover.Subset {
	known := failover.Subset{Name: s.name(), Cluster: s.subset.Cluster, Base: s.replicas, Max: most(obj, s), Capacity: failover.NoLimit}
	if w != nil {
		known.Cluster, known.Given, known.Available = w.cluster(), w.replicas, w.feedback.available
		known.Stuck, known.StepsDown = stuckIn(*w), confirmed(obj, *w, seen)
		known.Unfenced = unfenced(obj, *w, seen)
	}
	known.Unschedulable = p.fits[s.name()].bad
	c, there := seen.clusters[known.Cluster]
	switch {
	case known.Cluster == "":
		return known
	case !there:
		known.Silent, known.Barred = true, "is no ManagedCluster any more"
		if w != nil { // nobody knows since when
			known.Since = w.live.CreationTimestamp.Time
		}
		return known
	}
	known.Barred, known.Silent, known.Since = c.barred(), !c.heard, c.since
	return known
}

// stuckIn counts pods without a node among the replicas that the work asks for; of other numbers it says nothing.
func stuckIn(w work) int32 {
	if w.feedback.replicas != w.replicas {
		return 0
	}
	return min(w.feedback.unschedulable, max(0, w.feedback.replicas-w.feedback.ready))
}

// most is the most that a subset may have.
func most(obj *v1alpha1.FederatedDeployment, s share) int32 {
	if ref := obj.Spec.Topology.PlacementRef; ref != nil && ref.MaxReplicasPerCluster != nil {
		return *ref.MaxReplicasPerCluster
	}
	total := allocate.None
	if obj.Spec.Replicas != nil {
		total = *obj.Spec.Replicas
	}
	if s.subset.MaxReplicas != nil {
		if n, err := allocate.Parse(total, *s.subset.MaxReplicas); err == nil {
			return n
		}
	}
	return failover.NoLimit
}

// confirmed says that the agent will stop the replicas by itself: it is one of ours, and it has applied the work since
// that was asked of it. The same is said in the workload, so that the work's generation tells.
func confirmed(obj *v1alpha1.FederatedDeployment, w work, seen facts) bool {
	after := stepDown(obj)
	return after != "" && w.unfenced == "" && w.live.Annotations[v1alpha1.AnnotationStepDownAfter] == after && w.stepDown == after && w.applied() &&
		seen.clusters[w.cluster()].fenced
}

// unfenced says why an agent that is asked to stop the replicas never will; empty if it may.
func unfenced(obj *v1alpha1.FederatedDeployment, w work, seen facts) string {
	switch {
	case stepDown(obj) == "":
		return ""
	case w.unfenced != "":
		return w.unfenced
	case !seen.clusters[w.cluster()].fenced:
		return fmt.Sprintf("the agent of %s is none that steps down; use mode %s, or Flotilla's agent", w.cluster(), v1alpha1.FailoverKeepRunning)
	}
	return ""
}

// standIns are the replicas of each subset that stood in for silent clusters when it was last reported.
func standIns(obj *v1alpha1.FederatedDeployment) map[string]v1alpha1.SubsetStatus {
	lines := make(map[string]v1alpha1.SubsetStatus, len(obj.Status.Subsets))
	for _, l := range obj.Status.Subsets {
		lines[l.Name] = l
	}
	return lines
}

// ownOf is how many of n replicas are a subset's own, of those that its work asks for. Stand-ins are not, or the allocator
// would hold on to them. A subset that is failed over has all of its own: they are to return.
func ownOf(l v1alpha1.SubsetStatus, n, wanted int32) int32 {
	own := max(0, wanted-l.StandInReplicas)
	switch {
	case l.FailedOverSince != nil:
		return own
	case l.StandInReplicas > 0:
		return min(n, own)
	}
	return n
}

// stood is what a line says of failover.
func (l *line) stood(p Plan) {
	if why := p.unfenced[l.Name]; why != "" && l.Message == "" {
		l.Message = "is not failed over should its cluster fall silent: " + why
	}
	t, moved := p.moved[l.Name]
	if !moved {
		return
	}
	l.FailedOverSince, l.BackSince, l.StandInReplicas = stampOf(t.FailedOver), stampOf(t.Back), t.Extra
	switch {
	case t.Why == "":
	case l.Silent:
		l.Message = t.Why
		if !t.FailedOver.IsZero() {
			l.silent = fmt.Sprintf("subset %s: %s", l.Name, t.Why)
		}
	case l.Message == "":
		l.Message = t.Why
	}
}
