package podset

// refresh moves every pod along that has no other action: the in-place step
// that is due and at most one move of its lifecycle (1.12). rollingBack says
// that pods of the update revision are on their way back to the current one.
func (d *decision) refresh(rollingBack bool) bool {
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
		if to := d.next(m, rollingBack); to != m.State {
			r.State, r.Why = to, moves[to]
		}
		if due := m.InPlace.Due; due != NoStep && !d.now.Before(m.InPlace.NotBefore) {
			r.Step, r.Why = due, steps[due]
		}
		if r.Why == "" {
			continue
		}
		m.acted, did = true, true
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
func (d *decision) next(m *member, rollingBack bool) State {
	l := d.spec.Lifecycle
	switch m.State {
	case PreparingNormal:
		if l == nil || l.PreNormal == nil || m.AllHookedNormal {
			return Normal
		}
	case PreparingUpdate:
		// Rolled back while it waited. Pods of the update revision that wait
		// to go back to the current one stay, or they would flap.
		if m.fresh && !rollingBack && m.InPlace.Done {
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

// updated: with a lifecycle, a pod is Updated until its user has put the hook
// back; also for one pass when there is no such hook (1.12).
func (d *decision) updated(m *member) State {
	if d.spec.Lifecycle != nil && !m.AllHookedUpdate {
		return Updated
	}
	return Normal
}
