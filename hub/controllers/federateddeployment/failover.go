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
	for _, s := range p.shares {
		known := p.failoverSubset(obj, s, home(of[s.name()]), seen)
		known.FailedOver = before[s.name()]
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
		known.Stuck, known.StepsDown = w.feedback.unschedulable, confirmed(obj, *w, seen)
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
	case c.leaving:
		known.Barred = "is being removed"
	case !c.accepted:
		known.Barred = "is not accepted"
	}
	known.Silent, known.Since = !c.heard, c.since
	return known
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
	return after != "" && w.live.Annotations[v1alpha1.AnnotationStepDownAfter] == after && w.stepDown == after && w.applied() &&
		seen.clusters[w.cluster()].fenced
}

// stood is what a line says of failover.
func (l *line) stood(p Plan) {
	t, moved := p.moved[l.Name]
	if !moved {
		return
	}
	l.FailedOverSince, l.BackSince = stampOf(t.FailedOver), stampOf(t.Back)
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
