package schedule

import (
	"fmt"
	"slices"

	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// maxTerms is how many spread constraints the API admits.
const maxTerms = 8

// choose cuts the board to the number that is wanted, in the order of the board or as the spread demands. What it
// returns are indexes into the board, in the order of names. OCM-16.6
func (r *run) choose(b *board) []int32 {
	if len(r.policy.spread) == 0 {
		n := r.policy.limited(len(b.order))
		r.cut(b, b.order[n:])
		return sorted(b.order[:n])
	}
	return r.spread(b)
}

func sorted(chosen []int32) []int32 {
	chosen = slices.Clone(chosen)
	slices.Sort(chosen)
	return chosen
}

func (r *run) cut(b *board, rest []int32) {
	if len(rest) == 0 {
		return
	}
	verdict := &Verdict{StageNumber, fmt.Sprintf("numberOfClusters is %d and others score higher or come first by name", r.policy.want)}
	for _, i := range rest {
		r.refuse(b.at[i], verdict)
	}
}

// topology counts what was chosen for one spread constraint.
type topology struct {
	clusterv1beta1.SpreadConstraintsTerm
	maxSkew int
	domains map[string]int // to the index in counts
	counts  []int
	most    int // of counts
	least   int // of counts
	atLeast int // how many counts are least
}

// pool are the clusters that are in the same domains of all constraints, the best first.
type pool struct {
	domain [maxTerms]int32 // -1 is none
	left   []int32
}

// spread chooses one cluster after the other: of those that no DoNotSchedule forbids, the one that breaks
// ScheduleAnyway the least (the first constraint counts most), then the one that scores highest.
func (r *run) spread(b *board) []int32 {
	topologies, pools := r.pools(b)
	wanted := r.policy.limited(len(b.order))
	chosen := make([]int32, 0, wanted)
	for len(chosen) < wanted {
		best := next(topologies, pools, b)
		if best == nil {
			break
		}
		chosen = append(chosen, best.left[0])
		best.left = best.left[1:]
		for t := range topologies {
			topologies[t].take(best.domain[t])
		}
	}
	r.refuseRest(b, topologies, pools, len(chosen) == wanted)
	return sorted(chosen)
}

// pools sorts the board by domains. A cluster without a domain cannot keep a hard constraint.
func (r *run) pools(b *board) ([]topology, []*pool) {
	terms := r.policy.spread[:min(len(r.policy.spread), maxTerms)]
	topologies := make([]topology, len(terms))
	lacking := make([]*Verdict, len(terms))
	for t, term := range terms {
		topologies[t] = topology{SpreadConstraintsTerm: term, maxSkew: max(int(term.MaxSkew), 1), domains: map[string]int{}}
		lacking[t] = &Verdict{StageSpread, fmt.Sprintf("the cluster has no %s that spread constraint %d is about", topologies[t].what(), t)}
	}
	var pools []*pool
	known := map[[maxTerms]int32]*pool{}
next:
	for _, i := range b.order {
		var at [maxTerms]int32
		for t := range topologies {
			if at[t] = topologies[t].domainOf(b.fleet.clusters[b.at[i]]); at[t] < 0 && topologies[t].hard() {
				r.refuse(b.at[i], lacking[t])
				continue next
			}
		}
		p := known[at]
		if p == nil {
			p = &pool{domain: at}
			known[at] = p
			pools = append(pools, p)
		}
		p.left = append(p.left, i)
	}
	for t := range topologies {
		topologies[t].atLeast = len(topologies[t].counts)
	}
	return topologies, pools
}

// next is the pool to take from, or nil.
func next(topologies []topology, pools []*pool, b *board) *pool {
	var best *pool
	var bestExcess [maxTerms]int
	for _, p := range pools {
		if len(p.left) == 0 {
			continue
		}
		excess, allowed := skews(topologies, p)
		if !allowed {
			continue
		}
		if best == nil || better(excess, bestExcess, p.left[0], best.left[0], b) {
			best, bestExcess = p, excess
		}
	}
	return best
}

// skews are by how much one more of the pool breaks each soft constraint; a hard one forbids it.
func skews(topologies []topology, p *pool) (excess [maxTerms]int, allowed bool) {
	for t := range topologies {
		over := topologies[t].over(p.domain[t])
		if over > 0 && topologies[t].hard() {
			return excess, false
		}
		excess[t] = max(over, 0)
	}
	return excess, true
}

func better(excess, than [maxTerms]int, i, j int32, b *board) bool {
	for t := range excess {
		if excess[t] != than[t] {
			return excess[t] < than[t]
		}
	}
	if b.totals[i] != b.totals[j] {
		return b.totals[i] > b.totals[j]
	}
	return i < j
}

// refuseRest says why the clusters that are left were not chosen.
func (r *run) refuseRest(b *board, topologies []topology, pools []*pool, full bool) {
	for _, p := range pools {
		if full {
			r.cut(b, p.left)
			continue
		}
		verdict := blocking(topologies, p)
		for _, i := range p.left {
			r.refuse(b.at[i], verdict)
		}
	}
}

func blocking(topologies []topology, p *pool) *Verdict {
	for t := range topologies {
		if topology := &topologies[t]; topology.hard() && topology.over(p.domain[t]) > 0 {
			return &Verdict{StageSpread, fmt.Sprintf("one more with %s=%s would exceed maxSkew %d: it has %d, the least is %d",
				topology.what(), topology.name(p.domain[t]), topology.maxSkew, topology.counts[p.domain[t]], topology.least)}
		}
	}
	return &Verdict{StageSpread, "spread constraints"}
}

func (t *topology) hard() bool { return t.WhenUnsatisfiable == clusterv1beta1.DoNotSchedule }

func (t *topology) what() string {
	if t.TopologyKeyType == clusterv1beta1.TopologyKeyTypeClaim {
		return "claim " + t.TopologyKey
	}
	return "label " + t.TopologyKey
}

// domainOf is the domain of a cluster, counted from its first mention; -1 is none.
func (t *topology) domainOf(c *Cluster) int32 {
	of := c.labels
	if t.TopologyKeyType == clusterv1beta1.TopologyKeyTypeClaim {
		of = c.claims
	}
	value, has := of[t.TopologyKey]
	if !has {
		return -1
	}
	at, known := t.domains[value]
	if !known {
		at = len(t.counts)
		t.domains[value] = at
		t.counts = append(t.counts, 0)
	}
	return int32(at)
}

func (t *topology) name(domain int32) string {
	for name, at := range t.domains {
		if int32(at) == domain {
			return name
		}
	}
	return ""
}

// over is by how much one more in a domain would exceed maxSkew. No domain is as bad as the fullest.
func (t *topology) over(domain int32) int {
	if domain < 0 {
		return t.most + 1 - t.least
	}
	return t.counts[domain] + 1 - t.least - t.maxSkew
}

func (t *topology) take(domain int32) {
	if domain < 0 {
		return
	}
	t.counts[domain]++
	t.most = max(t.most, t.counts[domain])
	if t.counts[domain] != t.least+1 {
		return
	}
	if t.atLeast--; t.atLeast > 0 {
		return
	}
	t.least = slices.Min(t.counts)
	for _, n := range t.counts {
		if n == t.least {
			t.atLeast++
		}
	}
}
