// Package evict decides when an AppliedManifestWork without a work on the hub has been so for long enough. OCM-15.6
//
// It knows no client. Absence is never an order, and yet the contract lets what is unmanaged go after a grace, so
// the decision is narrow: the list must be complete, and the whole grace must pass in one stretch in which the hub
// was heard. An outage or a restart of the agent starts it anew, because a hub that comes back may be a restored
// one, and nobody was there to see the work return. What is due here is still put before the brake.
package evict

import (
	"time"

	workv1 "open-cluster-management.io/api/work/v1"
)

// Off is the grace from which on nothing is ever evicted. OCM-15.6, OCM-21.4
const Off = 100 * 365 * 24 * time.Hour

// Facts are what the decision on one record rests on.
type Facts struct {
	Ours    bool      // this agent made it
	Listed  bool      // its work is on the hub, and the record is of this hub
	Started time.Time // status.evictionStartTime; zero: not set
	Leaving bool      // it is being deleted already
	Heard   time.Time // since when the hub was heard without a break; zero: it is not heard now
	Grace   time.Duration
}

// Of reads from a record what is in it.
func Of(record *workv1.AppliedManifestWork) Facts {
	f := Facts{Leaving: !record.DeletionTimestamp.IsZero()}
	if t := record.Status.EvictionStartTime; t != nil {
		f.Started = t.Time
	}
	return f
}

// Action is what to do with a record.
type Action string

// The actions.
const (
	Keep  Action = "keep"
	Clear Action = "clear" // the work is back: take evictionStartTime away
	Start Action = "start" // write evictionStartTime
	Due   Action = "due"   // the grace is over: ask the brake
)

// Decide returns what to do now and when time alone changes the answer, 0 for never.
func Decide(f Facts, now time.Time) (Action, time.Duration) {
	switch {
	case !f.Ours || f.Leaving || f.Grace >= Off || f.Heard.IsZero():
		return Keep, 0
	case f.Listed && !f.Started.IsZero():
		return Clear, 0
	case f.Listed:
		return Keep, 0
	case f.Started.IsZero():
		return Start, 0
	}
	begin := f.Started
	if f.Heard.After(begin) {
		begin = f.Heard
	}
	if left := begin.Add(f.Grace).Sub(now); left > 0 {
		return Keep, left
	}
	return Due, 0
}
