package podset

import "time"

// refresh moves every pod along that has no other action: the in-place step
// that is due and at most one move of its lifecycle (1.12). update says which
// pods are still to change.
func (d *decision) refresh(update diff) bool {
	did := false
	for i := range d.members {
		m := &d.members[i]
		if m.acted {
			continue
		}
		r, due := m.Refreshed(d.spec.Lifecycle, d.wanted(m, update.updateNum), d.now)
		if m.LacksHash {
			r.Pod, r.Hash = m.Name, true
			if !due {
				r.Why = "it lacks its template hash"
			}
		}
		if !due && !m.LacksHash {
			continue
		}
		did = true
		d.plan.Refresh = append(d.plan.Refresh, r)
	}
	return did
}

// Refreshed is what a refresh (1.12) does with the pod, if anything: the
// in-place step that is due and at most one move of its lifecycle. wanted says
// that the pod, should it prepare for its update, is still to change.
func (p *Pod) Refreshed(l *Lifecycle, wanted bool, now time.Time) (Refresh, bool) {
	r := Refresh{Pod: p.Name}
	if to := p.next(l, wanted); to != p.State {
		r.State, r.Why = to, moves[to]
	}
	if due := p.InPlace.Due; due != NoStep && !now.Before(p.InPlace.NotBefore) {
		r.Step, r.Why = due, steps[due]
	}
	return r, r.Why != ""
}

var moves = map[State]string{
	Normal:  "its lifecycle asks for nothing more",
	Updated: "its containers run the new revision",
}

var steps = map[Step]string{
	DropGrace: "its grace period belonged to another revision",
	ApplyNow:  "its grace period is over",
	NextBatch: "the first containers are ready, the next may change",
	OpenGate:  "its containers are as wanted, it may become ready",
}

// next is a pod's state after a refresh (1.12).
func (p *Pod) next(l *Lifecycle, wanted bool) State {
	switch p.State {
	case PreparingNormal:
		if l == nil || l.PreNormal == nil || p.AllHookedNormal {
			return Normal
		}
	case PreparingUpdate:
		if p.InPlace.Done && !wanted {
			return p.updated(l)
		}
	case Updating:
		if p.InPlace.Done {
			return p.updated(l)
		}
	case Updated:
		if l == nil || l.InPlaceUpdate == nil || p.AllHookedUpdate {
			return Normal
		}
	}
	return p.State
}

// wanted tells whether a pod that prepares for its update is still to change.
// If it was rolled back meanwhile, or others were updated in its place, waiting
// on would keep it unavailable for ever. Where pods go back to the current
// revision, it is those of the update revision that wait.
func (d *decision) wanted(m *member, updateNum int) bool {
	switch {
	case updateNum > 0:
		return !m.fresh
	case updateNum < 0:
		return m.fresh
	}
	return !m.fresh && d.scaling // the pods to come may leave this one to be updated
}

// updated: with a lifecycle, a pod is Updated until its user has put the hook
// back; also for one pass when there is no such hook (1.12).
func (p *Pod) updated(l *Lifecycle) State {
	if l != nil && !p.AllHookedUpdate {
		return Updated
	}
	return Normal
}
