// Package batch runs many writes: some at a time, in batches that grow while they succeed, or in turn. It owns nothing and knows nothing
// of what is written.
package batch

import (
	"fmt"

	"github.com/hashicorp/go-multierror"
)

// width is how many writes run at a time.
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

// Slowly runs batches of 1, 2, 4 and so on; the first batch with a failure is the last, so a quota costs one call and not five
// hundred.
func Slowly[T any](items []T, do func(T) error) error {
	for size := 1; len(items) > 0; size *= 2 {
		next := items[:min(size, len(items))]
		if err := Each(next, do); err != nil {
			return err
		}
		items = items[len(next):]
	}
	return nil
}

// InTurn runs one after the other, up to the first that fails.
func InTurn[T any](items []T, do func(T) error) error {
	for _, item := range items {
		if err := do(item); err != nil {
			return err
		}
	}
	return nil
}

// failed is nil for no errors, and else says the first and counts the others: five hundred writes fail for one reason.
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
