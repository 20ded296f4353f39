package waves

import (
	"fmt"
	"slices"
	"time"
)

// judgement is how the subsets that have something of the update revision are doing, by their place.
type judgement struct {
	// waiting ones have time left, the first of them until deadline. Failed ones have not.
	waiting, failed []int
	// silent ones have been silent for too long to be waited for.
	silent   []int
	deadline time.Time
}

// judge looks at the subsets. A wave that was healthy and is no longer gets its time anew.
func (r *round) judge() judgement {
	j := r.look()
	if !r.state.HealthySince.IsZero() && r.fresh(j) {
		r.state.WaveStarted, r.state.HealthySince = wholeSecond(r.now), time.Time{}
		j = r.look()
	}
	r.state.Failed = nil
	for _, i := range j.failed {
		r.state.Failed = append(r.state.Failed, r.Subsets[i].Name)
	}
	return j
}

// fresh says that a subset is not healthy that was when the wave became healthy.
func (r *round) fresh(j judgement) bool {
	return len(j.waiting) > 0 || slices.ContainsFunc(j.failed, func(i int) bool { return !r.failedBefore(i) })
}

func (r *round) failedBefore(i int) bool {
	return slices.Contains(r.state.Failed, r.Subsets[i].Name)
}

func (r *round) look() judgement {
	var j judgement
	for i, s := range r.Subsets {
		want := r.asked(i)
		if want == 0 || s.healthy(r.Update, want) {
			continue
		}
		until := r.until(s)
		switch late := !r.now.Before(until); {
		case s.Silent && late:
			j.silent = append(j.silent, i)
		case !s.Silent && (late || r.failedBefore(i)):
			j.failed = append(j.failed, i)
		default:
			j.waiting = append(j.waiting, i)
			if j.deadline.IsZero() || until.Before(j.deadline) {
				j.deadline = until
			}
		}
	}
	return j
}

// until is when a subset that is not healthy counts as failed. A silent one is waited for since it fell silent; one
// that is back is given its time anew, but not for ever.
func (r *round) until(s Subset) time.Time {
	deadline := r.Strategy.Deadline
	if deadline <= 0 {
		deadline = defaultDeadline
	}
	from := r.state.WaveStarted
	switch {
	case s.Silent && !s.Since.IsZero():
		from = s.Since
	case !s.Silent && s.Since.After(from):
		from = earlier(s.Since, from.Add(2*deadline))
	}
	return from.Add(deadline)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (s Subset) healthy(revision string, want int32) bool {
	return !s.Silent && s.has(revision) >= want
}

// has counts the available replicas that are known to be on a revision.
func (s Subset) has(revision string) int32 {
	if !s.Fresh || s.Given.Revision != revision {
		return 0
	}
	return s.UpdatedAvailable
}

// missing says what is missing for every subset that is heard from to be wholly on a revision.
func (r *round) missing(revision string) (string, bool) {
	var waits []int
	for i, s := range r.Subsets {
		switch {
		case s.Given.Revision == "" && r.state.Phase == RollingBack: // nothing there that could go back
		case !s.Silent && s.has(revision) < s.own(), s.Given.Revision != revision, s.Given.Partition > 0:
			waits = append(waits, i)
		}
	}
	r.percent = slices.Repeat([]int32{100}, len(r.Subsets))
	return r.tellOf(revision, waits), len(waits) == 0
}

// tell describes the first few subsets and counts the rest.
func (r *round) tell(places []int) string { return r.tellOf(r.Update, places) }

func (r *round) tellOf(revision string, places []int) string {
	if len(places) == 0 {
		return ""
	}
	text := r.describe(revision, places[0])
	if n := len(places) - 1; n > 0 {
		var names []string
		for _, i := range places[1:] {
			names = append(names, r.Subsets[i].Name)
		}
		text += fmt.Sprintf("; %s too", list(names))
	}
	return text
}

func (r *round) describe(revision string, i int) string {
	s := r.Subsets[i]
	want := r.asked(i)
	var text string
	switch {
	case s.Silent:
		return fmt.Sprintf("subset %s is silent%s", s.Name, since(s.Since))
	case s.Given.Revision != revision || !s.Fresh:
		text = fmt.Sprintf("subset %s has not reported on revision %s", s.Name, revision)
	default:
		text = fmt.Sprintf("%d of %d updated replicas of subset %s not available", max(0, want-s.UpdatedAvailable), want, s.Name)
	}
	text += r.clock(r.state.WaveStarted)
	if s.Trouble != "" {
		text += ": " + s.Trouble
	}
	return text
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + stamp(t)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
