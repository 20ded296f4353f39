package ordinal

import (
	"fmt"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Spec is what a set wants, in numbers.
type Spec struct {
	Replicas int
	Start    int     // the first ordinal
	Reserved []Range // ordinals that get no pod: ParseReserved

	UpdateRevision  string // full name of the revision that is rolled out
	CurrentRevision string // full name of the revision that is rolled away from; equal to UpdateRevision when nothing rolls
	Partition       int    // how many pods stay at the current revision, counted from the lowest ordinal
	MaxUnavailable  int    // AtLeastOne
	// ScaleMaxUnavailable ends a pass along the ordinals: AtLeastOne, or podset.Unlimited when the set gives none.
	ScaleMaxUnavailable int
	MinReady            time.Duration
	Ordered             bool // one pod at a time, each after the one before it
	OnDelete            bool // pods change their revision only when somebody else deletes them
	Paused              bool // no updates and no specified deletes; scaling goes on
	Deleting            bool // the set is being deleted: the plan is empty, its pods follow their owner
	// Unordered updates need not go from the highest ordinal down; with Prioritized, Pod.Priority orders them.
	Unordered   bool
	Prioritized bool
	UpdateType  podset.UpdateType
	// InPlaceFrom holds the full names of the revisions whose pods can be changed in place to the update revision.
	InPlaceFrom map[string]bool
	Lifecycle   *podset.Lifecycle
	// Resize makes claims as large as their templates before a pod is updated: gate StatefulSetAutoResizePVCGate with type
	// OnPodRollingUpdate.
	Resize bool
	// Stale holds, by ordinal, a claim that still belongs to a pod that is gone.
	Stale map[int]string
	// PreparingUpdateAsUpdate counts pods that wait for their inPlaceUpdate hook as updated: gate of the same name.
	PreparingUpdateAsUpdate bool
}

// Pod is what is known of one pod.
type Pod struct {
	podset.Pod
	Ordinal int
	// Wrong is what has to be repaired on it or on the ownership of its claims, for people; empty when nothing.
	Wrong string
	// LacksClaims says that claims of it do not exist.
	LacksClaims bool
	Claims      Claims
}

// Claims is how a pod's claims compare with their templates. The zero value is as wanted. // WL-2.9
type Claims struct {
	Misfit     string // why they cannot be made to fit, for people
	Small      bool   // they ask for less than the templates
	Unready    bool   // they have less than they ask for
	Incomplete bool   // small, or still being resized
	Growing    bool   // they have something, and less than they ask for
}

// Plan is the next safe step: everything in it may be carried out now, in any order and only partly.
type Plan struct {
	podset.Plan
	Repair []Repair
	Resize []Resize
	// Held is why the pass ended before its end: which pod is waited for.
	Held string
}

// Empty tells whether there is nothing to write.
func (p Plan) Empty() bool { return p.Plan.Empty() && len(p.Repair)+len(p.Resize) == 0 }

// Lines tells the plan action by action.
func (p Plan) Lines() []string {
	lines := p.Plan.Lines()
	for _, r := range p.Repair {
		lines = append(lines, fmt.Sprintf("repair %s: %s", r.Pod, r.Why))
	}
	for _, r := range p.Resize {
		lines = append(lines, "resize claims of "+r.Pod)
	}
	return lines
}

// Repair puts right what is wrong with a pod's labels and its claims' ownership, and makes claims that it lacks.
type Repair struct {
	Pod string
	Why string
}

// Resize asks for claims as large as their templates.
type Resize struct{ Pod string }
