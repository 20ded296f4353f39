package failover

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// remember carries over since when replicas run elsewhere, until all of it is undone.
func (r *round) remember(i int) {
	s, t := r.subsets[i], &r.plan.Targets[i]
	switch r.states[i] {
	case well:
		return
	case waiting:
		if s.FailedOver.IsZero() || r.standing() == 0 {
			return
		}
	case returning:
		if s.Available >= s.Base && r.standing() <= r.most && r.hold == "" {
			return
		}
	}
	t.FailedOver = s.FailedOver
	if t.FailedOver.IsZero() {
		t.FailedOver = r.now
	}
	if !s.Silent {
		t.Back = s.Since
	}
}

// refusal says why nothing may be added to a subset. Empty for no reason but its limits.
func (r *round) refusal(i int) string {
	s := r.subsets[i]
	switch {
	case s.Cluster == "":
		return "has no cluster"
	case s.Silent:
		return "is silent"
	case r.states[i] != well:
		return "is only just back"
	case s.Barred != "":
		return s.Barred
	case s.Unschedulable:
		return "finds no nodes"
	}
	return ""
}

// explain says what the numbers come from.
func (r *round) explain() {
	var gone []string
	for i, s := range r.subsets {
		if r.states[i] == away || r.states[i] == shaky || r.states[i] == returning {
			gone = append(gone, s.Name)
		}
		r.plan.Targets[i].Why = r.why(i)
	}
	for i := range r.subsets {
		if t := &r.plan.Targets[i]; t.Why == "" && t.Extra > 0 {
			t.Why = fmt.Sprintf("%d of %d replicas stand in for %s", t.Extra, t.Replicas, list(gone))
		}
	}
	switch {
	case r.hold != "" && r.active:
		r.plan.Message = r.hold
	case r.plan.Missing > 0:
		r.plan.Message = fmt.Sprintf("%d of %d replicas of %s have no place: %s; raise maxReplicas or let others take more, or bring it back", r.plan.Missing, r.least, r.named(away), r.full())
	}
}

func (r *round) why(i int) string {
	s, t := r.subsets[i], r.plan.Targets[i]
	switch r.states[i] {
	case waiting:
		return fmt.Sprintf("cluster %s is silent since %s; %s", s.Cluster, stamp(s.Since), r.outlook(s))
	case away:
		return fmt.Sprintf("cluster %s is silent since %s; its %d replicas are due elsewhere since %s%s",
			s.Cluster, stamp(s.Since), s.Base, stamp(t.FailedOver), r.both())
	case shaky:
		if s.Silent {
			return fmt.Sprintf("cluster %s is silent again since %s; what stands in for it elsewhere stays", s.Cluster, stamp(s.Since))
		}
		return fmt.Sprintf("cluster %s is back since %s; what stands in for it elsewhere stays until %s",
			s.Cluster, stamp(s.Since), stamp(s.Since.Add(max(r.ReturnAfter, settle))))
	case returning:
		if t.FailedOver.IsZero() {
			return ""
		}
		return fmt.Sprintf("cluster %s is back since %s with %d of %d replicas available; %d stand-ins elsewhere stay until enough are available everywhere",
			s.Cluster, stamp(s.Since), min(s.Available, s.Base), s.Base, r.standing())
	}
	return ""
}

// outlook of a silent cluster whose replicas stay.
func (r *round) outlook(s Subset) string {
	after, possible := r.patience(s)
	switch {
	case !r.active:
		return "its replicas stay, because spec.failover is not set"
	case r.hold != "":
		return r.hold
	case !possible:
		return "its replicas stay, because " + cmp.Or(s.Unfenced, "its agent has not confirmed that it steps down; with mode KeepRunning they start elsewhere")
	}
	return fmt.Sprintf("its %d replicas start elsewhere at %s", s.Base, stamp(s.Since.Add(after)))
}

func (r *round) both() string {
	if r.Mode == StepDown {
		return ""
	}
	return ", and may run there too"
}

// full says of every subset why it takes no more.
func (r *round) full() string {
	var reasons []string
	for i, s := range r.subsets {
		if r.states[i] == away {
			continue
		}
		reason := r.refusal(i)
		if reason == "" {
			reason = s.limit()
		}
		reasons = append(reasons, s.Name+" "+reason)
	}
	if len(reasons) == 0 {
		return "there is no other subset"
	}
	return list(reasons)
}

func (s Subset) limit() string {
	if s.Capacity < s.Max {
		return fmt.Sprintf("has room for %d", s.Capacity)
	}
	return fmt.Sprintf("is at its maxReplicas %d", s.Max)
}

// named lists the subsets in a state.
func (r *round) named(in state) string {
	var names []string
	for i, s := range r.subsets {
		if r.states[i] == in {
			names = append(names, s.Name)
		}
	}
	return list(names)
}

// list names a few and counts the rest.
func list(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
