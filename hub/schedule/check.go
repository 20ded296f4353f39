package schedule

import (
	"fmt"
	"time"

	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// Stages at which a cluster can be left out.
const (
	StageLeaving    = "Leaving"
	StagePredicate  = "Predicate"
	StageToleration = "TaintToleration"
	StageSpread     = "Spread"
	StageNumber     = "NumberOfClusters"
)

// Verdict is why a cluster is left out. Clusters share verdicts.
type Verdict struct {
	Stage string
	Why   string
}

// Refusal is a cluster that was left out.
type Refusal struct {
	Cluster string
	*Verdict

	at int32
}

// centurySeconds is as long as anybody waits; more overflows a time.Duration.
const centurySeconds = 100 * 365 * 24 * 60 * 60

// check is one objection that a placement may have to the cluster at a position of the fleet; nil is none.
type check func(*run, int32) *Verdict

// eligible are the checks that a candidate has to pass, the cheapest first.
var eligible = []check{(*run).matches, (*run).tolerates}

var leavingVerdict = &Verdict{StageLeaving, "the cluster is being deleted"}

func (r *run) objection(at int32) *Verdict {
	for _, check := range eligible {
		if v := check(r, at); v != nil {
			return v
		}
	}
	return nil
}

// matches wants one predicate that holds; without predicates every cluster does. OCM-16.3
func (r *run) matches(at int32) *Verdict {
	if len(r.policy.predicates) == 0 {
		return nil
	}
	var unmet []*Verdict
	for i := range r.policy.predicates {
		v := r.unmet(&r.policy.predicates[i], at)
		if v == nil {
			return nil
		}
		if len(r.policy.predicates) == 1 {
			return v
		}
		unmet = append(unmet, v)
	}
	return r.noneOf(unmet)
}

// unmet is the first line of a predicate that does not hold. A runtime error of CEL is no match, and no problem.
func (r *run) unmet(p *predicate, at int32) *Verdict {
	if v := unmetRequirement(p.requirements, r.Fleet.clusters[at]); v != nil {
		return v
	}
	for _, program := range p.programs {
		o := program.outcome(r.Fleet, at, r.Scores)
		if r.cost += o.cost; o.unmet != nil {
			return o.unmet
		}
	}
	return nil
}

func unmetRequirement(requirements []requirement, c *Cluster) *Verdict {
	for i := range requirements {
		of := c.labels
		if requirements[i].ofClaim {
			of = c.claims
		}
		if !requirements[i].Matches(of) {
			return requirements[i].verdict
		}
	}
	return nil
}

// alternatives are the verdicts of up to four predicates.
type alternatives [4]*Verdict

// noneOf is one verdict for a list of alternatives; only the first few are told.
func (r *run) noneOf(unmet []*Verdict) *Verdict {
	var key alternatives
	told := unmet[:copy(key[:], unmet)]
	if v := r.none[key]; v != nil {
		return v
	}
	why := fmt.Sprintf("none of %d predicates is met: %s", len(unmet), told[0].Why)
	for _, v := range told[1:] {
		why += ", nor " + v.Why
	}
	if more := len(unmet) - len(told); more > 0 {
		why += fmt.Sprintf(", nor %d more", more)
	}
	r.none[key] = &Verdict{StagePredicate, why}
	return r.none[key]
}

// taintKey is what makes two refusals for a taint the same to a reader.
type taintKey struct {
	key, value string
	effect     clusterv1.TaintEffect
	ended      bool
}

// tolerates wants every taint tolerated, and notes when a toleration ends. OCM-16.4
func (r *run) tolerates(at int32) *Verdict {
	c, until := r.Fleet.clusters[at], never
	for i := range c.object.Spec.Taints {
		taint := &c.object.Spec.Taints[i]
		if r.harmless(taint, c) {
			continue
		}
		ends, ended := r.toleratedUntil(taint)
		if !ends.After(r.now) {
			return r.taintVerdict(taint, ended)
		}
		if ends.Before(until) {
			until = ends
		}
	}
	if until.Before(never) {
		r.wakeAt(until)
	}
	return nil
}

// harmless says that a taint needs no toleration.
func (r *run) harmless(t *clusterv1.Taint, c *Cluster) bool {
	switch t.Effect {
	case clusterv1.TaintEffectPreferNoSelect:
		return true
	case clusterv1.TaintEffectNoSelectIfNew:
		return r.had(c.Name)
	}
	return false
}

// toleratedUntil is the end of the longest toleration of a taint; ended says that there was one and it is over.
func (r *run) toleratedUntil(taint *clusterv1.Taint) (until time.Time, ended bool) {
	for i := range r.policy.tolerations {
		t := &r.policy.tolerations[i]
		if !covers(t, taint) {
			continue
		}
		if t.TolerationSeconds == nil {
			return never, false
		}
		ended = true
		ends := taint.TimeAdded.Add(time.Duration(min(*t.TolerationSeconds, centurySeconds)) * time.Second)
		if ends.After(until) {
			until = ends
		}
	}
	return until, ended
}

// covers says whether a toleration is about a taint. OCM-16.4: an empty effect is all effects, an empty operator is Equal.
func covers(t *clusterv1beta1.Toleration, taint *clusterv1.Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
		return false
	}
	return t.Operator == clusterv1beta1.TolerationOpExists || t.Value == taint.Value
}

func (r *run) taintVerdict(t *clusterv1.Taint, ended bool) *Verdict {
	key := taintKey{t.Key, t.Value, t.Effect, ended}
	if v := r.taints[key]; v != nil {
		return v
	}
	name := t.Key
	if t.Value != "" {
		name += "=" + t.Value
	}
	how := "is not tolerated"
	if ended {
		how = "is no longer tolerated"
	}
	r.taints[key] = &Verdict{StageToleration, fmt.Sprintf("taint %s:%s %s", name, t.Effect, how)}
	return r.taints[key]
}
