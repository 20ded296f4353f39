// Package podsettest plays a pod set through: an agent that decides with the
// engine and carries plans out badly, and a cluster with kubelets, users and
// bad luck. It owns the simulated pods and promises that a seed always plays
// the same way; promises of the engine are asserted at each step, and a broken
// one fails the test with a transcript of how it came to it.
//
//	w := podsettest.New(t, seed)
//	w.RollTo("b")
//	w.UntilStill(func() { w.AtLeastUp(); w.AtMostLive() })
//	w.AllOn("b")
//
// The engine is promised what the manager's client gives it: its own writes are
// in what it reads next, everybody else's may come late; and every write is
// refused when the pod has changed since it was read.
package podsettest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// World is a pod set and the cluster it lives in.
type World struct {
	// Spec is what the agent is asked for. Change it through the orders below,
	// which also keep account of what the change excuses.
	Spec podset.Spec
	// Decide is the engine; a test of the test may give another.
	Decide func(podset.Spec, []podset.Pod, time.Time) podset.Plan

	t      testing.TB
	seed   int64
	random *rand.Rand
	now    time.Time
	script []string // what happened, for the transcript

	pods  []*pod
	nodes int
	bad   map[string]bool // revisions that never become ready

	stubborn float64       // revisions that cannot be reached in place
	grace    time.Duration // of an in-place update
	slow     int           // steps that starting and stopping take at most
	luck     luck
	unlucky  int // steps for which bad luck lasts

	agent    agent
	gap      int // pods that went without the engine's doing and are not made up for yet
	live     int // active pods at the last look
	versions int // resourceVersions handed out
	updates  int // pods that plans updated
}

// luck is how often things go wrong, per step.
type luck struct {
	crash, idle, late        float64 // the agent's: dies half way, does not run, sees a change late
	failure, lostNode, evict float64 // the cluster's: per pod, per cluster, per pod
}

const step = time.Second

// unluckySteps is how long bad luck lasts after an order. It ends so that
// there is a stillness to reach.
const unluckySteps = 60

// New is a settled set of a random size on revision a, with random budgets,
// hooks and luck.
func New(t testing.TB, seed int64) *World {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(seed), 42))
	w := &World{
		Decide: podset.Decide,
		t:      t, seed: seed, random: random, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		bad: map[string]bool{}, nodes: 2 + random.IntN(4), slow: 1 + random.IntN(6),
		luck: luck{crash: some(random, 0.2), idle: some(random, 0.5), late: some(random, 0.7),
			failure: some(random, 0.02), lostNode: some(random, 0.02), evict: some(random, 0.01)},
	}
	n := 1 + random.IntN(12)
	w.Spec = podset.Spec{
		Replicas: n, UpdateRevision: "a", CurrentRevision: "a", InPlaceFrom: map[string]bool{},
		MaxUnavailable: random.IntN(n + 1), ScaleMaxUnavailable: podset.Unlimited,
		UpdateType: podset.UpdateType(random.IntN(2)),
	}
	if w.Spec.MaxUnavailable == 0 || random.IntN(2) == 0 {
		w.Spec.MaxSurge = 1 + random.IntN(n)
	}
	if random.IntN(3) == 0 {
		w.Spec.ScaleMaxUnavailable = 1 + random.IntN(n)
	}
	if random.IntN(2) == 0 {
		w.Spec.MinReady = time.Duration(1+random.IntN(8)) * time.Second
	}
	if random.IntN(3) == 0 {
		w.stubborn = random.Float64()
	}
	if random.IntN(4) == 0 {
		w.grace = time.Duration(1+random.IntN(4)) * time.Second
	}
	w.Spec.Lifecycle = hooks(random)
	w.Spec.ExcludePreparingDelete = random.IntN(6) == 0
	w.Spec.PreparingUpdateAsUpdate = random.IntN(6) == 0
	for range n {
		p := w.add("a", fmt.Sprintf("first%02d", len(w.pods)))
		p.settle(w)
	}
	w.live = n
	w.say("seed %d: %s", seed, w.terms())
	return w
}

// some is a rate up to most, and for half of all seeds zero.
func some(random *rand.Rand, most float64) float64 {
	return max(0, (random.Float64()*2-1)*most)
}

func hooks(random *rand.Rand) *podset.Lifecycle {
	if random.IntN(3) > 0 {
		return nil
	}
	maybe := func(mayMark bool) *podset.Hook {
		if random.IntN(2) == 0 {
			return nil
		}
		return &podset.Hook{MarkNotReady: mayMark && random.IntN(3) == 0}
	}
	return &podset.Lifecycle{PreNormal: maybe(false), InPlaceUpdate: maybe(true), PreDelete: maybe(true)}
}

func (w *World) terms() string {
	s := &w.Spec
	text := fmt.Sprintf("%d replicas of %s, partition %d, maxUnavailable %d, maxSurge %d, minReady %s, update type %d, scale budget %d, grace %s",
		s.Replicas, s.UpdateRevision, s.Partition, s.MaxUnavailable, s.MaxSurge, s.MinReady, s.UpdateType, s.ScaleMaxUnavailable, w.grace)
	if l := s.Lifecycle; l != nil {
		text += fmt.Sprintf(", hooks preNormal %v inPlaceUpdate %v preDelete %v", l.PreNormal, l.InPlaceUpdate, l.PreDelete)
	}
	return text
}

// RollTo orders another revision.
func (w *World) RollTo(revision string) {
	if revision != w.Spec.UpdateRevision {
		w.Spec.UpdateRevision = revision
		w.Spec.InPlaceFrom = map[string]bool{}
		for _, old := range "abcdefgh" {
			w.Spec.InPlaceFrom[string(old)] = w.random.Float64() >= w.stubborn
		}
	}
	w.order("roll to %s", revision)
}

// Break makes a revision's image one that cannot be pulled.
func (w *World) Break(revision string) {
	w.bad[revision] = true
	w.order("break %s", revision)
}

// ScaleTo orders another number of replicas. Pods that are added have yet to
// come up, which is nobody's fault.
func (w *World) ScaleTo(n int) {
	w.gap += max(n-w.Spec.Replicas, 0)
	w.Spec.Replicas = n
	w.Spec.Partition = min(w.Spec.Partition, n)
	w.order("scale to %d", n)
}

// KeepOld orders a partition.
func (w *World) KeepOld(partition int) {
	w.Spec.Partition = min(partition, w.Spec.Replicas)
	w.order("keep %d old", w.Spec.Partition)
}

// Pause stops updates, and surge with them, as a kind translates it. It
// returns how to go on.
func (w *World) Pause() (resume func()) {
	surge := w.Spec.MaxSurge
	w.Spec.Paused, w.Spec.MaxSurge = true, 0
	w.order("pause")
	return func() {
		w.Spec.Paused, w.Spec.MaxSurge = false, surge
		w.order("resume")
	}
}

// DeleteOne marks a random pod for deletion, as a user does.
func (w *World) DeleteOne() {
	active := w.active()
	if len(active) == 0 {
		return
	}
	p := active[w.random.IntN(len(active))]
	p.Marked = true
	p.excused = p.excused || !w.up(p) // a marked pod no longer counts as down (WL-1.19 2)
	w.changed(p)
	w.order("mark %s for deletion", p.Name)
}

// Size is a random number of replicas up to most.
func (w *World) Size(most int) int { return w.random.IntN(most + 1) }

func (w *World) order(format string, args ...any) {
	w.say("order: "+format+" ("+w.terms()+")", args...)
	w.unlucky = unluckySteps
	w.agent.awake = true
}

// Run plays some steps and looks at the promises after each.
func (w *World) Run(steps int, look func()) {
	w.t.Helper()
	for range steps {
		w.step()
		look()
	}
}

// UntilStill plays until nobody has anything left to do.
func (w *World) UntilStill(look func()) {
	w.t.Helper()
	const patience = 3000
	for range patience {
		w.Run(1, look)
		if w.still() {
			return
		}
	}
	w.fail("not still after %d steps", patience)
}

func (w *World) step() {
	w.now = w.now.Add(step)
	w.unlucky--
	w.cluster()
	w.users()
	w.pass()
	w.forgive()
}

// still: nothing moves in the cluster, the agent has seen it all, and neither
// a plan nor the clock makes it do anything.
func (w *World) still() bool {
	if w.unlucky > 0 || w.agent.awake || w.agent.asleep() {
		return false
	}
	for _, p := range w.pods {
		if p.seen < len(p.versions)-1 || w.moving(p) {
			return false
		}
	}
	return true
}

func (w *World) chance(rate float64) bool {
	return w.unlucky > 0 && w.random.Float64() < rate
}

func (w *World) say(format string, args ...any) {
	w.script = append(w.script, fmt.Sprintf("%s  %s", w.now.Format("04:05"), fmt.Sprintf(format, args...)))
}

// fail ends the test with the transcript.
func (w *World) fail(format string, args ...any) {
	w.t.Helper()
	const most = 120
	lines := w.script
	if len(lines) > most {
		lines = append([]string{lines[0], "..."}, lines[len(lines)-most:]...)
	}
	w.t.Fatalf("%s\n\npods:\n%s\nhow it came to it:\n%s",
		fmt.Sprintf(format, args...), w.picture(), strings.Join(lines, "\n"))
}

func (w *World) picture() string {
	var b strings.Builder
	for _, p := range w.pods {
		if p.gone {
			continue
		}
		fmt.Fprintf(&b, "  %s %s phase %d ready %v up %v state %q marked %v terminating %v excused %v in place %+v\n",
			p.Name, p.Revision, p.Phase, p.Ready, w.up(p), p.State, p.Marked, p.Terminating, p.excused, p.InPlace)
	}
	return b.String()
}
