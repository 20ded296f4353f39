package fanout

import (
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
