package allocate

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// Specific gives every subset the replicas it asks for and shares the rest among those that ask for nothing. The
// surplus of the division goes to the subsets that are biggest now, so that repeating it moves nothing (WL-5.5.1).
func Specific(r Request) ([]int32, error) {
	total := None
	if r.Replicas != nil {
		total = *r.Replicas
	}
	give := make([]int32, len(r.Subsets))
	var free []int
	var taken int64
	last := -1
	for i, s := range r.Subsets {
		if s.Replicas == nil {
			free = append(free, i)
			continue
		}
		n, err := Parse(total, *s.Replicas)
		if err != nil { // what does not parse counts as not said
			free = append(free, i)
			continue
		}
		if before := taken; total != None && before+int64(n) > int64(total) {
			return nil, tooMuch(i, s, n, before, total)
		}
		give[i], taken, last = n, taken+int64(n), i
	}
	switch {
	case total == None && len(free) > 0:
		return nil, fmt.Errorf("%s: is not set and neither is spec.replicas; set one of them", field(free[0], "replicas"))
	case total == None || len(r.Subsets) == 0:
		return give, nil
	case len(free) == 0 && taken < int64(total):
		return nil, fmt.Errorf("%s: with %s all subsets together take %d, less than spec.replicas %d; raise one of them, or leave one without replicas to take the rest",
			field(last, "replicas"), quote(r.Subsets[last].Replicas), taken, total)
	}
	share(r.Subsets, free, give, total-int32(taken))
	return give, nil
}

// share splits rest among the free subsets.
func share(subsets []Subset, free []int, give []int32, rest int32) {
	if len(free) == 0 {
		return
	}
	slices.SortFunc(free, func(a, b int) int {
		return cmp.Or(cmp.Compare(subsets[a].Current, subsets[b].Current), cmp.Compare(subsets[a].Name, subsets[b].Name))
	})
	quotient, surplus := rest/int32(len(free)), int(rest)%len(free)
	for at, i := range free {
		give[i] = quotient
		if at >= len(free)-surplus {
			give[i]++
		}
	}
}

func tooMuch(i int, s Subset, n int32, before int64, total int32) error {
	value := quote(s.Replicas)
	if s.Replicas.Type == intstr.String {
		value = fmt.Sprintf("%s of %d is %d", value, total, n)
	}
	if before == 0 {
		return fmt.Errorf("%s: %s is more than spec.replicas %d; lower it, or raise spec.replicas", field(i, "replicas"), value, total)
	}
	return fmt.Errorf("%s: %s and the subsets before take %d: %d is more than spec.replicas %d; lower one of them",
		field(i, "replicas"), value, before, before+int64(n), total)
}
