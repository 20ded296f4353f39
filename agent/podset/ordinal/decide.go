package ordinal

import (
	"fmt"
	"strconv"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Decide returns the next safe step of the pods towards spec.
func Decide(spec Spec, pods []Pod, now time.Time) Plan {
	if spec.Deleting {
		return Plan{}
	}
	v := look(&spec, pods, now)
	targets := v.targets()
	whole := v.scale() && v.scaleIn()
	refreshed := v.refresh(targets)
	if !refreshed && !spec.OnDelete && !spec.Paused { // WL-2.6 J, WL-2.10 steps 2 and 3
		v.updateAny(targets, whole)
	}
	v.plan.Waiting.Culprits = v.culprits()
	return v.plan
}

// scale walks the seats, lowest first (2.6.1). It tells whether the pass goes on after it.
func (v *view) scale() bool {
	budget := v.spec.ScaleMaxUnavailable
	limited := budget != podset.Unlimited
	take := func() bool {
		budget--
		return limited && budget <= 0
	}
	for i := range v.seats {
		s := &v.seats[i]
		exit, takes := v.process(s)
		if exit || takes && v.spec.Ordered {
			v.plan.Waiting.Creates = v.unborn(i + 1)
			return false
		}
		if takes && take() {
			v.plan.Waiting.Creates = v.unborn(i + 1)
			break // later seats are not even looked at, but scale-in and updates go on // WL-2.16.3
		}
	}
	return true
}

// process is 2.6.1 for one seat: exit ends the pass, takes says that its pod is not up yet.
func (v *view) process(s *seat) (exit, takes bool) {
	m := s.pod
	switch {
	case m == nil:
		return v.create(s)
	case m.Phase == podset.Finished:
		v.remove(m, "it has ended")
		v.hold(m, "to be gone, it has ended")
		return true, false
	case m.Phase == podset.Pending && m.LacksClaims:
		v.repair(m, "its claims are missing")
	}
	switch {
	case m.Terminating:
		v.hold(m, "to be gone")
		return false, true
	case m.State == podset.PreparingDelete && !m.HookedDelete:
		// It is down and only a new pod comes up again. An ordered pass would end here and never get to who asked for its
		// deletion, and nobody may be asking any more.
		v.remove(m, "its preDelete hook let it go")
		v.hold(m, "to be gone")
		return false, true
	case !m.up && (v.spec.Ordered || v.spec.ScaleMaxUnavailable != podset.Unlimited):
		v.hold(m, "to be available")
		takes = true
	}
	if m.Wrong != "" && (!takes || m.Phase == podset.Pending) {
		v.repair(m, m.Wrong)
	}
	return false, takes
}

func (v *view) create(s *seat) (exit, takes bool) {
	if claim := v.spec.Stale[s.ordinal]; claim != "" { // WL-2.8
		v.plan.Held = fmt.Sprintf("claim %s of the pod before still has to be removed by the garbage collector", claim)
		return true, false
	}
	v.plan.Create = append(v.plan.Create, podset.Create{
		Slot: strconv.Itoa(s.ordinal), Revision: s.revision, Why: fmt.Sprintf("ordinal %d has no pod", s.ordinal),
	})
	return false, true
}

func (v *view) unborn(from int) (n int) {
	for _, s := range v.seats[from:] {
		if s.pod == nil {
			n++
		}
	}
	return n
}

// scaleIn takes the condemned pods away, highest first (2.6.2). It tells whether the pass goes on after it.
func (v *view) scaleIn() bool {
	first, any := v.firstUnhealthy()
	for _, m := range v.condemned {
		if m.Wrong != "" && !m.Terminating { // WL-2.6 H
			v.repair(m, m.Wrong)
		}
	}
	for i, m := range v.condemned {
		wait := func(what string) bool {
			v.hold(m, what)
			v.plan.Waiting.ScaleIn = len(v.condemned) - i
			return false
		}
		switch {
		case m.Terminating && v.spec.Ordered:
			return wait("to be gone")
		case m.Terminating:
			continue
		case !v.spec.Ordered || m.Phase == podset.Finished: // one that has ended is never available again
		case m.State == podset.PreparingDelete && m.HookedDelete:
			v.plan.Waiting.Hooks++
			return wait("before the ones below it go")
		case m.State != podset.PreparingDelete && (!m.running() || !m.up) && (!any || m.Ordinal != first):
			return wait("to be available before it goes, its ordinal being condemned")
		}
		if v.remove(m, "its ordinal is not wanted") && v.spec.Ordered {
			v.plan.Waiting.ScaleIn = len(v.condemned) - i - 1
			return false
		}
	}
	return true
}

// remove deletes a pod, or lets its preDelete hook run first (2.11). It tells whether that takes a write.
func (v *view) remove(m *member, why string) bool {
	switch {
	case m.Terminating || m.acted:
		return false
	case !m.HookedDelete:
		m.acted = true
		v.plan.Delete = append(v.plan.Delete, podset.Delete{Pod: m.Name, Slot: m.Slot, Why: why})
		return true
	}
	v.plan.Waiting.Hooks++
	if m.State == podset.PreparingDelete {
		return false
	}
	v.move(m, podset.Refresh{State: podset.PreparingDelete, Why: why})
	return true
}

func (v *view) move(m *member, r podset.Refresh) {
	m.acted = true
	r.Pod = m.Name
	v.plan.Refresh = append(v.plan.Refresh, r)
}

// repair is no action on the pod's state, so it can come with one; the loser of the race is repaired next time.
func (v *view) repair(m *member, why string) {
	if n := len(v.plan.Repair); n > 0 && v.plan.Repair[n-1].Pod == m.Name {
		return
	}
	v.plan.Repair = append(v.plan.Repair, Repair{Pod: m.Name, Why: why})
}

// hold notes the first pod that the pass waits for.
func (v *view) hold(m *member, what string) {
	if v.plan.Held == "" {
		v.plan.Held = m.culprit(v.spec).String() + " " + what
	}
}

// refresh moves every pod along that has no other action (2.6.1, 2.10 step 2). It tells whether it did anything: an update
// waits for a plan without, whose counts the moves no longer change.
func (v *view) refresh(targets []*seat) bool {
	for _, s := range targets {
		if s.pod != nil && !s.pod.fresh {
			s.pod.wanted = true
		}
	}
	did := false
	for i := range v.members {
		m := &v.members[i]
		if m.acted || m.Terminating || m.Phase == podset.Finished {
			continue
		}
		if r, due := m.Refreshed(v.spec.Lifecycle, m.wanted, v.now); due {
			v.move(m, r)
			did = true
		}
	}
	return did
}
