package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

const (
	maxScore = 100
	minScore = -100
	// scoreTextBytes keeps an event below the 1 KiB that its note may have.
	scoreTextBytes = 1000
)

// board are the clusters that passed the checks, with their scores.
type board struct {
	fleet  *Fleet
	at     []int32   // positions in the fleet, by name
	totals []int64   // as the decisions are made
	parts  [][]int64 // by prioritizer, then as at
	policy *policy
	order  []int32 // into at, the best first
	steady int64   // what Steady adds to a selected cluster
}

// score sums weight times score. Ties go by name, which is the order of at. OCM-16.5
func (r *run) score(feasible []int32) *board {
	b := &board{fleet: r.Fleet, at: feasible, totals: make([]int64, len(feasible)), policy: r.policy, order: make([]int32, len(feasible))}
	for _, w := range r.policy.weighted {
		scores := r.scoresBy(w, feasible)
		for i, s := range scores {
			b.totals[i] += int64(w.weight) * s
		}
		if w.builtIn == Steady {
			b.steady = int64(w.weight) * maxScore
		}
		b.parts = append(b.parts, scores)
	}
	for i := range b.order {
		b.order[i] = int32(i)
	}
	slices.SortFunc(b.order, func(x, y int32) int {
		return cmp.Or(cmp.Compare(b.totals[y], b.totals[x]), cmp.Compare(x, y))
	})
	return b
}

func (r *run) scoresBy(w weighted, feasible []int32) []int64 {
	switch w.builtIn {
	case Steady:
		return r.steady(feasible)
	case Balance:
		return r.balance(feasible)
	case ResourceAllocatableCPU:
		return r.allocatable(clusterv1.ResourceCPU, feasible)
	case ResourceAllocatableMemory:
		return r.allocatable(clusterv1.ResourceMemory, feasible)
	}
	return r.addOn(w, feasible)
}

func (r *run) steady(feasible []int32) []int64 {
	scores := make([]int64, len(feasible))
	for i, at := range feasible {
		if r.had(r.Fleet.clusters[at].Name) {
			scores[i] = maxScore
		}
	}
	return scores
}

// balance prefers clusters that other placements, of all namespaces, use less.
func (r *run) balance(feasible []int32) []int64 {
	own := make(map[string]int, len(r.Counts.Own))
	for _, name := range r.Counts.Own {
		own[name]++
	}
	most := 0
	for name, n := range r.Counts.All {
		most = max(most, n-own[name])
	}
	scores := make([]int64, len(feasible))
	for i, at := range feasible {
		scores[i] = maxScore
		if name := r.Fleet.clusters[at].Name; most > 0 {
			used := float64(max(r.Counts.All[name]-own[name], 0)) / float64(most)
			scores[i] = 2 * int64(maxScore*(0.5-used))
		}
	}
	return scores
}

// allocatable is linear from the smallest to the largest of the clusters that passed the checks.
func (r *run) allocatable(resource clusterv1.ResourceName, feasible []int32) []int64 {
	amounts := make([]float64, len(feasible))
	known := make([]bool, len(feasible))
	var least, most float64
	first := true
	for i, at := range feasible {
		if amounts[i], known[i] = r.Fleet.clusters[at].amounts[resource]; !known[i] {
			continue
		}
		if first {
			least, most, first = amounts[i], amounts[i], false
		}
		least, most = min(least, amounts[i]), max(most, amounts[i])
	}
	scores := make([]int64, len(feasible))
	for i := range feasible {
		switch {
		case !known[i]:
		case most == least:
			scores[i] = maxScore
		default:
			scores[i] = int64(minScore + (maxScore-minScore)*(amounts[i]-least)/(most-least))
		}
	}
	return scores
}

// addOn takes values from the clusters' AddOnPlacementScores. Missing or expired counts 0; expired is told.
func (r *run) addOn(w weighted, feasible []int32) []int64 {
	scores := make([]int64, len(feasible))
	of := r.Scores[w.addOn.ResourceName]
	var expired []string
	for i, at := range feasible {
		name := r.Fleet.clusters[at].Name
		have := of[name]
		if have == nil {
			continue
		}
		if until := have.Status.ValidUntil; until != nil {
			if !until.After(r.now) {
				expired = append(expired, name)
				continue
			}
			r.wakeAt(until.Time)
		}
		for _, item := range have.Status.Scores {
			if item.Name == w.addOn.ScoreName {
				scores[i] = int64(item.Value)
			}
		}
	}
	if len(expired) > 0 {
		r.result.Warnings = append(r.result.Warnings, fmt.Sprintf("AddOnPlacementScore %s is expired and counts 0 for %s",
			w.addOn.ResourceName, naming(expired)))
	}
	return scores
}

// naming counts clusters and names the first few.
func naming(clusters []string) string {
	const told = 5
	switch n := len(clusters); {
	case n == 1:
		return "cluster " + clusters[0]
	case n <= told:
		return fmt.Sprintf("%d clusters: %s", n, strings.Join(clusters, ", "))
	default:
		return fmt.Sprintf("%d clusters: %s and %d more", n, strings.Join(clusters[:told], ", "), n-told)
	}
}

// Prioritized is what one prioritizer gave.
type Prioritized struct {
	Name   string           `json:"name"`
	Weight int32            `json:"weight"`
	Scores map[string]int64 `json:"scores"`
}

// Prioritized are the scores of each prioritizer, for the clusters that passed the checks.
func (r *Result) Prioritized() []Prioritized {
	if r.board == nil {
		return nil
	}
	var all []Prioritized
	for p, w := range r.board.policy.weighted {
		all = append(all, Prioritized{Name: w.name, Weight: w.weight, Scores: r.board.byName(r.board.parts[p])})
	}
	return all
}

// Totals are the sums of scores, for the clusters that passed the checks.
func (r *Result) Totals() map[string]int64 {
	if r.board == nil {
		return nil
	}
	return r.board.byName(r.board.totals)
}

func (b *board) byName(scores []int64) map[string]int64 {
	named := make(map[string]int64, len(scores))
	for i, s := range scores {
		named[b.name(int32(i))] = s
	}
	return named
}

// ScoreText lists cluster:score pairs, the best first, as far as there is room. OCM-17.4
func (r *Result) ScoreText() string {
	if r.board == nil {
		return ""
	}
	var text strings.Builder
	for _, i := range r.board.order {
		pair := fmt.Sprintf("%s:%d ", r.board.name(i), r.board.totals[i])
		if text.Len()+len(pair) > scoreTextBytes {
			text.WriteString("......")
			break
		}
		text.WriteString(pair)
	}
	return strings.TrimSpace(text.String())
}

func (b *board) name(i int32) string { return b.fleet.clusters[b.at[i]].Name }

// recorded is the score that a decision carries: the one of a cluster that is selected, which it is. Else each decision
// would change its own score right after it was made.
func (b *board) recorded(i int32) int64 {
	total := b.totals[i]
	for p, w := range b.policy.weighted {
		if w.builtIn == Steady {
			total += b.steady - int64(w.weight)*b.parts[p][i]
		}
	}
	return total
}

// reason says what the recorded score is made of.
func (b *board) reason(i int32) string {
	if len(b.policy.weighted) == 0 {
		return "no prioritizer has a weight"
	}
	var s strings.Builder
	for p, w := range b.policy.weighted {
		score := b.parts[p][i]
		if w.builtIn == Steady {
			score = maxScore
		}
		if p > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "%s %d", w.name, score)
		if w.weight != 1 {
			fmt.Fprintf(&s, " times %d", w.weight)
		}
	}
	return s.String()
}
