package allocate

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// WL-5.4
func TestParse(t *testing.T) {
	for _, tc := range []struct {
		total int32
		value intstr.IntOrString
		want  int32
		err   string
	}{
		{total: 10, value: intstr.FromString("25%"), want: 3},
		{total: 5, value: intstr.FromString("30%"), want: 2},
		{total: 10, value: intstr.FromString("33%"), want: 3},
		{total: 3, value: intstr.FromString("50%"), want: 2},
		{total: 4, value: intstr.FromString("10%"), want: 0},
		{total: 10, value: intstr.FromString("0%"), want: 0},
		{total: 10, value: intstr.FromString("100%"), want: 10},
		{total: 2147483647, value: intstr.FromString("100%"), want: 2147483647},
		{total: None, value: intstr.FromInt32(7), want: 7},
		{total: 3, value: intstr.FromInt32(7), want: 7},
		{total: 10, value: intstr.FromInt32(-1), err: "-1 is negative; use 0 or more"},
		{total: None, value: intstr.FromString("50%"), err: `"50%" is a percentage, and spec.replicas is not set; set spec.replicas or use a number`},
		{total: 10, value: intstr.FromString("101%"), err: `"101%" is not between 0% and 100%; use a percentage in that range, or a number`},
		{total: 10, value: intstr.FromString("99999999999999999999%"), err: `"99999999999999999999%" is not between 0% and 100%; use a percentage in that range, or a number`},
		{total: 10, value: intstr.FromString("2.5%"), err: `"2.5%" is no percentage; use a number, or an integer percentage such as "30%"`},
		{total: 10, value: intstr.FromString("+5%"), err: `"+5%" is no percentage; use a number, or an integer percentage such as "30%"`},
		{total: 10, value: intstr.FromString("5"), err: `"5" is no percentage; use a number, or an integer percentage such as "30%"`},
		{total: 10, value: intstr.FromString("%"), err: `"%" is no percentage; use a number, or an integer percentage such as "30%"`},
	} {
		t.Run(fmt.Sprintf("%s of %d", tc.value.String(), tc.total), func(t *testing.T) {
			got, err := Parse(tc.total, tc.value)
			if got != tc.want || text(err) != tc.err {
				t.Errorf("got %d, %q, want %d, %q", got, text(err), tc.want, tc.err)
			}
		})
	}
}

type example struct {
	total *int32
	adapt bool
	in    []Subset
	want  []int32
	err   string
}

// WL-5.5.1
var specifics = map[string]example{
	"an even share, the surplus to the last name": {
		total: new(int32(10)), in: []Subset{free("a", 0), free("b", 0), free("c", 0)}, want: []int32{3, 3, 4},
	},
	"the surplus stays with the biggest": {
		total: new(int32(10)), in: []Subset{free("a", 4), free("b", 3), free("c", 3)}, want: []int32{4, 3, 3},
	},
	"a second surplus goes to the last name": {
		total: new(int32(11)), in: []Subset{free("a", 4), free("b", 3), free("c", 3)}, want: []int32{4, 3, 4},
	},
	"names count, the order of the spec does not": {
		total: new(int32(10)), in: []Subset{free("c", 0), free("b", 0), free("a", 0)}, want: []int32{4, 3, 3},
	},
	"a percentage, a number and the rest": {
		total: new(int32(10)), in: []Subset{fixed("a", "20%"), fixed("b", 3), free("c", 0)}, want: []int32{2, 3, 5},
	},
	"three quarters, rounded up, leave one": {
		total: new(int32(10)), in: []Subset{fixed("a", "25%"), fixed("b", "25%"), fixed("c", "25%"), free("d", 0)}, want: []int32{3, 3, 3, 1},
	},
	"four quarters of ten are twelve": {
		total: new(int32(10)), in: []Subset{fixed("a", "25%"), fixed("b", "25%"), fixed("c", "25%"), fixed("d", "25%")},
		err: `spec.topology.subsets[3].replicas: "25%" of 10 is 3 and the subsets before take 9: 12 is more than spec.replicas 10; lower one of them`,
	},
	"the sum of numbers": {
		in: []Subset{fixed("a", 2), fixed("b", 3)}, want: []int32{2, 3},
	},
	"no total to share": {
		in:  []Subset{fixed("a", 2), free("b", 0)},
		err: "spec.topology.subsets[1].replicas: is not set and neither is spec.replicas; set one of them",
	},
	"a percentage of no total is as good as nothing": {
		in:  []Subset{fixed("a", "50%")},
		err: "spec.topology.subsets[0].replicas: is not set and neither is spec.replicas; set one of them",
	},
	"the one that goes over the total is named": {
		total: new(int32(10)), in: []Subset{fixed("a", 2), fixed("b", 4), fixed("c", "60%")},
		err: `spec.topology.subsets[2].replicas: "60%" of 10 is 6 and the subsets before take 6: 12 is more than spec.replicas 10; lower one of them`,
	},
	"alone over the total": {
		total: new(int32(10)), in: []Subset{fixed("a", 12), free("b", 0)},
		err: "spec.topology.subsets[0].replicas: 12 is more than spec.replicas 10; lower it, or raise spec.replicas",
	},
	"huge numbers do not wrap around": {
		total: new(int32(10)), in: []Subset{fixed("a", 5), fixed("b", 2147483647)},
		err: "spec.topology.subsets[1].replicas: 2147483647 and the subsets before take 5: 2147483652 is more than spec.replicas 10; lower one of them",
	},
	"nobody takes the rest": {
		total: new(int32(10)), in: []Subset{fixed("a", 5), fixed("b", "20%")},
		err: `spec.topology.subsets[1].replicas: with "20%" all subsets together take 7, less than spec.replicas 10; raise one of them, or leave one without replicas to take the rest`,
	},
	"what does not parse counts as not said": {
		total: new(int32(10)), in: []Subset{fixed("a", "many"), fixed("b", 4)}, want: []int32{6, 4},
	},
	"nothing to share": {
		total: new(int32(0)), in: []Subset{free("a", 3), free("b", 0)}, want: []int32{0, 0},
	},
	"fewer than subsets: the ones that run keep theirs": {
		total: new(int32(2)), in: []Subset{free("a", 1), free("b", 0), free("c", 1)}, want: []int32{1, 0, 1},
	},
}

// WL-5.5.2, and WL-5.7 for the flags of subsets that cannot be scheduled
var elastics = map[string]example{
	"minima first, then the first in line": {
		total: new(int32(5)), in: []Subset{between("a", 2, 4), between("b", 2, nil)}, want: []int32{3, 2},
	},
	"too few for the minima": {
		total: new(int32(3)), in: []Subset{between("a", 2, 4), between("b", 2, nil)}, want: []int32{2, 1},
	},
	"each to its maximum, the rest to the last": {
		total: new(int32(10)), in: []Subset{between("a", nil, 3), between("b", nil, 4), free("c", 0)}, want: []int32{3, 4, 3},
	},
	"percentages": {
		total: new(int32(6)), in: []Subset{between("a", "50%", "50%"), free("b", 0)}, want: []int32{3, 3},
	},
	"a total that is not said is one": { // WL-5.12, 4
		in: []Subset{between("a", nil, 3), free("b", 0)}, want: []int32{1, 0},
	},
	"what exceeds every maximum goes nowhere": {
		total: new(int32(10)), in: []Subset{between("a", nil, 3), between("b", nil, 4)}, want: []int32{3, 4},
	},
	"the order of the list is the priority, names do not matter": {
		total: new(int32(4)), in: []Subset{between("z", nil, 3), between("a", nil, 3)}, want: []int32{3, 1},
	},
	"without Adaptive, what runs does not count": {
		total: new(int32(10)), in: []Subset{running(between("a", nil, 5), 3, true), running(between("b", nil, nil), 7, false)}, want: []int32{5, 5},
	},
	"a minimum over its maximum": {
		total: new(int32(10)), in: []Subset{free("a", 0), between("b", 5, 3)},
		err: "spec.topology.subsets[1].minReplicas: 5 is more than maxReplicas 3; lower minReplicas or raise maxReplicas",
	},
	"a minimum over its maximum only as percentages": {
		total: new(int32(10)), in: []Subset{between("a", "50%", 4), free("b", 0)},
		err: `spec.topology.subsets[0].minReplicas: "50%" (5) is more than maxReplicas 4; lower minReplicas or raise maxReplicas`,
	},
	"what does not parse counts as 0": {
		total: new(int32(4)), in: []Subset{between("a", nil, "some"), between("b", "few", nil)}, want: []int32{0, 4},
	},
	"adaptive: at first nothing is known": {
		adapt: true, total: new(int32(10)), in: []Subset{between("a", nil, 5), free("b", 0)}, want: []int32{5, 5},
	},
	"adaptive: pods that find no node move on": {
		adapt: true, total: new(int32(10)), in: []Subset{running(between("a", nil, 5), 3, true), running(free("b", 5), 5, false)}, want: []int32{3, 7},
	},
	"adaptive: running pods are not moved back": {
		adapt: true, total: new(int32(10)), in: []Subset{running(between("a", nil, 5), 3, false), running(free("b", 7), 7, false)}, want: []int32{3, 7},
	},
	"adaptive: growth fills the first again": {
		adapt: true, total: new(int32(12)), in: []Subset{running(between("a", nil, 5), 3, false), running(free("b", 7), 7, false)}, want: []int32{5, 7},
	},
	"adaptive: shrinking takes from the last": {
		adapt: true, total: new(int32(6)), in: []Subset{running(between("a", nil, 5), 3, false), running(free("b", 7), 7, false)}, want: []int32{3, 3},
	},
	"adaptive: an unschedulable subset is not held to its minimum": {
		adapt: true, total: new(int32(6)), in: []Subset{running(between("a", 4, nil), 1, true), free("b", 0)}, want: []int32{1, 5},
	},
	"adaptive: what runs over the maximum goes": {
		adapt: true, total: new(int32(6)), in: []Subset{running(between("a", nil, 2), 4, false), free("b", 0)}, want: []int32{2, 4},
	},
}

func TestReplicasOfSubsets(t *testing.T) {
	for kind, examples := range map[string]map[string]example{"specific": specifics, "elastic": elastics} {
		for name, tc := range examples {
			t.Run(kind+" "+name, func(t *testing.T) {
				request := Request{Replicas: tc.total, Subsets: tc.in, Adaptive: tc.adapt}
				got, err := Replicas(request)
				if d := cmp.Diff(tc.want, got); d != "" || text(err) != tc.err {
					t.Errorf("error %q, want %q; %s", text(err), tc.err, d)
				}
			})
		}
	}
}

// The answer, once carried out, is the answer to the next question too: no pod moves for a remainder.
func TestRepeatingMovesNothing(t *testing.T) {
	for total := range int32(40) {
		request := Request{Replicas: &total, Subsets: []Subset{free("a", 1), free("b", 5), fixed("c", "20%"), free("d", 2)}}
		first, err := Replicas(request)
		if err != nil {
			t.Fatal(err)
		}
		for i := range first {
			request.Subsets[i].Current = first[i]
		}
		second, _ := Replicas(request)
		if d := cmp.Diff(first, second); d != "" {
			t.Errorf("of %d: %s", total, d)
		}
	}
}

func BenchmarkSpecific(b *testing.B) {
	request := Request{Replicas: new(int32(123_456))}
	for i := range 1000 {
		s := free(fmt.Sprintf("subset-%d", i), int32(i*7%13))
		if i%2 == 0 {
			s = fixed(s.Name, i%11)
		}
		request.Subsets = append(request.Subsets, s)
	}
	bench(b, request)
}

func BenchmarkElastic(b *testing.B) {
	request := Request{Replicas: new(int32(123_456)), Adaptive: true}
	for i := range 1000 {
		s := between(fmt.Sprintf("subset-%d", i), i%5, nil)
		if i%2 == 0 {
			s = between(s.Name, i%5, 100+i)
		}
		request.Subsets = append(request.Subsets, running(s, int32(i%50), i%17 == 0))
	}
	bench(b, request)
}

func bench(b *testing.B, request Request) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Replicas(request); err != nil {
			b.Fatal(err)
		}
	}
}

func free(name string, current int32) Subset {
	return Subset{Name: name, Exists: current > 0, Current: current}
}

func fixed(name string, replicas any) Subset {
	return Subset{Name: name, Replicas: number(replicas)}
}

func between(name string, low, high any) Subset {
	return Subset{Name: name, Min: number(low), Max: number(high)}
}

func running(s Subset, pods int32, unschedulable bool) Subset {
	s.Exists, s.Running, s.Unschedulable = true, pods, unschedulable
	return s
}

func number(v any) *intstr.IntOrString {
	switch v := v.(type) {
	case int:
		return new(intstr.FromInt32(int32(v)))
	case string:
		return new(intstr.FromString(v))
	}
	return nil
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
