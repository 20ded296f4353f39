// Package fanout is the engine for kinds that want children without places: wanted ones against existing ones by key. It
// is what podset is not: a child here has no slot, no rollout and no budget. It is pure; pkg/batch carries out what differs.
package fanout

import (
	"cmp"
	"maps"
	"slices"
)

// Pair is a child that is wanted otherwise than it is.
type Pair[W, E any] struct {
	Want W
	Is   E
}

// Difference is what to do, in the order of keys.
type Difference[W, E any] struct {
	Create []W
	Change []Pair[W, E]
	Delete []E
}

// Diff compares wanted children with existing ones; same says that one is as it is wanted.
func Diff[K cmp.Ordered, W, E any](wanted map[K]W, existing map[K]E, same func(W, E) bool) (d Difference[W, E]) {
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		is, there := existing[key]
		switch {
		case !there:
			d.Create = append(d.Create, wanted[key])
		case !same(wanted[key], is):
			d.Change = append(d.Change, Pair[W, E]{wanted[key], is})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(existing)) {
		if _, still := wanted[key]; !still {
			d.Delete = append(d.Delete, existing[key])
		}
	}
	return d
}
