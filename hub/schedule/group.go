package schedule

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/intstr"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// Group is a decision group: consumers roll out one after the other, by index. OCM-17.2
type Group struct {
	Index     int32
	Name      string
	Decisions []clusterv1beta1.ClusterDecision
}

// pick is a selected cluster.
type pick struct {
	cluster  *Cluster
	decision clusterv1beta1.ClusterDecision
}

// record gives each chosen cluster its decision. Scores follow the real ones no more often than scoreRateLimit says,
// and not at all while they are made of Steady and Balance only: Balance moves with every decision of everybody, and
// rewriting all decisions for it would be a write per placement for each of them.
func (r *run) record(b *board, chosen []int32) []pick {
	due := r.ScoredAt.Add(r.policy.scoreRate)
	follow := r.policy.follows()
	fresh := follow && !r.now.Before(due)
	picks := make([]pick, len(chosen))
	for n, i := range chosen {
		cluster := b.fleet.clusters[b.at[i]]
		picks[n].cluster = cluster
		if at, had := r.earlier[cluster.Name]; had {
			picks[n].decision = r.Earlier[at]
			differs := follow && b.differs(i, r.Earlier[at])
			if differs && !fresh {
				r.wakeAt(due)
			}
			if !differs || !fresh {
				continue
			}
		}
		picks[n].decision = clusterv1beta1.ClusterDecision{ClusterName: cluster.Name, Score: b.recorded(i), Reason: b.reason(i)}
		r.result.Scored = true
	}
	return picks
}

// differs says whether a recorded score is no longer right. A server with an older CRD drops scores but not reasons.
func (b *board) differs(i int32, recorded clusterv1beta1.ClusterDecision) bool {
	return recorded.Score != b.recorded(i) && recorded.Reason != b.reason(i)
}

// follows says whether anybody asked for scores that move by themselves.
func (p *policy) follows() bool {
	return p.byScore || slices.ContainsFunc(p.weighted, func(w weighted) bool { return w.builtIn != Steady && w.builtIn != Balance })
}

// group divides the picks, which are in the order of names: first the groups of the spec, then the rest.
func (r *run) group(chosen []int32, picks []pick) []Group {
	if r.policy.byScore {
		slices.SortStableFunc(picks, func(a, b pick) int { return cmp.Compare(b.decision.Score, a.decision.Score) })
	}
	length, err := groupLength(r.policy.perGroup, len(chosen))
	if err != nil { // compile has looked at it
		length = len(chosen)
	}
	var groups []Group
	for _, rule := range r.policy.groups {
		var in []pick
		in, picks = split(picks, func(p pick) bool { return unmetRequirement(rule.requirements, p.cluster) == nil })
		groups = cutInto(groups, rule.name, in, length)
	}
	groups = cutInto(groups, "", picks, length)
	if len(groups) == 0 {
		return []Group{{}}
	}
	return groups
}

func split(picks []pick, in func(pick) bool) (yes, no []pick) {
	for _, p := range picks {
		if in(p) {
			yes = append(yes, p)
		} else {
			no = append(no, p)
		}
	}
	return yes, no
}

func cutInto(groups []Group, name string, picks []pick, length int) []Group {
	for chunk := range slices.Chunk(picks, max(length, 1)) {
		g := Group{Index: int32(len(groups)), Name: name, Decisions: make([]clusterv1beta1.ClusterDecision, len(chunk))}
		for i, p := range chunk {
			g.Decisions[i] = p.decision
		}
		groups = append(groups, g)
	}
	return groups
}

// groupLength is how many of n clusters a group may hold: percentages round up, zero and too many are all of them.
func groupLength(per intstr.IntOrString, n int) (int, error) {
	length, err := intstr.GetScaledValueFromIntOrPercent(&per, n, true)
	if err != nil {
		return 0, fmt.Errorf("%s is neither a number nor a percentage", per.String())
	}
	if length <= 0 || length > n {
		length = n
	}
	return length, nil
}

// MaxDecisions is how many clusters one PlacementDecision holds. OCM-17.1
const MaxDecisions = 100

// Slice is what one PlacementDecision holds.
type Slice struct {
	Name      string
	Group     int32
	GroupName string
	Decisions []clusterv1beta1.ClusterDecision
}

// Slices divides groups into PlacementDecisions, numbered from 1 across all groups; there is always one. OCM-17.1
func Slices(placement string, groups []Group) []Slice {
	var all []Slice
	add := func(g Group, decisions []clusterv1beta1.ClusterDecision) {
		all = append(all, Slice{Name: fmt.Sprintf("%s-decision-%d", placement, len(all)+1), Group: g.Index, GroupName: g.Name, Decisions: decisions})
	}
	for _, g := range groups {
		if len(g.Decisions) == 0 {
			add(g, nil)
		}
		for chunk := range slices.Chunk(g.Decisions, MaxDecisions) {
			add(g, chunk)
		}
	}
	return all
}
