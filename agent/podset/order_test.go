package podset

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func restarts(n int32) podOption { return func(p *Pod) { p.Restarts = n } }
func sidecarRestarts(n int32) podOption {
	return func(p *Pod) { p.SidecarRestarts = n }
}
func cost(n int32) podOption         { return func(p *Pod) { p.Cost = n } }
func phase(f Phase) podOption        { return func(p *Pod) { p.Phase = f } }
func unassigned(p *Pod)              { p.Node = "" }
func noTime(p *Pod)                  { p.ReadySince = time.Time{} }
func bornUnknown(p *Pod)             { p.Created = time.Time{} }
func priority(v [2]int64) podOption  { return func(p *Pod) { p.Priority = v } }
func scatterBits(b uint64) podOption { return func(p *Pod) { p.Scatter = b } }
func domains(d ...string) podOption  { return func(p *Pod) { p.Domains = d } }

// pairs are two pods of which the first goes before the second although its
// name comes later, so that nothing but the rule can put it there.
type pair struct {
	spec          specOption
	first, second []podOption
	onlyFor       string // "scale-in" or "update"; empty for both
}

var pairs = map[string]pair{ // WL-1.9.1 rules 1 to 8; WL-0.1 ActivePods order
	"unassigned before assigned, even with more to lose": {first: []podOption{unassigned, cost(9)}, second: []podOption{phase(Pending), cost(-9)}},
	"pending before unknown":                             {first: []podOption{phase(Pending), cost(9)}, second: []podOption{phase(Unknown), cost(-9)}},
	"unknown before running":                             {first: []podOption{phase(Unknown), cost(9)}, second: []podOption{func(p *Pod) { p.Ready = false }, cost(-9)}},
	"not ready before ready":                             {first: []podOption{func(p *Pod) { p.Ready = false }, cost(9)}, second: []podOption{cost(-9)}},
	"not available before available, ready or not": {
		spec: minReady(time.Minute), onlyFor: "scale-in",
		first: []podOption{readyFor(time.Second), cost(9)}, second: []podOption{readyFor(time.Hour), cost(-9)},
	},
	"a pod whose lifecycle is not Normal is not available": { // WL-1.7
		onlyFor: "scale-in",
		first:   []podOption{in(Updating), func(p *Pod) { p.InPlace.Done = false }, cost(9)}, second: []podOption{cost(-9)},
	},
	"the cheaper one":                       {onlyFor: "scale-in", first: []podOption{cost(-1), readyFor(2 * time.Hour)}, second: []podOption{cost(0), readyFor(time.Minute)}},
	"the most recently ready":               {first: []podOption{readyFor(time.Minute), restarts(0)}, second: []podOption{readyFor(time.Hour), restarts(9)}},
	"a ready time unknown is recent":        {first: []podOption{noTime}, second: []podOption{readyFor(time.Minute)}},
	"the one that restarted more":           {first: []podOption{restarts(3), createdAgo(9 * time.Hour)}, second: []podOption{restarts(2)}},
	"of sidecars too, in updates":           {onlyFor: "update", first: []podOption{sidecarRestarts(3), createdAgo(9 * time.Hour)}, second: []podOption{sidecarRestarts(2)}},
	"of sidecars not, in scale-in":          {onlyFor: "scale-in", first: []podOption{createdAgo(time.Hour)}, second: []podOption{sidecarRestarts(2)}},
	"the newer":                             {first: []podOption{createdAgo(time.Hour)}, second: []podOption{createdAgo(3 * time.Hour)}},
	"a birth time unknown is new":           {first: []podOption{bornUnknown}, second: []podOption{createdAgo(time.Minute)}},
	"restarts do not rank before readiness": {first: []podOption{func(p *Pod) { p.Ready = false }}, second: []podOption{restarts(9)}},
}

func TestScaleInOrder(t *testing.T) {
	for name, tc := range pairs {
		if tc.onlyFor == "update" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			spec := steady(1)
			if tc.spec != nil {
				tc.spec(&spec)
			}
			got := Decide(spec, []Pod{up("a", "b", tc.second...), up("z", "b", tc.first...)}, noon)
			if len(got.Delete) != 1 || got.Delete[0].Pod != "z" {
				t.Errorf("plan %v does not delete z", got.Lines())
			}
		})
	}
}

func TestUpdateOrder(t *testing.T) {
	for name, tc := range pairs {
		if tc.onlyFor == "scale-in" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			spec := toRevision("b", 2, inPlace, maxUnavailable(2), partition(1))
			got := Decide(spec, []Pod{up("a", "a", tc.second...), up("z", "a", tc.first...)}, noon)
			if len(got.Update) != 1 || got.Update[0].Pod != "z" {
				t.Errorf("plan %v does not update z alone", got.Lines())
			}
		})
	}
}

// WL-1.9.1 rule 5
func TestScaleInSpreads(t *testing.T) {
	deleted := func(spec Spec, pods []Pod) []string {
		var names []string
		for _, d := range Decide(spec, pods, noon).Delete {
			names = append(names, d.Pod)
		}
		return names
	}
	zones := func(s *Spec) { s.Spread = []string{"zone"} }
	hosts := func(s *Spec) { s.Spread = []string{hostname} }
	both := func(s *Spec) { s.Spread = []string{"zone", hostname} }
	for name, tc := range map[string]struct {
		spec Spec
		pods []Pod
		want []string
	}{
		"the crowded node gives first": {
			spec: steady(2),
			pods: []Pod{up("a", "b", on("n1")), up("x", "b", on("n2")), up("y", "b", on("n2"))},
			want: []string{"x"},
		},
		"then the next crowded": {
			spec: steady(3),
			pods: []Pod{up("a", "b", on("n1")), up("b", "b", on("n1")), up("x", "b", on("n2")), up("y", "b", on("n2")), up("z", "b", on("n2"))},
			want: []string{"x", "a"},
		},
		"cost decides who is left on a node": { // q would be ranked before p by ready time
			spec: steady(2),
			pods: []Pod{up("p", "b", on("n1")), up("q", "b", on("n1"), cost(5), readyFor(time.Second)), up("r", "b", on("n2"), readyFor(time.Minute))},
			want: []string{"p"},
		},
		"cost ranks before crowding": {
			spec: steady(2),
			pods: []Pod{up("a", "b", on("n1"), cost(-1)), up("x", "b", on("n2")), up("y", "b", on("n2"))},
			want: []string{"a"},
		},
		"crowding ranks before ready time": {
			spec: steady(2),
			pods: []Pod{up("a", "b", on("n1"), readyFor(time.Second)), up("x", "b", on("n2")), up("y", "b", on("n2"))},
			want: []string{"x"},
		},
		"with constraints, the crowded zone gives, not the crowded node": {
			spec: steady(4, zones),
			pods: []Pod{
				up("a", "b", on("n1"), domains("z1")), up("b", "b", on("n1"), domains("z1")),
				up("x", "b", on("n2"), domains("z2")), up("y", "b", on("n3"), domains("z2")), up("z", "b", on("n4"), domains("z2")),
			},
			want: []string{"x"},
		},
		"inside the zone, the crowded node": {
			spec: steady(4, zones),
			pods: []Pod{
				up("a", "b", on("n1"), domains("z1")), up("b", "b", on("n9"), domains("z1")),
				up("x", "b", on("n2"), domains("z2")), up("y", "b", on("n3"), domains("z2")), up("z", "b", on("n3"), domains("z2")),
			},
			want: []string{"y"},
		},
		"by host name, nodes are the zones": {
			spec: steady(2, hosts),
			pods: []Pod{up("a", "b", on("n1"), domains("n1")), up("x", "b", on("n2"), domains("n2")), up("y", "b", on("n2"), domains("n2"))},
			want: []string{"x"},
		},
		"a pod on an unknown node has no rank": {
			spec: steady(2, zones),
			pods: []Pod{up("a", "b", on("n1"), domains("")), up("b", "b", on("n2")), up("x", "b", on("n3"), domains("z1"))},
			want: []string{"x"},
		},
		"constraints add up": { // both zones hold three pods; node n3 holds two
			spec: steady(5, both),
			pods: []Pod{
				up("a", "b", on("n1"), domains("z1", "n1")), up("b", "b", on("n4"), domains("z1", "n4")), up("c", "b", on("n5"), domains("z1", "n5")),
				up("x", "b", on("n2"), domains("z2", "n2")), up("y", "b", on("n3"), domains("z2", "n3")), up("z", "b", on("n3"), domains("z2", "n3")),
			},
			want: []string{"y"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, deleted(tc.spec, tc.pods)); d != "" {
				t.Error(d)
			}
		})
	}
}

// updates are the names in the order in which pods are updated.
func updates(spec Spec, pods []Pod) string {
	var names string
	for _, u := range Decide(spec, pods, noon).Update {
		names += u.Pod
	}
	return names
}

func prioritized(s *Spec) { s.Prioritized = true }

// WL-1.11 step 2
func TestPriority(t *testing.T) {
	spec := toRevision("b", 4, inPlace, prioritized, maxUnavailable(9))
	for name, tc := range map[string]struct {
		pods []Pod
		want string
	}{
		"the heavier first": {
			[]Pod{up("p", "a", priority(WeightPriority(1))), up("q", "a", priority(WeightPriority(30))), up("r", "a"), up("s", "a", priority(WeightPriority(5)))}, "qspr",
		},
		"pods without any key first, then by level": { // WL-1.19 4
			[]Pod{up("p", "a", priority(OrderPriority(1, "x"))), up("q", "a", priority(OrderPriority(0, "x"))), up("r", "a", priority(OrderPriority(-1, ""))), up("s", "a", priority(OrderPriority(0, "x")))}, "rsqp",
		},
		"in a level, the larger number first": {
			[]Pod{up("p", "a", priority(OrderPriority(0, "n-2"))), up("q", "a", priority(OrderPriority(0, "n-10"))), up("r", "a", priority(OrderPriority(0, "n"))), up("s", "a", priority(OrderPriority(0, "3")))}, "qspr",
		},
		"ties go to the higher index, not to the less healthy": { // WL-1.19 4
			[]Pod{down("p", "a"), up("q", "a"), up("r", "a"), up("s", "a")}, "srqp",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := updates(spec, tc.pods); got != tc.want {
				t.Errorf("order %s, want %s", got, tc.want)
			}
		})
	}
}

// WL-1.11 step 3. Pods are a, b, c, ...; a digit is the bits of the terms it matches.
func TestScatter(t *testing.T) {
	for name, tc := range map[string]struct {
		terms   int
		waiting string // bits per waiting pod
		updated string // bits per pod that is updated already
		want    string
	}{
		"one term, evenly":                      {1, "111000", "", "adebfc"}, // 2 groups of 1 and round(1.5)=2, the last 1 at the end
		"one match is left as it is":            {1, "0100", "", "abcd"},
		"one that does not match too":           {1, "1011", "", "abcd"},
		"many to few":                           {1, "1111100", "", "abfcdge"},
		"the ratio of all pods leads":           {1, "110000", "11111", "cdefab"},
		"and makes even what it leaves":         {1, "11111000000", "1111", "fgahbicjdke"}, // 4 groups of 1 and 1 after 2
		"several terms, the common first":       {2, "11122200", "", scattered("11122200")},
		"the common first, not the first":       {2, "1122200", "", "acdfgeb"},
		"a term that cannot spread is passed":   {2, "111330", "", "dabcfe"},
		"a term that matches no one is dropped": {2, "111000", "", "adebfc"},
	} {
		t.Run(name, func(t *testing.T) {
			var pods []Pod
			for i, bits := range tc.waiting {
				pods = append(pods, up(string(rune('a'+i)), "a", scatterBits(uint64(bits-'0'))))
			}
			for i, bits := range tc.updated {
				pods = append(pods, up(fmt.Sprintf("z%d", i), "b", scatterBits(uint64(bits-'0'))))
			}
			spec := toRevision("b", len(pods), inPlace, maxUnavailable(99), func(s *Spec) { s.Scatter = tc.terms })
			if got := updates(spec, pods); got != tc.want {
				t.Errorf("order %s, want %s", got, tc.want)
			}
		})
	}
}

// scattered applies terms one after the other with the documented arithmetic,
// written for letters.
func scattered(bits string) string {
	order := []rune{}
	for i := range bits {
		order = append(order, rune('a'+i))
	}
	has := func(r rune, term int) bool { return int(bits[r-'a']-'0')&term != 0 }
	for _, term := range []int{1, 2} { // both match three pods: in the order given
		var m, r []rune
		for _, x := range order {
			if has(x, term) {
				m = append(m, x)
			} else {
				r = append(r, x)
			}
		}
		last := m[len(m)-1]
		m = m[:len(m)-1] // 2 matching, 5 others: 2 groups of 1 and round(2.5)=3
		order = slices.Concat(m[:1], r[:3], m[1:], r[3:], []rune{last})
	}
	return string(order)
}

// WL-0.1: without minReadySeconds a pod is available at once, also by a clock that is ahead of ours.
func TestAClockThatIsAheadWakesNobody(t *testing.T) {
	plan := Decide(steady(1), []Pod{up("1", "b", readyFor(-time.Hour))}, noon)
	if !plan.Empty() || plan.Recheck() != 0 {
		t.Errorf("%+v", plan)
	}
}
