package podsettest

import (
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// pod is the truth about a pod and how much of it the agent has seen.
type pod struct {
	podset.Pod
	versions []podset.Pod // every version, oldest first; the last is the truth
	seen     int          // the version in the agent's cache
	vanished bool         // the agent has seen it go
	gone     bool

	running string // the revision its containers run
	gate    bool   // condition InPlaceUpdateReady is True
	busy    int    // steps until the kubelet is done with what it does
	excused bool   // it is down and the engine is not to blame
	noted   bool   // its failure or loss is on the account already
	// writtenOff: its deletion began when it was marked and down, so that it
	// took nothing from the budget.
	writtenOff bool
}

// add makes a new pod as the agent creates it (WL-1.5).
func (w *World) add(revision, slot string) *pod {
	p := &pod{busy: 1 + w.random.IntN(w.slow)}
	p.Name, p.Slot, p.Revision = "web-"+slot, slot, revision
	p.Created, p.State, p.running = w.now, podset.PreparingNormal, revision
	p.InPlace = podset.InPlace{Done: true, Due: podset.OpenGate}
	if l := w.Spec.Lifecycle; l != nil {
		p.HookedDelete = l.PreDelete != nil
		p.HookedUpdate = l.InPlaceUpdate != nil
		p.AllHookedUpdate = l.InPlaceUpdate != nil
	}
	w.pods = append(w.pods, p)
	w.changed(p)
	p.seen = len(p.versions) - 1
	return p
}

// settle makes a pod as it is after a long time.
func (p *pod) settle(w *World) {
	p.busy, p.gate = 0, true
	p.InPlace = podset.InPlace{Done: true}
	p.State, p.Phase, p.Ready, p.Node = podset.Normal, podset.Running, true, w.place()
	p.ReadySince = w.now.Add(-time.Hour)
	p.AllHookedNormal = true
	w.changed(p)
	p.seen = len(p.versions) - 1
}

// changed makes a new version, which the agent will see sooner or later.
func (w *World) changed(p *pod) {
	w.versions++
	p.versions = append(p.versions, p.Pod)
}

func (w *World) place() string { return fmt.Sprintf("node-%d", w.random.IntN(w.nodes)) }

func (w *World) active() []*pod {
	var active []*pod
	for _, p := range w.pods {
		if !p.gone && !p.Terminating && p.Phase != podset.Finished {
			active = append(active, p)
		}
	}
	return active
}

// up is available as the clauses have it (WL-1.7): a pod in the middle of its
// lifecycle does not count.
func (w *World) up(p *pod) bool {
	return (p.State == podset.Normal || p.State == "") && !p.gone && !p.Terminating && p.Phase == podset.Running && p.Ready && !p.GateClosed &&
		!w.now.Before(p.ReadySince.Add(w.Spec.MinReady))
}

// cluster is a step of scheduler, kubelets and fate.
func (w *World) cluster() {
	if w.chance(w.luck.lostNode) {
		w.loseNode(w.place())
	}
	for _, p := range w.pods {
		if p.gone {
			continue
		}
		before := p.Pod
		w.kubelet(p)
		w.fate(p)
		if !same(before, p.Pod) {
			w.changed(p)
		}
		if w.up(p) {
			p.excused, p.noted = false, false
		}
	}
}

// kubelet brings a pod one step on.
func (w *World) kubelet(p *pod) {
	if p.busy > 0 {
		p.busy--
		return
	}
	wait := func() { p.busy = w.random.IntN(w.slow) }
	switch {
	case p.Terminating:
		p.gone = true
		w.say("%s is gone", p.Name)
	case p.Phase == podset.Finished:
	case p.Node == "":
		p.Node = w.place()
		wait()
	case p.Phase == podset.Pending && !w.bad[p.running]:
		p.Phase = podset.Running
		wait()
	case p.Phase == podset.Pending:
		p.Blocked = "ImagePullBackOff"
	case !p.InPlace.Done && !p.InPlace.Grace: // containers change
		if w.bad[p.running] {
			p.Blocked = "ImagePullBackOff"
			return
		}
		p.InPlace = podset.InPlace{Done: true, Due: podset.OpenGate}
		p.Blocked = ""
		wait()
	case p.Phase == podset.Running && !p.Ready && p.gate && p.InPlace.Done && !w.held(p):
		p.Ready, p.ReadySince, p.Blocked = true, w.now, ""
		w.say("%s is ready", p.Name)
	}
}

// held: a lifecycle hook marked the pod not ready.
func (w *World) held(p *pod) bool {
	l := w.Spec.Lifecycle
	if l == nil {
		return false
	}
	return p.State == podset.PreparingDelete && l.PreDelete != nil && l.PreDelete.MarkNotReady ||
		p.State == podset.PreparingUpdate && l.InPlaceUpdate != nil && l.InPlaceUpdate.MarkNotReady
}

// moving tells whether the kubelet or a user has something left to do.
func (w *World) moving(p *pod) bool {
	if p.gone || p.Phase == podset.Finished && !p.Terminating {
		return false
	}
	bad := w.bad[p.running]
	return p.Terminating || p.busy > 0 ||
		p.Phase == podset.Pending && (!bad || p.Blocked == "") ||
		!p.InPlace.Done && !p.InPlace.Grace && (!bad || p.Blocked == "") ||
		!p.Ready && p.gate && p.InPlace.Done && !bad && !w.held(p) ||
		w.userWants(p)
}

// fate makes a pod fail, or has it evicted.
func (w *World) fate(p *pod) {
	if p.Terminating || p.Phase != podset.Running {
		return
	}
	switch {
	case w.chance(w.luck.evict):
		w.say("%s is evicted", p.Name)
		w.lost(p)
		p.Phase, p.Ready = podset.Finished, false
	case p.Ready && w.chance(w.luck.failure):
		w.say("%s fails", p.Name)
		if w.up(p) {
			p.excused, p.noted = true, true
		}
		p.Ready, p.busy = false, 1+w.random.IntN(2*w.slow)
		p.Restarts++
	}
}

func (w *World) loseNode(name string) {
	w.say("%s is lost", name)
	for _, p := range w.pods {
		if p.gone || p.Terminating || p.Node != name {
			continue
		}
		if p.Phase != podset.Finished {
			w.lost(p)
		}
		p.Ready, p.Terminating, p.busy = false, true, w.random.IntN(3*w.slow)
		w.changed(p)
	}
}

// lost notes a pod that goes without the engine's doing. One that the engine
// had taken down before stays on the engine's account.
func (w *World) lost(p *pod) {
	if p.excused || w.up(p) {
		w.gap++
		p.noted = true
	}
}

// users release and restore hooks.
func (w *World) users() {
	for _, p := range w.pods {
		if p.gone || p.Terminating || !w.userWants(p) || w.random.IntN(3) > 0 {
			continue
		}
		l := w.Spec.Lifecycle
		p.AllHookedNormal = true
		p.HookedDelete = l.PreDelete != nil && p.State != podset.PreparingDelete
		hooked := l.InPlaceUpdate != nil && p.State != podset.PreparingUpdate && p.State != podset.Updating
		p.HookedUpdate, p.AllHookedUpdate = hooked, hooked
		w.say("user answers the hooks of %s in state %s", p.Name, p.State)
		w.changed(p)
	}
}

// userWants tells whether a hook waits for its user.
func (w *World) userWants(p *pod) bool {
	l := w.Spec.Lifecycle
	if l == nil {
		return false
	}
	return p.State == podset.PreparingNormal && l.PreNormal != nil && !p.AllHookedNormal ||
		l.PreDelete != nil && p.HookedDelete == (p.State == podset.PreparingDelete) ||
		l.InPlaceUpdate != nil && p.State == podset.PreparingUpdate && p.HookedUpdate ||
		l.InPlaceUpdate != nil && p.State == podset.Updated && !p.AllHookedUpdate
}

// same compares what a version shows.
func same(a, b podset.Pod) bool {
	return a.Phase == b.Phase && a.Ready == b.Ready && a.ReadySince.Equal(b.ReadySince) && a.Node == b.Node &&
		a.InPlace == b.InPlace && a.Blocked == b.Blocked && a.Restarts == b.Restarts && a.Terminating == b.Terminating
}

func (w *World) byName(name string) *pod {
	i := slices.IndexFunc(w.pods, func(p *pod) bool { return p.Name == name && !p.gone })
	if i < 0 {
		return nil
	}
	return w.pods[i]
}
