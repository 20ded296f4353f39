package federateddeployment

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// few is how many troubles a message tells of before it counts.
const few = 3

// verdict is the three conditions.
type verdict struct {
	ready, reconciling, stalled metav1.Condition
}

func (v verdict) write(conditions *[]metav1.Condition, generation int64) {
	for _, c := range []metav1.Condition{v.ready, v.reconciling, v.stalled} {
		condition.Set(conditions, c.Type, c.Status, c.Reason, c.Message, generation)
	}
}

// judge sums up. What a user must act upon comes before what nobody can know, and that before what only takes time.
func judge(obj *v1alpha1.FederatedDeployment, plan Plan, lines []line, acted error) verdict {
	v := verdict{
		reconciling: said(condition.Reconciling, false, v1alpha1.ReasonSettled, ""),
		stalled:     said(condition.Stalled, false, v1alpha1.ReasonSettled, ""),
	}
	waits, silent := collect(lines, func(l line) string { return l.waits }), collect(lines, func(l line) string { return l.silent })
	for _, l := range lines[min(len(plan.shares), len(lines)):] {
		if l.Message != "" && l.waits == "" && !plan.blocked() {
			waits = append(waits, fmt.Sprintf("subset %s is being removed from %s", l.Name, l.Cluster))
		}
	}
	var refused refusedError
	if acted != nil && !errors.As(acted, &refused) {
		waits = append([]string{acted.Error()}, waits...)
	}
	if r := plan.rollout; r != nil && r.Message != "" && (r.Phase == v1alpha1.RolloutProgressing || r.Phase == v1alpha1.RolloutSoaking) {
		waits = append([]string{r.Message}, waits...)
	}
	if !obj.DeletionTimestamp.IsZero() {
		message := removalMessage(lines)
		v.ready = said(condition.Ready, false, v1alpha1.ReasonRemoving, message)
		v.reconciling = said(condition.Reconciling, true, v1alpha1.ReasonRemoving, message)
		why := collect(lines, func(l line) string { return l.refused })
		if refused.error != nil {
			why = append([]string{refused.Error()}, why...)
		}
		if len(why) > 0 {
			v.stalled = said(condition.Stalled, true, v1alpha1.ReasonRemovalHeld, tell(why))
		}
		return v
	}
	if len(waits) > 0 {
		v.reconciling = said(condition.Reconciling, true, v1alpha1.ReasonProgressing, tell(waits))
	}
	reason, stalls := trouble(obj, plan, lines, refused)
	switch {
	case len(stalls) > 0:
		v.stalled = said(condition.Stalled, true, reason, tell(stalls))
		v.ready = said(condition.Ready, false, reason, tell(stalls))
	case len(silent) > 0:
		v.ready = metav1.Condition{Type: condition.Ready, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonClusterSilent, Message: tell(silent) + hearAgain(obj)}
	case len(waits) > 0:
		v.ready = said(condition.Ready, false, v1alpha1.ReasonProgressing, tell(waits))
	default:
		v.ready = readyVerdict(obj, lines)
	}
	return v
}

// trouble is what a user has to act upon, the spec first, and last what he has asked for himself.
func trouble(obj *v1alpha1.FederatedDeployment, plan Plan, lines []line, refused refusedError) (string, []string) {
	if reason, messages := told(plan.problems, false); len(messages) > 0 {
		return reason, messages
	}
	halted, why := rolloutVerdict(plan.rollout)
	if halted != "" && halted != v1alpha1.ReasonRolloutPaused {
		return halted, []string{why}
	}
	if refused.error != nil {
		return v1alpha1.ReasonWorkRefused, []string{refused.Error()}
	}
	if messages := collect(lines, func(l line) string { return l.refused }); len(messages) > 0 {
		return v1alpha1.ReasonWorkRefused, messages
	}
	if reason, messages := told(plan.problems, true); len(messages) > 0 {
		return reason, messages
	}
	if messages := collect(lines, func(l line) string { return l.stuck }); len(messages) > 0 {
		messages[min(len(messages), few)-1] += takeBack(obj)
		return v1alpha1.ReasonRolloutStuck, messages
	}
	if halted != "" {
		return halted, []string{why}
	}
	return "", nil
}

// told are the messages of the problems that block removals, or of those that do not.
func told(problems []problem, soft bool) (reason string, messages []string) {
	for _, p := range problems {
		if p.soft == soft {
			reason, messages = cmp.Or(reason, p.reason), append(messages, p.message)
		}
	}
	return reason, messages
}

// hearAgain is what can be done about a silent cluster.
func hearAgain(obj *v1alpha1.FederatedDeployment) string {
	remedy := "; see to the agent there and its way to the hub"
	if obj.Spec.Failover == nil && originOf(obj).gvk == gvk {
		remedy += ", or set spec.failover to start its replicas elsewhere"
	}
	return remedy
}

// takeBack is what can be done about an update whose pods do not come up.
func takeBack(obj *v1alpha1.FederatedDeployment) string {
	if originOf(obj).gvk != gvk {
		return "; correct the template"
	}
	return fmt.Sprintf("; correct the template, or bring the one before back (kubectl flotilla undo %s)", obj.Name)
}

func readyVerdict(obj *v1alpha1.FederatedDeployment, lines []line) metav1.Condition {
	held := int32(0)
	for _, l := range lines {
		held += max(0, l.DesiredReplicas-l.UpdatedReplicas)
	}
	desired := obj.Status.DesiredReplicas
	if held > 0 && obj.Spec.UpdateStrategy.Paused {
		return said(condition.Ready, true, v1alpha1.ReasonRolloutHeld, fmt.Sprintf(
			"all %d replicas are ready; spec.updateStrategy.paused keeps %d of them from revision %s, unset it to go on", desired, held, obj.Status.UpdateRevision))
	}
	if held > 0 {
		return said(condition.Ready, true, v1alpha1.ReasonRolloutHeld, fmt.Sprintf(
			"all %d replicas are ready; partitions keep %d of them from revision %s, lower spec.updateStrategy.manualUpdate.partitions to go on", desired, held, obj.Status.UpdateRevision))
	}
	return said(condition.Ready, true, v1alpha1.ReasonAllReplicasReady, fmt.Sprintf("all %d replicas are ready and updated", desired))
}

func removalMessage(lines []line) string {
	var waiting []string
	for _, l := range lines {
		text := fmt.Sprintf("%s to remove subset %s", l.Cluster, l.Name)
		if l.Silent {
			text += fmt.Sprintf(" (%s; if it is gone for good, kubectl flotilla detach %s)", l.Message, l.Cluster)
		}
		waiting = append(waiting, text)
	}
	if len(waiting) == 0 {
		return "nothing is left"
	}
	return "waiting for " + tell(waiting)
}

func said(kind string, holds bool, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: condition.Of(holds), Reason: reason, Message: message}
}

func collect(lines []line, of func(line) string) []string {
	var all []string
	for _, l := range lines {
		if text := of(l); text != "" {
			all = append(all, text)
		}
	}
	return all
}

// tell names a few and counts the rest.
func tell(all []string) string {
	if len(all) <= few {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:few], "; "), len(all)-few)
}
