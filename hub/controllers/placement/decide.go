package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"

	"github.com/flotilla-project/flotilla/hub/schedule"
)

// plan brings the PlacementDecisions of one placement to what was decided.
type plan struct {
	untouched bool
	result    schedule.Result
	slices    []schedule.Slice
	writes    []write
	surplus   []*clusterv1beta1.PlacementDecision
	now       time.Time
}

// Recheck is when time alone changes the result.
func (p plan) Recheck() time.Duration { return p.result.Recheck }

// write brings one PlacementDecision to a slice.
type write struct {
	slice schedule.Slice
	have  *clusterv1beta1.PlacementDecision // nil is to be created
	// status and meta say what differs: the decisions, and the labels or the owner.
	status, meta bool
	// parked says that the object is deleted once all is written.
	parked bool
}

// decide schedules and plans the writes, additions before removals. OCM-17.1
func decide(p *clusterv1beta1.Placement, seen facts, now time.Time) plan {
	todo := plan{result: schedule.Schedule(seen.Facts, now), now: now}
	todo.slices = schedule.Slices(p.Name, todo.result.Groups)
	if todo.result.Problem != nil {
		todo.slices = kept(p, seen.decisions, todo.result.Keep)
	}
	have := map[string]*clusterv1beta1.PlacementDecision{}
	for i := range seen.decisions {
		have[seen.decisions[i].Name] = &seen.decisions[i]
	}
	var writes []write
	for _, s := range todo.slices {
		if w, needed := writeFor(p, s, have[s.Name]); needed {
			writes = append(writes, w)
		}
		delete(have, s.Name)
	}
	for _, d := range have {
		todo.surplus = append(todo.surplus, d)
	}
	todo.writes = ordered(writes, spares(p.Name, todo.slices, have))
	slices.SortFunc(todo.surplus, func(a, b *clusterv1beta1.PlacementDecision) int { return cmp.Compare(a.Name, b.Name) })
	return todo
}

// spares makes up names of decisions that are not in use.
func spares(placement string, used []schedule.Slice, surplus map[string]*clusterv1beta1.PlacementDecision) func() string {
	n := len(used)
	return func() string {
		for {
			n++
			if name := fmt.Sprintf("%s-decision-%d", placement, n); surplus[name] == nil {
				return name
			}
		}
	}
}

// kept are the decisions there are, when nothing new could be decided: without the clusters that may not be kept, in the
// same objects and groups. A placement that was wrong from the start gets one that is empty. OCM-16.6
func kept(p *clusterv1beta1.Placement, decisions []clusterv1beta1.PlacementDecision, keep map[string]bool) (all []schedule.Slice) {
	if len(p.Name) > validation.LabelValueMaxLength { // no decision of that name can be labelled
		return nil
	}
	for _, d := range decisions {
		s := schedule.Slice{Name: d.Name, GroupName: d.Labels[clusterv1beta1.DecisionGroupNameLabel]}
		if n, err := strconv.ParseInt(d.Labels[clusterv1beta1.DecisionGroupIndexLabel], 10, 32); err == nil {
			s.Group = int32(n)
		}
		s.Decisions = slices.DeleteFunc(slices.Clone(d.Status.Decisions), func(c clusterv1beta1.ClusterDecision) bool { return !keep[c.ClusterName] })
		all = append(all, s)
	}
	if len(all) == 0 {
		return schedule.Slices(p.Name, []schedule.Group{{}})
	}
	slices.SortFunc(all, func(a, b schedule.Slice) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return all
}

func writeFor(p *clusterv1beta1.Placement, s schedule.Slice, have *clusterv1beta1.PlacementDecision) (write, bool) {
	w := write{slice: s, have: have}
	if have == nil {
		w.status = len(s.Decisions) > 0
		return w, true
	}
	w.status = !slices.Equal(s.Decisions, have.Status.Decisions)
	w.meta = !metav1.IsControlledBy(have, p)
	for key, value := range labelsOf(p, s) {
		had, found := have.Labels[key]
		w.meta = w.meta || !found || had != value
	}
	return w, w.status || w.meta
}

// labelsOf are the three labels; the name of a group without one is there and empty. OCM-17.1
func labelsOf(p *clusterv1beta1.Placement, s schedule.Slice) map[string]string {
	return map[string]string{
		clusterv1beta1.PlacementLabel:          p.Name,
		clusterv1beta1.DecisionGroupIndexLabel: strconv.Itoa(int(s.Group)),
		clusterv1beta1.DecisionGroupNameLabel:  s.GroupName,
	}
}

// ordered puts a write that gains a cluster before the write that loses it, so that consumers who join all decisions may
// see a cluster twice, but never miss it. Where objects exchange clusters, what the first of them loses is parked in an
// object of its own until the others have been written. spare names such objects.
func ordered(writes []write, spare func() string) []write {
	waits := waiting(writes)
	done := make([]bool, len(writes))
	all := make([]write, 0, len(writes))
	for range writes {
		i := ready(waits, done)
		if i < 0 {
			i = slices.Index(done, false)
			all = append(all, writes[i].parking(spare()))
		}
		done[i] = true
		all = append(all, writes[i])
	}
	return all
}

// waiting are, for each write, the writes that gain what it loses.
func waiting(writes []write) []map[int]bool {
	gainer := map[string]int{}
	for i, w := range writes {
		for _, c := range w.gained() {
			gainer[c.ClusterName] = i
		}
	}
	waits := make([]map[int]bool, len(writes))
	for i, w := range writes {
		waits[i] = map[int]bool{}
		for _, c := range w.lost() {
			if by, moved := gainer[c.ClusterName]; moved && by != i {
				waits[i][by] = true
			}
		}
	}
	return waits
}

// ready is the first write that waits for nobody, or -1.
func ready(waits []map[int]bool, done []bool) int {
	for i := range waits {
		free := !done[i]
		for by := range waits[i] {
			free = free && done[by]
		}
		if free {
			return i
		}
	}
	return -1
}

func (w write) gained() []clusterv1beta1.ClusterDecision {
	return without(w.slice.Decisions, w.before())
}
func (w write) lost() []clusterv1beta1.ClusterDecision { return without(w.before(), w.slice.Decisions) }

func (w write) before() []clusterv1beta1.ClusterDecision {
	if w.have == nil {
		return nil
	}
	return w.have.Status.Decisions
}

// parking is the write of what w takes away, under a name that nothing else has.
func (w write) parking(name string) write {
	s := w.slice
	s.Name, s.Decisions = name, w.lost()
	return write{slice: s, status: true, parked: true}
}

// without are the decisions of all whose clusters are not in other.
func without(all, other []clusterv1beta1.ClusterDecision) (left []clusterv1beta1.ClusterDecision) {
	in := make(map[string]bool, len(other))
	for _, d := range other {
		in[d.ClusterName] = true
	}
	for _, d := range all {
		if !in[d.ClusterName] {
			left = append(left, d)
		}
	}
	return left
}
