// Package failover decides where the replicas of silent clusters run. It is pure: it owns, reads and writes nothing,
// and the same facts always get the same plan. It comes after the allocator, which shares replicas out as if every
// cluster were well: failover only adds replicas elsewhere and takes them away again. It promises that silence never
// takes a replica from a silent cluster, that replicas go to clusters that are heard from only, within their limits,
// and that those elsewhere are taken away only as far as enough others are available.
package failover

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Mode is what a silent cluster is expected to do.
type Mode string

const (
	// KeepRunning lets it go on, so that more replicas may run than were asked for.
	KeepRunning Mode = "KeepRunning"
	// StepDown makes its agent stop the replicas, which start elsewhere only after that.
	StepDown Mode = "StepDown"
)

const (
	// defaultMargin is added to the time after which an agent steps down, unless the policy says another.
	defaultMargin = time.Minute
	// together is how close to each other clusters fall silent when it is the hub that is cut off.
	together = time.Minute
	// settle is the least time that a cluster is back before what it reports is believed.
	settle = 10 * time.Second
	// NoLimit is the Max and Capacity of a subset that has none.
	NoLimit int32 = math.MaxInt32
)

// Policy is what the user wants. A nil policy moves nothing.
type Policy struct {
	Mode Mode
	// After is how long a cluster may be silent before its replicas start elsewhere.
	After time.Duration
	// Margin is how much longer it takes until an agent that steps down has surely done so. 0 is a minute; it has to
	// cover the pods' termination grace period.
	Margin time.Duration
	// ReturnAfter is how long a cluster must be back before replicas elsewhere are taken away.
	ReturnAfter time.Duration
	// MaxSilentPercent of the clusters in use may be silent together; with more the hub is taken to be cut off. 0 is 50.
	MaxSilentPercent int32
}

// Subset is what is known of a subset.
type Subset struct {
	Name, Cluster string
	// Base is the share that the allocator gave it, as if all clusters were well.
	Base int32
	// Given is what its work says, as last written. 0 without a work.
	Given int32
	// Max is the most that it may have, Capacity the most that its cluster can run of it, both with what is there
	// already; NoLimit for none.
	Max, Capacity int32
	// Available counts its available replicas, as its cluster reported last.
	Available int32
	// Unschedulable is set while replicas find no node, and for a while after. Stuck is how many find none now.
	Unschedulable bool
	Stuck         int32
	// Barred says why nothing may be added, for any other reason ("cluster is being removed"). Empty for none.
	Barred string
	// Silent is set while the cluster is not heard from. Since is when it fell silent, or when it was heard again.
	Silent bool
	Since  time.Time
	// StepsDown says that the agent had confirmed, before it fell silent, that it steps down after Policy.After. Unfenced
	// is why it never will, if it is known.
	StepsDown bool
	Unfenced  string
	// FailedOver is since when its replicas run elsewhere, as the last plan said; zero if they do not.
	FailedOver time.Time
}

// Plan is what every subset shall have, in the order of the subsets.
type Plan struct {
	Targets []Target
	// Missing is how many replicas of silent clusters have no place; Message then says why, or why nothing moves.
	Missing int32
	Message string
	// Recheck is after what time the answer changes by itself; 0 is never.
	Recheck time.Duration
}

// Target is what a subset shall have.
type Target struct {
	Name     string
	Replicas int32
	// Extra of them stand in for replicas of silent clusters.
	Extra int32
	// FailedOver is since when its own replicas run elsewhere, and Back since when its cluster has been heard again;
	// zero if not. Both are to be remembered for people; FailedOver is read again.
	FailedOver, Back time.Time
	// Why says what the numbers come from, when silence has a part in it.
	Why string
}

// Decide says what every subset shall have now. A nil policy lets what has been moved return.
func Decide(policy *Policy, subsets []Subset, now time.Time) Plan {
	r := &round{subsets: subsets, now: now, plan: Plan{Targets: make([]Target, len(subsets))}}
	if policy != nil {
		r.Policy, r.active = *policy, true
	}
	r.judge()
	r.place()
	r.explain()
	return r.plan
}

// round is one decision in the making.
type round struct {
	Policy
	active  bool
	subsets []Subset
	now     time.Time
	states  []state
	// moving is set while anything has been moved or is to be.
	moving bool
	// due elsewhere: so many replicas at least, and no more than most.
	least, most int32
	// extra replicas of every subset that stand in for silent ones.
	extra []int32
	// hold says why nothing may move now.
	hold string
	plan Plan
}

// state of a subset towards failover.
type state int

const (
	well state = iota
	// waiting: silent, but not for long enough, or everything is held.
	waiting
	// away: silent, and its replicas are due elsewhere.
	away
	// shaky: failed over and heard again, but not for long enough, or silent again, but not for long enough. Nothing
	// is added for it and nothing taken away.
	shaky
	// returning: replicas elsewhere go as its own become available.
	returning
)

// judge finds the state of every subset, and how many replicas are due elsewhere.
func (r *round) judge() {
	r.hold = r.cutOff()
	r.states = make([]state, len(r.subsets))
	for i, s := range r.subsets {
		r.states[i] = r.stateOf(s)
		r.moving = r.moving || r.states[i] == away || !s.FailedOver.IsZero()
		switch r.states[i] {
		case away:
			r.least, r.most = r.least+s.Base, r.most+s.Base
		case shaky:
			r.most += s.Base
		case returning:
			r.most += max(0, s.Base-s.Available)
		}
	}
}

func (r *round) stateOf(s Subset) state {
	failedOver := !s.FailedOver.IsZero()
	switch {
	case !r.active && s.Silent:
		return waiting
	case !s.Silent && !failedOver:
		return well
	case !s.Silent && (!r.active || r.passed(s.Since, max(r.ReturnAfter, settle))):
		return returning
	case !s.Silent:
		return shaky
	case r.sure(s) && (failedOver || r.hold == ""):
		return away
	case failedOver:
		return shaky
	}
	return waiting
}

// sure says that a cluster has been silent for long enough, and in StepDown mode that its agent has stepped down.
func (r *round) sure(s Subset) bool {
	after, possible := r.patience(s)
	return possible && r.passed(s.Since, after)
}

// patience is how long a silent cluster is waited for. Without an agent that steps down it is for ever.
func (r *round) patience(s Subset) (time.Duration, bool) {
	if r.Mode != StepDown {
		return r.After, true
	}
	return r.After + cmp.Or(r.Margin, defaultMargin), s.StepsDown
}

// passed also asks for a decision when it will have.
func (r *round) passed(from time.Time, d time.Duration) bool {
	left := from.Add(d).Sub(r.now)
	if left > 0 {
		r.wake(left)
	}
	return left <= 0
}

func (r *round) wake(in time.Duration) {
	if in = max(in, time.Second); r.plan.Recheck == 0 || in < r.plan.Recheck {
		r.plan.Recheck = in
	}
}

// cutOff says why the hub, and not the clusters, is taken to be cut off: too many fell silent together. Those that
// came back just now count as silent still, so that the slow ones among many are given time.
func (r *round) cutOff() string {
	clusters := r.clusters()
	var silent, backNow []time.Time
	for _, c := range clusters {
		switch {
		case c.Silent:
			silent = append(silent, c.Since)
		case r.now.Before(c.Since.Add(r.After)):
			backNow = append(backNow, c.Since)
		}
	}
	share := int(cmp.Or(r.MaxSilentPercent, 50))
	n, first := cohort(silent)
	returned := slices.DeleteFunc(backNow, func(t time.Time) bool { return t.Before(first) })
	switch {
	case len(silent) == 0:
		return ""
	case len(silent) == len(clusters):
		return fmt.Sprintf("all %d clusters are silent, the hub is probably cut off: nothing moves; look at the hub's own network first", len(clusters))
	case (n+len(returned))*100 > share*len(clusters):
		for _, t := range returned {
			r.wake(t.Add(r.After).Sub(r.now))
		}
		return fmt.Sprintf("%d of %d clusters fell silent together%s, more than %d %%: the hub is probably cut off, so nothing moves; raise spec.failover.maxSilentPercent if they are really gone",
			n+len(returned), len(clusters), cameBack(len(returned)), share)
	}
	return ""
}

// clusters in use, each once.
func (r *round) clusters() []Subset {
	known := map[string]bool{}
	var all []Subset
	for _, s := range r.subsets {
		if s.Cluster != "" && !known[s.Cluster] {
			known[s.Cluster] = true
			all = append(all, s)
		}
	}
	return all
}

// cohort is how many fell silent together at most, and when the first of them did.
func cohort(times []time.Time) (int, time.Time) {
	slices.SortFunc(times, time.Time.Compare)
	most, first, since := 0, 0, time.Time{}
	for last, t := range times {
		for t.Sub(times[first]) > together {
			first++
		}
		if n := last - first + 1; n >= most {
			most, since = n, times[first]
		}
	}
	return most, since
}

func cameBack(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of them came back just now)", n)
}
