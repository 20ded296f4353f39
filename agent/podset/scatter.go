package podset

import (
	"cmp"
	"math"
	"slices"
)

// scatter spreads the pods that match each term evenly over the update order (1.11 step 3).
func (v *view) scatter(waiting []*member) []*member {
	for _, term := range v.scatterTerms(waiting) {
		matching, rest := split(waiting, term)
		if len(matching) <= 1 || len(rest) <= 1 {
			continue
		}
		allMatching := 0
		for i := range v.members {
			if v.members[i].Scatter&term != 0 {
				allMatching++
			}
		}
		waiting = interleave(matching, rest, allMatching-1, len(v.members)-allMatching)
	}
	return waiting
}

// scatterTerms are the terms as bits; of several, those that match a waiting
// pod, the most common first.
func (v *view) scatterTerms(waiting []*member) []uint64 {
	if v.spec.Scatter == 1 {
		return []uint64{1}
	}
	var terms []uint64
	count := map[uint64]int{}
	for i := range min(v.spec.Scatter, 64) {
		term := uint64(1) << i
		for _, m := range waiting {
			if m.Scatter&term != 0 {
				count[term]++
			}
		}
		if count[term] > 0 {
			terms = append(terms, term)
		}
	}
	slices.SortStableFunc(terms, func(a, b uint64) int { return cmp.Compare(count[b], count[a]) })
	return terms
}

func split(waiting []*member, term uint64) (matching, rest []*member) {
	for _, m := range waiting {
		if m.Scatter&term != 0 {
			matching = append(matching, m)
		} else {
			rest = append(rest, m)
		}
	}
	return matching, rest
}

// interleave is the group arithmetic of 1.11; the last matching pod goes last.
func interleave(matching, rest []*member, allMatching, allRest int) []*member {
	last := matching[len(matching)-1]
	matching = matching[:len(matching)-1]
	groups, fromMatching, fromRest := grouping(len(matching), len(rest))
	lead := 0
	if allRest*len(matching) < len(rest)*allMatching { // allRest/allMatching < rest/matching
		_, fromMatching, fromRest = grouping(allMatching, allRest)
		groups = min(len(matching)/fromMatching, len(rest)/fromRest)
		lead = len(rest) - groups*fromRest
	}
	out := make([]*member, 0, len(matching)+len(rest)+1)
	take := func(from *[]*member, n int) {
		n = min(n, len(*from))
		out = append(out, (*from)[:n]...)
		*from = (*from)[n:]
	}
	take(&rest, lead)
	for range groups {
		take(&matching, fromMatching)
		take(&rest, fromRest)
	}
	return append(append(append(out, matching...), rest...), last)
}

func grouping(m, r int) (groups, perM, perR int) {
	groups = max(min(m, r), 1) // nothing on one side: one group of the other
	return groups, round(m, groups), round(r, groups)
}

func round(n, by int) int { return max(int(math.Round(float64(n)/float64(by))), 1) }
