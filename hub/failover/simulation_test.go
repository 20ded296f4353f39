package failover

import (
	"testing"
	"time"
)

// check holds the promises of every single plan.
func (w *world) check(facts []Subset, plan Plan) {
	w.t.Helper()
	heard := 0
	for i, t := range plan.Targets {
		s := facts[i]
		if !s.Silent {
			heard++
		}
		switch {
		case s.Silent && t.Replicas < s.Given:
			w.fail("silence takes replicas from %s: %d of %d", s.Name, s.Given-t.Replicas, s.Given)
		case !s.Silent && t.Replicas < s.Base:
			w.fail("%s gets %d, less than its own %d", s.Name, t.Replicas, s.Base)
		case !s.Silent && t.Extra > 0 && t.Replicas > s.Max:
			w.fail("%s gets %d, over its maximum %d", s.Name, t.Replicas, s.Max)
		case !s.Silent && t.Replicas > max(s.Given, s.Base) && s.Unschedulable:
			w.fail("%s gets more although it finds no nodes", s.Name)
		case w.policy.Mode == StepDown && s.Silent && s.FailedOver.IsZero() && !t.FailedOver.IsZero() && len(w.members[i].pods) > 0:
			w.fail("the replicas of %s start elsewhere while %d run there", s.Name, len(w.members[i].pods))
		}
		if !t.FailedOver.IsZero() && s.FailedOver.IsZero() {
			w.seen["failed over"]++
		}
		if t.FailedOver.IsZero() && !s.FailedOver.IsZero() {
			w.seen["returned"]++
		}
	}
	if heard == 0 {
		for i, t := range plan.Targets {
			if t.Replicas != max(facts[i].Given, facts[i].Base) || t.FailedOver.IsZero() != facts[i].FailedOver.IsZero() {
				w.fail("all are silent and %s moves: %+v", t.Name, t)
			}
		}
		w.seen["cut off"]++
	}
	if plan.Missing > 0 {
		w.seen["missing"]++
	}
	w.checkPromise(facts, plan)
}

// checkPromise: as far as it is known, what is taken away was over the promise or was not available, unless the user or
// the allocator took it.
func (w *world) checkPromise(facts []Subset, plan Plan) {
	w.t.Helper()
	before, after, promise, same, moved := int32(0), int32(0), int32(0), w.bases != nil, false
	for i, s := range facts {
		promise += s.Base
		same = same && s.Base == w.bases[i]
		moved = moved || !s.FailedOver.IsZero()
		if !s.Silent {
			before += min(s.Available, s.Given)
			after += min(s.Available, plan.Targets[i].Replicas)
		}
	}
	if same && moved && after < before && after < promise {
		w.fail("%d replicas were available, %d will be, %d are promised: %+v", before, after, promise, plan.Targets)
	}
}

// settle ends all trouble and waits until nothing moves any more.
func (w *world) settle() {
	w.t.Helper()
	for _, m := range w.members {
		if m.silent {
			w.turn(m, false)
		}
		m.nodes = 1000
	}
	w.crashes = false
	w.event("the end of all trouble")
	quiet := 0
	for range 400 {
		before := w.writes
		w.step()
		if quiet++; w.writes != before {
			quiet = 0
		}
	}
	if most := 6 * len(w.members); w.writes > most || quiet < 100 {
		w.fail("%d writes since the last event, %d may be; quiet for %d rounds", w.writes, most, quiet)
	}
	for i, m := range w.members {
		if m.given != w.bases[i] || !m.over.IsZero() || m.extra != 0 {
			w.fail("in the end %s has %d of %d, %d extra, failed over %s", m.name, m.given, w.bases[i], m.extra, m.over)
		}
	}
}

func TestFailoverKeepsItsPromises(t *testing.T) {
	seen := map[string]int{}
	for seed := range seeds(200) {
		w := newWorld(t, seed, 2+int(seed%5))
		w.crashes, w.seen = seed%2 == 0, seen
		for range 400 {
			w.happen()
			w.step()
		}
		w.settle()
	}
	for _, what := range []string{"failed over", "returned", "cut off", "missing"} {
		if seen[what] == 0 {
			t.Errorf("no seed came to %q, so the simulation proves nothing about it: %v", what, seen)
		}
	}
}

// available counts what really runs, silent clusters included.
func (w *world) available() (n int32) {
	for _, m := range w.members {
		n += m.up(w.now)
	}
	return n
}

func (w *world) promise() (n int32) {
	for _, b := range w.bases {
		n += b
	}
	return n
}

// still steps until nothing is written for some rounds.
func (w *world) still(rounds int) {
	for quiet := 0; quiet < rounds; quiet++ {
		before := w.writes
		if w.step(); w.writes != before {
			quiet = 0
		}
	}
}

// From the moment that a cluster's replicas run elsewhere until it has wholly returned, at least the promised number
// is really available; with a cluster that keeps running, all the time.
func TestReturnNeverDropsBelowThePromise(t *testing.T) {
	moved := 0
	for seed := range seeds(150) {
		w := newWorld(t, seed, 3+int(seed%4))
		w.still(30)
		gone := w.members[w.rand.IntN(len(w.members))]
		w.turn(gone, true)
		for range 60 {
			w.step()
			if w.policy.Mode == KeepRunning && w.available() < w.promise() {
				w.fail("%d of %d available while %s keeps running", w.available(), w.promise(), gone.name)
			}
		}
		if w.available() < w.promise() {
			continue // there was no room for all of it
		}
		moved++
		w.turn(gone, false)
		for range 120 {
			w.step()
			if w.available() < w.promise() {
				w.fail("%d of %d available while %s returns", w.available(), w.promise(), gone.name)
			}
		}
		w.settle()
	}
	if moved < 40 {
		t.Errorf("only %d seeds had room to fail over", moved)
	}
}

// A cluster that is silent now and then, but never for long, moves nothing at all; one that is failed over and comes
// and goes moves nothing more.
func TestFlappingMovesNothing(t *testing.T) {
	for seed := range seeds(50) {
		w := newWorld(t, seed, 4)
		w.policy.ReturnAfter = 2 * time.Minute
		w.still(30)
		flapping := w.members[w.rand.IntN(len(w.members))]
		w.flap(flapping, 20, 10)
		w.turn(flapping, true)
		w.still(60)
		w.turn(flapping, false)
		w.flap(flapping, 20, 10)
		w.settle()
	}
}

func (w *world) flap(m *member, times, rounds int) {
	w.t.Helper()
	for range times {
		w.turn(m, !m.silent)
		for range 1 + w.rand.IntN(rounds) {
			if w.step(); w.writes > 0 {
				w.fail("%s comes and goes, and that moves replicas", m.name)
			}
		}
	}
	if m.silent {
		w.turn(m, false)
	}
}

// When the hub is cut off nothing moves, nor while the clusters come back one after the other.
func TestACutOffHubMovesNothing(t *testing.T) {
	for seed := range seeds(50) {
		w := newWorld(t, seed, 3+int(seed%4))
		w.policy.Mode = KeepRunning
		w.still(30)
		for _, m := range w.members {
			w.turn(m, true)
		}
		for range w.rand.IntN(200) {
			w.step()
		}
		for _, m := range w.members {
			w.turn(m, false)
			for range 1 + w.rand.IntN(4) {
				if w.step(); w.writes > 0 {
					w.fail("replicas move after the hub was cut off")
				}
			}
		}
		w.settle()
	}
}
