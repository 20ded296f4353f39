package podset

import (
	"cmp"
	"slices"
	"time"
)

// member is an active pod with what one decision finds out about it.
type member struct {
	*Pod
	at    int  // place in name order, breaks every tie
	fresh bool // of the update revision
	up    bool // available (1.7), minReadySeconds included
	live  bool // ready and in place, minReadySeconds not counted
	acted bool // already has an action in this plan

	rank           float64 // how crowded its place is: higher is scaled in first
	onNode, spread float64 // what rank is made of
	ready, created int64   // for ordering: zero times count as most recent
}

// view is all active pods in name order, so that the order of a list, which
// is no fact, changes nothing.
type view struct {
	spec    *Spec
	pods    []Pod
	members []member
	now     time.Time
	recheck time.Duration
}

func look(spec *Spec, pods []Pod, now time.Time) *view {
	v := &view{spec: spec, pods: pods, now: now, members: make([]member, 0, len(pods))}
	for i := range pods {
		p := &pods[i]
		if p.Terminating || p.Phase == Finished {
			continue
		}
		v.members = append(v.members, member{
			Pod:     p,
			fresh:   p.Revision == spec.UpdateRevision,
			up:      p.available(spec.MinReady, now),
			live:    p.available(0, now),
			ready:   recency(p.ReadySince),
			created: recency(p.Created),
		})
		v.wakeFor(p)
	}
	byName := func(a, b member) int { return cmp.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(v.members, byName) {
		slices.SortFunc(v.members, byName)
	}
	for i := range v.members {
		v.members[i].at = i
	}
	return v
}

// readyForUpdate is 1.7: serving, for at least minReady.
func (p *Pod) readyForUpdate(minReady time.Duration, now time.Time) bool {
	if p.Phase != Running || !p.Ready || p.GateClosed {
		return false
	}
	return minReady <= 0 || !p.ReadySince.IsZero() && !now.Before(p.ReadySince.Add(minReady))
}

// available is podAvailable of 1.7: a pod in the middle of its lifecycle does
// not count, whatever its containers say.
func (p *Pod) available(minReady time.Duration, now time.Time) bool {
	return (p.State == "" || p.State == Normal) && p.readyForUpdate(minReady, now)
}

// wakeFor notes when time alone will make p available or its in-place step due.
func (v *view) wakeFor(p *Pod) {
	if p.Ready && p.Phase == Running && v.spec.MinReady > 0 && !p.ReadySince.IsZero() {
		v.wakeAt(p.ReadySince.Add(v.spec.MinReady))
	}
	if p.InPlace.Due != NoStep {
		v.wakeAt(p.InPlace.NotBefore)
	}
}

func (v *view) wakeAt(t time.Time) {
	if wait := t.Sub(v.now); wait > 0 && (v.recheck == 0 || wait < v.recheck) {
		v.recheck = wait
	}
}

func recency(t time.Time) int64 {
	if t.IsZero() {
		return 1<<63 - 1
	}
	return t.UnixNano()
}
