package waves

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// subset of four replicas, all on revision a.
func subset(name string, options ...func(*Subset)) Subset {
	s := Subset{Name: name, Replicas: 4, Given: Given{"a", 4, 0}, Fresh: true, UpdatedAvailable: 4, Available: 4, Since: ago(24 * time.Hour)}
	for _, o := range options {
		o(&s)
	}
	return s
}

// on gives a revision with a partition; so many replicas of it are available.
func on(revision string, partition, available int32) func(*Subset) {
	return func(s *Subset) {
		s.Given = Given{revision, s.Replicas, partition}
		s.UpdatedAvailable = available
	}
}
func replicas(n int32) func(*Subset) { return func(s *Subset) { s.Replicas = n } }
func standIns(n int32) func(*Subset) {
	return func(s *Subset) { s.Replicas, s.StandIns = s.Replicas+n, n }
}
func trouble(why string) func(*Subset) {
	return func(s *Subset) { s.Trouble = why }
}
func silent(d time.Duration) func(*Subset) {
	return func(s *Subset) { s.Silent, s.Since = true, ago(d) }
}
func heard(d time.Duration) func(*Subset) { return func(s *Subset) { s.Since = ago(d) } }
func stale(s *Subset)                     { s.Fresh = false }
func whole(s *Subset)                     { s.Whole = true }
func down(s *Subset)                      { s.Available, s.UpdatedAvailable = 0, 0 }
func without(s *Subset)                   { s.Given, s.Available, s.UpdatedAvailable, s.Fresh = Given{}, 0, 0, false }
func unheard(s *Subset)                   { s.Available, s.UpdatedAvailable, s.Fresh = 0, 0, false }

// canary goes to a quarter of west, then to all of it, then to the rest.
func canary(options ...func(*Strategy)) Strategy {
	s := Strategy{Deadline: 5 * time.Minute, Waves: []Wave{
		{Name: "canary", Subsets: []string{"west"}, Percent: 25, Soak: 10 * time.Minute}, {Subsets: []string{"west"}, Pause: true},
	}}
	for _, o := range options {
		o(&s)
	}
	return s
}

func maxFailures(n int) func(*Strategy) {
	return func(s *Strategy) { s.MaxFailures = intstr.FromInt(n) }
}
func percentFailures(p string) func(*Strategy) {
	return func(s *Strategy) { s.MaxFailures = intstr.FromString(p) }
}
func orPause(s *Strategy) { s.OnFailure = Pause }
func paused(s *Strategy)  { s.Paused = true }

// going from a to b, in a wave that began a minute ago.
func going(wave int32, options ...func(*State)) State {
	s := State{Revision: "b", Stable: "a", Phase: Progressing, Wave: wave, WaveStarted: ago(time.Minute)}
	for _, o := range options {
		o(&s)
	}
	return s
}

func began(d time.Duration) func(*State)   { return func(s *State) { s.WaveStarted = ago(d) } }
func healthy(d time.Duration) func(*State) { return func(s *State) { s.HealthySince = ago(d) } }
func phase(p Phase) func(*State)           { return func(s *State) { s.Phase = p } }
func resumed(wave int32) func(*State)      { return func(s *State) { s.Resumed = wave } }
func failedOnes(names ...string) func(*State) {
	return func(s *State) { s.Failed = names }
}

type decision struct {
	strategy Strategy
	state    State
	subsets  []Subset
	update   string // b, unless said
	current  string
	resume   string
	// want is "revision/partition" of each subset, with "!" when frozen.
	want    string
	phase   Phase
	wave    int32
	stable  string // a, unless said
	recheck time.Duration
	says    string
	// healthy is for how long the wave is, "-" for not at all, if it matters.
	healthy string
}

var decisions = map[string]decision{
	"the first revision goes everywhere at once": {
		strategy: canary(), subsets: []Subset{subset("west", without), subset("east", without)},
		want: "b/0 b/0", phase: Progressing, wave: 3, stable: "-", says: "revision b is the first: subset west has not reported on revision b",
	},
	"and is complete when it is there": {
		strategy: canary(), state: State{Revision: "b", Phase: Progressing, Wave: 3}, subsets: []Subset{subset("west", on("b", 0, 4)), subset("east", on("b", 0, 4))},
		want: "b/0 b/0", phase: Complete, wave: 3, stable: "b",
	},
	"a first revision that never came up is at once replaced": {
		strategy: canary(), state: State{Revision: "a", Phase: Progressing, Wave: 3}, subsets: []Subset{subset("west", down), subset("east", down)},
		want: "b/0 b/0", phase: Progressing, wave: 3, stable: "-",
	},
	"but if any of it runs, or may run, its successor goes in waves": {
		strategy: canary(), state: State{Revision: "a", Phase: Progressing, Wave: 3}, subsets: []Subset{subset("west", down), subset("east", down, stale)},
		want: "b/3 a/0", phase: Progressing, wave: 1, recheck: 5 * time.Minute,
	},
	"the first wave starts": {
		strategy: canary(), current: "a", subsets: []Subset{subset("west"), subset("east")},
		want: "b/3 a/0", phase: Progressing, wave: 1, recheck: 5 * time.Minute, says: "wave 1 of 3 (canary): subset west has not reported on revision b since 2026-01-01T12:00:00Z",
	},
	"a percentage rounds up": {
		strategy: canary(), current: "a", subsets: []Subset{subset("west", replicas(5)), subset("east")}, want: "b/3 a/0", phase: Progressing, wave: 1, recheck: 5 * time.Minute,
	},
	"a subset with no replicas has none updated": {
		strategy: canary(), state: going(1), subsets: []Subset{subset("west", replicas(0)), subset("east")}, want: "a/0 a/0", phase: Soaking, wave: 1, recheck: 10 * time.Minute,
	},
	"it waits for the updated replicas, and says for which": {
		strategy: canary(), state: going(1), subsets: []Subset{subset("west", on("b", 3, 0), trouble("ImagePullBackOff")), subset("east")},
		want: "b/3 a/0", phase: Progressing, wave: 1, recheck: 4 * time.Minute,
		says: "wave 1 of 3 (canary): 1 of 1 updated replicas of subset west not available since 2026-01-01T11:59:00Z: ImagePullBackOff",
	},
	"a healthy wave soaks": {
		strategy: canary(), state: going(1), subsets: []Subset{subset("west", on("b", 3, 1)), subset("east")},
		want: "b/3 a/0", phase: Soaking, wave: 1, recheck: 10 * time.Minute, says: "healthy since 2026-01-01T12:00:00Z, soaks until 2026-01-01T12:10:00Z",
	},
	"numbers of another content are not believed": {
		strategy: canary(), state: going(1), subsets: []Subset{subset("west", on("b", 3, 4), stale), subset("east")}, want: "b/3 a/0", phase: Progressing, wave: 1, recheck: 4 * time.Minute,
	},
	"to the second": {
		strategy: canary(), state: going(1, healthy(10*time.Minute-time.Second)), subsets: []Subset{subset("west", on("b", 3, 1)), subset("east")},
		want: "b/3 a/0", phase: Soaking, wave: 1, recheck: time.Second,
	},
	"and then the next begins": {
		strategy: canary(), state: going(1, healthy(10*time.Minute)), subsets: []Subset{subset("west", on("b", 3, 1)), subset("east")},
		want: "b/0 a/0", phase: Progressing, wave: 2, recheck: 5 * time.Minute,
	},
	"a wave that is healthy no longer has its time anew and soaks anew": {
		strategy: canary(), state: going(1, began(9*time.Minute), healthy(8*time.Minute)), subsets: []Subset{subset("west", on("b", 3, 0)), subset("east")},
		want: "b/3 a/0", phase: Progressing, wave: 1, recheck: 5 * time.Minute,
	},
	"a pause waits for somebody": {
		strategy: canary(), state: going(2), subsets: []Subset{subset("west", on("b", 0, 4)), subset("east")},
		want: "b/0 a/0", phase: Paused, wave: 2, says: "wave 2 of 3 (west): healthy, and waits to be let go on: kubectl flotilla resume",
	},
	"who lets it go on": {
		strategy: canary(), state: going(2, phase(Paused), healthy(time.Minute)), resume: "b/2", subsets: []Subset{subset("west", on("b", 0, 4)), subset("east")},
		want: "b/0 b/0", phase: Progressing, wave: 3, recheck: 5 * time.Minute, says: "wave 3 of 3 (the rest)",
	},
	"not for another revision, nor for an earlier wave": {
		strategy: canary(), state: going(2, phase(Paused), healthy(time.Minute), resumed(1)), resume: "a/2", subsets: []Subset{subset("west", on("b", 0, 4)), subset("east")},
		want: "b/0 a/0", phase: Paused, wave: 2,
	},
	"the last wave ends it": {
		strategy: canary(), state: going(3), subsets: []Subset{subset("west", on("b", 0, 4)), subset("east", on("b", 0, 4))},
		want: "b/0 b/0", phase: Complete, wave: 3, stable: "b",
	},
	"without waves every subset is one": {
		state: going(1), subsets: []Subset{subset("west", on("b", 0, 4)), subset("east"), subset("north")}, want: "b/0 b/0 a/0", phase: Progressing, wave: 2,
		recheck: 10 * time.Minute, says: "wave 2 of 3 (east)",
	},
	"a failed wave goes back everywhere at once": {
		strategy: canary(), state: going(2, began(5*time.Minute)), subsets: []Subset{subset("west", on("b", 0, 3), trouble("ImagePullBackOff")), subset("east")},
		want: "a/0 a/0", phase: RollingBack, wave: 2,
		says: "wave 2 of 3 (west) failed: 1 of 4 updated replicas of subset west not available for 5m0s: ImagePullBackOff; maxFailures allows 0 of 2 subsets to fail. Every subset goes back to revision a until the template changes",
	},
	"also one that was updated in an earlier wave fails": {
		strategy: canary(), state: going(3, began(5*time.Minute)), subsets: []Subset{subset("west", on("b", 0, 3)), subset("east", on("b", 0, 4))},
		want: "a/0 a/0", phase: RollingBack, wave: 3,
	},
	"or stops, if so asked": {
		strategy: canary(orPause), state: going(2, began(5*time.Minute)), subsets: []Subset{subset("west", on("b", 0, 3)), subset("east")},
		want: "b/0! a/0", phase: Failed, wave: 2, says: "It stays where it is",
	},
	"and stays stopped, also when it recovers": {
		strategy: canary(orPause), state: going(2, phase(Failed), failedOnes("west")), subsets: []Subset{subset("west", on("b", 0, 4)), subset("east")},
		want: "b/0! a/0", phase: Failed, wave: 2,
	},
	"until somebody lets it go on, with its time anew": {
		strategy: canary(orPause), state: going(2, phase(Failed), began(time.Hour), failedOnes("west")), resume: "b/2",
		subsets: []Subset{subset("west", on("b", 0, 3)), subset("east")}, want: "b/0 a/0", phase: Progressing, wave: 2, recheck: 5 * time.Minute,
	},
	"a rollback goes on until everybody is back": {
		strategy: canary(), state: going(2, phase(RollingBack)), subsets: []Subset{subset("west", on("a", 0, 3)), subset("east")}, want: "a/0 a/0", phase: RollingBack, wave: 2,
	},
	"a pause does not stop it": {
		strategy: canary(paused), state: going(2, phase(RollingBack)), subsets: []Subset{subset("west", on("a", 0, 4)), subset("east")}, want: "a/0 a/0", phase: RolledBack, wave: 2,
	},
	"nor does a silent cluster, or one without a work": {
		strategy: canary(), state: going(2, phase(RollingBack)), subsets: []Subset{subset("west", on("a", 0, 0), silent(time.Minute)), subset("east", without)},
		want: "a/0 a/0", phase: RolledBack, wave: 2,
	},
	"then it stays there": {
		strategy: canary(), state: going(2, phase(RolledBack)), subsets: []Subset{subset("west"), subset("east", without)}, want: "a/0 a/0", phase: RolledBack, wave: 2,
	},
	"another template starts anew": {
		strategy: canary(), state: going(2, phase(RolledBack)), update: "c", subsets: []Subset{subset("west"), subset("east")},
		want: "c/3 a/0", phase: Progressing, wave: 1, recheck: 5 * time.Minute,
	},
	"in the middle, too, and who has the one before keeps it": {
		strategy: canary(), state: going(3), update: "c", subsets: []Subset{subset("west", on("b", 0, 4)), subset("east", on("b", 1, 0))},
		want: "c/3 b/1!", phase: Progressing, wave: 1, recheck: 5 * time.Minute,
	},
	"one that has the new revision already keeps it": {
		strategy: canary(), state: State{Revision: "c", Stable: "a", Phase: Progressing, Wave: 1}, subsets: []Subset{subset("west"), subset("east", on("b", 0, 4))},
		want: "b/3 b/0", phase: Progressing, wave: 1, recheck: 5 * time.Minute,
	},
	"back to the stable template is at once": {
		strategy: canary(), state: going(2), update: "a", subsets: []Subset{subset("west", on("b", 0, 1)), subset("east")},
		want: "a/0 a/0", phase: Progressing, wave: 3, says: "back to revision a, which ran before",
	},
	"to an older one it is an update like any": {
		strategy: canary(), state: State{Revision: "a", Stable: "a", Phase: Complete, Wave: 3}, update: "old", subsets: []Subset{subset("west"), subset("east")},
		want: "old/3 a/0", phase: Progressing, wave: 1, recheck: 5 * time.Minute,
	},
	"paused stays where it is": {
		strategy: canary(paused), state: going(2, began(time.Hour)), subsets: []Subset{subset("west", on("b", 2, 1)), subset("east")},
		want: "b/2! a/0", phase: Paused, wave: 2, says: "wave 2 of 3 (west): paused by spec.updateStrategy.paused; unset it to go on",
	},
	"a template that changes then goes nowhere": {
		strategy: canary(paused), state: State{Revision: "a", Stable: "a", Phase: Complete, Wave: 3}, subsets: []Subset{subset("west"), subset("east")},
		want: "a/0 a/0", phase: Paused, wave: 1,
	},
	"not in the next round either": {
		strategy: canary(paused), state: going(1, phase(Paused)), subsets: []Subset{subset("west"), subset("east")}, want: "a/0 a/0", phase: Paused, wave: 1,
	},
	"a wave that is not healthy all through a pause soaks anew": {
		strategy: canary(paused), state: going(1, phase(Paused), healthy(20*time.Minute)), subsets: []Subset{subset("west", on("b", 3, 0)), subset("east")},
		want: "b/3! a/0", phase: Paused, wave: 1, healthy: "-",
	},
	"and one that is does not": {
		strategy: canary(paused), state: going(1, phase(Paused), healthy(20*time.Minute)), subsets: []Subset{subset("west", on("b", 3, 1)), subset("east")},
		want: "b/3! a/0", phase: Paused, wave: 1, healthy: "20m0s",
	},
	"no clock runs during a pause": {
		strategy: canary(), state: going(2, phase(Paused), began(time.Hour)), subsets: []Subset{subset("west", on("b", 0, 1)), subset("east")},
		want: "b/0 a/0", phase: Progressing, wave: 2, recheck: 5 * time.Minute,
	},
	"scaled while paused, the wave's share holds": {
		strategy: canary(paused), state: going(1), subsets: []Subset{subset("west", on("b", 3, 1), replicas(8)), subset("east", replicas(8))},
		want: "b/6! a/0", phase: Paused, wave: 1,
	},
	"scaled up, never more than the wave allows": {
		strategy: canary(), state: going(1), subsets: []Subset{subset("west", on("b", 3, 1), replicas(9)), subset("east", replicas(2))},
		want: "b/6 a/0", phase: Progressing, wave: 1, recheck: 4 * time.Minute,
	},
	"scaled down, too": {
		strategy: Strategy{Waves: []Wave{{Percent: 50}}}, state: going(1), subsets: []Subset{subset("west", on("b", 2, 2), replicas(1)), subset("east", on("b", 2, 2), replicas(2))},
		want: "b/0 b/1", phase: Progressing, wave: 1, says: "subset west is being scaled from 4 to 1 replicas",
	},
	"replicas that stand in for a silent cluster are updated, too, but need not be healthy": {
		strategy: canary(), state: going(1), subsets: []Subset{subset("west", standIns(4), on("b", 6, 1)), subset("east")},
		want: "b/6 a/0", phase: Soaking, wave: 1, recheck: 10 * time.Minute,
	},
	"a new subset gets what runs elsewhere": {
		strategy: canary(), state: going(1), subsets: []Subset{subset("west", on("b", 3, 0)), subset("east"), subset("new", without)},
		want: "b/3 a/0 a/0", phase: Progressing, wave: 1, recheck: 4 * time.Minute,
	},
	"also where the waves allow a part, for what is made with a partition has nothing to keep": {
		strategy: Strategy{Waves: []Wave{{Percent: 25, Soak: time.Hour}}}, state: going(1), subsets: []Subset{subset("west", on("b", 3, 1)), subset("new", without)},
		want: "b/3 a/0", phase: Progressing, wave: 1, recheck: 9 * time.Minute, says: "subset new has not reported on revision b",
	},
	"until its cluster has that": {
		strategy: Strategy{Waves: []Wave{{Percent: 25, Soak: time.Hour}}}, state: going(1), subsets: []Subset{subset("west", on("b", 3, 1)), subset("new", unheard)},
		want: "b/3 a/0", phase: Progressing, wave: 1, recheck: 9 * time.Minute,
	},
	"and then gets its part": {
		strategy: Strategy{Waves: []Wave{{Percent: 25, Soak: time.Hour}}}, state: going(1), subsets: []Subset{subset("west", on("b", 3, 1)), subset("new")},
		want: "b/3 b/3", phase: Progressing, wave: 1, recheck: 9 * time.Minute,
	},
	"or at once, where they allow the whole": {
		strategy: Strategy{Waves: []Wave{{Percent: 100, Soak: time.Hour}}}, state: going(1), subsets: []Subset{subset("west", on("b", 0, 4)), subset("new", without)},
		want: "b/0 b/0", phase: Progressing, wave: 1, recheck: 9 * time.Minute,
	},
	"a subset that is gone is waited for no more": {
		strategy: canary(), state: going(1, failedOnes("gone")), subsets: []Subset{subset("west", on("b", 3, 1))},
		want: "b/3", phase: Soaking, wave: 1, recheck: 10 * time.Minute,
	},
	"without waves, one that leaves lets no other begin": {
		state: going(2, func(s *State) { s.Waves = 3 }), subsets: []Subset{subset("east", on("b", 0, 1)), subset("south")},
		want: "b/0 a/0", phase: Progressing, wave: 1, recheck: 9 * time.Minute,
	},
	"nor one that comes": {
		state: going(2, func(s *State) { s.Waves = 2 }), subsets: []Subset{subset("new", without), subset("west", on("b", 0, 4)), subset("east", on("b", 0, 1)), subset("south")},
		want: "b/0 b/0 b/0 a/0", phase: Progressing, wave: 2, recheck: 9 * time.Minute,
	},
	"a template that changes while it goes back starts from what is there": {
		strategy: canary(), state: going(2, phase(RollingBack)), update: "c", subsets: []Subset{subset("west", on("b", 0, 0)), subset("east", on("b", 2, 0))},
		want: "c/3 b/2!", phase: Progressing, wave: 1, recheck: 5 * time.Minute,
	},
	"the stable template while it goes back ends it": {
		strategy: canary(), state: going(2, phase(RollingBack)), update: "a", subsets: []Subset{subset("west", on("b", 0, 0)), subset("east")},
		want: "a/0 a/0", phase: Progressing, wave: 3, says: "back to revision a, which ran before",
	},
	"a revision that was rolled back and is asked for again has all its time": {
		strategy: canary(), state: State{Revision: "a", Stable: "a", Phase: Complete, Wave: 3}, subsets: []Subset{subset("west"), subset("east")},
		want: "b/3 a/0", phase: Progressing, wave: 1, recheck: 5 * time.Minute,
	},
	"and after the update, what all have": {
		strategy: canary(), state: State{Revision: "b", Stable: "b", Phase: Complete, Wave: 3}, subsets: []Subset{subset("west", on("b", 0, 4)), subset("new", without)},
		want: "b/0 b/0", phase: Complete, wave: 3, stable: "b",
	},
	"a kind without partitions waits for the whole": {
		strategy: canary(), state: going(2), subsets: []Subset{subset("west", whole), subset("east", whole)}, want: "b/0 a/0", phase: Progressing, wave: 2, recheck: 4 * time.Minute,
	},
	"and a percentage gives it nothing": {
		strategy: canary(), state: going(1), subsets: []Subset{subset("west", whole), subset("east", whole)}, want: "a/0 a/0", phase: Soaking, wave: 1, recheck: 10 * time.Minute,
	},
	"failures within the budget block nobody": {
		strategy: canary(maxFailures(1), func(s *Strategy) { s.Waves[1].Pause = false }), state: going(2, began(5*time.Minute)),
		subsets: []Subset{subset("west", on("b", 0, 3)), subset("east")}, want: "b/0 b/0", phase: Progressing, wave: 3, recheck: 5 * time.Minute,
	},
	"one that has failed is not waited for again": {
		strategy: canary(maxFailures(1)), state: going(3, failedOnes("west")), subsets: []Subset{subset("west", on("b", 0, 3)), subset("east", on("b", 0, 4))},
		want: "b/0 b/0", phase: Complete, wave: 3, stable: "b", says: "revision b went out; 1 of 4 updated replicas of subset west not available",
	},
	"a percentage of the subsets rounds down": {
		strategy: canary(percentFailures("50%")), state: going(3, began(time.Hour)),
		subsets: []Subset{subset("west", on("b", 0, 3)), subset("east", on("b", 0, 1)), subset("north", on("b", 0, 4))},
		want:    "a/0 a/0 a/0", phase: RollingBack, wave: 3, says: "1 of 4 updated replicas of subset west not available for 1h0m0s; east too; maxFailures allows 1 of 3 subsets to fail",
	},
	"what cannot be read allows no failure": {
		strategy: canary(percentFailures("many")), state: going(3, began(time.Hour)), subsets: []Subset{subset("west", on("b", 0, 3)), subset("east", on("b", 0, 4))},
		want: "a/0 a/0", phase: RollingBack, wave: 3,
	},
	"a silent cluster is waited for": {
		strategy: canary(maxFailures(1)), state: going(3), subsets: []Subset{subset("west", on("b", 0, 4), silent(time.Minute)), subset("east", on("b", 0, 4))},
		want: "b/0 b/0", phase: Progressing, wave: 3, recheck: 4 * time.Minute, says: "subset west is silent since 2026-01-01T11:59:00Z",
	},
	"then it counts as failed and blocks nobody": {
		strategy: canary(maxFailures(1)), state: going(3), subsets: []Subset{subset("west", on("b", 0, 4), silent(5*time.Minute)), subset("east", on("b", 0, 4))},
		want: "b/0 b/0", phase: Complete, wave: 3, stable: "b", says: "revision b went out; subset west is silent",
	},
	"silence alone rolls nothing back: it waits": {
		strategy: canary(), state: going(3), subsets: []Subset{subset("west", on("b", 0, 4), silent(time.Hour)), subset("east", on("b", 0, 4))},
		want: "b/0 b/0", phase: Progressing, wave: 3, says: "maxFailures allows 0 of 2 subsets to fail or be silent: it goes on when the cluster is heard again",
	},
	"a cluster that is back has its time anew": {
		strategy: canary(), state: going(3, began(8*time.Minute)), subsets: []Subset{subset("west", on("b", 0, 2), heard(time.Minute)), subset("east", on("b", 0, 4))},
		want: "b/0 b/0", phase: Progressing, wave: 3, recheck: 4 * time.Minute,
	},
	"but one that comes and goes is not waited for for ever": {
		strategy: canary(), state: going(3, began(15*time.Minute)), subsets: []Subset{subset("west", on("b", 0, 2), heard(time.Minute)), subset("east", on("b", 0, 4))},
		want: "a/0 a/0", phase: RollingBack, wave: 3,
	},
	"progressive from now on, all are on the template's revision": {
		strategy: canary(), update: "a", current: "a", subsets: []Subset{subset("west"), subset("east")}, want: "a/0 a/0", phase: Complete, wave: 3,
	},
	"progressive from now on, in the middle of a manual update": {
		strategy: canary(), current: "a", subsets: []Subset{subset("west", on("b", 2, 2)), subset("east", on("b", 4, 0))},
		want: "b/2 b/4", phase: Soaking, wave: 1, recheck: 10 * time.Minute,
	},
	"fewer waves than it had come to": {
		strategy: Strategy{Waves: []Wave{{}}}, state: going(7), subsets: []Subset{subset("west", on("b", 0, 4)), subset("east")}, want: "b/0 b/0", phase: Progressing, wave: 1, recheck: 9 * time.Minute,
	},
	"waves may name what is no subset": {
		strategy: Strategy{Waves: []Wave{{Subsets: []string{"gone"}}}}, state: going(1), subsets: []Subset{subset("west")}, want: "b/0", phase: Progressing, wave: 2, recheck: 10 * time.Minute,
	},
	"no subsets at all": {
		state: going(1), want: "", phase: Complete, wave: 1, stable: "b",
	},
}

func TestDecide(t *testing.T) {
	for name, tc := range decisions {
		t.Run(name, func(t *testing.T) {
			in := Input{Strategy: tc.strategy, Subsets: tc.subsets, Update: orElse(tc.update, "b"), Current: tc.current, Resume: tc.resume, State: tc.state}
			plan := Decide(in, noon)
			if d := cmp.Diff(tc.want, shown(plan.Targets)); d != "" {
				t.Errorf("targets:\n%s%s", d, plan.State.Message)
			}
			want := fmt.Sprintf("%s in wave %d, stable %s, recheck %s", tc.phase, tc.wave, orElse(tc.stable, "a"), tc.recheck)
			got := fmt.Sprintf("%s in wave %d, stable %s, recheck %s", plan.State.Phase, plan.State.Wave, orElse(plan.State.Stable, "-"), plan.Recheck)
			if got != want {
				t.Errorf("got %s, want %s: %s", got, want, plan.State.Message)
			}
			if got := healthyFor(plan.State); tc.healthy != "" && got != tc.healthy {
				t.Errorf("healthy for %s, want %s", got, tc.healthy)
			}
			if !strings.Contains(plan.State.Message, tc.says) {
				t.Errorf("message is %q, want %q", plan.State.Message, tc.says)
			}
		})
	}
}

func healthyFor(s State) string {
	if s.HealthySince.IsZero() {
		return "-"
	}
	return noon.Sub(s.HealthySince).String()
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func shown(targets []Target) string {
	var all []string
	for _, t := range targets {
		text := fmt.Sprintf("%s/%d", t.Revision, t.Partition)
		if t.Frozen {
			text += "!"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}
