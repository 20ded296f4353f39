package podset

import "fmt"

// update is 1.10: pods of the wrong revision, the least missed first, as far
// as the budget goes.
func (d *decision) update(diff diff) {
	if diff.updateNum == 0 {
		return
	}
	back := diff.updateNum < 0
	target := d.spec.UpdateRevision
	if back {
		target = d.spec.CurrentRevision
	}
	waiting := d.orderUpdates(d.waiting(back))
	waiting = waiting[:min(len(waiting), abs(diff.updateNum))]

	down, downTarget := 0, 0
	for i := range d.members {
		m := &d.members[i]
		if m.up {
			if m.Marked && m.fresh == back {
				down++ // as good as down: it leaves as soon as the budget lets it
			}
			continue
		}
		down++
		if m.fresh != back {
			downTarget++
		}
	}
	picked := 0
	for i, m := range waiting {
		if m.Marked {
			continue // its deletion is planned and waits for its own budget
		}
		if why := d.refusal(m, target); why != "" { // costs nothing: others may still fit
			d.plan.Refused = append(d.plan.Refused, Refusal{Pod: m.Name, Why: why})
			continue
		}
		// No waiting frees a budget of nothing. A pod that was taken down for its
		// update and is not up until it has it would stay down for ever, and
		// could hold missing pods back as well (scaleStrategy.maxUnavailable).
		mustGoOn := diff.updateBudget <= 0 && m.State == PreparingUpdate
		if !mustGoOn && (downTarget+picked >= diff.updateBudget || m.up && down >= diff.updateBudget) {
			d.plan.Waiting.Updates = len(waiting) - i
			return
		}
		if m.up {
			down++
		}
		picked++
		d.updatePod(m, target)
	}
}

// waiting are the pods that may change their revision now.
func (d *decision) waiting(back bool) []*member {
	var out []*member
	for i := range d.members {
		m := &d.members[i]
		if m.fresh != back || m.State == PreparingDelete || m.State != Updated && m.InPlace.Grace {
			continue
		}
		out = append(out, m)
	}
	return out
}

// refusal says why a pod that should change cannot (1.13).
func (d *decision) refusal(m *member, target string) string {
	if d.fits(m) {
		switch m.State {
		case "", PreparingNormal, Normal, PreparingUpdate, Updating, Updated:
			return ""
		}
		return fmt.Sprintf("its lifecycle state %q is unknown", m.State)
	}
	if d.spec.UpdateType == InPlaceOnly {
		return fmt.Sprintf("the change from %s to %s does not fit into a running pod and the update type is InPlaceOnly", m.Revision, target)
	}
	return ""
}

// fits tells whether the change goes into the running pod.
func (d *decision) fits(m *member) bool {
	return d.spec.UpdateType != Recreate && d.spec.InPlaceFrom[m.Revision]
}

// updatePod is 1.13.
func (d *decision) updatePod(m *member, target string) {
	const asks = "its inPlaceUpdate hook runs before the update"
	update := Update{Pod: m.Name, To: target, How: InPlaceNow, Why: because(m)}
	switch {
	case !d.fits(m):
		update.How = MarkForRecreate
	case m.State == Updated:
		d.plan.Refresh = append(d.plan.Refresh, Refresh{Pod: m.Name, State: PreparingUpdate, Rearm: true, Why: asks})
		return
	case m.State == PreparingUpdate && m.HookedUpdate:
		d.plan.Waiting.Hooks++
		return
	case m.State != Updating && m.HookedUpdate:
		d.move(m, PreparingUpdate, asks)
		return
	}
	d.plan.Update = append(d.plan.Update, update)
}

func because(m *member) string {
	if m.up {
		return "within maxUnavailable"
	}
	return "already down, so it costs nothing"
}
