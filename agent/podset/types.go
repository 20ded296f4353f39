package podset

import (
	"math"
	"time"
)

// Unlimited is the ScaleMaxUnavailable of a set that gives none.
const Unlimited = math.MaxInt

// UpdateType says how a pod may change its revision.
type UpdateType uint8

// The update types of a set.
const (
	Recreate          UpdateType = iota // delete the pod and make another
	InPlaceIfPossible                   // change the running pod where that is possible, else recreate
	InPlaceOnly                         // change the running pod or nothing
)

// Spec is what a set wants, in numbers. Percentages are resolved before (see
// Budgets and PartitionCount), so the engine only compares and counts.
type Spec struct {
	Replicas        int
	UpdateRevision  string // full name of the revision that is rolled out
	CurrentRevision string // full name of the revision that is rolled away from; equal to UpdateRevision when nothing rolls
	Partition       int    // pods that keep the current revision: PartitionCount
	MaxUnavailable  int    // Budgets
	MaxSurge        int    // Budgets; 0 while paused
	// ScaleMaxUnavailable limits how many pods may be unavailable while pods
	// are added: ScaleBudget. Unlimited when the set gives none.
	ScaleMaxUnavailable int
	MinReady            time.Duration
	Paused              bool // no updates; scaling goes on
	Deleting            bool // the set is being deleted: the plan is empty, its pods follow their owner
	UpdateType          UpdateType

	// InPlaceFrom holds, by full revision name, whether a pod of that revision
	// can be changed in place to the revision it would be updated to: the
	// update revision, or for pods of the update revision itself (rollback by
	// a raised partition) the current revision. A missing key means no.
	InPlaceFrom map[string]bool

	// Lifecycle holds the hooks; nil when the set has no lifecycle.
	Lifecycle *Lifecycle

	Prioritized bool // Pod.Priority orders updates
	// Scatter is the number of scatter terms; Pod.Scatter says which of them a pod matches.
	Scatter int
	// Spread holds the topology keys of the update template's spread
	// constraints; Pod.Domains holds a pod's value for each of them.
	Spread []string

	// Feature gates and flags that change the arithmetic.
	PartitionRollback       bool // gate CloneSetPartitionRollback
	PreparingUpdateAsUpdate bool // gate PreparingUpdateAsUpdate
	ExcludePreparingDelete  bool // pods waiting for their preDelete hook do not count as had

	// Instance ids for new pods: first ReuseIDs (claims that lost their pod),
	// then ids drawn from Seed that are neither in TakenIDs nor the slot of a
	// pod. Two plans from the same seed and pods name the same new pods, so a
	// plan carried out twice ends in AlreadyExists, not in twice the pods. See Seed.
	Seed     uint64
	ReuseIDs []string
	TakenIDs []string
}

// Lifecycle is which hooks a set has.
type Lifecycle struct {
	PreNormal     *Hook
	InPlaceUpdate *Hook
	PreDelete     *Hook
}

// Hook is a point at which a pod waits for its user.
type Hook struct {
	MarkNotReady bool // the pod is made not ready while it waits
}

// State is a pod's place in its lifecycle: the value of the label
// lifecycle.apps.kruise.io/state.
type State string

// Lifecycle states. A pod without the label is in the empty state and is never
// moved out of it by a refresh.
const (
	PreparingNormal State = "PreparingNormal"
	Normal          State = "Normal"
	PreparingUpdate State = "PreparingUpdate"
	Updating        State = "Updating"
	Updated         State = "Updated"
	PreparingDelete State = "PreparingDelete"
)

// Phase ranks pod phases as scale-in does: lower goes first.
type Phase uint8

// Pod phases. A pod in phase Finished is inactive.
const (
	Pending Phase = iota
	Unknown
	Running
	Finished // Succeeded or Failed
)

// Step is the next write that an in-place update (4.7) asks for on one pod.
type Step uint8

// In-place steps. At most one is due at a time.
const (
	NoStep    Step = iota
	DropGrace      // the grace annotation belongs to a revision the pod no longer has
	ApplyNow       // the grace period's spec may be applied (after InPlace.NotBefore)
	NextBatch      // the containers of this batch are ready, the next ones may change
	OpenGate       // containers are done or never changed, and condition InPlaceUpdateReady is not True
)

// InPlace is how far a pod's in-place update is.
type InPlace struct {
	Done  bool // completed in the sense of 4.7; true for a pod that was never updated in place
	Grace bool // a non-empty grace annotation is on the pod
	// Due is the write wanted next, and NotBefore the earliest time for it
	// (zero: now).
	Due       Step
	NotBefore time.Time
	// Why it is not done, for people.
	Why string
}

// Pod is what the engine knows of one pod. It holds no API type: a test spends
// a line on a pod, and ten thousand of them decide in milliseconds.
type Pod struct {
	Name     string
	Slot     string // instance id
	Revision string // full name of the matching revision; the label's value when no revision matches
	Node     string // empty: not assigned

	Phase       Phase
	Terminating bool
	Ready       bool      // condition Ready is True
	ReadySince  time.Time // its lastTransitionTime
	GateClosed  bool      // condition InPlaceUpdateReady exists and is not True
	Created     time.Time
	Restarts    int32 // highest restart count among its regular containers
	// SidecarRestarts is the highest restart count among restartable init containers.
	SidecarRestarts int32

	State     State
	InPlace   InPlace
	Marked    bool  // label apps.kruise.io/specified-delete, or named in podsToDelete
	Cost      int32 // controller.kubernetes.io/pod-deletion-cost: ParseCost
	LacksHash bool  // label pod-template-hash is missing

	// Hooks, as the predicates of 4.9 answer for this pod.
	HookedDelete    bool     // preDelete: any of its finalizers or labels is there
	HookedUpdate    bool     // inPlaceUpdate: any is there
	AllHookedUpdate bool     // inPlaceUpdate: all are there
	AllHookedNormal bool     // preNormal: all are there
	Priority        [2]int64 // lower is updated first: WeightPriority, OrderPriority
	Scatter         uint64   // bit i: matches scatter term i (terms past 64 are ignored)
	Domains         []string // node label values for Spec.Spread; "" when the node or label is unknown
	Blocked         string   // why it cannot become ready, for people: ImagePullBackOff, CrashLoopBackOff, Unschedulable
}

// Plan is the next safe step: everything in it may be carried out now, in any
// order and only partly; what is left is decided anew from facts.
type Plan struct {
	Create  []Create
	Delete  []Delete
	Update  []Update
	Refresh []Refresh
	// Refused are pods that should change and cannot until a user acts.
	Refused []Refusal
	Waiting Waiting

	recheck time.Duration
}

// Recheck is when time alone changes the plan; zero means never.
func (p Plan) Recheck() time.Duration { return p.recheck }

// Wake makes the plan anew after the wait, if not sooner; no wait means never.
func (p *Plan) Wake(wait time.Duration) {
	if wait > 0 && (p.recheck == 0 || wait < p.recheck) {
		p.recheck = wait
	}
}

// Empty tells whether there is nothing to write.
func (p Plan) Empty() bool {
	return len(p.Create)+len(p.Delete)+len(p.Update)+len(p.Refresh) == 0
}

// Create makes a pod of a revision in a slot, after the slot's claims.
type Create struct {
	Slot     string
	Revision string
	Why      string
}

// Delete removes a pod and the claims of its slot, with preconditions on what was seen.
type Delete struct {
	Pod  string
	Slot string
	Why  string
}

// Method is how a pod is brought to another revision.
type Method uint8

// Update methods.
const (
	// InPlaceNow changes the running pod, and sets its state to Updating (1.13, 4.2).
	InPlaceNow Method = iota
	// MarkForRecreate labels the pod specified-delete; a later plan deletes it
	// within the budget and makes its replacement.
	MarkForRecreate
)

// Update brings a pod to another revision.
type Update struct {
	Pod string
	To  string // full revision name
	How Method
	Why string
}

// Refresh moves a pod along without changing its revision: the in-place step
// that is due, a lifecycle move, a missing label. One pod has at most one.
type Refresh struct {
	Pod   string
	Step  Step
	State State // to move to; empty: stay
	// Rearm sets the inPlaceUpdate hook's labels and finalizers again (1.13, state Updated).
	Rearm bool
	Hash  bool // write label pod-template-hash
	Why   string
}

// Refusal is a pod that should change and cannot.
type Refusal struct {
	Pod string
	Why string
}

// Waiting says what the plan leaves for later, and for whom.
type Waiting struct {
	Creates int // held back by ScaleMaxUnavailable (event ScaleUpLimited)
	Deletes int // wanted, but available, and maxUnavailable is used up
	ScaleIn int // surplus pods, those already on their way out included, while planned deletions last (1.9 step 6)
	Updates int // held back by maxUnavailable
	Hooks   int // pods whose user has not released a hook
	// Culprits are the unavailable pods that use up the budget, blocked ones
	// first; at most ten.
	Culprits []Culprit
}

// Culprit is a pod that others wait for.
type Culprit struct {
	Pod, Node string
	Blocked   string // Pod.Blocked
	Hook      string // the hook whose user it waits for: preNormal, inPlaceUpdate, preDelete
	Changing  string // why its update in place is not done
}
