package fanout

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	same := func(want, is string) bool { return want == is }
	for name, tc := range map[string]struct {
		wanted, existing map[string]string
		want             Difference[string, string]
	}{
		"nothing is wanted and nothing there": {},
		"all is as it is wanted":              {wanted: map[string]string{"a": "1"}, existing: map[string]string{"a": "1"}},
		"in the order of keys": {
			wanted:   map[string]string{"d": "4", "c": "3", "b": "2", "a": "1"},
			existing: map[string]string{"b": "old", "a": "old", "z": "9", "y": "8"},
			want: Difference[string, string]{
				Create: []string{"3", "4"}, Change: []Pair[string, string]{{"1", "old"}, {"2", "old"}}, Delete: []string{"8", "9"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, Diff(tc.wanted, tc.existing, same)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSlowlyStopsAtTheFirstBatchThatFails(t *testing.T) { // WL-0.8
	var calls atomic.Int32
	items := make([]int, 100)
	for i := range items {
		items[i] = i
	}
	err := Slowly(items, func(i int) error {
		calls.Add(1)
		if i == 3 {
			return errors.New("quota")
		}
		return nil
	})
	if err == nil || calls.Load() != 7 {
		t.Errorf("%v after %d calls, want an error after 1 + 2 + 4", err, calls.Load())
	}
	calls.Store(0)
	if err := Slowly(items[4:], func(int) error { calls.Add(1); return nil }); err != nil || calls.Load() != 96 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

func TestEachRunsAllAndCountsErrors(t *testing.T) {
	var calls atomic.Int32
	err := Each(make([]int, 40), func(int) error { calls.Add(1); return errors.New("no") })
	if calls.Load() != 40 || err == nil || !strings.Contains(err.Error(), "no (and 39 more)") {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
	if err := Each[int](nil, nil); err != nil {
		t.Error(err)
	}
}
