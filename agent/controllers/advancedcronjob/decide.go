package advancedcronjob

import (
	"cmp"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/pkg/event"
)

// Reasons of events. There are none while all goes well. // CJ-11
const (
	reasonTooMany  = "TooManyMissedTimes"
	reasonInvalid  = "InvalidSpec"
	reasonUnserved = "NoBroadcastJobs"
	reasonNoCreate = "FailedCreate"
)

// plan is what becomes of an AdvancedCronJob.
type plan struct {
	acj    *kruise.AdvancedCronJob // with its defaults
	last   *metav1.Time
	active []child
	prune  []child
	stop   []child
	run    time.Time // zero: nothing
	events []event.Event
	wait   time.Duration
	made   *child // by Act
}

// Recheck is when the next time comes.
func (p *plan) Recheck() time.Duration { return p.wait }

// Decide turns what there is into what shall be done. // CJ-8
func (s *steps) Decide(acj *kruise.AdvancedCronJob, found seen, now time.Time) *plan {
	p := &plan{acj: Default(acj)}
	p.classify(found.children)
	if acj.DeletionTimestamp != nil {
		return p
	}
	p.trim(found.children, succeeded, p.acj.Spec.SuccessfulJobsHistoryLimit)
	p.trim(found.children, failed, p.acj.Spec.FailedJobsHistoryLimit)
	if *p.acj.Spec.Paused {
		return p
	}
	if found.unserved {
		p.warn(reasonUnserved, "the cluster knows no BroadcastJobs: install their definition and restart the agent")
		return p
	}
	times, err := read(p.acj.Spec.Schedule, p.acj.Spec.TimeZone, now.Location())
	if err == nil && p.acj.Spec.Template.JobTemplate == nil && p.acj.Spec.Template.BroadcastJobTemplate == nil {
		err = errNoTemplate
	}
	if err != nil {
		p.warn(reasonInvalid, "%v", err)
		return p
	}
	p.schedule(times, now)
	return p
}

// classify says what runs and when it ran last. A later time that was noted counts too: history may be gone. // CJ-6, CJ-7
func (p *plan) classify(children []child) {
	var last time.Time
	if noted := p.acj.Status.LastScheduleTime; noted != nil {
		last = noted.Time
	}
	for _, c := range children {
		if c.state == active {
			p.active = append(p.active, c)
		}
		if c.slot.After(last) {
			last = c.slot
		}
	}
	if !last.IsZero() {
		p.last = new(metav1.NewTime(last))
	}
}

// trim prunes what is more than the limit, oldest first. // CJ-8
func (p *plan) trim(children []child, kind state, limit *int32) {
	var ended []child
	for _, c := range children {
		if c.state == kind {
			ended = append(ended, c)
		}
	}
	slices.SortStableFunc(ended, func(a, b child) int {
		return cmp.Or(a.started.Compare(b.started), cmp.Compare(a.object.GetName(), b.object.GetName()))
	})
	over := max(0, len(ended)-int(max(0, *limit)))
	for _, c := range ended[:over] {
		if c.object.GetDeletionTimestamp() == nil {
			p.prune = append(p.prune, c)
		}
	}
}

// schedule finds the time to run, if there is one. // CJ-6, CJ-8
func (p *plan) schedule(times timetable, now time.Time) {
	from := p.acj.CreationTimestamp.Time
	if p.last != nil {
		from = p.last.Time
	}
	deadline := p.acj.Spec.StartingDeadlineSeconds
	if deadline != nil {
		if earliest := now.Add(-time.Duration(*deadline) * time.Second); earliest.After(from) {
			from = earliest
		}
	}
	due, err := times.due(from, now)
	if err != nil {
		p.warn(reasonTooMany, "%v since %s: nothing is run until the object changes; set startingDeadlineSeconds to forget old ones", err, from.UTC().Format(time.RFC3339))
		return
	}
	if next := times.next(now); !next.IsZero() {
		p.wait = next.Sub(now)
	}
	if due.IsZero() {
		return
	}
	switch p.acj.Spec.ConcurrencyPolicy {
	case kruise.ForbidConcurrent:
		if len(p.active) > 0 {
			return // and looked at again whenever we wake
		}
	case kruise.ReplaceConcurrent:
		p.stop = p.active
	}
	p.run = due
}

func (p *plan) warn(reason, format string, args ...any) {
	p.events = append(p.events, event.Warning(reason, format, args...))
}
