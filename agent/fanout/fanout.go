// Package fanout is the engine for kinds that want children without places: wanted ones against existing ones by key, and
// carrying out what differs, a few at a time. It is what podset is not: a child here has no slot, no rollout and no budget.
//
// Diff is pure. Each and Slowly start goroutines and wait for them; they read and write nothing themselves.
package fanout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/go-multierror"
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

// width is how many children are written at a time.
const width = 16

// Each runs do for all items, some at a time, and returns every error.
func Each[T any](items []T, do func(T) error) error {
	var group multierror.Group
	free := make(chan struct{}, width)
	for _, item := range items {
		free <- struct{}{}
		group.Go(func() error {
			defer func() { <-free }()
			return do(item)
		})
	}
	return failed(group.Wait())
}

// Slowly runs batches of 1, 2, 4 and so on; the first batch with a failure is the last, so a quota costs one call and not
// five hundred.
func Slowly[T any](items []T, do func(T) error) error {
	for size := 1; len(items) > 0; size *= 2 {
		batch := items[:min(size, len(items))]
		if err := Each(batch, do); err != nil {
			return err
		}
		items = items[len(batch):]
	}
	return nil
}

// failed is nil for no errors, and else says the first and counts the others: five hundred children fail for one reason.
func failed(all *multierror.Error) error {
	if all == nil {
		return nil
	}
	all.ErrorFormat = func(errs []error) string {
		if len(errs) == 1 {
			return errs[0].Error()
		}
		return fmt.Sprintf("%v (and %d more)", errs[0], len(errs)-1)
	}
	return all.ErrorOrNil()
}
