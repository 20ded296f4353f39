// Package schedule decides placement as a pure function: clusters and policy in, decisions and refusals out. It owns what
// a Placement means (OCM-16) and how its clusters are grouped (OCM-17.2); it reads and writes nothing.
//
// It promises that the same facts give the same result in whatever order they come, that a result fed back as earlier
// decisions gives itself again, that each candidate which is not selected has a reason, and that facts are never modified.
package schedule

import (
	"cmp"
	"slices"
	"time"

	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// Facts are all that a placement depends on. They are shared between rounds: read only.
type Facts struct {
	// Placement is the policy.
	Placement *clusterv1beta1.Placement
	// Bound are the sets that are bound in the placement's namespace and exist, in any order.
	Bound []Set
	// Fleet is every cluster there is.
	Fleet *Fleet
	// Earlier are the clusters that the placement has now, with the scores that were recorded.
	Earlier []clusterv1beta1.ClusterDecision
	// ScoredAt is when scores were recorded last.
	ScoredAt time.Time
	// Counts are the decisions of all placements.
	Counts Counts
	// Scores are the add-on scores of the resources that Resources names.
	Scores Scores
}

// Counts are the decisions that Balance looks at.
type Counts struct {
	// All counts the decisions per cluster, of every placement of the hub.
	All map[string]int
	// Own lists the clusters of this placement that All includes.
	Own []string
}

// Result is what became of a placement.
type Result struct {
	// Groups are the selected clusters in the order in which they are rolled out. There is always one at least.
	Groups []Group
	// Selected is how many clusters the groups hold.
	Selected int
	// Left are the clusters of the placement's sets that were not selected, in the order of their names.
	Left []Refusal
	// Scored says that scores were recorded anew.
	Scored bool
	// Warnings are what the decisions were made in spite of.
	Warnings []string
	// Problem is why nothing could be decided, or nil. Groups are empty then, and Keep says what may stay.
	Problem *Problem
	// Keep are the earlier clusters that are still in a bound set, when there is a Problem.
	Keep map[string]bool
	// Recheck is when time alone will change the result; 0 is never.
	Recheck time.Duration

	stand standing
	board *board
}

// standing are the numbers that the condition PlacementSatisfied tells of.
type standing struct {
	sets                  []string // of the spec
	eligible              []string
	bound                 int
	candidates            int
	feasible, unscheduled int
}

// Problem is a pass that came to nothing.
type Problem struct {
	// Plugin is the part of the policy that is to blame.
	Plugin string
	// Text says what is wrong.
	Text string
	// Misconfigured says that only a change of the placement can help.
	Misconfigured bool
}

// run is one pass.
type run struct {
	Facts
	policy  *policy
	now     time.Time
	earlier map[string]int // into Facts.Earlier
	wake    time.Time
	taints  map[taintKey]*Verdict
	none    map[alternatives]*Verdict
	cost    uint64
	result  Result
}

// Schedule decides a placement.
func Schedule(f Facts, now time.Time) Result {
	r := &run{Facts: f, now: now, earlier: make(map[string]int, len(f.Earlier)),
		taints: map[taintKey]*Verdict{}, none: map[alternatives]*Verdict{}}
	for i, d := range f.Earlier {
		r.earlier[d.ClusterName] = i
	}
	candidates := r.candidates()
	var problem *Problem
	if r.policy, problem = compile(f.Placement); problem == nil {
		problem = r.decide(candidates)
	}
	if problem != nil {
		r.fail(problem)
	}
	if !r.wake.IsZero() {
		r.result.Recheck = max(r.wake.Sub(now), time.Millisecond)
	}
	return r.result
}

// candidates are the positions of the clusters in the placement's sets. Clusters that leave are out at once. OCM-16.2
func (r *run) candidates() []int32 {
	eligible := Eligible(r.Bound, r.Placement.Spec.ClusterSets)
	stand := standing{sets: r.Placement.Spec.ClusterSets, bound: len(r.Bound)}
	for _, s := range eligible {
		stand.eligible = append(stand.eligible, s.Name)
	}
	members := r.Fleet.union(eligible)
	staying := members[:0]
	for _, at := range members {
		if r.Fleet.clusters[at].leaving {
			r.refuse(at, leavingVerdict)
			continue
		}
		staying = append(staying, at)
	}
	stand.candidates = len(staying)
	r.result.stand = stand
	return staying
}

// decide filters, scores, selects and groups.
func (r *run) decide(candidates []int32) *Problem {
	feasible, problem := r.filter(candidates)
	if problem != nil {
		return problem
	}
	r.result.Warnings = r.policy.warnings
	board := r.score(feasible)
	chosen := r.choose(board)
	r.result.stand.feasible = len(feasible)
	if r.policy.want >= 0 {
		r.result.stand.unscheduled = r.policy.want - len(chosen)
	}
	slices.SortFunc(r.result.Left, func(a, b Refusal) int { return cmp.Compare(a.at, b.at) })
	r.result.board = board
	r.result.Selected = len(chosen)
	r.result.Groups = r.group(chosen, r.record(board, chosen))
	return nil
}

// filter runs the chain of checks, the cheapest first. OCM-16.3, OCM-16.4
func (r *run) filter(candidates []int32) ([]int32, *Problem) {
	feasible := make([]int32, 0, len(candidates))
	for i, at := range candidates {
		verdict := r.objection(at)
		if r.cost > costBudget {
			return nil, costProblem(i+1, len(candidates))
		}
		if verdict != nil {
			r.refuse(at, verdict)
			continue
		}
		feasible = append(feasible, at)
	}
	return feasible, nil
}

func (r *run) refuse(at int32, why *Verdict) {
	r.result.Left = append(r.result.Left, Refusal{Cluster: r.Fleet.clusters[at].Name, Verdict: why, at: at})
}

// fail keeps what the placement has, as far as its namespace may still have it: a typing error must not empty a
// fleet, and a binding that was taken away must not outlive a typing error made on purpose. OCM-16.6
func (r *run) fail(p *Problem) {
	r.result.Problem = p
	r.result.Left, r.result.Groups, r.wake = nil, []Group{{}}, time.Time{}
	r.result.Keep = map[string]bool{}
	for _, at := range r.Fleet.union(r.Bound) {
		if name := r.Fleet.clusters[at].Name; r.had(name) {
			r.result.Keep[name] = true
		}
	}
	r.result.Selected = len(r.result.Keep)
}

// had says whether the placement has the cluster now.
func (r *run) had(cluster string) bool {
	_, had := r.earlier[cluster]
	return had
}

// wakeAt asks for another pass at t, or before.
func (r *run) wakeAt(t time.Time) {
	if r.wake.IsZero() || t.Before(r.wake) {
		r.wake = t
	}
}

// wanted is numberOfClusters, or -1 for all. OCM-16.6: a negative number is none.
func wanted(n *int32) int {
	if n == nil {
		return -1
	}
	return max(int(*n), 0)
}

// limited is the number of clusters to select of n.
func (p *policy) limited(n int) int {
	if p.want < 0 {
		return n
	}
	return min(n, p.want)
}

// never is later than any wake-up.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
