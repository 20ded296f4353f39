package ordinal

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// targets are the seats that belong to the update revision, in the order of their update (2.10.1).
func (v *view) targets() []*seat {
	quota := v.spec.Replicas - v.spec.Partition
	if quota <= 0 || v.spec.OnDelete {
		return nil
	}
	var first, rest []*seat
	for i := range slices.Backward(v.seats) {
		s := &v.seats[i]
		switch {
		case !v.spec.Unordered:
			if s.ordinal-v.spec.Start >= v.spec.Partition { // reserved ordinals count here // WL-2.16.1
				first = append(first, s)
			}
		case s.revision == v.spec.UpdateRevision || s.pod != nil && s.pod.Terminating:
			first = append(first, s)
		default:
			rest = append(rest, s)
		}
	}
	if v.spec.Prioritized {
		slices.SortStableFunc(rest, func(a, b *seat) int { return slices.Compare(a.priority(), b.priority()) })
	}
	all := slices.Concat(first, rest)
	return all[:min(len(all), quota)]
}

// priority of an unborn pod is none: it comes up with whatever revision it gets.
func (s *seat) priority() []int64 {
	if s.pod == nil {
		return nil
	}
	return s.pod.Priority[:]
}

// updateAny updates what the budget allows when the pass came this far, and else only who is down already and would keep an
// ordered pass waiting for ever: a pod that somebody wants deleted, one whose hook was asked and has let it go, and one that
// its revision keeps from coming up while another one is asked for.
func (v *view) updateAny(targets []*seat, whole bool) {
	if whole {
		v.update(targets)
		return
	}
	if len(v.plan.Create)+len(v.plan.Delete) > 0 {
		return
	}
	for i := range v.seats {
		m := v.seats[i].pod
		if m != nil && m.Marked && !m.up && m.Phase != podset.Finished && v.remove(m, "it is marked for deletion") {
			return
		}
	}
	for _, s := range targets {
		m := s.pod
		if m == nil || m.fresh || m.Terminating || m.Phase == podset.Finished {
			continue
		}
		if m.State == podset.PreparingUpdate && !m.HookedUpdate || m.Blocked != "" && !m.up {
			v.updatePod(m)
			return
		}
	}
}

// update is 2.10 from step 4 on.
func (v *view) update(targets []*seat) {
	down := 0
	for i := range v.seats {
		if s := &v.seats[i]; v.isDown(s.pod) {
			s.take(&down)
		}
	}
	v.deleteMarked(&down)
	for i, s := range targets {
		if v.upToDate(s) {
			continue
		}
		if down >= v.spec.MaxUnavailable && !s.down {
			if v.plan.Waiting.Updates == 0 { // the first that waits counts those behind it
				v.plan.Waiting.Updates = v.outdated(targets[i:])
			}
			if v.spec.Unordered {
				continue // a broken pod of a lower priority would use up the budget for ever, and no other revision heal it
			}
			return // a blocked target ends the loop // WL-2.16.5
		}
		if s.pod == nil || s.pod.Terminating || s.pod.acted {
			continue
		}
		if !v.updatePod(s.pod) {
			return
		}
		s.take(&down)
	}
}

// take counts a place as down, once.
func (s *seat) take(down *int) {
	if !s.down {
		s.down = true
		*down++
	}
}

func (v *view) isDown(m *member) bool {
	return m == nil || !m.healthy || !m.InPlace.Done || !m.up || v.spec.Resize && m.Claims.Unready
}

func (v *view) upToDate(s *seat) bool {
	return s.revision == v.spec.UpdateRevision && (s.pod == nil || !v.spec.Resize || !s.pod.Claims.Small && s.pod.Claims.Misfit == "")
}

func (v *view) outdated(targets []*seat) (n int) {
	for _, s := range targets {
		if !v.upToDate(s) {
			n++
		}
	}
	return n
}

// deleteMarked is 2.10 step 5: a pod that would go over the limit is skipped, and those below it may still fit.
func (v *view) deleteMarked(down *int) {
	for i := range slices.Backward(v.seats) {
		s := &v.seats[i]
		if s.pod == nil || !s.pod.Marked || s.pod.Terminating {
			continue
		}
		if *down >= v.spec.MaxUnavailable && !s.down {
			v.plan.Waiting.Deletes++
			continue
		}
		v.remove(s.pod, "it is marked for deletion")
		s.pod.acted = true
		s.take(down)
	}
}

// updatePod is 2.10 step 6 for one target; false ends the loop.
func (v *view) updatePod(m *member) bool {
	if v.spec.Resize && m.Claims.Misfit != "" { // WL-2.9
		v.plan.Refused = append(v.plan.Refused, podset.Refusal{Pod: m.Name, Why: m.Claims.Misfit})
		return false
	}
	if v.spec.Resize && m.Claims.Small {
		v.plan.Resize = append(v.plan.Resize, Resize{Pod: m.Name})
		return true
	}
	if v.spec.Resize && m.Claims.Incomplete {
		v.hold(m, "to have its claims resized")
		return true
	}
	if v.fits(m) {
		return v.updateInPlace(m)
	}
	if v.spec.UpdateType == podset.InPlaceOnly {
		why := fmt.Sprintf("the change from %s to %s does not fit into a running pod and podUpdatePolicy is InPlaceOnly", m.Revision, v.spec.UpdateRevision)
		v.plan.Refused = append(v.plan.Refused, podset.Refusal{Pod: m.Name, Why: why})
		return false
	}
	v.remove(m, because(m)+", to make it anew as "+v.spec.UpdateRevision)
	return true
}

// fits tells whether the change goes into the running pod.
func (v *view) fits(m *member) bool {
	return v.spec.UpdateType != podset.Recreate && v.spec.InPlaceFrom[m.Revision]
}

// updateInPlace is 2.12; false ends the loop.
func (v *view) updateInPlace(m *member) bool {
	const asks = "its inPlaceUpdate hook runs before the update"
	switch m.State {
	case "", podset.PreparingNormal, podset.Normal:
		if m.HookedUpdate {
			v.move(m, podset.Refresh{State: podset.PreparingUpdate, Why: asks})
			return true
		}
	case podset.Updated:
		v.move(m, podset.Refresh{State: podset.PreparingUpdate, Rearm: true, Why: asks})
		return true
	case podset.PreparingUpdate:
		if m.HookedUpdate {
			v.plan.Waiting.Hooks++
			return true
		}
	case podset.Updating:
	case podset.PreparingDelete:
		v.plan.Waiting.Hooks++
		return true
	default:
		v.plan.Refused = append(v.plan.Refused, podset.Refusal{Pod: m.Name, Why: fmt.Sprintf("its lifecycle state %q is unknown", m.State)})
		return false
	}
	m.acted = true
	v.plan.Update = append(v.plan.Update, podset.Update{Pod: m.Name, To: v.spec.UpdateRevision, How: podset.InPlaceNow, Why: because(m)})
	return true
}

func because(m *member) string {
	if m.up {
		return "within maxUnavailable"
	}
	return "already down, so it costs nothing"
}

// byTrouble orders pods that are not up: blocked ones first.
func byTrouble(a, b podset.Culprit) int {
	rank := func(c podset.Culprit) int {
		switch {
		case c.Blocked != "":
			return 0
		case c.Hook != "":
			return 1
		default:
			return 2
		}
	}
	return cmp.Compare(rank(a), rank(b))
}
