package broadcastjob

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

// Conditions of ours, which stand beside Complete and Failed while a job goes on.
const (
	reconciling kruise.JobConditionType = "Reconciling"
	stalled     kruise.JobConditionType = "Stalled"
)

// Reasons of the condition Reconciling.
const (
	reasonRunning    = "Running"
	reasonBySpec     = "Paused"
	reasonFailedPods = "FailedPods"
	reasonNoNode     = "NoNodeFits"
	reasonHalted     = "PodsWait"
	reasonWidth      = "Parallelism"
)

// waiting is what a job waits for; the zero value is nothing.
type waiting struct{ reason, message string }

// tell says what the job waits for, naming one culprit.
func (v *view) tell(p *plan) waiting {
	done := v.counts.desired - int32(v.open)
	switch {
	case p.end != nil || p.phase == kruise.PhaseFailed:
		return waiting{}
	case p.phase == kruise.PhasePaused && p.job.Spec.Paused:
		return waiting{reasonBySpec, "spec.paused is set; running pods go on"}
	case p.phase == kruise.PhasePaused:
		return waiting{reasonFailedPods, fmt.Sprintf("%d pods failed, such as %s on node %s: delete them or change the failure policy to go on",
			len(v.broken), v.broken[0].name, v.broken[0].node)}
	case v.counts.desired == 0:
		return waiting{reasonNoNode, fmt.Sprintf("none of %d nodes fits (%s); waits for one that does", v.nodes, v.refusals())}
	case len(v.halted) > 0:
		return waiting{reasonHalted, fmt.Sprintf("%d of %d nodes done, waiting for %s on node %s: %s%s",
			done, v.counts.desired, v.halted[0].name, v.halted[0].node, v.halted[0].waits, more(len(v.halted)-1))}
	case len(v.missing) > len(p.create):
		return waiting{reasonWidth, fmt.Sprintf("%d of %d nodes done; parallelism %s allows no more than the pods that are active", done, v.counts.desired, p.job.Spec.Parallelism)}
	default:
		return waiting{reasonRunning, fmt.Sprintf("%d of %d nodes done", done, v.counts.desired)}
	}
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n)
}

// refusals are like "2 cordoned, 1 too little cpu".
func (v *view) refusals() string {
	var all []string
	for _, why := range slices.Sorted(maps.Keys(v.refuses)) {
		all = append(all, fmt.Sprintf("%d %s", v.refuses[why], why))
	}
	if len(all) == 0 {
		return "there are none"
	}
	return strings.Join(all, ", ")
}

// told: the condition says so already.
func told(job *kruise.BroadcastJob, reason string) bool {
	for _, c := range job.Status.Conditions {
		if c.Type == reconciling {
			return c.Reason == reason
		}
	}
	return false
}

// settle makes a condition of ours say this, or takes it away when there is nothing to say.
func settle(all []kruise.JobCondition, kind kruise.JobConditionType, says waiting, now func() kruise.JobCondition) []kruise.JobCondition {
	i := slices.IndexFunc(all, func(c kruise.JobCondition) bool { return c.Type == kind })
	switch {
	case says == waiting{} && i < 0:
		return all
	case says == waiting{}:
		return slices.Delete(slices.Clone(all), i, i+1)
	case i >= 0 && all[i].Reason == says.reason && all[i].Message == says.message:
		return all
	}
	c := now()
	c.Type, c.Status, c.Reason, c.Message = kind, corev1.ConditionTrue, says.reason, says.message
	if i < 0 {
		return append(slices.Clone(all), c)
	}
	if all[i].Reason == says.reason {
		c.LastTransitionTime = all[i].LastTransitionTime
	}
	all = slices.Clone(all)
	all[i] = c
	return all
}
