package ephemeraljob

import (
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Report writes the status. What is counted is what was seen, before anything was added to pods.
func (s *steps) Report(job *kruise.EphemeralJob, _ seen, p *plan, _ error) {
	if p.idle {
		return
	}
	status := &job.Status
	if status.StartTime == nil {
		status.StartTime = &p.started
	}
	if p.completed {
		status.CompletionTime = new(metav1.NewTime(p.now))
	}
	c := p.counts
	status.Phase, status.Matches = p.phase, c.matches
	status.Running, status.Succeeded, status.Waiting, status.Failed = c.running, c.succeeded, c.waiting, c.failed
	for _, says := range p.says {
		p.settle(status, says)
	}
	if p.waits == (said{}) {
		status.Conditions = slices.DeleteFunc(slices.Clone(status.Conditions), func(c kruise.EphemeralJobCondition) bool { return c.Type == reconciling })
		return
	}
	p.settle(status, p.waits)
}

// settle says it, unless it was said already. Conditions are always true. // EJ-7
func (p *plan) settle(status *kruise.EphemeralJobStatus, says said) {
	at := metav1.NewTime(p.now.Truncate(time.Second))
	c := kruise.EphemeralJobCondition{
		Type: says.kind, Status: corev1.ConditionTrue, Reason: says.reason, Message: says.message, LastProbeTime: at, LastTransitionTime: at,
	}
	i := slices.IndexFunc(status.Conditions, func(had kruise.EphemeralJobCondition) bool { return had.Type == says.kind })
	switch {
	case i < 0:
		status.Conditions = append(slices.Clone(status.Conditions), c)
	case status.Conditions[i].Reason != says.reason || status.Conditions[i].Message != says.message:
		status.Conditions = slices.Clone(status.Conditions)
		status.Conditions[i] = c
	}
}
