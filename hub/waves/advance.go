package waves

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// first is the first revision ever: nothing runs that could be harmed, so everybody gets it at once.
func (r *round) first() {
	r.all(r.Update)
	r.state.Wave = r.state.Waves
	missing, whole := r.missing(r.Update)
	if whole {
		r.complete()
		return
	}
	r.state.Phase = Progressing
	r.say("revision %s is the first: %s", r.Update, missing)
}

// undo returns to the stable revision because the template did: everybody runs or ran it, so it needs no waves.
func (r *round) undo() {
	r.all(r.Update)
	r.state.Wave = r.state.Waves
	missing, whole := r.missing(r.Update)
	if whole {
		r.complete()
		return
	}
	r.state.Phase = Progressing
	r.say("back to revision %s, which ran before: %s", r.Update, missing)
}

// rollBack brings everybody back and keeps them there. The message keeps saying why.
func (r *round) rollBack() {
	r.all(r.state.Stable)
	if _, whole := r.missing(r.state.Stable); whole {
		r.state.Phase = RolledBack
	}
}

// rest is after the update: everybody has it, new subsets get it at once.
func (r *round) rest() {
	r.all(r.Update)
	if _, whole := r.missing(r.Update); whole {
		r.state.Message = ""
	}
}

// pause stops everything where it is. A template that changes while paused goes nowhere yet.
// Nor does a wave count as healthy that was not all the while.
func (r *round) pause() {
	r.freeze()
	if r.fresh(r.look()) {
		r.state.HealthySince = time.Time{}
	}
	if r.state.Phase != Failed {
		r.state.Phase = Paused
		r.say("%s: paused by spec.updateStrategy.paused; unset it to go on", r.title())
	}
}

// advance goes through the waves as far as they are healthy.
func (r *round) advance() {
	r.reachWave()
	r.wakeUp()
	for r.pass() {
		r.state.Wave++
		r.state.WaveStarted, r.state.HealthySince = wholeSecond(r.now), time.Time{}
		r.raise(r.percent, r.wave())
	}
	switch r.state.Phase {
	case Complete:
		r.all(r.Update)
	case RollingBack:
		r.rollBack()
	case Failed:
		r.freeze()
	default:
		r.give()
	}
}

// wakeUp gives time anew after a pause or a failure that was forgiven: no clock runs while nothing can move.
func (r *round) wakeUp() {
	switch {
	case r.state.Phase == Failed:
		r.state.WaveStarted, r.state.HealthySince, r.state.Failed = wholeSecond(r.now), time.Time{}, nil
	case r.state.Phase == Paused && r.state.HealthySince.IsZero():
		r.state.WaveStarted = wholeSecond(r.now)
	}
}

// pass says that the present wave is over and there is another. If not, it says what it waits for.
func (r *round) pass() bool {
	j := r.judge()
	budget := r.budget()
	switch {
	case len(j.failed) > budget:
		r.fail(j, budget)
		return false
	case len(j.waiting) > 0:
		r.state.Phase, r.state.HealthySince = Progressing, time.Time{}
		r.say("%s: %s", r.title(), r.tell(j.waiting))
		r.wake(j.deadline)
		return false
	case len(j.failed)+len(j.silent) > budget:
		r.state.Phase, r.state.HealthySince = Progressing, time.Time{}
		r.say("%s: %s; maxFailures allows %d of %d subsets to fail or be silent: it goes on when the cluster is heard again, or with a higher maxFailures",
			r.title(), r.tell(slices.Concat(j.failed, j.silent)), budget, len(r.Subsets))
		return false
	}
	if r.state.HealthySince.IsZero() {
		r.state.HealthySince = wholeSecond(r.now)
	}
	return r.soaked() && r.letGo() && r.told() && r.next()
}

func (r *round) soaked() bool {
	over := r.state.HealthySince.Add(r.wave().Soak)
	if !r.now.Before(over) {
		return true
	}
	r.state.Phase = Soaking
	r.say("%s: healthy since %s, soaks until %s", r.title(), stamp(r.state.HealthySince), stamp(over))
	r.wake(over)
	return false
}

func (r *round) letGo() bool {
	if !r.wave().Pause || r.resumed() {
		return true
	}
	r.state.Phase = Paused
	r.say("%s: healthy, and waits to be let go on: kubectl flotilla resume", r.title())
	return false
}

// told says that everybody who is healthy was given the replicas that it shall have by now, so that it is these that
// are healthy, and not those from before it was scaled.
func (r *round) told() bool {
	for i, s := range r.Subsets {
		want := r.asked(i)
		if want > 0 && s.healthy(r.Update, want) && (s.Given.Replicas != s.Replicas || s.Given.updated() < want) {
			r.state.Phase = Progressing
			r.say("%s: subset %s is being scaled from %d to %d replicas", r.title(), s.Name, s.Given.Replicas, s.Replicas)
			return false
		}
	}
	return true
}

func (r *round) next() bool {
	if r.state.Wave < r.state.Waves {
		return true
	}
	r.complete()
	return false
}

// complete makes the update revision the stable one.
func (r *round) complete() {
	r.state.Phase, r.state.Stable, r.state.Message = Complete, r.Update, ""
	r.state.HealthySince, r.state.Failed = time.Time{}, nil
	r.percent = slices.Repeat([]int32{100}, len(r.Subsets))
	if j := r.look(); len(j.failed)+len(j.silent)+len(j.waiting) > 0 {
		r.say("revision %s went out; %s", r.Update, r.tell(slices.Concat(j.failed, j.silent, j.waiting)))
	}
}

// fail ends the update.
func (r *round) fail(j judgement, budget int) {
	r.clock = func(t time.Time) string { return " for " + r.now.Sub(t).Truncate(time.Second).String() } // this message stays
	reason := fmt.Sprintf("%s failed: %s; maxFailures allows %d of %d subsets to fail", r.title(), r.tell(j.failed), budget, len(r.Subsets))
	r.state.HealthySince = time.Time{}
	if r.Strategy.OnFailure == Pause {
		r.state.Phase = Failed
		r.say("%s. It stays where it is: correct the template, or let it go on with kubectl flotilla resume", reason)
		return
	}
	r.state.Phase = RollingBack
	r.say("%s. Every subset goes back to revision %s until the template changes", reason, r.state.Stable)
}

// budget is how many subsets may fail. What cannot be read allows none.
func (r *round) budget() int {
	max := r.Strategy.MaxFailures
	n, err := intstr.GetScaledValueFromIntOrPercent(&max, len(r.Subsets), false)
	if err != nil {
		return 0
	}
	return n
}

// title names the present wave.
func (r *round) title() string {
	w := r.wave()
	name := w.Name
	if name == "" {
		name = list(w.Subsets)
	}
	return fmt.Sprintf("wave %d of %d (%s)", r.state.Wave, r.state.Waves, name)
}

// resumeOf reads "<revision>/<wave>".
func resumeOf(text, revision string) (int32, bool) {
	wave, ok := strings.CutPrefix(text, revision+"/")
	n, err := strconv.ParseInt(wave, 10, 32)
	return int32(n), ok && err == nil
}

// named is how many subsets a message names before it counts.
const named = 3

func list(names []string) string {
	switch {
	case len(names) == 0:
		return "all subsets"
	case len(names) <= named:
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:named], ", "), len(names)-named)
}
