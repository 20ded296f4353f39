// Package rollout decides in what order a change reaches clusters: the strategies All, Progressive and
// ProgressivePerGroup of OCM's rollout API (OCM-18.4, OCM-18.5). It is a function of what the clusters were last seen
// to do and of the time; it reads and writes nothing, so a rollout that was interrupted goes on where it was.
//
// It promises that no more clusters are in flight than maxConcurrency allows, that no cluster is started once more than
// maxFailures have failed, and that a cluster that is not heard from holds nobody up as long as the failure budget
// covers it. Without such clusters its answers are those of OCM.
package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
)

// recheckCap is the longest time until a rollout is looked at again while it waits for time to pass. OCM-18.5
const recheckCap = 30 * time.Minute

// Group is a decision group of a placement.
type Group struct {
	Index int32
	Name  string
}

// Cluster is what is known of one selected cluster.
type Cluster struct {
	Name  string
	Group Group
	// Status is what it has made of the wanted content.
	Status Status
	// Since is when it came to that status.
	Since time.Time
	// Silent says that the cluster is not heard from.
	Silent bool
}

// Result is what to do now and what is being waited for; every list is in the order of names.
type Result struct {
	// Start are the clusters that get the content now.
	Start []string
	// Busy are those that were started, those of Start included, and hold a slot or their group.
	Busy []string
	// Soaking are those among Busy that have succeeded too recently.
	Soaking []string
	// Failed are those that report a failure and may still recover before their deadline.
	Failed []string
	// TimedOut are those that failed or progressed past the deadline.
	TimedOut []string
	// Silent are those that were started, have not succeeded and are not heard from.
	Silent []string
	// Postponed are those that are not heard from and would overdraw the failure budget if they were started.
	Postponed []string
	// Waiting is how many clusters were not started yet, those of Postponed not counted.
	Waiting int
	// Failures counts against MaxFailures, in the group or the part of the rollout that is under way.
	Failures, MaxFailures int
	// Stopped says that there are more failures than allowed, so that no cluster is started.
	Stopped bool
	// Stage names the group under way; empty when the strategy does not go by groups.
	Stage string
	// Recheck is when time alone will change the answer; 0 is never.
	Recheck time.Duration
	// Warnings are settings that do the opposite of what was probably meant.
	Warnings []string
}

// Next is the next step of a rollout over the clusters. An error says what is wrong with the strategy.
func Next(s clusterv1alpha1.RolloutStrategy, clusters []Cluster, now time.Time) (Result, error) {
	p, err := parse(s)
	if err != nil {
		return Result{}, err
	}
	sorted := slices.SortedFunc(slices.Values(clusters), func(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) })
	r := round{policy: p, now: now}
	switch p.kind {
	case clusterv1alpha1.All:
		r.all(sorted)
	case clusterv1alpha1.Progressive:
		if rest, through := r.mandatoryGroups(sorted); through {
			r.perCluster(rest)
		} else {
			r.Waiting += len(rest) - started(rest)
		}
	case clusterv1alpha1.ProgressivePerGroup:
		rest, through := r.mandatoryGroups(sorted)
		if through {
			rest, _ = r.groups(byGroup(rest), r.tolerated)
		}
		r.Waiting += len(rest) - started(rest)
	}
	r.tidy()
	return r.Result, nil
}

// round is one computation of the next step.
type round struct {
	policy
	Result
	now time.Time
}

// all starts every cluster; the deadline only labels those that are late. OCM-18.5
func (r *round) all(clusters []Cluster) {
	for _, c := range clusters {
		r.place(c)
	}
	r.Start = append(r.Start, fresh(clusters)...)
	r.Busy = append(r.Busy, r.Start...)
	r.count()
	r.MaxFailures, r.Stopped = len(clusters), false
}

// mandatoryGroups takes the mandatory groups first, group after group, and tolerates no failure. What is left are the
// clusters of the other groups, whose turn it is only when all mandatory ones are through. OCM-18.5
func (r *round) mandatoryGroups(clusters []Cluster) (rest []Cluster, through bool) {
	var first []Cluster
	for _, c := range clusters {
		if r.isMandatory(c.Group) {
			first = append(first, c)
		} else {
			rest = append(rest, c)
		}
	}
	r.missingGroups(clusters)
	left, through := r.groups(byGroup(first), func(int) int { return 0 })
	return append(left, rest...), through
}

// groups takes group after group. It returns the clusters of the groups after the one that is under way. OCM-18.5
func (r *round) groups(groups [][]Cluster, budget func(total int) int) (later []Cluster, through bool) {
	for i, group := range groups {
		if !r.wholeGroup(group, budget(len(group))) {
			return slices.Concat(groups[i+1:]...), false
		}
	}
	return nil, true
}

// wholeGroup starts all of a group and says whether the next may follow: nobody is busy and the failures are tolerated.
func (r *round) wholeGroup(group []Cluster, maxFailures int) bool {
	part := round{policy: r.policy, now: r.now}
	for _, c := range group {
		part.place(c)
	}
	part.Start = fresh(group)
	part.Busy = append(part.Busy, part.Start...)
	part.MaxFailures = maxFailures
	part.count()
	r.add(part.Result)
	g := group[0].Group
	if r.Stage = fmt.Sprintf("group %d", g.Index); g.Name != "" {
		r.Stage = fmt.Sprintf("group %d (%s)", g.Index, g.Name)
	}
	through := len(part.Busy) == 0 && !part.Stopped
	if through {
		r.Stage = ""
	}
	return through
}

// perCluster keeps at most maxConcurrency clusters in flight, in the order of their names. OCM-18.5
func (r *round) perCluster(clusters []Cluster) {
	part := round{policy: r.policy, now: r.now}
	for _, c := range clusters {
		part.place(c)
	}
	part.MaxFailures = r.tolerated(len(clusters))
	part.count()
	free := r.maxConcurrency.of(len(clusters)) - len(part.Busy) - len(part.Failed)
	room := part.MaxFailures - part.Failures
	for _, c := range clusters {
		switch {
		case c.Status != New:
		case part.Stopped || free <= 0:
			part.Waiting++
		case c.Silent && room <= 0:
			part.Postponed = append(part.Postponed, c.Name)
		case c.Silent: // it costs a failure instead of a slot
			part.Start, part.Silent = append(part.Start, c.Name), append(part.Silent, c.Name)
			part.Failures, room = part.Failures+1, room-1
		default:
			part.Start, part.Busy = append(part.Start, c.Name), append(part.Busy, c.Name)
			free--
		}
	}
	r.add(part.Result)
}

// place says what a cluster that was started is doing, and when that changes by itself.
func (r *round) place(c Cluster) {
	switch c.Status {
	case New:
	case Failed, Progressing:
		left, late := r.untilDeadline(c)
		switch {
		case late:
			r.TimedOut = append(r.TimedOut, c.Name)
			return
		case c.Silent:
			r.Silent = append(r.Silent, c.Name)
		case c.Status == Failed:
			r.Failed = append(r.Failed, c.Name)
		default:
			r.Busy = append(r.Busy, c.Name)
		}
		r.recheckIn(left)
	case Succeeded:
		if left := r.soak - r.now.Sub(c.Since); r.soak > 0 && left > 0 {
			r.Busy, r.Soaking = append(r.Busy, c.Name), append(r.Soaking, c.Name)
			r.recheckIn(left)
		}
	default: // ToApply has no deadline: its agent has not spoken
		if c.Silent {
			r.Silent = append(r.Silent, c.Name)
		} else {
			r.Busy = append(r.Busy, c.Name)
		}
	}
}

// untilDeadline is the time left; 0 without a deadline. A cluster is late at the deadline, not after it.
func (r *round) untilDeadline(c Cluster) (left time.Duration, late bool) {
	if r.deadline == 0 {
		return 0, false
	}
	left = r.deadline - r.now.Sub(c.Since)
	return left, left <= 0
}

// recheckIn remembers the earliest moment. OCM-18.5
func (r *round) recheckIn(d time.Duration) {
	if d <= 0 {
		return
	}
	d = min(d, recheckCap)
	if r.Recheck == 0 || d < r.Recheck {
		r.Recheck = d
	}
}

// count compares the failures with the budget. A started cluster that fell silent is one of them: a change that cuts
// clusters off must come to a stop.
func (r *round) count() {
	r.Failures = len(r.Failed) + len(r.TimedOut) + len(r.Silent)
	r.Stopped = r.Failures > r.MaxFailures
}

// add takes a part of the rollout into the whole. Counters are those of the part looked at last.
func (r *round) add(part Result) {
	r.Start = append(r.Start, part.Start...)
	r.Busy = append(r.Busy, part.Busy...)
	r.Soaking = append(r.Soaking, part.Soaking...)
	r.Failed = append(r.Failed, part.Failed...)
	r.TimedOut = append(r.TimedOut, part.TimedOut...)
	r.Silent = append(r.Silent, part.Silent...)
	r.Postponed = append(r.Postponed, part.Postponed...)
	r.Waiting += part.Waiting
	r.Failures, r.MaxFailures, r.Stopped = part.Failures, part.MaxFailures, part.Stopped
	r.recheckIn(part.Recheck)
}

func (r *round) tidy() {
	for _, list := range [][]string{r.Start, r.Busy, r.Soaking, r.Failed, r.TimedOut, r.Silent, r.Postponed} {
		slices.Sort(list)
	}
}

// byGroup cuts clusters, sorted by name, into their groups in the order of the groups' indexes. OCM-17.2
func byGroup(clusters []Cluster) [][]Cluster {
	of := map[Group][]Cluster{}
	for _, c := range clusters {
		of[c.Group] = append(of[c.Group], c)
	}
	var groups [][]Cluster
	for _, group := range of {
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b []Cluster) int {
		x, y := a[0].Group, b[0].Group
		return cmp.Or(cmp.Compare(x.Index, y.Index), cmp.Compare(x.Name, y.Name))
	})
	return groups
}

func fresh(clusters []Cluster) (names []string) {
	for _, c := range clusters {
		if c.Status == New {
			names = append(names, c.Name)
		}
	}
	return names
}

func started(clusters []Cluster) (n int) {
	for _, c := range clusters {
		if c.Status != New {
			n++
		}
	}
	return n
}
