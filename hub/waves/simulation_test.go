package waves

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// check holds the promises of every single plan, with arithmetic of its own.
func (w *world) check(in Input, plan Plan) {
	w.t.Helper()
	if len(plan.Targets) != len(in.Subsets) {
		w.fail("%d targets for %d subsets", len(plan.Targets), len(in.Subsets))
	}
	s := plan.State
	switch {
	case s.Phase == RollingBack || s.Phase == RolledBack:
		w.checkAll(plan, s.Stable)
	case s.Phase == Complete || s.Stable == "":
		w.checkAll(plan, w.update)
	case s.Stable == w.update:
	default:
		w.checkBudget(in, plan)
	}
	if s.Revision == in.State.Revision && s.Wave > in.State.Wave && s.Stable != w.update && s.Stable != "" || s.Phase == Complete && in.State.Phase != Complete && in.State.Stable != "" && in.State.Stable != w.update {
		w.checkGate(in, plan)
	}
	if in.State.Phase == RolledBack && in.State.Revision == w.update && s.Phase != RolledBack {
		w.fail("left RolledBack without another template")
	}
	if in.Strategy.Paused && in.State.Stable != "" && in.State.Revision == w.update && s.Wave > in.State.Wave {
		w.fail("a paused update moved on")
	}
	if in.Strategy.Paused && s.Stable != "" && (s.Phase == Paused || s.Phase == Failed) {
		w.checkFrozen(in, plan)
	}
	w.watchHealth(in, plan)
}

func (w *world) checkAll(plan Plan, revision string) {
	w.t.Helper()
	for _, t := range plan.Targets {
		if t != (Target{Name: t.Name, Revision: revision}) {
			w.fail("%s: %+v shall be wholly on %s", plan.State.Phase, t, revision)
		}
	}
}

// allowance of a subset when all waves up to one are under way.
func allowance(in Input, wave int32, i int, replicas int32) int32 {
	s := in.Subsets[i]
	percent := int32(0)
	given := in.Strategy.Waves
	if len(given) == 0 && int32(i) < wave {
		percent = 100
	}
	for n := int32(0); n < wave; n++ {
		switch {
		case len(given) == 0:
		case n >= int32(len(given)):
			percent = 100
		case len(given[n].Subsets) == 0 || strings.Contains(" "+strings.Join(given[n].Subsets, " ")+" ", " "+s.Name+" "):
			p := given[n].Percent
			if p == 0 {
				p = 100
			}
			percent = max(percent, p)
		}
	}
	if s.Whole && percent < 100 {
		return 0
	}
	n := replicas * percent / 100
	if replicas*percent%100 > 0 {
		n++
	}
	return n
}

// checkBudget: no subset gets more than the waves allow, unless it has it already.
func (w *world) checkBudget(in Input, plan Plan) {
	w.t.Helper()
	for i, t := range plan.Targets {
		s := in.Subsets[i]
		if t.Partition < 0 || t.Partition > s.Replicas {
			w.fail("%+v of %d replicas", t, s.Replicas)
		}
		if t.Revision == plan.State.Stable {
			continue
		}
		n := s.Replicas - t.Partition
		had := int32(0)
		if s.Given.Revision == t.Revision {
			had = s.Given.Replicas - s.Given.Partition
			if s.Given.Partition == 0 {
				had = max(had, s.Replicas)
			}
		}
		limit := int32(0)
		if t.Revision == w.update {
			limit = allowance(in, plan.State.Wave, i, s.Replicas)
		}
		if n > max(limit, had) {
			w.fail("%+v: %d replicas on %s, the waves up to %d allow %d and it had %d", t, n, t.Revision, plan.State.Wave, limit, had)
		}
	}
}

// checkFrozen: what is not scaled gets exactly what it has.
func (w *world) checkFrozen(in Input, plan Plan) {
	w.t.Helper()
	for i, t := range plan.Targets {
		g := in.Subsets[i].Given
		if g.Revision == "" || g.Replicas != in.Subsets[i].Replicas || g.Revision == plan.State.Stable {
			continue
		}
		if t.Revision != g.Revision || t.Partition != g.Partition || !t.Frozen {
			w.fail("paused: %+v, but it has %+v", t, g)
		}
	}
}

// unhealthy counts the subsets that were given a share of the update and do not have it available.
func unhealthy(in Input, wave int32) int {
	n := 0
	for i, s := range in.Subsets {
		want := allowance(in, wave, i, s.Replicas-s.StandIns)
		if want > 0 && (s.Silent || !s.Fresh || s.Given.Revision != in.Update || s.UpdatedAvailable < want) {
			n++
		}
	}
	return n
}

// watchHealth remembers when the wave was not healthy last.
func (w *world) watchHealth(in Input, plan Plan) {
	same := plan.State.Revision == in.State.Revision && plan.State.Wave == in.State.Wave
	budget, _ := intstr.GetScaledValueFromIntOrPercent(&w.strategy.MaxFailures, len(w.members), false)
	if !same || unhealthy(in, plan.State.Wave) > budget {
		w.lastBad = w.now
	}
}

// checkGate: a wave is over when it was healthy for its soak time, but for as many as may fail, and was let go on.
func (w *world) checkGate(in Input, plan Plan) {
	w.t.Helper()
	budget, _ := intstr.GetScaledValueFromIntOrPercent(&w.strategy.MaxFailures, len(w.members), false)
	last := plan.State.Wave
	if plan.State.Phase != Complete {
		last--
	}
	for wave := in.State.Wave; wave <= last; wave++ {
		if n := unhealthy(in, wave); n > budget {
			w.fail("wave %d is over with %d unhealthy subsets, of which %d may be", wave, n, budget)
		}
		if int(wave) > len(w.strategy.Waves) {
			continue
		}
		this := w.strategy.Waves[wave-1]
		healthyFor := w.now.Sub(w.lastBad)
		if wave > in.State.Wave {
			healthyFor = 0
		}
		if this.Soak > healthyFor {
			w.fail("wave %d is over after being healthy for %s of %s", wave, healthyFor, this.Soak)
		}
		if this.Pause && !w.entered[w.resume] && plan.State.Resumed < wave {
			w.fail("wave %d is over and nobody let it go on", wave)
		}
	}
}

// settle ends all trouble and waits until nothing moves any more.
func (w *world) settle() {
	w.t.Helper()
	for _, m := range w.members {
		if m.silent {
			w.turn(m, false)
		}
	}
	if w.strategy.Paused {
		w.strategy.Paused = false
		w.event("paused: false")
	}
	still := 0
	for range 4000 {
		before := w.writes
		w.step()
		switch {
		case w.state.Phase == Failed && w.state.Stable != "":
			w.template(w.state.Stable) // a user takes it back
		case w.state.Phase == Paused:
			w.letGo()
		}
		if still++; w.writes != before || w.state.Phase == Soaking || w.state.Phase == Progressing && w.state.Stable != "" && w.state.Stable != w.update {
			still = 0
		}
		if most := len(w.members) * (int(w.state.Waves) + 4); w.writes > most {
			w.fail("%d writes since the last event, more than %d", w.writes, most)
		}
		if still > 60 {
			w.checkEnd()
			return
		}
	}
	w.fail("it does not come to an end: %s, %s", w.state.Phase, w.state.Message)
}

// checkEnd: everybody is on one revision; what keeps pods from it can only be that they do not come up.
func (w *world) checkEnd() {
	w.t.Helper()
	want := w.update
	if w.state.Phase == RolledBack || w.state.Phase == RollingBack {
		want = w.state.Stable
	}
	for _, m := range w.members {
		if m.given != (Target{Name: m.name, Revision: want}) {
			w.fail("in the end %s was given %+v, not %s", m.name, m.given, want)
		}
		if m.fates[want] == good && m.on(want) != m.replicas {
			w.fail("in the end %s has %d of %d pods on %s", m.name, m.on(want), m.replicas, want)
		}
	}
	if w.state.Phase == RolledBack && w.update == w.state.Stable {
		w.fail("rolled back from what is wanted")
	}
}

func TestUpdatesKeepTheirPromises(t *testing.T) {
	phases := map[Phase]int{}
	for seed := range seeds(300) {
		w := newWorld(t, seed, 1+int(seed%7))
		for range 300 {
			w.happen()
			w.step()
			phases[w.state.Phase]++
		}
		w.settle()
		phases[w.state.Phase]++
	}
	for _, p := range []Phase{Progressing, Soaking, Paused, Failed, RollingBack, RolledBack, Complete} {
		if phases[p] == 0 {
			t.Errorf("no seed came to %s, so the simulation proves nothing about it: %v", p, phases)
		}
	}
}

// A revision that comes up nowhere goes no further than the first wave that updates anything, and everybody is on the
// stable one in the end.
func TestABrokenRevisionStopsInItsFirstWave(t *testing.T) {
	for seed := range seeds(150) {
		w := newWorld(t, seed, 2+int(seed%6))
		w.trouble = 0
		w.update, w.strategy.OnFailure, w.strategy.MaxFailures = w.fresh(), Rollback, intstr.FromInt(0)
		w.settle()
		if w.state.Phase != Complete {
			w.fail("a good revision ended %s", w.state.Phase)
		}
		w.trouble = 100
		bad := w.fresh()
		for _, m := range w.members {
			m.fates[bad] = broken
		}
		stable := w.update
		w.template(bad)
		first := int32(0)
		for range 200 {
			w.step()
			for i := range w.members {
				for first == 0 && w.state.Wave > 0 && allowance(w.input(), w.state.Wave, i, w.members[i].replicas) > 0 {
					first = w.state.Wave
				}
			}
			if first > 0 && w.state.Wave > first {
				w.fail("it went on to wave %d", w.state.Wave)
			}
		}
		for _, m := range w.members {
			if m.on(stable) != m.replicas && first > 0 {
				w.fail("%s is not back on %s", m.name, stable)
			}
		}
	}
}

// A subset that is added in the middle of an update has no more of it than the waves allow, pod by pod, and all of it in the
// end.
func TestASubsetThatJoinsKeepsToTheWaves(t *testing.T) {
	for seed := range seeds(100) {
		w := newWorld(t, seed, 2+int(seed%4))
		w.trouble = 0
		w.strategy = Strategy{Deadline: time.Hour, Waves: []Wave{{Percent: 1 + w.rand.Int32N(60), Soak: 4 * time.Minute}, {Percent: 70, Soak: time.Minute}}}
		w.update = w.fresh()
		w.settle()
		w.template(w.fresh())
		at := w.rand.IntN(12)
		var new *member
		for i := range 400 {
			if i == at {
				new = w.join()
				new.whole = w.chance(20)
			}
			w.step()
			if new == nil || w.state.Phase == Complete {
				continue
			}
			if limit := allowance(w.input(), w.state.Wave, len(w.members)-1, new.replicas); new.on(w.update) > limit {
				w.fail("%s has %d pods of the update, wave %d allows %d", new.name, new.on(w.update), w.state.Wave, limit)
			}
		}
		if w.state.Phase != Complete || new.on(w.update) != new.replicas {
			w.fail("%s has %d of %d: %s, %s", new.name, new.on(w.update), new.replicas, w.state.Phase, w.state.Message)
		}
	}
}

// A good revision reaches everybody although clusters come and go, when as many may be silent.
func TestSilentClustersBlockNobody(t *testing.T) {
	for seed := range seeds(60) {
		w := newWorld(t, seed, 4)
		w.trouble, w.strategy = 0, Strategy{Deadline: 10 * time.Minute, MaxFailures: intstr.FromInt(1)}
		w.update = w.fresh()
		w.settle()
		dead := w.members[w.rand.IntN(len(w.members))]
		w.turn(dead, true)
		w.template(w.fresh())
		for range 600 {
			w.step()
		}
		for _, m := range w.members {
			if m != dead && m.on(w.update) != m.replicas {
				w.fail("%s waits for the silent %s: %s", m.name, dead.name, w.state.Message)
			}
		}
	}
}
