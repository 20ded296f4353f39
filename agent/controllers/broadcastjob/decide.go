package broadcastjob

import (
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/pkg/event"
)

// Reasons of events. // BJ-3.5
const (
	reasonCreated   = "SuccessfulCreate"
	reasonDeleted   = "SuccessfulDelete"
	reasonNoCreate  = "FailedCreate"
	reasonNoDelete  = "FailedDelete" // ours
	reasonContinue  = "Continue"
	reasonPaused    = "Paused"
	reasonComplete  = "JobComplete"
	reasonDeadline  = "DeadlineExceeded"
	reasonPodFailed = "failed pod is found"
	reasonTooMany   = "TooManyActivePods"
	reasonDuplicate = "DuplicatePodCreatedOnSameNode"
	reasonInvalid   = "InvalidSpec" // ours
)

// plan is what becomes of a job.
type plan struct {
	job    *kruise.BroadcastJob // with its defaults
	wrong  string               // why nothing can be done
	idle   bool                 // nothing is left to do
	expire bool                 // the job's time to live has passed

	now     time.Time
	started time.Time
	phase   kruise.BroadcastJobPhase
	counts  counts
	end     *end

	remove []removal
	create []string // nodes
	bind   bool
	events []event.Event
	tells  waiting
	wait   time.Duration
	made   int32 // by Act
}

// counts are the numbers of the status. // BJ-9
type counts struct{ active, succeeded, failed, desired int32 }

// end is how a job finishes.
type end struct {
	condition kruise.JobConditionType
	message   string
	at        time.Time
}

type removal struct {
	pod pod
	why string
}

// Recheck is when time alone changes something: a deadline, a time to live, or an answer that did not come.
func (p *plan) Recheck() time.Duration { return p.wait }

// finished: a job that may finish and has. // BJ-14, BJ-15
func finished(job *kruise.BroadcastJob) bool {
	if job.Spec.CompletionPolicy.Type == kruise.Never {
		return false
	}
	for _, c := range job.Status.Conditions {
		if (c.Type == kruise.JobComplete || c.Type == kruise.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// Decide turns what there is into what shall be done.
func (s *steps) Decide(job *kruise.BroadcastJob, found seen, now time.Time) *plan {
	p := &plan{job: Default(job), bind: s.options.BindPods, now: now}
	if finished(job) {
		p.idle = true
		p.age(now)
		return p
	}
	if problems := impossible(p.job); len(problems) > 0 {
		p.wrong = problems.ToAggregate().Error()
		return p
	}
	p.begin(now)
	v, err := look(p.job, found)
	if err != nil {
		p.wrong = err.Error()
		return p
	}
	p.counts = v.counts
	p.judge(v, now)
	p.tells = v.tell(p)
	if p.end != nil {
		p.wait = p.lives()
	}
	return p
}

// soon is after the end of this round: its own write wakes nobody.
const soon = 10 * time.Millisecond

// lives is how long a job that ends now is kept; 0 is for ever. // BJ-15
func (p *plan) lives() time.Duration {
	policy := p.job.Spec.CompletionPolicy
	if policy.Type == kruise.Never || policy.TTLSecondsAfterFinished == nil {
		return 0
	}
	return max(soon, time.Duration(*policy.TTLSecondsAfterFinished)*time.Second)
}

// begin starts the clock at first sight. // BJ-10
func (p *plan) begin(now time.Time) {
	p.started, p.phase = now, p.job.Status.Phase
	if t := p.job.Status.StartTime; t != nil {
		p.started = t.Time
	}
	if p.phase == "" {
		p.phase = kruise.PhaseRunning
	}
}

// age removes a finished job when its time has come. // BJ-15
func (p *plan) age(now time.Time) {
	ttl, ended := p.job.Spec.CompletionPolicy.TTLSecondsAfterFinished, p.job.Status.CompletionTime
	if ttl == nil || ended == nil || p.job.DeletionTimestamp != nil {
		return
	}
	left := ended.Add(time.Duration(*ttl) * time.Second).Sub(now)
	p.expire, p.wait = left <= 0, max(left, 0)
}

// judge takes the decisions in their order. // BJ-11
func (p *plan) judge(v *view, now time.Time) {
	policy := p.job.Spec.FailurePolicy.Type
	stopped := p.counts.failed > 0 && policy == kruise.FailurePolicyTypePause
	switch {
	case p.phase == kruise.PhaseFailed: // for good // BJ-14
		return
	case p.job.Spec.Paused:
		p.phase = kruise.PhasePaused
		return
	case stopped:
		if !told(p.job, reasonFailedPods) { // once, not at every pass
			p.say(event.Warning(reasonPaused, "%d pods failed, and the failure policy is Pause: delete them or change the policy to go on", p.counts.failed))
		}
		p.phase = kruise.PhasePaused
		return
	case p.phase == kruise.PhasePaused:
		p.phase = kruise.PhaseRunning
		p.say(event.Normal(reasonContinue, "goes on"))
	}
	if p.counts.failed > 0 && policy == kruise.FailurePolicyTypeFailFast {
		p.fail(v, now, "%d pods failed, and the failure policy is FailFast", reasonPodFailed, p.counts.failed)
		return
	}
	if left, limited := p.left(now); limited {
		if left <= 0 {
			p.fail(v, now, "did not finish within %d seconds", reasonDeadline, *p.job.Spec.CompletionPolicy.ActiveDeadlineSeconds)
			return
		}
		p.wait = left // also after a restart // BJ-10
	}
	p.run(v, now)
}

// left is how long the job may go on. // BJ-11
func (p *plan) left(now time.Time) (time.Duration, bool) {
	policy := p.job.Spec.CompletionPolicy
	if policy.Type == kruise.Never || policy.ActiveDeadlineSeconds == nil {
		return 0, false
	}
	return p.started.Add(time.Duration(*policy.ActiveDeadlineSeconds) * time.Second).Sub(now), true
}

// fail ends the job and what still runs of it. // BJ-12
func (p *plan) fail(v *view, now time.Time, format, reason string, n any) {
	for _, pod := range v.active {
		p.remove = append(p.remove, removal{pod, "the job has failed"})
	}
	told := event.Warning(reason, format, n)
	p.say(told)
	p.end = &end{condition: kruise.JobFailed, message: told.Message, at: now}
}

// run makes what is missing, removes what fits no longer, and sees the end. // BJ-13
func (p *plan) run(v *view, now time.Time) {
	p.remove = v.misfits
	room, _ := width(p.job, int(p.counts.desired)) // BJ-7
	room -= int(p.counts.active)
	changed := p.counts != countsOf(&p.job.Status)
	if room < 0 && changed {
		p.say(event.Warning(reasonTooMany, "%d pods are active, %d more than parallelism allows; none is made or removed", p.counts.active, -room))
	}
	if len(v.doubled) > 0 && changed {
		p.say(event.Warning(reasonDuplicate, "node %s has several pods of the job", v.doubled[0]))
	}
	if p.job.DeletionTimestamp == nil {
		p.create = v.missing[:max(0, min(room, len(v.missing)))]
	}
	if p.job.Spec.CompletionPolicy.Type == kruise.Never || p.counts.desired == 0 || v.open > 0 {
		return
	}
	done := event.Normal(reasonComplete, "completed: %d pods succeeded, %d failed", p.counts.succeeded, p.counts.failed)
	p.say(done)
	p.end = &end{condition: kruise.JobComplete, message: done.Message, at: now}
}

func (p *plan) say(e event.Event) { p.events = append(p.events, e) }

func countsOf(s *kruise.BroadcastJobStatus) counts {
	return counts{active: s.Active, succeeded: s.Succeeded, failed: s.Failed, desired: s.Desired}
}
