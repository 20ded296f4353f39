package failover

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// subset of five replicas that are all there, in a cluster of its own name that has been heard for a day.
func subset(name string, options ...func(*Subset)) Subset {
	s := Subset{Name: name, Cluster: name, Base: 5, Given: 5, Max: NoLimit, Capacity: NoLimit, Available: 5, StepsDown: true, Since: ago(24 * time.Hour)}
	for _, o := range options {
		o(&s)
	}
	return s
}

func silent(d time.Duration) func(*Subset) {
	return func(s *Subset) { s.Silent, s.Since = true, ago(d) }
}
func heard(d time.Duration) func(*Subset)      { return func(s *Subset) { s.Since = ago(d) } }
func failedOver(d time.Duration) func(*Subset) { return func(s *Subset) { s.FailedOver = ago(d) } }
func given(n int32) func(*Subset)              { return func(s *Subset) { s.Given = n } }
func base(n int32) func(*Subset)               { return func(s *Subset) { s.Base = n } }
func available(n int32) func(*Subset)          { return func(s *Subset) { s.Available = n } }
func atMost(n int32) func(*Subset)             { return func(s *Subset) { s.Max = n } }
func roomFor(n int32) func(*Subset)            { return func(s *Subset) { s.Capacity = n } }
func stuck(n int32) func(*Subset)              { return func(s *Subset) { s.Unschedulable, s.Stuck = true, n } }
func barred(why string) func(*Subset)          { return func(s *Subset) { s.Barred = why } }
func unconfirmed(s *Subset)                    { s.StepsDown = false }
func in(cluster string) func(*Subset)          { return func(s *Subset) { s.Cluster = cluster } }

func keepRunning() *Policy {
	return &Policy{Mode: KeepRunning, After: 5 * time.Minute, ReturnAfter: time.Minute}
}

func stepDown() *Policy {
	p := keepRunning()
	p.Mode = StepDown
	return p
}

type decision struct {
	policy  *Policy
	subsets []Subset
	want    []int32
	missing int32
	recheck time.Duration
	// says is in the message or in some reason; over lists who is failed over.
	says string
	over string
}

var decisions = map[string]decision{
	"nothing is silent, everybody has the allocator's share": {
		policy: keepRunning(), subsets: []Subset{subset("west", given(9)), subset("east", given(1))}, want: []int32{5, 5},
	},
	"a silent cluster is waited for": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(4*time.Minute)), subset("east"), subset("north")}, want: []int32{5, 5, 5},
		recheck: time.Minute, says: "cluster west is silent since 2026-01-01T11:56:00Z; its 5 replicas start elsewhere at 2026-01-01T12:01:00Z",
	},
	"then its replicas start elsewhere, in the order of the list": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(5*time.Minute)), subset("east", atMost(7)), subset("north")}, want: []int32{5, 7, 8},
		over: "west", says: "3 of 8 replicas stand in for west",
	},
	"capacity limits, too": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(time.Hour)), subset("east", roomFor(6)), subset("north")}, want: []int32{5, 6, 9}, over: "west",
	},
	"nothing goes where nodes are missing or something bars it": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(time.Hour)), subset("east", stuck(0)), subset("north", barred("is being removed")), subset("south")},
		want: []int32{5, 5, 5, 10}, over: "west",
	},
	"what has no place is counted, and why is said": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(time.Hour)), subset("east", atMost(7)), subset("north", stuck(0))},
		want: []int32{5, 7, 5}, missing: 3, over: "west",
		says: "3 of 5 replicas of west have no place: east is at its maxReplicas 7, north finds no nodes",
	},
	"stepping down takes a margin longer": {
		policy: stepDown(), subsets: []Subset{subset("west", silent(5*time.Minute)), subset("east"), subset("north")}, want: []int32{5, 5, 5}, recheck: time.Minute,
	},
	"and then it surely has": {
		policy: stepDown(), subsets: []Subset{subset("west", silent(6*time.Minute)), subset("east"), subset("north")}, want: []int32{5, 10, 5}, over: "west",
	},
	"an agent that has not confirmed it is never taken to have stepped down": {
		policy: stepDown(), subsets: []Subset{subset("west", silent(time.Hour), unconfirmed), subset("east"), subset("north")}, want: []int32{5, 5, 5},
		says: "its agent has not confirmed that it steps down",
	},
	"nor is one that cannot": {
		policy: stepDown(), subsets: []Subset{subset("west", silent(time.Hour), unconfirmed, func(s *Subset) { s.Unfenced = "its volumes would be deleted" }), subset("east"), subset("north")},
		want: []int32{5, 5, 5}, says: "its replicas stay, because its volumes would be deleted",
	},
	"all silent: it is the hub": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(time.Hour)), subset("east", silent(2*time.Hour), given(7))}, want: []int32{5, 7},
		says: "all 2 clusters are silent, the hub is probably cut off: nothing moves",
	},
	"more than half at once: it is the hub": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(time.Hour)), subset("east", silent(time.Hour+30*time.Second)), subset("north")}, want: []int32{5, 5, 5},
		says: "2 of 3 clusters fell silent together, more than 50 %: the hub is probably cut off",
	},
	"more than half one after the other are really gone": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(time.Hour)), subset("east", silent(2*time.Hour)), subset("north")}, want: []int32{5, 5, 15}, over: "west east",
	},
	"the user may say that many can be gone": {
		policy:  &Policy{After: time.Minute, MaxSilentPercent: 100},
		subsets: []Subset{subset("west", silent(time.Hour)), subset("east", silent(time.Hour)), subset("north")}, want: []int32{5, 5, 15}, over: "west east",
	},
	"two subsets of one cluster are one silence": {
		policy: keepRunning(), subsets: []Subset{
			subset("a", silent(time.Hour), in("west")), subset("b", silent(time.Hour), in("west")), subset("east"), subset("north")},
		want: []int32{5, 5, 15, 5}, over: "a b",
	},
	"when the hub was cut off, slow ones are given time after the first are back": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(time.Hour)), subset("east", heard(2*time.Minute)), subset("north", heard(time.Minute))},
		want: []int32{5, 5, 5}, recheck: 3 * time.Minute, says: "3 of 3 clusters fell silent together (2 of them came back just now)",
	},
	"what is moved stays where it is": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(time.Hour), failedOver(50*time.Minute)), subset("east"), subset("north", given(10))},
		want: []int32{5, 5, 10}, over: "west",
	},
	"silence takes nothing from a cluster, whatever the allocator says": {
		policy: keepRunning(), subsets: []Subset{subset("west", silent(time.Minute), base(0)), subset("east"), subset("north")}, want: []int32{5, 5, 5}, recheck: 4 * time.Minute,
	},
	"stand-ins of a cluster that falls silent itself are waited for": {
		policy: keepRunning(), subsets: []Subset{
			subset("west", silent(time.Hour), failedOver(50*time.Minute)), subset("east", silent(time.Minute), given(10), available(10)), subset("north")},
		want: []int32{5, 10, 5}, recheck: 4 * time.Minute, over: "west",
	},
	"and then started elsewhere with its own": {
		policy: keepRunning(), subsets: []Subset{
			subset("west", silent(time.Hour), failedOver(50*time.Minute)), subset("east", silent(6*time.Minute), given(10), available(10)), subset("north")},
		want: []int32{5, 10, 15}, over: "west east",
	},
	"a cluster that is just back is not trusted yet": {
		policy: keepRunning(), subsets: []Subset{subset("west", heard(20*time.Second), failedOver(time.Hour)), subset("east", given(10), available(10)), subset("north")},
		want: []int32{5, 10, 5}, recheck: 40 * time.Second, over: "west", says: "cluster west is back since 2026-01-01T11:59:40Z",
	},
	"it returns as far as its own replicas are available": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", heard(time.Minute), failedOver(time.Hour), available(3)), subset("east", given(8), available(8)), subset("north", given(7), available(7))},
		want:    []int32{5, 7, 5}, over: "west", says: "back since 2026-01-01T11:59:00Z with 3 of 5 replicas available; 2 stand-ins elsewhere stay",
	},
	"and has returned when all are": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", heard(time.Minute), failedOver(time.Hour)), subset("east", given(8), available(8)), subset("north", given(7), available(7))},
		want:    []int32{5, 5, 5},
	},
	"others that are down hold the return": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", heard(time.Minute), failedOver(time.Hour)), subset("east", given(10), available(10)), subset("north", available(1))},
		want:    []int32{5, 9, 5}, over: "west",
	},
	"stand-ins that never came up are missed by nobody": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", heard(time.Minute), failedOver(time.Hour)), subset("east", given(10)), subset("north")},
		want:    []int32{5, 5, 5},
	},
	"while they are on their way up, they may still be needed": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", heard(time.Minute), failedOver(time.Hour), available(3)), subset("east", given(10)), subset("north")},
		want:    []int32{5, 7, 5}, over: "west",
	},
	"what stands in at a silent cluster is not taken away": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", heard(time.Minute), failedOver(time.Hour)), subset("east", silent(time.Minute), given(10)), subset("north"), subset("south")},
		want:    []int32{5, 10, 5, 5}, recheck: 4 * time.Minute, over: "west",
	},
	"what finds no node is taken away once, not twice": {
		policy: keepRunning(),
		subsets: []Subset{
			subset("west", heard(time.Minute), failedOver(time.Hour)), subset("east", given(10), available(8), stuck(2)), subset("north", available(1)), subset("south")},
		want: []int32{5, 8, 5, 5}, over: "west",
	},
	"while the hub is taken to be cut off, nothing is added to what was moved before": {
		policy: keepRunning(),
		subsets: []Subset{
			subset("west", silent(24*time.Hour), failedOver(24*time.Hour), base(8)), subset("east", given(10), available(10)),
			subset("north", silent(time.Hour)), subset("south", silent(time.Hour)), subset("middle", silent(time.Hour))},
		want: []int32{8, 10, 5, 5, 5}, over: "west", says: "3 of 5 clusters fell silent together",
	},
	"one that falls silent during its return is waited for anew": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", silent(time.Minute), failedOver(time.Hour), available(3)), subset("east", given(8), available(8)), subset("north")},
		want:    []int32{5, 8, 5}, recheck: 4 * time.Minute, over: "west", says: "is silent again",
	},
	"and then moved anew": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", silent(5*time.Minute), failedOver(time.Hour), available(3)), subset("east", given(8), available(8)), subset("north")},
		want:    []int32{5, 10, 5}, over: "west",
	},
	"stand-ins that find no node move on down the list": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", silent(time.Hour), failedOver(time.Hour)), subset("east", given(10), available(8), stuck(2)), subset("north")},
		want:    []int32{5, 8, 7}, over: "west",
	},
	"but never up, so that they do not go round in circles": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", silent(time.Hour), failedOver(time.Hour)), subset("east"), subset("north", given(10), available(5), stuck(5))},
		want:    []int32{5, 5, 10}, over: "west",
	},
	"without a policy silence moves and takes nothing": {
		subsets: []Subset{subset("west", silent(time.Hour), base(3)), subset("east", base(7))}, want: []int32{5, 7},
	},
	"without a policy what was moved returns as others can bear it": {
		subsets: []Subset{subset("west", silent(time.Hour), failedOver(time.Hour)), subset("east", given(10), available(10))}, want: []int32{5, 10}, over: "west",
	},
	"a smaller total takes stand-ins away as far as the rest is available": {
		policy:  keepRunning(),
		subsets: []Subset{subset("west", silent(time.Hour), failedOver(time.Hour), base(3)), subset("east", given(10), available(10), base(3)), subset("north", base(3))},
		want:    []int32{5, 6, 3}, over: "west",
	},
}

func TestDecide(t *testing.T) {
	for name, tc := range decisions {
		t.Run(name, func(t *testing.T) {
			plan := Decide(tc.policy, tc.subsets, noon)
			var got []int32
			var over []string
			texts := plan.Message
			for _, target := range plan.Targets {
				got = append(got, target.Replicas)
				texts += "\n" + target.Why
				if !target.FailedOver.IsZero() {
					over = append(over, target.Name)
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("replicas:\n%s%s", d, texts)
			}
			if plan.Missing != tc.missing || plan.Recheck != tc.recheck || strings.Join(over, " ") != tc.over {
				t.Errorf("missing %d, recheck %s, failed over %q; want %d, %s, %q", plan.Missing, plan.Recheck, over, tc.missing, tc.recheck, tc.over)
			}
			if !strings.Contains(texts, tc.says) {
				t.Errorf("nothing says %q:\n%s", tc.says, texts)
			}
		})
	}
}
