// Package waves decides how far a changed template has come, wave by wave, and which part of every subset may run it.
// It is pure: it owns, reads and writes nothing, and the same facts always get the same plan. It promises that no
// subset gets more of a new revision than the waves so far allow, that a wave begins only when the one before it was
// healthy for as long as it shall be and, if asked for, somebody let it go on, and that an update over its failure
// budget goes back to the revision before, everywhere and at once, and stays there until the template changes.
package waves

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// Action is what happens when an update has failed.
type Action string

const (
	// Rollback brings every subset back to the stable revision.
	Rollback Action = "Rollback"
	// Pause stops where it is and waits for somebody to let it go on.
	Pause Action = "Pause"
)

// Phase is what an update does now.
type Phase string

// Phases of an update. DESIGN.md has a drawing.
const (
	Progressing Phase = "Progressing"
	Soaking     Phase = "Soaking"
	Paused      Phase = "Paused"
	Failed      Phase = "Failed"
	RollingBack Phase = "RollingBack"
	RolledBack  Phase = "RolledBack"
	Complete    Phase = "Complete"
)

// defaultDeadline holds when the strategy sets none.
const defaultDeadline = 10 * time.Minute

// Strategy is how an update goes out.
type Strategy struct {
	// Waves in their order. With none every subset is a wave of its own; what they leave is one last wave.
	Waves []Wave
	// MaxFailures is how many subsets may fail or be silent: a number, or a percentage of all subsets, rounded down.
	MaxFailures intstr.IntOrString
	// Deadline is how long a subset may take to become healthy in a wave. 0 is ten minutes.
	Deadline time.Duration
	// OnFailure is what happens when more fail. Empty is Rollback.
	OnFailure Action
	// Paused stops everything where it is, but for a rollback that has begun.
	Paused bool
}

// Wave is a step of an update.
type Wave struct {
	// Name for people.
	Name string
	// Subsets that this wave brings up to Percent; empty is all of them. Names that are no subset's are passed over.
	Subsets []string
	// Percent of the replicas of each, rounded up. 0 is 100. A later wave never takes away what an earlier one gave.
	Percent int32
	// Soak is how long the wave must stay healthy before it is over.
	Soak time.Duration
	// Pause then waits for somebody to let it go on.
	Pause bool
}

// Subset is what is known of a subset.
type Subset struct {
	Name string
	// Replicas that it shall have now. StandIns of them are there for silent clusters only: they are updated like the
	// others, but that they find no room says nothing about a revision, so health does not ask for them.
	Replicas, StandIns int32
	// Given is what its work says, as last written.
	Given Given
	// Fresh says that the cluster has reported on what was given, so that the counts speak of it.
	Fresh bool
	// UpdatedAvailable counts the available replicas on the given revision, Available those on any.
	UpdatedAvailable, Available int32
	// Silent is set while the cluster is not heard from. Since is when it fell silent, or when it was heard again.
	Silent bool
	Since  time.Time
	// Trouble is what the cluster says is wrong, if anything.
	Trouble string
	// Whole subsets cannot run two revisions by count, so a percentage below 100 gives them nothing (Deployments).
	Whole bool
}

// Given is what the work of a subset says. The revision is empty while there is no work.
type Given struct {
	Revision            string
	Replicas, Partition int32
}

// updated is how many replicas were given the revision.
func (g Given) updated() int32 { return max(0, g.Replicas-g.Partition) }

// State is what is remembered between two decisions.
type State struct {
	// Revision that goes out, and Stable, to which it goes back.
	Revision, Stable string
	Phase            Phase
	// Wave that it is in, from 1, of Waves.
	Wave, Waves int32
	// WaveStarted is when the present wave began, or began anew because it was healthy and is no longer.
	WaveStarted time.Time
	// HealthySince is since when the present wave is healthy; zero while it is not.
	HealthySince time.Time
	// Resumed is the last wave that somebody let go on.
	Resumed int32
	// Failed names the subsets that count as failed until they are healthy.
	Failed []string
	// Message says what it waits for, or why it failed.
	Message string
}

// Input is all that a decision knows.
type Input struct {
	Strategy Strategy
	Subsets  []Subset
	// Update is the revision of the present template. Current is the one that all replicas were on last, if known; it
	// matters only while there is no State.
	Update, Current string
	// Resume is "<revision>/<wave>": somebody lets that wave go on, whether it is paused or has failed.
	Resume string
	// State as the last plan left it, or zero.
	State State
}

// Plan is what every subset shall have, in the order of the subsets, and what to remember.
type Plan struct {
	Targets []Target
	State   State
	// Recheck is after what time the answer changes by itself; 0 is never.
	Recheck time.Duration
}

// Target is what a subset shall have.
type Target struct {
	Name     string
	Revision string
	// Partition is how many replicas keep the revision that they have.
	Partition int32
	// Frozen subsets start no more updates: their workload is to be paused, where its kind can be.
	Frozen bool
}

// Decide says what every subset shall have now.
func Decide(in Input, now time.Time) Plan {
	r := newRound(in, now)
	switch {
	case r.state.Stable == "":
		r.first()
	case r.state.Phase == RollingBack || r.state.Phase == RolledBack:
		r.rollBack()
	case r.state.Phase == Complete:
		r.rest()
	case in.Strategy.Paused:
		r.pause()
	case r.state.Stable == in.Update:
		r.undo()
	case r.state.Phase == Failed && !r.resumed():
		r.freeze()
	default:
		r.advance()
	}
	return r.plan()
}

// round is one decision in the making.
type round struct {
	Input
	now   time.Time
	waves []Wave
	state State
	// percent of each subset that the waves so far allow; place finds a subset by its name.
	percent []int32
	place   map[string]int

	targets []Target
	recheck time.Duration
	// clock says how long something has lasted.
	clock func(from time.Time) string
}

func newRound(in Input, now time.Time) *round {
	r := &round{
		Input: in, now: now, state: in.State,
		percent: make([]int32, len(in.Subsets)), place: make(map[string]int, len(in.Subsets)),
		targets: make([]Target, 0, len(in.Subsets)), clock: since,
	}
	for i, s := range in.Subsets {
		r.place[s.Name] = i
	}
	r.waves = r.allWaves()
	if in.State.Revision != in.Update {
		r.state = State{Revision: in.Update, Stable: r.stable(), Phase: Progressing, Wave: 1, WaveStarted: wholeSecond(now)}
	}
	if len(in.Strategy.Waves) == 0 && in.State.Waves > int32(len(r.waves)) {
		r.state.Wave = min(r.state.Wave, r.reached())
	}
	r.state.Waves = int32(len(r.waves))
	r.state.Wave = min(max(r.state.Wave, 1), r.state.Waves)
	if wave, ok := resumeOf(in.Resume, in.Update); ok {
		r.state.Resumed = max(r.state.Resumed, wave)
	}
	return r
}

// reached is the last wave of which anything was given, where every subset is one: with one that left, all later ones have
// moved up, and none of them may begin for that.
func (r *round) reached() int32 {
	for i := len(r.Subsets) - 1; i >= 0; i-- {
		if r.Subsets[i].Given.Revision == r.Update {
			return int32(i) + 1
		}
	}
	return 1
}

// wholeSecond rounds up, because what is stored has whole seconds and no soak may end early.
func wholeSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		return whole.Add(time.Second)
	}
	return t
}

// stable is the revision to go back to: what ran before. It is empty when nothing did, and then nothing is at risk.
func (r *round) stable() string {
	switch {
	case r.State.Stable != "":
		return r.State.Stable
	case !r.anythingRuns():
		return ""
	case r.State.Revision != "":
		return r.State.Revision
	case r.Current != "":
		return r.Current
	}
	for _, s := range r.Subsets {
		if s.Given.Revision != "" {
			return s.Given.Revision
		}
	}
	return ""
}

// anythingRuns takes what it does not know for running.
func (r *round) anythingRuns() bool {
	for _, s := range r.Subsets {
		if s.Given.Revision != "" && (s.Silent || !s.Fresh || s.Available > 0) {
			return true
		}
	}
	return false
}

// allWaves are those of the strategy and, if they leave something, a last one.
func (r *round) allWaves() []Wave {
	all := r.Strategy.Waves
	if len(all) == 0 {
		for _, s := range r.Subsets {
			all = append(all, Wave{Subsets: []string{s.Name}})
		}
	}
	left := make([]int32, len(r.Subsets))
	for _, w := range all {
		r.raise(left, w)
	}
	for _, p := range left {
		if p < 100 {
			return append(all[:len(all):len(all)], Wave{Name: "the rest"})
		}
	}
	if len(all) == 0 {
		return []Wave{{Name: "no subsets"}}
	}
	return all
}

// raise lifts percentages to what a wave gives.
func (r *round) raise(percent []int32, w Wave) {
	p := w.Percent
	if p <= 0 || p > 100 {
		p = 100
	}
	if len(w.Subsets) == 0 {
		for i := range percent {
			percent[i] = max(percent[i], p)
		}
	}
	for _, name := range w.Subsets {
		if i, known := r.place[name]; known {
			percent[i] = max(percent[i], p)
		}
	}
}

// reachWave allows what the waves up to the present one give.
func (r *round) reachWave() {
	for _, w := range r.waves[:r.state.Wave] {
		r.raise(r.percent, w)
	}
}

// wave that it is in.
func (r *round) wave() Wave { return r.waves[r.state.Wave-1] }

func (r *round) resumed() bool { return r.state.Resumed >= r.state.Wave }

// all gives a revision to every subset, whole.
func (r *round) all(revision string) {
	for _, s := range r.Subsets {
		r.targets = append(r.targets, Target{Name: s.Name, Revision: revision})
	}
}

// give gives every subset what the waves so far allow, and leaves the others what they have.
func (r *round) give() {
	for i, s := range r.Subsets {
		t := r.keep(s)
		if n := r.allowed(i); n >= s.Replicas && n > 0 || n > 0 && s.there(r.Update) {
			t = Target{Name: s.Name, Revision: r.Update, Partition: s.Replicas - n}
		}
		r.targets = append(r.targets, t)
	}
}

// freeze leaves every subset what it has, and lets no more replicas be updated.
func (r *round) freeze() {
	r.reachWave()
	for i, s := range r.Subsets {
		t := r.keep(s)
		if s.Given.Revision == r.Update && s.Given.Replicas != s.Replicas {
			t.Partition = s.Replicas - r.allowed(i)
		}
		t.Frozen = t.Revision != r.state.Stable
		r.targets = append(r.targets, t)
	}
}

// there says that a cluster has something of a subset already. What is made with a partition has no revision to keep, so
// all of it would be on the new one: what is new gets the stable revision first, and its share of the update then.
func (s Subset) there(revision string) bool {
	return s.Given.Revision == revision || s.Given.Revision != "" && (s.Fresh || s.Available > 0)
}

// allowed is how many replicas of a subset may be on the update revision now. One that has it from before keeps it.
func (r *round) allowed(i int) int32 {
	s := r.Subsets[i]
	n := r.share(i, s.Replicas)
	if s.Given.Revision == r.Update && s.Given.updated() > r.share(i, s.Given.Replicas) {
		return max(n, s.kept())
	}
	return n
}

// share of the replicas that the waves so far give, rounded up.
func (r *round) share(i int, replicas int32) int32 {
	if r.Subsets[i].Whole && r.percent[i] < 100 {
		return 0
	}
	return int32((int64(replicas)*int64(r.percent[i]) + 99) / 100)
}

// asked is how many replicas of a subset must be updated and available for it to be healthy.
func (r *round) asked(i int) int32 {
	return r.share(i, r.Subsets[i].own())
}

// own replicas stand in for nobody.
func (s Subset) own() int32 { return max(0, s.Replicas-s.StandIns) }

// kept is how many replicas stay on the given revision when the subset is scaled.
func (s Subset) kept() int32 {
	if s.Given.Partition == 0 {
		return s.Replicas
	}
	return min(s.Given.updated(), s.Replicas)
}

// keep leaves a subset what it has. One that has nothing yet gets what runs elsewhere, and a revision that is neither
// wanted nor known to be good spreads no further.
func (r *round) keep(s Subset) Target {
	if s.Given.Revision == "" || s.Given.Revision == r.state.Stable {
		return Target{Name: s.Name, Revision: r.state.Stable}
	}
	return Target{
		Name: s.Name, Revision: s.Given.Revision, Partition: s.Replicas - s.kept(),
		Frozen: s.Given.Revision != r.Update,
	}
}

// wake asks for another decision at that time.
func (r *round) wake(at time.Time) {
	if in := max(at.Sub(r.now), time.Second); r.recheck == 0 || in < r.recheck {
		r.recheck = in
	}
}

func (r *round) plan() Plan {
	return Plan{Targets: r.targets, State: r.state, Recheck: r.recheck}
}

func (r *round) say(format string, args ...any) { r.state.Message = fmt.Sprintf(format, args...) }
