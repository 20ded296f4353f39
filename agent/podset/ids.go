package podset

import (
	"math/rand/v2"
	"slices"
)

const (
	idLetters = "bcdfghjklmnpqrstvwxz2456789" // never spells a word (1.4)
	idLength  = 5
)

// slots hands out instance ids for n new pods in lexical order (1.4): claims
// that lost their pod first, fresh ids for the rest. A claim whose pod is
// still terminating keeps its place without being handed out: its name is not
// free yet, and a fresh id would lose the claim's data.
func (v *view) slots(n int) []string {
	taken := make(map[string]bool, len(v.pods)+len(v.spec.TakenIDs)) // value: pod is on its way out
	for i := range v.pods {
		taken[v.pods[i].Slot] = v.pods[i].Terminating
	}
	var ids, leaving []string
	reuse := slices.Compact(slices.Sorted(slices.Values(v.spec.ReuseIDs)))
	for _, id := range reuse {
		goes, used := taken[id]
		switch {
		case len(ids)+len(leaving) == n || used && !goes:
		case goes:
			leaving = append(leaving, id)
		default:
			ids = append(ids, id)
		}
	}
	for _, id := range slices.Concat(v.spec.ReuseIDs, v.spec.TakenIDs) {
		taken[id] = true
	}
	random := rand.New(rand.NewPCG(v.spec.Seed, 0))
	for len(ids)+len(leaving) < n {
		id := randomID(random)
		if _, used := taken[id]; !used {
			taken[id] = true
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func randomID(random *rand.Rand) string {
	var id [idLength]byte
	for i := range id {
		id[i] = idLetters[random.IntN(len(idLetters))]
	}
	return string(id[:])
}
