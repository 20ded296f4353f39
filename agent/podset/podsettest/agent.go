package podsettest

import (
	"fmt"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// agent keeps nothing between passes but when it wakes: all else is read anew.
type agent struct {
	awake bool      // something it watches changed
	alarm time.Time // when the last plan asked to be made again; zero: never
}

func (a *agent) asleep() bool { return !a.alarm.IsZero() }

// pass is one reconcile of the agent: look, decide, act. It runs when it saw a
// change or its alarm rings, never just in case.
func (w *World) pass() {
	w.watch()
	rings := w.agent.asleep() && !w.now.Before(w.agent.alarm)
	if !w.agent.awake && !rings || w.chance(w.luck.idle) {
		return
	}
	view := w.view()
	spec := w.Spec
	spec.Seed = podset.Seed("web", fmt.Sprint(w.versions), view)
	plan := w.Decide(spec, view, w.now)
	w.agent = agent{}
	if wait := plan.Recheck(); wait > 0 {
		w.agent.alarm = w.now.Add(wait)
	}
	for _, line := range plan.Lines() {
		w.say("plan: %s", line)
	}
	w.keepsPartition(spec, view, plan)
	w.updates += len(plan.Update)
	w.act(plan)
	// Status as the next pass reads it (WL-1.15).
	current := podset.Summarize(spec, view, plan, w.now).CurrentRevision
	if current != w.Spec.CurrentRevision {
		w.Spec.CurrentRevision = current
		w.agent.awake = true
	}
}

// watch lets changes arrive, some of them late.
func (w *World) watch() {
	for _, p := range w.pods {
		if p.vanished || p.seen == len(p.versions)-1 && !p.gone || w.chance(w.luck.late) {
			continue
		}
		w.learn(p)
		p.seen = len(p.versions) - 1
		p.vanished = p.gone
		w.agent.awake = true
	}
}

// learn puts on the account what the agent took for up until now and was not:
// a pod that failed just before its minReadySeconds were over.
func (w *World) learn(p *pod) {
	if p.noted || w.up(p) || !w.seenUp(p) {
		return
	}
	p.noted = true
	if p.gone || p.Terminating || p.Phase == podset.Finished {
		w.gap++
	} else {
		p.excused = true
	}
}

func (w *World) view() []podset.Pod {
	var view []podset.Pod
	for _, p := range w.pods {
		if !p.vanished {
			view = append(view, p.versions[p.seen])
		}
	}
	return view
}

// act carries a plan out in any order, and sometimes dies half way.
func (w *World) act(plan podset.Plan) {
	var writes []func()
	for _, c := range plan.Create {
		writes = append(writes, func() { w.create(c) })
	}
	for _, d := range plan.Delete {
		writes = append(writes, func() { w.write(d.Pod, w.terminate) })
	}
	for _, u := range plan.Update {
		writes = append(writes, func() { w.write(u.Pod, func(p *pod) { w.update(p, u) }) })
	}
	for _, r := range plan.Refresh {
		writes = append(writes, func() { w.write(r.Pod, func(p *pod) { w.refresh(p, r) }) })
	}
	w.random.Shuffle(len(writes), func(i, j int) { writes[i], writes[j] = writes[j], writes[i] })
	for i, write := range writes {
		if w.chance(w.luck.crash) {
			w.say("agent dies after %d of %d writes", i, len(writes))
			w.agent.awake = true // a new one starts by looking at everything
			return
		}
		write()
	}
}

func (w *World) create(c podset.Create) {
	if w.byName("web-"+c.Slot) != nil {
		w.say("%s is there already", c.Slot)
		w.agent.awake = true
		return
	}
	p := w.add(c.Revision, c.Slot)
	if w.gap > 0 {
		w.gap--
		p.excused = true
	}
	w.agent.awake = true
}

// write changes the pod that was seen, or nothing; what it wrote is seen at once.
func (w *World) write(name string, change func(*pod)) {
	w.agent.awake = true
	p := w.byName(name)
	if p == nil || p.seen < len(p.versions)-1 {
		w.say("conflict: %s has changed", name)
		return
	}
	change(p)
	w.changed(p)
	p.seen = len(p.versions) - 1
}

func (w *World) terminate(p *pod) {
	if w.excused(p) {
		w.gap++
	}
	p.Ready, p.Terminating, p.busy = false, true, w.random.IntN(w.slow)
}

func (w *World) update(p *pod, u podset.Update) {
	if u.How == podset.MarkForRecreate {
		p.Marked = true
		return
	}
	// WL-4.2: the gate closes and the revision is written first.
	p.gate, p.GateClosed, p.Ready = false, true, false
	p.Revision, p.State = u.To, podset.Updating
	if w.grace > 0 {
		p.InPlace = podset.InPlace{Grace: true, Due: podset.ApplyNow, NotBefore: w.now.Add(w.grace)}
		return
	}
	w.apply(p)
}

func (w *World) apply(p *pod) {
	p.running, p.busy = p.Revision, w.random.IntN(w.slow)
	p.InPlace = podset.InPlace{}
	if p.Phase == podset.Pending { // never ran: it simply starts as the new revision
		p.InPlace = podset.InPlace{Done: true, Due: podset.OpenGate}
		p.Blocked = ""
	}
}

func (w *World) refresh(p *pod, r podset.Refresh) {
	switch r.Step {
	case podset.ApplyNow:
		w.apply(p)
	case podset.OpenGate:
		p.gate, p.GateClosed = true, false
		p.InPlace.Due = podset.NoStep
	}
	if r.State != "" {
		p.writtenOff = r.State == podset.PreparingDelete && w.excused(p)
		p.State = r.State
	}
	if r.Rearm {
		p.HookedUpdate, p.AllHookedUpdate = true, true
	}
	if w.held(p) {
		p.Ready = false
	}
}
