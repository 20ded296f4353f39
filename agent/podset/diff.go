package podset

// diff is the result of 1.8: how far the pods are from the spec.
type diff struct {
	up, upOld, upNow  int // pods missing; of them of the current revision; allowed now
	down, downOld     int // surplus pods, marked ones not counted; of them old
	readyDeleteBudget int // available pods that may be deleted now
	updateNum         int // pods to update; negative: pods to take back to the current revision
	updateBudget      int
}

// tally counts the pods of one age, new or old.
type tally struct {
	total, preDeleting, live, toDelete, unavailable int
}

func (t *tally) add(m *member) {
	t.total++
	if m.State == PreparingDelete {
		t.preDeleting++
		return
	}
	t.live++
	switch {
	case m.Marked:
		t.toDelete++
	case !m.up:
		t.unavailable++
	}
}

// diff computes 1.8. Scaling may count pods that prepare for their update as
// updated already; updating never does.
func (v *view) diff(scaling bool) diff {
	var fresh, old tally
	for i := range v.members {
		m := &v.members[i]
		if v.isNew(m, scaling) {
			fresh.add(m)
		} else {
			old.add(m)
		}
	}
	return v.spec.diff(fresh, old)
}

func (v *view) isNew(m *member, scaling bool) bool {
	return m.fresh || scaling && v.spec.PreparingUpdateAsUpdate && m.State == PreparingUpdate
}

// WL-1.8
func (s *Spec) diff(fresh, old tally) diff {
	active := fresh.total + old.total
	toDelete := fresh.toDelete + old.toDelete
	preDeleting := fresh.preDeleting + old.preDeleting
	down := preDeleting + fresh.unavailable + old.unavailable // marked pods are not in it

	oldExcess := old.live - s.Partition
	newExcess := fresh.live - (s.Replicas - s.Partition)
	if s.UpdateRevision == s.CurrentRevision || !s.PartitionRollback {
		oldExcess = max(oldExcess, 0)
		newExcess = min(newExcess, 0)
	}
	surge, surgeOld := s.surge(oldExcess, newExcess, max(down+toDelete-s.MaxUnavailable, 0), fresh.toDelete, toDelete)

	have, haveOld := active, old.total
	if s.ExcludePreparingDelete {
		have -= preDeleting
		haveOld -= old.preDeleting
	}
	want, wantOld := s.Replicas+surge, s.Partition+surgeOld

	var d diff
	if want > have {
		d.up = want - have
		d.upOld = max(wantOld-haveOld, 0)
		d.upNow = min(d.up, max(s.ScaleMaxUnavailable-down, 0))
	}
	if surplus := have - toDelete - want; surplus > 0 {
		d.down = surplus
		d.downOld = max(haveOld-old.toDelete-wantOld, 0)
	}
	if toDelete > 0 || d.down > 0 {
		d.readyDeleteBudget = max(s.MaxUnavailable+active-s.Replicas-down, 0)
	}
	d.updateNum = -newExcess
	if abs(oldExcess) <= abs(newExcess) {
		d.updateNum = oldExcess
	}
	if d.updateNum != 0 {
		d.updateBudget = s.MaxUnavailable + active - s.Replicas
	}
	return d
}

// surge is how many pods above replicas are wanted now, and how many of them
// of the current revision. over is how far the planned deletions exceed what
// may be unavailable.
func (s *Spec) surge(oldExcess, newExcess, over, freshToDelete, toDelete int) (surge, surgeOld int) {
	if s.MaxSurge <= 0 {
		return 0, 0
	}
	a := min(over, toDelete)
	aOld := max(a-freshToDelete, 0)
	b, bOld := 0, 0
	if oldExcess*newExcess < 0 {
		if abs(oldExcess) <= abs(newExcess) {
			b = abs(oldExcess)
			if oldExcess < 0 {
				bOld = b
			}
		} else {
			b = abs(newExcess)
			if newExcess > 0 {
				bOld = b
			}
		}
	}
	if a >= b {
		surge = min(s.MaxSurge, a)
		return surge, min(surge, aOld)
	}
	surge = min(s.MaxSurge, b)
	return surge, min(surge, bOld)
}

func abs(n int) int { return max(n, -n) }
