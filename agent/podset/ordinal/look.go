package ordinal

import (
	"cmp"
	"slices"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// member is a pod with what one decision finds out about it.
type member struct {
	*Pod
	seated  bool // its ordinal wants a pod
	fresh   bool // of the update revision
	healthy bool // 2.5, without minReadySeconds
	up      bool // 2.5, available
	wanted  bool // still to be updated
	acted   bool // already has an action in this plan
}

// seat is an ordinal that wants a pod.
type seat struct {
	ordinal  int
	pod      *member // nil: unborn
	down     bool    // serves nobody, or is about to: update
	revision string  // the pod's, or the one it will be made of
}

// view is the pods by their places.
type view struct {
	spec      *Spec
	now       time.Time
	members   []member // by ordinal
	seats     []seat   // lowest first, without reserved ordinals
	condemned []*member
	plan      Plan
}

func look(spec *Spec, pods []Pod, now time.Time) *view {
	v := &view{spec: spec, now: now, members: make([]member, 0, len(pods))}
	for i := range pods {
		p := &pods[i]
		v.members = append(v.members, member{
			Pod: p, fresh: p.Revision == spec.UpdateRevision, healthy: p.running() && p.settled() && !p.Terminating,
			up: p.settled() && p.ready(spec.MinReady, now),
		})
		v.wakeFor(p)
	}
	byOrdinal := func(a, b member) int { return cmp.Compare(a.Ordinal, b.Ordinal) }
	if !slices.IsSortedFunc(v.members, byOrdinal) {
		slices.SortFunc(v.members, byOrdinal)
	}
	v.seat()
	v.fill()
	return v
}

// settled: in the middle of its lifecycle a pod counts for nothing. // WL-2.5
func (p *Pod) settled() bool { return p.State == "" || p.State == podset.Normal }

func (p *Pod) running() bool { return p.Phase == podset.Running && p.Ready }

func (p *Pod) ready(minReady time.Duration, now time.Time) bool {
	return p.running() && (minReady <= 0 || !p.ReadySince.IsZero() && !now.Before(p.ReadySince.Add(minReady)))
}

// wakeFor notes when time alone will make p available or its in-place step due.
func (v *view) wakeFor(p *Pod) {
	if p.running() && v.spec.MinReady > 0 && !p.ReadySince.IsZero() {
		v.plan.Wake(p.ReadySince.Add(v.spec.MinReady).Sub(v.now))
	}
	if p.InPlace.Due != podset.NoStep {
		v.plan.Wake(p.InPlace.NotBefore.Sub(v.now))
	}
}

// seat gives every ordinal of the window its pod; the others are condemned, highest first. // WL-2.6 E
func (v *view) seat() {
	window := Window(v.spec.Start, v.spec.Replicas, v.spec.Reserved)
	v.seats = make([]seat, 0, len(window))
	next := 0 // both run upwards
	for _, n := range window {
		for next < len(v.members) && v.members[next].Ordinal < n {
			next++
		}
		s := seat{ordinal: n}
		if next < len(v.members) && v.members[next].Ordinal == n {
			s.pod = &v.members[next]
			s.pod.seated, s.revision = true, s.pod.Revision
		}
		v.seats = append(v.seats, s)
	}
	for i := range slices.Backward(v.members) {
		if m := &v.members[i]; !m.seated {
			v.condemned = append(v.condemned, m)
		}
	}
}

// fill finds the revision of the pods that are to be made. // WL-2.7
func (v *view) fill() {
	old := 0
	for _, s := range v.seats {
		if s.pod != nil && !v.updated(s.pod) {
			old++
		}
	}
	for i := range v.seats {
		s := &v.seats[i]
		if s.pod != nil {
			continue
		}
		s.revision = v.spec.UpdateRevision
		kept := i+1 <= v.spec.Partition
		if v.spec.Unordered {
			kept = old < v.spec.Partition
		}
		if kept && !v.spec.OnDelete {
			s.revision = v.spec.CurrentRevision
		}
		if s.revision != v.spec.UpdateRevision {
			old++
		}
	}
}

func (v *view) updated(m *member) bool {
	return m.fresh || v.spec.PreparingUpdateAsUpdate && m.State == podset.PreparingUpdate
}

// firstUnhealthy is the lowest ordinal whose pod is unhealthy or unborn. // WL-2.6 E
func (v *view) firstUnhealthy() (int, bool) {
	first, found := 0, false
	note := func(ordinal int) {
		if !found || ordinal < first {
			first, found = ordinal, true
		}
	}
	for _, s := range v.seats {
		if s.pod == nil || !s.pod.healthy {
			note(s.ordinal)
		}
	}
	for _, m := range v.condemned {
		if !m.healthy {
			note(m.Ordinal)
		}
	}
	return first, found
}
