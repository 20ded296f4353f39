package ephemeraljob

import (
	"fmt"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// defaultTTL is how long a job that is over is kept, unless it says so itself. // EJ-3
const defaultTTL = 1800 * time.Second

// Reasons of conditions. // EJ-5.3
const (
	reasonInitialized = "Initialized"
	reasonMatchEmpty  = "MatchEmpty"
	reasonSucceeded   = "JobSucceeded"
	reasonFailed      = "JobFailed"
	reasonDeadline    = "DeadlineExceeded"
	reasonError       = "Error"
	// reasonCreateFailed is also that of an event.
	reasonCreateFailed = "CreateFailed"
)

// plan is what becomes of a job.
type plan struct {
	job    *kruise.EphemeralJob
	idle   bool // nothing is left to do
	expire bool // the job's time to live has passed

	now       time.Time
	started   metav1.Time
	phase     kruise.EphemeralJobPhase
	completed bool
	counts    counts
	says      []said
	waits     said
	inject    []pod
	wait      time.Duration
}

// counts are the numbers of the status. // EJ-6
type counts struct{ matches, running, succeeded, waiting, failed int32 }

// said is a condition that is true.
type said struct {
	kind            kruise.EphemeralJobConditionType
	reason, message string
}

// Recheck is when time alone changes something: a deadline or a time to live.
func (p *plan) Recheck() time.Duration { return p.wait }

// Done is always so: ephemeral containers cannot be taken away again. // EJ-2
func (p *plan) Done() bool { return true }

// Decide turns what there is into what shall be done.
func (s *steps) Decide(job *kruise.EphemeralJob, found seen, now time.Time) *plan {
	p := &plan{job: job, now: now}
	if job.DeletionTimestamp != nil {
		p.idle = true
		return p
	}
	if job.Status.CompletionTime != nil {
		p.idle = true
		p.age()
		return p
	}
	p.begin()
	targets, taken := p.targets(found.pods)
	for _, t := range targets {
		p.count(t)
	}
	p.judge(len(found.pods), taken)
	p.override(found)
	if !p.completed && p.phase != kruise.EphemeralJobPause && p.phase != kruise.EphemeralJobError {
		p.inject = p.next(targets)
	}
	p.waits = p.explain(targets)
	if p.completed { // its own write wakes nobody
		p.wait = max(soon, p.ttl())
	}
	return p
}

// soon is after the end of this round.
const soon = 10 * time.Millisecond

// age removes a job that is over when its time has come. // EJ-3
func (p *plan) age() {
	left := p.job.Status.CompletionTime.Add(p.ttl()).Sub(p.now)
	p.expire, p.wait = left <= 0, max(left, 0)
}

func (p *plan) ttl() time.Duration {
	if seconds := p.job.Spec.TTLSecondsAfterFinished; seconds != nil {
		return time.Duration(*seconds) * time.Second
	}
	return defaultTTL
}

// begin starts the clock at first sight. // EJ-4, EJ-7
func (p *plan) begin() {
	if start := p.job.Status.StartTime; start != nil {
		p.started = *start
		return
	}
	p.started = metav1.NewTime(p.now)
	p.say(kruise.EJobInitialized, reasonInitialized, "the job has started")
}

// targets are the pods that the job is for, and how many others have a container of the name. // EJ-5
func (p *plan) targets(pods []pod) (all []pod, taken int) {
	for _, candidate := range pods {
		if candidate.foreign {
			taken++
			continue
		}
		all = append(all, candidate)
	}
	if limit := p.job.Spec.Replicas; limit != nil {
		all = all[:min(len(all), int(max(0, *limit)))]
	}
	return all, taken
}

func (p *plan) count(t pod) {
	p.counts.matches++
	switch t.state {
	case running:
		p.counts.running++
	case succeeded:
		p.counts.succeeded++
	case waiting:
		p.counts.waiting++
	case failed:
		p.counts.failed++
	case unknown:
	}
}

// wanted is how many pods have to succeed. // EJ-7
func (p *plan) wanted() int32 {
	if p.job.Spec.Replicas != nil {
		return *p.job.Spec.Replicas
	}
	return p.counts.matches
}

// judge is the table of EJ-7.
func (p *plan) judge(selected, taken int) {
	c, wanted := p.counts, p.wanted()
	switch {
	case c.matches == 0:
		p.phase = kruise.EphemeralJobWaiting
		p.say(kruise.EJobMatchedEmpty, reasonMatchEmpty, emptyBecause(selected, taken))
	case c.succeeded == wanted && wanted > 0:
		p.phase, p.completed = kruise.EphemeralJobSucceeded, true
		p.say(kruise.EJobSucceeded, reasonSucceeded, fmt.Sprintf("succeeded in all of %d pods", wanted))
	case c.running > 0:
		p.phase = kruise.EphemeralJobRunning
	case c.failed == wanted:
		p.phase, p.completed = kruise.EphemeralJobFailed, true
		p.say(kruise.EJobFailed, reasonFailed, fmt.Sprintf("failed in all of %d pods", wanted))
	case c.waiting == wanted:
		p.phase = kruise.EphemeralJobWaiting
	default:
		p.phase = kruise.EphemeralJobUnknown
	}
}

func emptyBecause(selected, taken int) string {
	switch {
	case selected == 0:
		return "no active pod matches the selector; waits for one"
	case taken == selected:
		return fmt.Sprintf("all of %d pods have an ephemeral container of the name that is not the job's; use other names", taken)
	}
	return "spec.replicas is 0"
}

// override is what comes after the table, in the order of EJ-7.
func (p *plan) override(found seen) {
	if p.job.Spec.Paused {
		p.phase = kruise.EphemeralJobPause
	}
	if p.counts.failed > 0 {
		p.say(kruise.EJobFailed, reasonCreateFailed, fmt.Sprintf("failed in %d of %d pods", p.counts.failed, p.counts.matches))
	}
	p.limit()
	if len(p.job.Spec.Template.EphemeralContainers) == 0 {
		p.phase = kruise.EphemeralJobError
		p.say(kruise.EJobError, reasonError, "spec.template has no ephemeral containers")
	}
	if found.wrong != nil {
		p.phase = kruise.EphemeralJobError
		p.say(kruise.EJobError, reasonError, found.wrong.Error())
	}
}

// limit ends the job at its deadline. // EJ-7
func (p *plan) limit() {
	seconds := p.job.Spec.ActiveDeadlineSeconds
	if seconds == nil || p.completed {
		return
	}
	left := p.started.Add(time.Duration(*seconds) * time.Second).Sub(p.now)
	if left > 0 {
		p.wait = left
		return
	}
	switch p.phase {
	case kruise.EphemeralJobWaiting, kruise.EphemeralJobUnknown, kruise.EphemeralJobRunning:
		p.phase, p.completed = kruise.EphemeralJobFailed, true
		p.say(kruise.EJobFailed, reasonDeadline, fmt.Sprintf("succeeded in %d of %d pods within %d seconds", p.counts.succeeded, p.wanted(), *seconds))
	}
}

// next are the pods to treat now. Those that wait are not subtracted. // EJ-8
func (p *plan) next(targets []pod) (all []pod) {
	for _, t := range targets {
		if !t.own {
			all = append(all, t)
		}
	}
	width := 1
	if n := p.job.Spec.Parallelism; n != nil {
		width = int(*n)
	}
	return all[:max(0, min(width, len(all))-int(p.counts.running))]
}

// say replaces what was said of that type. // EJ-7
func (p *plan) say(kind kruise.EphemeralJobConditionType, reason, message string) {
	for i := range p.says {
		if p.says[i].kind == kind {
			p.says[i] = said{kind, reason, message}
			return
		}
	}
	p.says = append(p.says, said{kind, reason, message})
}

// reconciling is a condition of ours, there for as long as the job goes on.
const reconciling kruise.EphemeralJobConditionType = "Reconciling"

// explain says what the job waits for, naming one culprit.
func (p *plan) explain(targets []pod) said {
	switch {
	case p.completed, p.phase == kruise.EphemeralJobError, len(targets) == 0:
		return said{}
	case p.phase == kruise.EphemeralJobPause:
		return said{reconciling, "Paused", "spec.paused is set; containers that run go on"}
	}
	done := fmt.Sprintf("%d of %d pods done", p.counts.succeeded, p.wanted())
	for _, t := range targets {
		if t.waits != "" && t.state != succeeded {
			return said{reconciling, "PodsWait", fmt.Sprintf("%s, waiting for %s: %s", done, t.name, t.waits)}
		}
	}
	switch {
	case p.counts.failed > 0:
		return said{reconciling, "PodsFailed", fmt.Sprintf("%s, %d failed: it cannot succeed any more and ends at its deadline, if it has one", done, p.counts.failed)}
	case p.wanted() > p.counts.matches:
		return said{reconciling, "TooFewPods", fmt.Sprintf("%s, and only %d match", done, p.counts.matches)}
	}
	return said{reconciling, "Running", done}
}
