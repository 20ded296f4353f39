package pernode

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// world is a set and the cluster it lives in: an agent that sees some changes late and dies half way through its plans, and
// nodes, kubelets and users with bad luck. As the manager's client promises, its own writes are in what the agent reads
// next, and a write to a pod that has changed is refused. A seed always plays the same way.
type world struct {
	testing.TB
	random *rand.Rand
	now    time.Time
	spec   Spec
	script []string
	decide func(Spec, []Pod, time.Time) Plan

	pods  map[string]*body
	view  map[string]Pod // what the agent sees
	dirty bool           // it saw a change
	wake  time.Time      // or asked to be woken

	bad     map[string]bool // revisions that never become ready
	unlucky int             // steps for which bad luck lasts
	crash   float64
	late    float64
	fail    float64
	hooks   bool
	inPlace bool
	made    int
	taken   map[string]bool // nodes whose available pod an update took, until they have one again
	failed  map[string]time.Time
}

// body is a pod as it is, and what its kubelet will do.
type body struct {
	Pod
	version       int
	readyAt, goes time.Time
	freeAt        time.Time // when its user releases its hook
}

func newWorld(t testing.TB, seed int64) *world {
	random := rand.New(rand.NewPCG(uint64(seed), 7))
	n := 1 + random.IntN(8)
	w := &world{TB: t, random: random, now: noon, decide: Decide, pods: map[string]*body{}, view: map[string]Pod{}, bad: map[string]bool{},
		taken: map[string]bool{}, failed: map[string]time.Time{},
		crash: some(random, 0.3), late: some(random, 0.6), fail: some(random, 0.03), hooks: random.IntN(3) == 0, inPlace: random.IntN(2) == 0}
	w.spec = set(n, func(s *Spec) { s.Revision, s.MaxUnavailable = "a", 1+random.IntN(n) })
	if random.IntN(2) == 0 {
		surge(1 + random.IntN(n))(&w.spec)
	}
	if random.IntN(3) == 0 {
		w.spec.MinReady = time.Duration(1+random.IntN(5)) * time.Second
	}
	if random.IntN(4) == 0 {
		w.spec.Burst = 1 + random.IntN(2)
	}
	w.dirty = true
	w.say("seed %d: %+v, hooks %v, in place %v", seed, w.spec, w.hooks, w.inPlace)
	return w
}

func some(random *rand.Rand, most float64) float64 { return max(0, (random.Float64()*2-1)*most) }

func (w *world) say(format string, args ...any) {
	w.script = append(w.script, fmt.Sprintf("%4.0fs ", w.now.Sub(noon).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fatal(format string, args ...any) {
	w.Helper()
	w.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.script[max(0, len(w.script)-60):], "\n"))
}

// rollTo starts a rollout, with bad luck for a while. What an earlier one took down and did not bring up yet is old, down,
// and so costs this one nothing: maxUnavailable holds for each rollout. // WL-3.7
func (w *world) rollTo(revision string) {
	w.taken = map[string]bool{}
	w.spec.Revision, w.unlucky, w.dirty = revision, 40, true
	w.say("roll to %s", revision)
}

// untilStill plays until nothing happens any more.
func (w *world) untilStill() {
	w.Helper()
	for range 600 {
		if !w.step() && w.unlucky == 0 {
			return
		}
	}
	w.fatal("it does not end")
}

// step is a second; it tells whether something may still happen by itself.
func (w *world) step() bool {
	w.Helper()
	w.now = w.now.Add(time.Second)
	w.unlucky = max(w.unlucky-1, 0)
	if w.unlucky > 0 {
		w.misfortune()
	}
	moving := w.cluster()
	w.watch()
	if w.dirty || !w.wake.IsZero() && !w.now.Before(w.wake) {
		w.agent()
		return true
	}
	return moving || !w.wake.IsZero()
}

// misfortune lets pods fail and nodes come, go, and lose their pods.
func (w *world) misfortune() {
	for _, name := range slices.Sorted(maps.Keys(w.pods)) {
		if p := w.pods[name]; w.random.Float64() < w.fail {
			p.Phase, p.Ready, p.readyAt = podset.Finished, false, time.Time{}
			w.touch(p, "fails")
		} else if p.Ready && w.random.Float64() < w.fail {
			p.Ready, p.readyAt = false, w.soon()
			w.touch(p, "is not ready")
		}
	}
	if w.random.Float64() >= w.fail {
		return
	}
	w.dirty = true
	switch i := w.random.IntN(len(w.spec.Nodes)); w.random.IntN(3) {
	case 0:
		name := fmt.Sprintf("m%d", w.made)
		w.made++
		w.spec.Nodes = append(slices.Clone(w.spec.Nodes), Node{Name: name, Run: true, Keep: true})
		w.say("node %s comes", name)
	case 1:
		w.spec.Nodes = slices.Clone(w.spec.Nodes)
		w.spec.Nodes[i].Run, w.spec.Nodes[i].Keep = w.random.IntN(2) == 0, true
		w.say("node %+v", w.spec.Nodes[i])
	case 2:
		if len(w.spec.Nodes) == 1 {
			return
		}
		gone := w.spec.Nodes[i].Name
		w.spec.Nodes = slices.Delete(slices.Clone(w.spec.Nodes), i, i+1)
		w.say("node %s goes", gone)
		for _, p := range w.pods {
			if p.Node == gone {
				p.goes = w.now
			}
		}
	}
}

func (w *world) soon() time.Time { return w.now.Add(time.Duration(1+w.random.IntN(5)) * time.Second) }

func (w *world) touch(p *body, why string) {
	p.version++
	w.say("pod %s on %s %s", p.Name, p.Node, why)
}

// cluster is kubelets and users; it tells whether they have something left to do.
func (w *world) cluster() (moving bool) {
	for _, name := range slices.Sorted(maps.Keys(w.pods)) {
		p := w.pods[name]
		switch {
		case !p.goes.IsZero() && !w.now.Before(p.goes):
			delete(w.pods, name)
			w.say("pod %s on %s is gone", name, p.Node)
			continue
		case p.State == podset.PreparingDelete && p.HookedDelete && !w.now.Before(p.freeAt):
			p.HookedDelete = false
			w.touch(p, "is let go by its hook")
		case !p.readyAt.IsZero() && !w.now.Before(p.readyAt) && !w.bad[p.Revision]:
			p.Phase, p.Ready, p.ReadySince, p.readyAt, p.Bound = podset.Running, true, w.now, time.Time{}, true
			w.touch(p, "is ready")
		}
		moving = moving || !p.goes.IsZero() || p.HookedDelete && p.State == podset.PreparingDelete || !p.readyAt.IsZero() && !w.bad[p.Revision]
		if p.Ready && p.Revision == w.spec.Revision && !p.Terminating {
			delete(w.taken, p.Node)
		}
	}
	for node := range w.taken {
		if !slices.ContainsFunc(w.spec.Nodes, func(n Node) bool { return n.Name == node && n.Run }) {
			delete(w.taken, node)
		}
	}
	return moving
}

// watch brings the agent what changed, or not yet.
func (w *world) watch() {
	for _, name := range slices.Sorted(maps.Keys(w.pods)) {
		w.see(name, w.random.Float64() < w.late && w.unlucky > 0)
	}
	for _, name := range slices.Sorted(maps.Keys(w.view)) {
		if w.pods[name] == nil {
			w.see(name, w.random.Float64() < w.late && w.unlucky > 0)
		}
	}
}

func (w *world) see(name string, later bool) {
	is, there := w.pods[name]
	was, seen := w.view[name]
	switch {
	case later:
	case !there && seen:
		delete(w.view, name)
		w.dirty = true
	case there && (!seen || was.Cost != int32(is.version)):
		w.view[name] = w.facts(is)
		w.dirty = true
	}
}

// facts carries the version in a field that nothing here reads.
func (w *world) facts(p *body) Pod {
	f := p.Pod
	f.Cost = int32(p.version)
	return f
}

// agent decides from what it sees, and carries out as much as it lives to.
func (w *world) agent() {
	w.Helper()
	var pods []Pod
	for _, name := range slices.Sorted(maps.Keys(w.view)) {
		p := w.view[name]
		p.Fresh = p.Revision == w.spec.Revision
		p.Pod.InPlace.Done = true
		p.InPlace, p.KeepUntil = w.inPlace, w.failed[p.Node]
		pods = append(pods, p)
	}
	w.random.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	plan := w.decide(w.spec, pods, w.now)
	w.dirty, w.wake = false, time.Time{}
	if wait := plan.Recheck(); wait > 0 {
		w.wake = w.now.Add(wait)
	}
	w.keepsItsPromises(plan, pods)
	w.carryOut(plan)
	if n := len(w.taken); w.spec.MaxSurge == 0 && n > w.spec.MaxUnavailable {
		w.fatal("%d nodes lost an available pod to the update, maxUnavailable is %d: %v", n, w.spec.MaxUnavailable, w.taken)
	}
}

func (w *world) carryOut(plan Plan) {
	var acts []func()
	for _, c := range plan.Create {
		acts = append(acts, func() { w.make(c) })
	}
	for _, d := range plan.Delete {
		acts = append(acts, w.on(d.Pod, "is deleted: "+d.Why, func(p *body) { w.remove(p, d) }))
	}
	for _, u := range plan.Update {
		acts = append(acts, w.on(u.Pod, "is updated in place: "+u.Why, func(p *body) {
			w.take(p)
			p.Revision, p.Ready, p.readyAt = u.To, false, w.soon()
		}))
	}
	for _, r := range plan.Refresh {
		acts = append(acts, w.on(r.Pod, r.String(), func(p *body) { p.State, p.freeAt = r.State, w.soon() }))
	}
	for i, act := range acts {
		if w.unlucky > 0 && w.random.Float64() < w.crash {
			w.say("the agent dies with %d of %d acts done, and another comes", i, len(acts))
			for name := range w.view {
				w.see(name, false)
			}
			w.watch()
			w.dirty, w.failed = true, map[string]time.Time{}
			return
		}
		act()
	}
}

// on writes to a pod that is still what the agent saw.
func (w *world) on(name, what string, do func(*body)) func() {
	return func() {
		p := w.pods[name]
		if p == nil || int32(p.version) != w.view[name].Cost {
			w.say("refused: %s %s", name, what)
			return
		}
		do(p)
		w.touch(p, what)
		w.see(name, false)
	}
}

func (w *world) remove(p *body, d podset.Delete) {
	if strings.HasPrefix(d.Why, "within") {
		w.take(p)
	}
	if d.Why == failed {
		w.failed[p.Node] = w.now.Add(2 * time.Second)
	}
	p.Terminating, p.goes = true, w.soon()
}

// take notes that an update takes an available pod from its node.
func (w *world) take(p *body) {
	if w.spec.available(&p.Pod, w.now) && slices.ContainsFunc(w.spec.Nodes, func(n Node) bool { return n.Name == p.Node && n.Run }) {
		w.taken[p.Node] = true
	}
}

func (w *world) make(c podset.Create) {
	p := &body{Pod: pod(c.Slot, c.Revision, down, named(fmt.Sprintf("%s-%d", c.Slot, w.made))), readyAt: w.soon()}
	p.Phase, p.Bound, p.Created, p.HookedDelete = podset.Pending, false, w.now, w.hooks
	w.made++
	w.pods[p.Name] = p
	w.say("pod %s of %s is made: %s", p.Name, c.Revision, c.Why)
	w.see(p.Name, false)
}

// keepsItsPromises looks at a plan with other eyes than Decide's: those of the budget's user.
func (w *world) keepsItsPromises(plan Plan, pods []Pod) {
	w.Helper()
	at := map[string][]Pod{}
	by := map[string]Pod{}
	for _, p := range pods {
		at[p.Node], by[p.Name] = append(at[p.Node], p), p
	}
	live := func(p Pod) bool { return !p.Terminating && p.State != podset.PreparingDelete }
	for _, c := range plan.Create {
		alive := slices.DeleteFunc(slices.Clone(at[c.Slot]), func(p Pod) bool { return !live(p) || p.Phase == podset.Finished })
		if len(alive) > 1 || len(alive) == 1 && (!w.spec.Surge || alive[0].Fresh) || len(at[c.Slot]) > 0 && !w.spec.Surge {
			w.fatal("%s gets one more pod beside %d", c.Slot, len(alive))
		}
	}
	for _, d := range plan.Delete { // with surge no node loses its last available pod
		p := by[d.Pod]
		if w.spec.Surge && !p.Fresh && live(p) && w.spec.available(&p, w.now) && !strings.Contains(d.Why, "older") &&
			!slices.ContainsFunc(at[p.Node], func(o Pod) bool { return o.Fresh && live(o) && w.spec.available(&o, w.now) }) {
			w.fatal("%s loses its only available pod: %s", p.Node, d.Why)
		}
	}
	if w.spec.MaxSurge > 0 {
		if n := w.surging(plan, at, live); n > w.spec.MaxSurge {
			w.fatal("%d nodes surge, maxSurge is %d", n, w.spec.MaxSurge)
		}
	}
	w.keepsPartition(plan, at, live)
}

// surging counts nodes with an available old pod and a new one that is not up yet, those of the plan included; a plan that
// makes none is no surge.
func (w *world) surging(plan Plan, at map[string][]Pod, live func(Pod) bool) int {
	n, began := 0, 0
	for _, pods := range at {
		old := slices.ContainsFunc(pods, func(p Pod) bool { return !p.Fresh && live(p) && w.spec.available(&p, w.now) })
		fresh := slices.ContainsFunc(pods, func(p Pod) bool { return p.Fresh && live(p) && !w.spec.available(&p, w.now) })
		begins := slices.ContainsFunc(plan.Create, func(c podset.Create) bool { return c.Slot == pods[0].Node && c.Why == "surge" })
		if old && begins {
			began++
		}
		if old && (fresh || begins) {
			n++
		}
	}
	if began == 0 {
		return 0
	}
	return n
}

// keepsPartition: an update leaves at least the partition's nodes as they are.
func (w *world) keepsPartition(plan Plan, at map[string][]Pod, live func(Pod) bool) {
	w.Helper()
	updates := len(plan.Update)
	for _, d := range plan.Delete {
		if strings.HasPrefix(d.Why, "within") || strings.HasPrefix(d.Why, "already down") {
			updates++
		}
	}
	if updates == 0 {
		return
	}
	all, changed := 0, 0
	for _, n := range w.spec.Nodes {
		old := slices.ContainsFunc(at[n.Name], func(p Pod) bool { return !p.Fresh && live(p) })
		fresh := slices.ContainsFunc(at[n.Name], func(p Pod) bool { return p.Fresh && !p.Terminating })
		switch {
		case !n.Run && len(at[n.Name]) == 0:
			continue
		case fresh, !old:
			changed++
		}
		all++
	}
	if changed+updates > max(all-w.spec.Partition, 0) {
		w.fatal("%d nodes changed and %d more do, of %d with partition %d", changed, updates, all, w.spec.Partition)
	}
}

// everyNodeHas one available pod, and no node that should not.
func (w *world) everyNodeHas(revision func(Node) string) {
	w.Helper()
	for _, n := range w.spec.Nodes {
		var here []string
		for _, p := range w.pods {
			if p.Node == n.Name && !p.Ready {
				w.fatal("pod %s on %s is not ready", p.Name, n.Name)
			}
			if p.Node == n.Name {
				here = append(here, p.Revision)
			}
		}
		if n.Run && len(here) != 1 || len(here) > 1 || len(here) == 1 && revision(n) != "" && here[0] != revision(n) {
			w.fatal("node %+v has %v", n, here)
		}
	}
}

func all(revision string) func(Node) string { return func(Node) string { return revision } }

// count is how many pods have the revision.
func (w *world) count(revision string) int {
	n := 0
	for _, p := range w.pods {
		if p.Revision == revision {
			n++
		}
	}
	return n
}
