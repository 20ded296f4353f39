package pernode

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flotilla-project/flotilla/agent/podset"
)

type row struct {
	spec  Spec
	pods  []Pod
	want  []string
	wake  time.Duration
	stays bool // the nodes are not as they should be: the plan has not ended
}

var managing = map[string]row{ // WL-3.5
	"a node without a pod gets one":                             {spec: set(2), pods: []Pod{pod("n0", "b")}, want: []string{"create n1"}, stays: true},
	"a terminating pod keeps its node":                          {spec: set(1), pods: []Pod{pod("n0", "b", terminating)}},
	"but not where pods surge":                                  {spec: set(1, surge(1)), pods: []Pod{pod("n0", "b", terminating)}, want: []string{"create n0"}, stays: true},
	"a node that may not run gets none":                         {spec: set(1, tainted("n0", true))},
	"a pod stays where it may":                                  {spec: set(1, tainted("n0", true)), pods: []Pod{pod("n0", "b")}},
	"and goes where it may not":                                 {spec: set(1, tainted("n0", false)), pods: []Pod{pod("n0", "b")}, want: []string{"delete n0b"}, stays: true},
	"one that goes already is left alone":                       {spec: set(1, tainted("n0", false)), pods: []Pod{pod("n0", "b", terminating)}},
	"a failed pod is deleted":                                   {spec: set(1), pods: []Pod{pod("n0", "b", failing)}, want: []string{"delete n0b"}, stays: true},
	"but not while its node rests":                              {spec: set(1), pods: []Pod{pod("n0", "b", failing, restingFor(4*time.Second))}, wake: 4 * time.Second},
	"nor is another made beside it":                             {spec: set(1, surge(1)), pods: []Pod{pod("n0", "b", failing, restingFor(4*time.Second))}, wake: 4 * time.Second},
	"with surge its replacement comes at once":                  {spec: set(1, surge(1)), pods: []Pod{pod("n0", "b", failing)}, want: []string{"create n0", "delete n0b"}, stays: true},
	"an unhooked pod that prepares to go is deleted":            {spec: set(1), pods: []Pod{pod("n0", "b", preparing)}, want: []string{"delete n0b"}, stays: true},
	"a hooked one is waited for":                                {spec: set(1), pods: []Pod{pod("n0", "b", preparing, hooked)}},
	"a hook is asked before a pod is deleted":                   {spec: set(1, tainted("n0", false)), pods: []Pod{pod("n0", "b", hooked)}, want: []string{"refresh n0b to PreparingDelete"}, stays: true},
	"a pod meant for a node that is gone is deleted":            {spec: set(1), pods: []Pod{pod("n0", "b"), pod("gone", "b", unbound)}, want: []string{"delete goneb"}, stays: true},
	"one that ran there is left to others":                      {spec: set(1), pods: []Pod{pod("n0", "b"), pod("gone", "b")}},
	"of two pods the older stays":                               {spec: set(1), pods: []Pod{pod("n0", "b", named("young"), age(time.Minute)), pod("n0", "b", named("aged"))}, want: []string{"delete young"}, stays: true},
	"a bound pod counts as older":                               {spec: set(1), pods: []Pod{pod("n0", "b", named("young"), age(time.Minute)), pod("n0", "b", named("aged"), unbound)}, want: []string{"delete aged"}, stays: true},
	"of the same age the first by name":                         {spec: set(1), pods: []Pod{pod("n0", "b", named("y")), pod("n0", "b", named("x"))}, want: []string{"delete y"}, stays: true},
	"with surge an old pod stays until the new one has soaked":  {spec: set(1, surge(1), soak), pods: []Pod{pod("n0", "a"), pod("n0", "b", readyFor(4*time.Second))}, wake: 6 * time.Second},
	"and goes then":                                             {spec: set(1, surge(1), soak), pods: []Pod{pod("n0", "a"), pod("n0", "b", readyFor(10*time.Second))}, want: []string{"delete n0a"}, stays: true},
	"or when it is not ready itself":                            {spec: set(1, surge(1)), pods: []Pod{pod("n0", "a", down), pod("n0", "b", down)}, want: []string{"delete n0a"}, stays: true},
	"with surge one new and one old pod stay, the oldest":       {spec: set(1, surge(1)), pods: []Pod{pod("n0", "a"), pod("n0", "c", age(time.Minute)), pod("n0", "b", down), pod("n0", "b", named("x"), age(time.Minute))}, want: []string{"delete n0c", "delete x"}, stays: true},
	"burst caps creations":                                      {spec: set(3, func(s *Spec) { s.Burst = 2 }), want: []string{"create n0", "create n1"}, stays: true},
	"and deletions by itself":                                   {spec: set(3, func(s *Spec) { s.Burst = 1 }, tainted("n0", false), tainted("n1", false)), pods: []Pod{pod("n0", "b"), pod("n1", "b")}, want: []string{"create n2", "delete n0b"}, stays: true},
	"a burst of 0, as a percentage of a new set, makes nothing": {spec: set(3, func(s *Spec) { s.Burst = 0 })}, // WL-3.12.6
	"hooks are asked beyond the burst":                          {spec: set(2, func(s *Spec) { s.Burst = 0 }, tainted("n0", false), tainted("n1", false)), pods: []Pod{pod("n0", "b", hooked), pod("n1", "b", hooked)}, want: []string{"refresh n0b to PreparingDelete", "refresh n1b to PreparingDelete"}, stays: true},
	"a paused set makes pods":                                   {spec: set(2, func(s *Spec) { s.Rolling = false }), pods: []Pod{pod("n0", "a")}, want: []string{"create n1"}, stays: true},                  // WL-3.12.5
	"a partition holds no new pods back":                        {spec: set(3, partition(3)), pods: []Pod{pod("n0", "a")}, want: []string{"create n1", "create n2"}, stays: true},                            // WL-3.12.5
	"unless they come progressively":                            {spec: set(4, partition(2), progressive), pods: []Pod{pod("n3", "b")}, want: []string{"create n0"}, stays: true},                            // 4 - 1 - 2
	"a partition of everything holds all back":                  {spec: set(4, partition(9), progressive)},                                                                                                   //
	"manage comes before the update":                            {spec: set(2, func(s *Spec) { s.MaxUnavailable = 2 }), pods: []Pod{pod("n0", "a")}, want: []string{"create n1"}, stays: true},               // WL-3.3
	"a set on its way out does nothing":                         {spec: set(2, func(s *Spec) { s.Deleting = true }), stays: true},                                                                            //
	"new pods get their gate opened":                            {spec: set(1), pods: []Pod{pod("n0", "b", func(p *Pod) { p.Pod.InPlace.Due = podset.OpenGate })}, want: []string{"refresh n0b, open gate"}}, // WL-4.12.8
	"also while others are made":                                {spec: set(2), pods: []Pod{pod("n0", "b", func(p *Pod) { p.Pod.InPlace.Due = podset.OpenGate })}, want: []string{"create n1", "refresh n0b, open gate"}, stays: true},
	"lifecycle states are not moved":                            {spec: set(1), pods: []Pod{pod("n0", "b", func(p *Pod) { p.State = podset.Updating })}},
}

func progressive(s *Spec) { s.Progressive = true }

var rolling = map[string]row{ // WL-3.7
	"a pod in its update is down, whatever Ready says":          {spec: set(3), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "b", closed)}},                                          // WL-3.10
	"within maxUnavailable, from the highest name down":         {spec: set(3, two), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "a")}, want: []string{"delete n2a", "delete n1a"}}, // WL-3.12.3
	"what is down costs nothing":                                {spec: set(3), pods: []Pod{pod("n0", "a", down), pod("n1", "a", down), pod("n2", "a")}, want: []string{"delete n0a", "delete n1a", "delete n2a"}},
	"a new pod that is down uses the budget":                    {spec: set(3), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "b", down)}},
	"also while it soaks":                                       {spec: set(2, soak), pods: []Pod{pod("n0", "a"), pod("n1", "b", readyFor(4*time.Second))}, wake: 6 * time.Second},
	"an old pod that goes uses the budget":                      {spec: set(2), pods: []Pod{pod("n0", "a"), pod("n1", "a", terminating)}},
	"an old pod that prepares to go uses the budget":            {spec: set(2), pods: []Pod{pod("n0", "a"), pod("n1", "a", preparing, hooked)}},
	"a new pod that is down and prepares to go counts twice":    {spec: set(4, two), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "a"), pod("n3", "b", down, preparing, hooked), pod("n3", "a", age(time.Minute))}, want: nil}, // WL-3.12.8
	"a paused set updates nothing":                              {spec: set(1, func(s *Spec) { s.Rolling = false }), pods: []Pod{pod("n0", "a")}},
	"the partition keeps nodes, the lowest names":               {spec: set(3, partition(2), two), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "a")}, want: []string{"delete n2a"}},
	"updated nodes come first":                                  {spec: set(3, partition(2)), pods: []Pod{pod("n0", "b"), pod("n1", "a"), pod("n2", "a")}},
	"then those that are being updated":                         {spec: set(3, partition(2), two), pods: []Pod{pod("n0", "a", terminating), pod("n1", "a"), pod("n2", "a")}},
	"a partition over the number of nodes keeps all":            {spec: set(1, partition(7)), pods: []Pod{pod("n0", "a", down)}},
	"nodes cut off do not count as down":                        {spec: set(3, partition(1)), pods: []Pod{pod("n0", "a", down), pod("n1", "a"), pod("n2", "b")}, want: []string{"delete n1a"}},
	"only selected nodes change":                                {spec: set(3, two, only("n0")), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "a")}, want: []string{"delete n0a"}}, // WL-3.12.4
	"others count for the partition all the same":               {spec: set(3, partition(2), two, only("n0", "n1")), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "a")}, want: []string{"delete n1a"}},
	"a selector that matches nothing updates nothing":           {spec: set(1, only()), pods: []Pod{pod("n0", "a", down)}},
	"a hook is asked before a pod is replaced":                  {spec: set(1), pods: []Pod{pod("n0", "a", hooked)}, want: []string{"refresh n0a to PreparingDelete"}},
	"in place where it fits":                                    {spec: set(2, two), pods: []Pod{pod("n0", "a", fits), pod("n1", "a")}, want: []string{"update n0a to b", "delete n1a"}}, // WL-3.8
	"in place as many as the burst":                             {spec: set(3, func(s *Spec) { s.MaxUnavailable, s.Burst = 3, 2 }), pods: []Pod{pod("n0", "a", fits), pod("n1", "a", fits), pod("n2", "a", fits)}, want: []string{"update n1a to b", "update n2a to b"}},
	"an update comes before the gate of the pod":                {spec: set(1), pods: []Pod{pod("n0", "a", down, fits, func(p *Pod) { p.Pod.InPlace.Due = podset.OpenGate })}, want: []string{"update n0a to b"}},
	"a failed pod is not changed in place":                      {spec: set(1), pods: []Pod{pod("n0", "a", fits, failing, restingFor(time.Second))}, want: []string{"delete n0a"}, wake: time.Second},
	"a pod on a node that only keeps it is replaced":            {spec: set(1, tainted("n0", true)), pods: []Pod{pod("n0", "a")}, want: []string{"delete n0a"}},
	"with surge new pods come first, from the highest name":     {spec: set(3, surge(1)), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "a")}, want: []string{"create n2"}},
	"surging nodes use the surge":                               {spec: set(2, surge(1)), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n1", "b", down)}},
	"an old pod that is down gets its replacement at once":      {spec: set(3, surge(1)), pods: []Pod{pod("n0", "a", down), pod("n1", "a"), pod("n1", "b", down), pod("n2", "a")}, want: []string{"create n0"}},
	"with surge an old pod that prepares to go is left alone":   {spec: set(1, surge(1)), pods: []Pod{pod("n0", "a", preparing, hooked), pod("n0", "b", down)}},
	"the partition holds for surges":                            {spec: set(2, surge(2), partition(1)), pods: []Pod{pod("n0", "a"), pod("n1", "a")}, want: []string{"create n1"}},
	"no surge where a new pod could not run":                    {spec: set(1, surge(1), tainted("n0", true)), pods: []Pod{pod("n0", "a")}},
	"burst caps surges":                                         {spec: set(3, surge(3), func(s *Spec) { s.Burst = 1 }), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "a")}, want: []string{"create n2"}},
	"a node with two of a kind is put right before the update":  {spec: set(2, two), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n1", "c")}, want: []string{"delete n1c"}, stays: true},
	"what the burst leaves there counts as down and as updated": {spec: set(2, func(s *Spec) { s.Burst = 0 }, partition(1)), pods: []Pod{pod("n0", "a"), pod("n1", "a"), pod("n1", "c")}},
}

func two(s *Spec) { s.MaxUnavailable = 2 }

func TestDecide(t *testing.T) {
	for group, rows := range map[string]map[string]row{"manage": managing, "roll": rolling} {
		for name, tc := range rows {
			t.Run(group+"/"+name, func(t *testing.T) {
				plan := Decide(tc.spec, tc.pods, noon)
				if d := cmp.Diff(tc.want, does(plan), sameText); d != "" {
					t.Error(d)
				}
				if plan.Recheck() != tc.wake {
					t.Errorf("looks again after %s, want %s", plan.Recheck(), tc.wake)
				}
				if plan.Ended == tc.stays {
					t.Errorf("ended: %v", plan.Ended)
				}
			})
		}
	}
}

func TestFailedPodsAreNamed(t *testing.T) { // WL-3.5: their node rests, and the user hears of it
	plan := Decide(set(2, tainted("n1", false)), []Pod{pod("n0", "b", failing), pod("n1", "b")}, noon)
	if len(plan.Failed) != 1 || plan.Failed[0].Pod != "n0b" || plan.Failed[0].Slot != "n0" {
		t.Errorf("failed: %+v", plan.Failed)
	}
}

func TestOrderOfListsIsNoFact(t *testing.T) {
	for name, tc := range rolling {
		want := Decide(tc.spec, tc.pods, noon)
		random := rand.New(rand.NewPCG(1, 2))
		for range 5 {
			random.Shuffle(len(tc.pods), func(i, j int) { tc.pods[i], tc.pods[j] = tc.pods[j], tc.pods[i] })
			random.Shuffle(len(tc.spec.Nodes), func(i, j int) { tc.spec.Nodes[i], tc.spec.Nodes[j] = tc.spec.Nodes[j], tc.spec.Nodes[i] })
			if d := cmp.Diff(want.Lines(), Decide(tc.spec, tc.pods, noon).Lines()); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
	}
}

func TestCount(t *testing.T) { // WL-3.10
	spec := set(9, soak, tainted("n5", true), tainted("n6", false), tainted("n8", true)) // n8 has none and wants none
	pods := []Pod{
		pod("n0", "b"),
		pod("n1", "b", readyFor(4*time.Second)),          // not available yet
		pod("n2", "a"), pod("n2", "b", age(time.Minute)), // the old one is the older
		pod("n3", "b", closed),         // ready, but in the middle of an update
		pod("n4", "b", down),           //
		pod("n5", "b"), pod("n6", "a"), // misscheduled, kept or not
		pod("gone", "b"), // nowhere
	}
	want := Counts{Desired: 6, Current: 5, Misscheduled: 2, Ready: 4, Available: 2, Unavailable: 4, Updated: 4}
	if d := cmp.Diff(want, Decide(spec, pods, noon).Counts); d != "" {
		t.Error(d)
	}
}

// WL-0.1: without minReadySeconds a clock that is ahead of ours wakes nobody; a step that is due later wakes at its time.
func TestWhenTimeAloneChangesThePlan(t *testing.T) {
	for name, tc := range map[string]struct {
		pod  Pod
		want time.Duration
	}{
		"nothing":                 {pod("n0", "b"), 0},
		"a clock that is ahead":   {pod("n0", "b", readyFor(-time.Hour)), 0},
		"one nobody wrote down":   {pod("n0", "b", func(p *Pod) { p.ReadySince = time.Time{} }), 0},
		"a step that is due then": {pod("n0", "b", func(p *Pod) { p.Pod.InPlace = podset.InPlace{Due: podset.ApplyNow, NotBefore: noon.Add(time.Minute)} }), time.Minute},
	} {
		plan := Decide(set(1), []Pod{tc.pod}, noon)
		if got := plan.Recheck(); got != tc.want || plan.Counts.Available != 1 {
			t.Errorf("%s: %s, %+v", name, got, plan.Counts)
		}
	}
}

func BenchmarkDecide5kNodes(b *testing.B) {
	spec := set(5000, func(s *Spec) { s.MaxUnavailable = 500 })
	var pods []Pod
	for _, n := range spec.Nodes {
		pods = append(pods, pod(n.Name, "a"))
	}
	b.ReportAllocs()
	for b.Loop() {
		Decide(spec, pods, noon)
	}
}
