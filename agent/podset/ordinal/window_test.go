package ordinal

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestWindow(t *testing.T) { // WL-2.4
	for name, tc := range map[string]struct {
		start, replicas int
		reserved        []string
		want            []int
	}{
		"from zero":                   {0, 3, nil, []int{0, 1, 2}},
		"from a start":                {5, 2, nil, []int{5, 6}},
		"without a reserved one":      {0, 3, []string{"1"}, []int{0, 2, 3}},
		"without ranges and numbers":  {0, 3, []string{"3-5", "1"}, []int{0, 2, 6}},
		"overlapping ranges":          {0, 2, []string{"0-2", "1-4"}, []int{5, 6}},
		"a range of two billion":      {0, 1, []string{"0-2000000000"}, []int{2000000001}},
		"reserved below the start":    {2, 2, []string{"0", "3"}, []int{2, 4}},
		"none":                        {0, 0, []string{"0"}, []int{}},
		"reserved past the last one":  {0, 2, []string{"7"}, []int{0, 1}},
		"a negative number of pods":   {0, -1, nil, []int{}},
		"a range that starts with it": {1, 2, []string{"1-2"}, []int{3, 4}},
		"a range of one":              {0, 2, []string{"1-1"}, []int{0, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			var all []intstr.IntOrString
			for _, r := range tc.reserved {
				all = append(all, intstr.Parse(r))
			}
			ranges, err := ParseReserved(all)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, Window(tc.start, tc.replicas, ranges)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReservedThatCannotBeRead(t *testing.T) { // WL-2.3
	for _, bad := range []intstr.IntOrString{intstr.FromInt32(-1), intstr.FromString("1-"), intstr.FromString("a"), intstr.FromString("5-3"),
		intstr.FromString("1-2-3"), intstr.FromString(" 1-2"), intstr.FromString("1"), intstr.FromString("0-99999999999")} {
		if got, err := ParseReserved([]intstr.IntOrString{intstr.FromInt32(1), bad}); err == nil {
			t.Errorf("%s is read as %v", bad.String(), got)
		}
	}
}

func TestAtLeastOne(t *testing.T) { // WL-0.4, WL-2.16.4
	for v, want := range map[string]int{"0": 1, "3": 3, "10%": 1, "25%": 2, "39%": 3, "100%": 10} {
		if got, err := AtLeastOne(intstr.Parse(v), 10); err != nil || got != want {
			t.Errorf("%s of 10 is %d (%v), want %d", v, got, err, want)
		}
	}
	if _, err := AtLeastOne(intstr.FromString("half"), 10); err == nil {
		t.Error("half is read")
	}
}

func TestParse(t *testing.T) { // WL-2.4
	for name, want := range map[string]string{
		"web-0": "web 0", "web-a-12": "web-a 12", "web": "", "web-": "", "web-01": "", "web-+1": "", "web--1": "web- 1", "web-99999999999": "", "web-1a": "",
	} {
		got := ""
		if set, n, ok := Parse(name); ok {
			got = fmt.Sprint(set, " ", n)
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
