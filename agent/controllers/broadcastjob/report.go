package broadcastjob

import (
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Report writes the status. A job ends only once what the end takes has been done.
func (s *steps) Report(job *kruise.BroadcastJob, _ seen, p *plan, acted error) {
	if p.idle {
		return
	}
	status, now := &job.Status, p.condition
	if p.wrong != "" {
		status.Conditions = settle(status.Conditions, stalled, waiting{reasonInvalid, p.wrong}, now)
		return
	}
	status.Conditions = settle(status.Conditions, stalled, waiting{}, now)
	if status.StartTime == nil { // BJ-10
		status.StartTime = new(metav1.NewTime(p.started))
	}
	status.Phase = p.phase
	c := p.counts
	status.Desired, status.Succeeded, status.Failed, status.Active = c.desired, c.succeeded, c.failed, c.active+p.made
	if p.end != nil && acted == nil {
		p.finish(status)
	}
	if p.end == nil {
		status.Conditions = settle(status.Conditions, reconciling, p.tells, now)
	}
}

// finish writes how it ended, and takes back what it waited for. // BJ-12, BJ-13
func (p *plan) finish(status *kruise.BroadcastJobStatus) {
	status.Phase = kruise.PhaseCompleted
	if p.end.condition == kruise.JobFailed {
		status.Phase = kruise.PhaseFailed
		status.Failed += int32(len(p.remove))
		status.Active = 0
	}
	at := metav1.NewTime(p.end.at)
	status.CompletionTime = &at
	status.Conditions = settle(status.Conditions, reconciling, waiting{}, p.condition)
	status.Conditions = append(slices.Clone(status.Conditions), kruise.JobCondition{
		Type: p.end.condition, Status: corev1.ConditionTrue, Reason: string(p.end.condition), Message: p.end.message,
		LastProbeTime: at, LastTransitionTime: at,
	})
}

func (p *plan) condition() kruise.JobCondition {
	at := metav1.NewTime(p.now.Truncate(time.Second))
	return kruise.JobCondition{LastProbeTime: at, LastTransitionTime: at}
}

// said: the job says already what is wrong with it.
func said(job *kruise.BroadcastJob, wrong string) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c kruise.JobCondition) bool { return c.Type == stalled && c.Message == wrong })
}
