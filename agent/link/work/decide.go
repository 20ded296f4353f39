package work

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	workv1 "open-cluster-management.io/api/work/v1"
)

const (
	writeGap     = time.Second     // OCM works are written at most once per work and gap
	applyPeriod  = 4 * time.Minute // OCM-10.3: 4 to 6 minutes
	statusJitter = 0.9             // OCM-12.4
	failFirst    = 500 * time.Millisecond
	failMost     = 5 * time.Minute
	executorWait = time.Minute           // OCM-10.3
	removeFirst  = 50 * time.Millisecond // OCM-15.5
	removeMost   = time.Minute
	catchUp      = 5 * time.Second // how long our own write is waited for in the cache
	offlineLook  = time.Second
)

// round is what is due for a work.
type round string

const (
	nothing     round = "nothing"
	finalize    round = "finalizer"
	applyRound  round = "apply"
	statusRound round = "status"
	removeRound round = "remove"
)

// facts are what the choice of a round rests on.
type facts struct {
	work    *workv1.ManifestWork
	state   *state
	touched bool
	online  bool
}

// decide chooses the round and, for nothing, when to look again. OCM-10.1
func decide(f facts, now time.Time) (round, time.Duration) {
	work, s := f.work, f.state
	if stale(work, s, now) {
		return nothing, writeGap // our own last write has not come round; deciding on less would undo it
	}
	if !work.DeletionTimestamp.IsZero() {
		return removeRound, 0
	}
	if !slices.Contains(work.Finalizers, workv1.ManifestWorkFinalizer) {
		if !f.online {
			return nothing, offlineLook
		}
		return finalize, 0
	}
	complete := meta.IsStatusConditionTrue(work.Status.Conditions, workv1.WorkComplete)
	changed := !s.applied || s.generation != work.Generation || !maps.Equal(s.labels, work.Labels)
	if !complete && (changed || !now.Before(s.nextApply)) {
		return applyRound, 0
	}
	return decideStatus(f, now, complete)
}

func decideStatus(f facts, now time.Time, complete bool) (round, time.Duration) {
	s := f.state
	if meta.FindStatusCondition(f.work.Status.Conditions, workv1.WorkApplied) == nil {
		return nothing, max(s.nextApply.Sub(now), failFirst)
	}
	due := s.nextStatus
	if soon := s.wrote.Add(writeGap); f.touched && soon.Before(due) {
		due = soon
	}
	switch {
	case now.Before(due):
		next := due
		if !complete && s.nextApply.Before(due) {
			next = s.nextApply
		}
		return nothing, max(next.Sub(now), 0)
	case !f.online:
		return nothing, offlineLook // nobody to tell: not even worth a look
	default:
		return statusRound, 0
	}
}

// stale reports whether work is older than what we wrote last. It gives up soon, for a hub that was restored
// from a backup counts from an earlier version.
func stale(work *workv1.ManifestWork, s *state, now time.Time) bool {
	if s.version == "" || now.Sub(s.wrote) > catchUp {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(work.ResourceVersion, s.version)
	return err == nil && order < 0
}

// after sets when the work is applied next; denied says that its executor lacks a right. OCM-10.3
func (s *state) after(worst error, denied bool, now time.Time) {
	if calm(worst) {
		s.failures = 0
		s.nextApply = now.Add(wait.Jitter(cmp.Or(s.resync, applyPeriod), 0.5))
	} else {
		s.nextApply = now.Add(wait.Jitter(backoff(failFirst, failMost, s.failures), 0.2))
		s.failures++
	}
	if denied {
		s.nextApply = earliest(s.nextApply, now.Add(executorWait))
	}
}

func backoff(first, most time.Duration, failures int) time.Duration {
	return min(first<<min(failures, 20), most)
}
