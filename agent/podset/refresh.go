package podset

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
		r := Refresh{Pod: m.Name, Hash: m.LacksHash}
		if r.Hash {
			r.Why = "it lacks its template hash"
		}
		if to := d.next(m, update); to != m.State {
			r.State, r.Why = to, moves[to]
		}
		if due := m.InPlace.Due; due != NoStep && !d.now.Before(m.InPlace.NotBefore) {
			r.Step, r.Why = due, steps[due]
		}
		if r.Why == "" {
			continue
		}
		did = true
		d.plan.Refresh = append(d.plan.Refresh, r)
	}
	return did
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
func (d *decision) next(m *member, update diff) State {
	l := d.spec.Lifecycle
	switch m.State {
	case PreparingNormal:
		if l == nil || l.PreNormal == nil || m.AllHookedNormal {
			return Normal
		}
	case PreparingUpdate:
		if m.InPlace.Done && !d.wanted(m, update.updateNum) {
			return d.updated(m)
		}
	case Updating:
		if m.InPlace.Done {
			return d.updated(m)
		}
	case Updated:
		if l == nil || l.InPlaceUpdate == nil || m.AllHookedUpdate {
			return Normal
		}
	}
	return m.State
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
func (d *decision) updated(m *member) State {
	if d.spec.Lifecycle != nil && !m.AllHookedUpdate {
		return Updated
	}
	return Normal
}
