package batch

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tried notes what was done, and fails for some.
type tried struct {
	mutex sync.Mutex
	items []int
	bad   []int
}

var errBad = errors.New("bad")

func (t *tried) do(item int) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.items = append(t.items, item)
	if slices.Contains(t.bad, item) {
		return errBad
	}
	return nil
}

func numbers(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

func TestEachTriesAllAndKeepsEveryError(t *testing.T) {
	w := tried{bad: []int{3, 77}}
	err := Each(numbers(100), w.do)
	if !errors.Is(err, errBad) || err.Error() != "bad (and 1 more)" {
		t.Errorf("%v", err)
	}
	slices.Sort(w.items)
	if d := cmp.Diff(numbers(100), w.items); d != "" {
		t.Error(d)
	}
}

func TestSlowlyStopsAfterTheBatchThatFailed(t *testing.T) {
	for bad, want := range map[int]int{0: 1, 1: 3, 2: 3, 3: 7, 99: 100, 200: 100} {
		w := tried{bad: []int{bad}}
		err := Slowly(numbers(100), w.do)
		if len(w.items) != want || (err == nil) != (bad == 200) {
			t.Errorf("%d fails: %d tried, %v", bad, len(w.items), err)
		}
	}
}

func TestInTurnStopsAtTheFirstFailure(t *testing.T) {
	for bad, want := range map[int]int{0: 1, 3: 4, 200: 100} {
		w := tried{bad: []int{bad}}
		err := InTurn(numbers(100), w.do)
		if d := cmp.Diff(numbers(want), w.items); d != "" || (err == nil) != (bad == 200) {
			t.Errorf("%d fails: %s, %v", bad, d, err)
		}
	}
}
