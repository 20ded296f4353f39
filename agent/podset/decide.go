package podset

import (
	"fmt"
	"time"
)

// Decide returns the next safe step of the pods towards spec.
//
// Scaling comes before updating, and an update waits for a plan in which
// nothing is scaled, refreshed or cancelled: each reads counts that the others
// are about to change (1.3 steps 10 and 11).
func Decide(spec Spec, pods []Pod, now time.Time) Plan {
	if spec.Deleting {
		return Plan{}
	}
	d := decision{view: look(&spec, pods, now)}
	d.plan.recheck = d.recheck
	update := d.diff(false)
	scaled := d.scale()
	refreshed := d.refresh(update)
	if !scaled && !refreshed && !spec.Paused {
		d.update(update)
	}
	d.plan.Waiting.Culprits = d.culprits()
	return d.plan
}

type decision struct {
	*view
	plan    Plan
	scaling bool // pods are missing
}

// scale is 1.9; it tells whether it did something.
func (d *decision) scale() bool {
	planned, preparing := d.leaving()
	if d.cancelDeletions(planned, preparing) {
		return true
	}
	diff := d.diff(true)
	if diff.up > 0 {
		d.scaling = true
		if diff.upNow > 0 {
			return d.create(diff)
		}
		// Nothing is deleted while pods are missing (1.19 1), but for pods that
		// their hook let go: they count as down, so keeping them would hold
		// back the missing pods for ever.
		d.plan.Waiting.Creates = diff.up
		return d.deletePrepared(preparing)
	}
	if d.deletePrepared(preparing) || d.deleteMarked(diff.readyDeleteBudget) {
		return true
	}
	if diff.down > 0 && planned > 0 {
		d.plan.Waiting.ScaleIn = diff.down
		return false
	}
	return d.scaleIn(diff)
}

// leaving counts the pods with a planned deletion, and returns those of them
// that already wait for their preDelete hook.
func (d *decision) leaving() (planned int, preparing []*member) {
	for i := range d.members {
		m := &d.members[i]
		if m.State == PreparingDelete {
			preparing = append(preparing, m)
		}
		if m.Marked || m.State == PreparingDelete {
			planned++
		}
	}
	return planned, preparing
}

// cancelDeletions takes pods back that wait for deletion when the set needs
// them again (1.9 step 1). A hook that made the pod not ready forbids it.
func (d *decision) cancelDeletions(planned int, preparing []*member) bool {
	if l := d.spec.Lifecycle; l != nil && (l.PreDelete.marks() || l.InPlaceUpdate.marks()) {
		return false
	}
	need := d.spec.Replicas - len(d.members) + planned
	did := false
	for _, m := range preparing {
		if need <= 0 {
			break
		}
		if m.Marked {
			continue
		}
		d.move(m, PreparingNormal, "its deletion is cancelled: the set needs it again")
		need--
		did = true
	}
	return did
}

func (h *Hook) marks() bool { return h != nil && h.MarkNotReady }

func (d *decision) create(diff diff) bool {
	d.plan.Waiting.Creates = diff.up - diff.upNow
	why := fmt.Sprintf("%d of %d pods are there", len(d.members), len(d.members)+diff.up)
	old := min(diff.upNow, diff.upOld)
	for i, slot := range d.slots(diff.upNow) {
		revision := d.spec.UpdateRevision
		if i < old {
			revision = d.spec.CurrentRevision
		}
		d.plan.Create = append(d.plan.Create, Create{Slot: slot, Revision: revision, Why: why})
	}
	return len(d.plan.Create) > 0
}

func (d *decision) deletePrepared(preparing []*member) bool {
	did := false
	for _, m := range preparing {
		did = d.remove(m, "its preDelete hook let it go") || did
	}
	return did
}

func (d *decision) deleteMarked(readyBudget int) bool {
	did := false
	for i := range d.members {
		m := &d.members[i]
		if !m.Marked || m.State == PreparingDelete {
			continue
		}
		if !d.mayDelete(m, &readyBudget) {
			continue
		}
		did = d.remove(m, "it is marked for deletion") || did
	}
	return did
}

// scaleIn is 1.9 step 6.
func (d *decision) scaleIn(diff diff) bool {
	if diff.down == 0 {
		return false
	}
	var old, fresh []*member
	for i := range d.members {
		if m := &d.members[i]; d.isNew(m, true) {
			fresh = append(fresh, m)
		} else {
			old = append(old, m)
		}
	}
	fromOld := min(diff.down, diff.downOld)
	chosen := append(d.chooseForScaleIn(old, fromOld), d.chooseForScaleIn(fresh, diff.down-fromOld)...)
	why := fmt.Sprintf("%d too many", diff.down)
	did := false
	for _, m := range chosen {
		if d.mayDelete(m, &diff.readyDeleteBudget) {
			did = d.remove(m, why) || did
		}
	}
	return did
}

// mayDelete takes an available pod from the budget; one that serves nobody is free.
func (d *decision) mayDelete(m *member, budget *int) bool {
	if !m.live {
		return true
	}
	if *budget <= 0 {
		d.plan.Waiting.Deletes++
		return false
	}
	*budget--
	return true
}

// remove deletes a pod, or lets its preDelete hook run first. It tells whether
// that takes a write.
func (d *decision) remove(m *member, why string) bool {
	if !m.HookedDelete {
		m.acted = true
		d.plan.Delete = append(d.plan.Delete, Delete{Pod: m.Name, Slot: m.Slot, Why: why})
		return true
	}
	d.plan.Waiting.Hooks++
	if m.State == PreparingDelete {
		return false
	}
	d.move(m, PreparingDelete, why)
	return true
}

func (d *decision) move(m *member, to State, why string) {
	m.acted = true
	d.plan.Refresh = append(d.plan.Refresh, Refresh{Pod: m.Name, State: to, Why: why})
}
