package pernode

import (
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Spec is what a set wants of its nodes. Percentages are resolved before.
type Spec struct {
	Nodes    []Node // every node there is
	Revision string // what new pods are made from
	// Rolling says that old pods are replaced: type RollingUpdate, not paused.
	Rolling        bool
	MaxUnavailable int  // nodes without an available pod, among those that may change
	MaxSurge       int  // nodes with two pods
	Surge          bool // a node may have two pods: MaxSurge is above 0 for a single node
	Partition      int  // nodes that stay as they are, after ordering
	Selective      bool // only nodes that are Selected change
	// Progressive holds new pods back by the partition as well.
	Progressive bool
	MinReady    time.Duration
	Burst       int // pods made, deleted, and changed in place by one plan, each
	Deleting    bool
}

// Node is a place.
type Node struct {
	Name      string
	Run, Keep bool // it should get a pod; a pod that is there may stay
	Selected  bool // it matches the selector of the rolling update
}

// Pod is what there is to know of a pod. Of the embedded facts Node is the
// node that it runs on or is meant for.
type Pod struct {
	podset.Pod
	Bound   bool // to its node, by the scheduler
	Fresh   bool // of the revision that new pods are made from
	InPlace bool // can be brought to that revision while it runs
	// KeepUntil is when a failed pod may be deleted: pods that fail again and
	// again are not replaced faster and faster.
	KeepUntil time.Time
}

// Plan is the next safe step.
type Plan struct {
	podset.Plan
	// Ended says that every node had the pods it should have, so that the
	// update was looked at too. // WL-3.3
	Ended bool
	// Message says what the set waits for; empty when it waits for nothing. Waiting.Culprits are the pods.
	Message string
	// Counts are what was seen, before anything is done.
	Counts Counts
	// Failed are the pods among the deleted that had failed. // WL-3.5
	Failed []podset.Delete
}

// Counts are the numbers of a set's status. // WL-3.10
type Counts struct {
	Desired, Current, Misscheduled, Ready, Available, Unavailable, Updated int32
}
