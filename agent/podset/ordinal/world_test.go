package ordinal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

const tick = 5 * time.Second

// simulated is the truth about a pod and what the agent has seen of it.
type simulated struct {
	Pod
	seen    Pod
	unseen  bool // the agent has yet to see that it is gone
	gone    bool
	version int // of the truth
	known   int // the version that was seen
	running string
	gate    bool
	busy    int
}

// world plays a set against kubelets, users and fate, all from one seed. It promises the agent what the product's client
// does: its own writes are in what it reads next, others' may be late, and a write to a pod that has changed is refused.
type world struct {
	*testing.T
	decide func(Spec, []Pod, time.Time) Plan
	spec   Spec
	now    time.Time
	dice   *rand.Rand
	pods   []*simulated
	bad    map[string]bool
	luck   int // unlucky steps left
	awake  bool
	alarm  time.Time
	// ours are the ordinals that the agent took down and that have not been up since.
	ours   map[int]bool
	script []string
}

func newSimulation(t *testing.T, seed int64, change ...func(*world)) *world {
	w := &world{
		T: t, decide: Decide, now: noon, dice: rand.New(rand.NewPCG(uint64(seed), 7)), bad: map[string]bool{}, ours: map[int]bool{}, awake: true,
	}
	w.spec = set(1+w.dice.IntN(7), settledOn("a"), func(s *Spec) {
		s.Ordered = w.dice.IntN(3) == 0
		s.Unordered = !s.Ordered && w.dice.IntN(2) == 0
		s.Start = w.dice.IntN(2) * 3
		s.Prioritized = s.Unordered && w.dice.IntN(2) == 0
		s.PreparingUpdateAsUpdate = w.dice.IntN(4) == 0
		s.UpdateType = podset.UpdateType(w.dice.IntN(2))
		s.InPlaceFrom = map[string]bool{"a": true, "b": true, "c": w.dice.IntN(2) == 0}
		if !s.Ordered {
			s.MaxUnavailable = 1 + w.dice.IntN(3)
			if w.dice.IntN(2) == 0 {
				s.ScaleMaxUnavailable = 1 + w.dice.IntN(3)
			}
		}
		if w.dice.IntN(3) == 0 {
			s.MinReady = 20 * time.Second
		}
		if w.dice.IntN(3) == 0 {
			s.Lifecycle = &podset.Lifecycle{}
			for _, hook := range []**podset.Hook{&s.Lifecycle.PreDelete, &s.Lifecycle.InPlaceUpdate, &s.Lifecycle.PreNormal} {
				if w.dice.IntN(2) == 0 {
					*hook = &podset.Hook{MarkNotReady: w.dice.IntN(2) == 0}
				}
			}
		}
	})
	for _, c := range change {
		c(w)
	}
	w.say("seed %d: %+v", seed, w.spec)
	return w
}

func (w *world) say(format string, args ...any) {
	w.script = append(w.script, w.now.Format("04:05  ")+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.Helper()
	for _, p := range w.pods {
		if !p.gone {
			w.say("now %s %s phase %d ready %v state %q marked %v terminating %v in place %+v", p.Name, p.Revision, p.Phase, p.Ready, p.State, p.Marked, p.Terminating, p.InPlace)
		}
	}
	w.Fatalf("%s\n%s\n%s", fmt.Sprintf(format, args...), w.script[0], strings.Join(w.script[max(1, len(w.script)-100):], "\n"))
}

func (w *world) order(change func(*Spec), format string, args ...any) {
	change(&w.spec)
	w.say("order: "+format, args...)
	w.luck, w.awake = 40, true
}

func (w *world) chance(percent int) bool { return w.luck > 0 && w.dice.IntN(100) < percent }

func (w *world) isUp(p *simulated) bool {
	return !p.gone && !p.Terminating && p.settled() && p.ready(w.spec.MinReady, w.now) && p.InPlace.Done
}

func (w *world) window() []int { return Window(w.spec.Start, w.spec.Replicas, w.spec.Reserved) }

func (w *world) at(n int) *simulated {
	for _, p := range w.pods {
		if p.Ordinal == n && !p.gone {
			return p
		}
	}
	return nil
}

// of are the pods of a revision.
func (w *world) of(revision string) (all []*simulated) {
	for _, p := range w.pods {
		if !p.gone && p.Revision == revision {
			all = append(all, p)
		}
	}
	return all
}

func (w *world) changed(p *simulated) { p.version++ }

// step is a moment of everybody.
func (w *world) step() {
	w.now = w.now.Add(tick)
	w.luck--
	for _, p := range w.pods {
		if !p.gone {
			w.kubelet(p)
			w.user(p)
		}
	}
	w.watch()
	for n := range w.ours {
		// Up, or up as far as the agent can know: what failed in the moment in which it would have been is fate's.
		if p := w.at(n); p != nil && (w.isUp(p) || w.isUp(&simulated{Pod: p.seen})) || !slices.Contains(w.window(), n) {
			delete(w.ours, n)
		}
	}
	if rings := !w.alarm.IsZero() && !w.now.Before(w.alarm); w.awake || rings {
		w.pass()
	}
}

func (w *world) watch() {
	for _, p := range w.pods {
		if (p.known < p.version || p.gone && !p.unseen) && !w.chance(30) {
			p.seen, p.known, p.unseen, w.awake = p.Pod, p.version, p.gone, true
		}
	}
}

// kubelet brings a pod one step on, or fate does.
func (w *world) kubelet(p *simulated) {
	before := p.Pod
	held := w.spec.Lifecycle != nil && (p.State == podset.PreparingDelete && marks(w.spec.Lifecycle.PreDelete) ||
		p.State == podset.PreparingUpdate && marks(w.spec.Lifecycle.InPlaceUpdate))
	switch {
	case p.busy > 0:
		p.busy--
	case p.Terminating:
		p.gone = true
		w.say("%s is gone", p.Name)
	case p.Phase == podset.Finished:
	case !p.Terminating && w.chance(2):
		p.Phase, p.Ready = podset.Finished, false
		w.say("%s is evicted", p.Name)
	case p.Phase == podset.Running && w.chance(3):
		p.Terminating, p.Ready, p.busy = true, false, w.dice.IntN(3)
		w.say("the node of %s is lost", p.Name)
	case p.Ready && w.chance(4):
		p.Ready, p.busy = false, 1+w.dice.IntN(4)
		w.say("%s fails", p.Name)
	case w.bad[p.running]:
		p.Blocked = "ImagePullBackOff"
	case p.Phase == podset.Pending:
		p.Phase, p.busy = podset.Running, w.dice.IntN(3)
	case !p.InPlace.Done && !p.InPlace.Grace:
		p.InPlace, p.busy = podset.InPlace{Done: true, Due: podset.OpenGate}, w.dice.IntN(3)
	case !p.Ready && p.gate && p.InPlace.Done && !held:
		p.Ready, p.ReadySince, p.Blocked = true, w.now, ""
		w.say("%s is ready", p.Name)
	}
	if before.Phase != p.Phase || before.Ready != p.Ready || before.Terminating != p.Terminating || before.InPlace != p.InPlace || before.Blocked != p.Blocked {
		w.changed(p)
	}
}

func marks(h *podset.Hook) bool { return h != nil && h.MarkNotReady }

// user answers hooks.
func (w *world) user(p *simulated) {
	if !w.userWants(p) || w.dice.IntN(3) > 0 {
		return
	}
	l := w.spec.Lifecycle
	p.AllHookedNormal = true
	p.HookedDelete = l.PreDelete != nil && p.State != podset.PreparingDelete
	hooked := l.InPlaceUpdate != nil && p.State != podset.PreparingUpdate && p.State != podset.Updating
	p.HookedUpdate, p.AllHookedUpdate = hooked, hooked
	w.say("user answers the hooks of %s in state %s", p.Name, p.State)
	w.changed(p)
}

func (w *world) userWants(p *simulated) bool {
	l := w.spec.Lifecycle
	if l == nil || p.Terminating || p.gone {
		return false
	}
	return p.State == podset.PreparingNormal && l.PreNormal != nil && !p.AllHookedNormal ||
		l.PreDelete != nil && p.HookedDelete == (p.State == podset.PreparingDelete) ||
		l.InPlaceUpdate != nil && (p.State == podset.PreparingUpdate && p.HookedUpdate || p.State == podset.Updated && !p.AllHookedUpdate)
}

// pass is one reconcile.
func (w *world) pass() {
	var view []Pod
	for _, p := range w.pods {
		if !p.unseen {
			view = append(view, p.seen)
		}
	}
	plan := w.decide(w.spec, view, w.now)
	w.awake, w.alarm = false, time.Time{}
	if wait := plan.Recheck(); wait > 0 {
		w.alarm = w.now.Add(wait)
	}
	for _, line := range plan.Lines() {
		w.say("plan: %s", line)
	}
	w.keepsOrder(plan)
	w.keepsPartition(plan)
	w.act(plan)
	if current := Summarize(w.spec, view, plan, w.now).CurrentRevision; current != w.spec.CurrentRevision {
		w.say("the current revision is %s", current)
		w.spec.CurrentRevision, w.awake = current, true
	}
}

// act carries a plan out, creates in their order and after the rest, and sometimes dies half way.
func (w *world) act(plan Plan) {
	var writes []func()
	for _, d := range plan.Delete {
		writes = append(writes, func() { w.write(d.Pod, w.terminate) })
	}
	for _, u := range plan.Update {
		writes = append(writes, func() { w.write(u.Pod, func(p *simulated) { w.update(p, u.To) }) })
	}
	for _, r := range plan.Refresh {
		writes = append(writes, func() { w.write(r.Pod, func(p *simulated) { w.refresh(p, r) }) })
	}
	w.dice.Shuffle(len(writes), func(i, j int) { writes[i], writes[j] = writes[j], writes[i] })
	for _, c := range plan.Create {
		writes = append(writes, func() { w.create(c) })
	}
	for i, write := range writes {
		if w.chance(5) {
			w.say("the agent dies after %d of %d writes", i, len(writes))
			w.awake = true
			return
		}
		write()
	}
}

func (w *world) create(c podset.Create) {
	w.awake = true
	n := number(c.Slot)
	if w.at(n) != nil {
		return // AlreadyExists
	}
	p := &simulated{running: c.Revision, busy: w.dice.IntN(3)}
	p.Pod = up(n, c.Revision, starting, priority(int64(w.dice.IntN(3))))
	p.InPlace = podset.InPlace{Done: true, Due: podset.OpenGate}
	if l := w.spec.Lifecycle; l != nil {
		p.HookedDelete, p.HookedUpdate, p.AllHookedUpdate = l.PreDelete != nil, l.InPlaceUpdate != nil, l.InPlaceUpdate != nil
		if l.PreNormal != nil {
			p.State = podset.PreparingNormal
		}
	}
	p.seen = p.Pod
	w.pods = append(w.pods, p)
}

func number(slot string) int {
	_, n, _ := Parse("web-" + slot)
	return n
}

// write changes the pod that was seen, or nothing.
func (w *world) write(name string, change func(*simulated)) {
	w.awake = true
	for _, p := range w.pods {
		if p.Name != name || p.gone {
			continue
		}
		if p.known < p.version {
			w.say("conflict: %s has changed", name)
			return
		}
		wasUp := w.isUp(p)
		change(p)
		if wasUp && !w.isUp(p) && slices.Contains(w.window(), p.Ordinal) {
			w.ours[p.Ordinal] = true
		}
		w.changed(p)
		p.seen, p.known = p.Pod, p.version
	}
}

func (w *world) terminate(p *simulated) { p.Ready, p.Terminating, p.busy = false, true, w.dice.IntN(3) }

func (w *world) update(p *simulated, to string) {
	p.gate, p.Ready, p.running, p.Revision, p.busy = false, false, to, to, w.dice.IntN(3)
	p.InPlace = podset.InPlace{}
	if p.State != "" {
		p.State = podset.Updating
	}
	if p.Phase == podset.Pending {
		p.InPlace, p.Blocked = podset.InPlace{Done: true, Due: podset.OpenGate}, ""
	}
}

func (w *world) refresh(p *simulated, r podset.Refresh) {
	if r.Step == podset.OpenGate {
		p.gate, p.InPlace.Due = true, podset.NoStep
	}
	if r.State != "" {
		p.State = r.State
	}
	if r.Rearm {
		p.HookedUpdate, p.AllHookedUpdate = true, true
	}
	l := w.spec.Lifecycle
	if l != nil && (r.State == podset.PreparingDelete && marks(l.PreDelete) || r.State == podset.PreparingUpdate && marks(l.InPlaceUpdate)) {
		p.Ready = false
	}
}

// keepsOrder: an ordered set does one thing at a time.
func (w *world) keepsOrder(plan Plan) {
	w.Helper()
	if n := len(plan.Create) + len(plan.Delete) + len(plan.Update); w.spec.Ordered && n > 1 {
		w.fail("an ordered set does %d things at a time", n)
	}
}

// keepsPartition: pods of the partition are neither updated nor made of the new revision.
func (w *world) keepsPartition(plan Plan) {
	w.Helper()
	if w.spec.Unordered || w.spec.UpdateRevision == w.spec.CurrentRevision {
		return
	}
	kept := w.window()[:min(w.spec.Partition, w.spec.Replicas)]
	for _, u := range plan.Update {
		if _, n, _ := Parse(u.Pod); slices.Contains(kept, n) {
			w.fail("%s is updated, the partition keeps it", u.Pod)
		}
	}
	for _, c := range plan.Create {
		n := number(c.Slot)
		if slices.Contains(kept, n) && c.Revision != w.spec.CurrentRevision {
			w.fail("%d is made of %s, the partition keeps it", n, c.Revision)
		}
	}
}

// atMostDown: the agent has never more places down than the budget.
func (w *world) atMostDown() {
	w.Helper()
	if len(w.ours) > w.spec.MaxUnavailable {
		w.fail("the agent has %d places down (%v), %d may be", len(w.ours), w.ours, w.spec.MaxUnavailable)
	}
}

// still: nothing moves, the agent has seen it all, and neither a plan nor the clock makes it do anything.
func (w *world) still() bool {
	if w.luck > 0 || w.awake || !w.alarm.IsZero() {
		return false
	}
	for _, p := range w.pods {
		moving := p.busy > 0 || p.Terminating || w.userWants(p) || !w.bad[p.running] && p.Phase != podset.Finished &&
			(p.Phase == podset.Pending || !p.InPlace.Done || p.gate && !p.Ready && p.settled())
		if p.known < p.version || p.gone && !p.unseen || !p.gone && moving {
			return false
		}
	}
	return true
}

func (w *world) untilStill() {
	w.Helper()
	for range 2000 {
		w.step()
		w.atMostDown()
		if w.still() {
			return
		}
	}
	w.fail("it does not end")
}

// allOn: every place has its pod, up and of its revision, and nobody else is there.
func (w *world) allOn(fresh string) {
	w.Helper()
	live, updated := 0, 0
	for _, p := range w.pods {
		if !p.gone {
			live++
		}
	}
	for _, n := range w.window() {
		p := w.at(n)
		if p == nil || !w.isUp(p) {
			w.fail("ordinal %d is not up", n)
		}
		if p.Revision == fresh {
			updated++
		}
	}
	if want := max(w.spec.Replicas-w.spec.Partition, 0); live != w.spec.Replicas || updated < want {
		w.fail("%d pods for %d places, %d of %d updated", live, w.spec.Replicas, updated, want)
	}
}
