package statefulset

import (
	"errors"
	"fmt"
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// Reasons of our conditions.
const (
	ReasonSettled     = "Settled"     // everything is as the spec wants it
	ReasonProgressing = "Progressing" // it gets there by itself
	ReasonInvalidSpec = "InvalidSpec" // the spec cannot be right
	ReasonPodsBlocked = "PodsBlocked" // pods cannot become ready, or cannot be updated
	ReasonRefused     = "Refused"     // the API server refuses what we write
)

// Report writes the status. // WL-2.14
func (s *steps) Report(set *kruise.StatefulSet, _ seen, p *plan, acted error) {
	status := &set.Status
	status.ObservedGeneration = set.Generation
	if p.wrong != "" {
		p.conclude(status, podset.Stuck, ReasonInvalidSpec, p.wrong)
		return
	}
	sum := p.summary
	status.Replicas, status.ReadyReplicas, status.AvailableReplicas = sum.Replicas, sum.Ready, sum.Available
	status.CurrentReplicas = sum.Current
	status.UpdatedReplicas, status.UpdatedReadyReplicas, status.UpdatedAvailableReplicas = sum.Updated, sum.UpdatedReady, sum.UpdatedAvailable
	if !p.renamed { // else the next round knows their names
		status.UpdateRevision, status.CurrentRevision = p.revisions.Update.Name, sum.CurrentRevision
	}
	status.CollisionCount = &p.revisions.Collisions
	status.LabelSelector = metav1.FormatLabelSelector(p.set.Spec.Selector)
	status.VolumeClaims = p.fit
	p.conditions(status, acted)
}

func (p *plan) conditions(status *kruise.StatefulSetStatus, acted error) {
	var create, update error
	if failure, ok := errors.AsType[*podset.Failure](acted); ok {
		update = failure.Update
		if len(p.steps.Create) > 0 {
			create = failure.Scale
		}
	}
	p.failed(status, kruise.FailedCreatePod, create)
	p.failed(status, kruise.FailedUpdatePod, errors.Join(update, p.refusal()))

	message := p.summary.Message
	if len(p.steps.Refused) > 0 && p.unfit != "" {
		message = fmt.Sprintf("%s: %s; undo it or use podUpdatePolicy InPlaceIfPossible", message, p.unfit)
	}
	switch {
	case acted != nil && refused(acted):
		p.conclude(status, podset.Stuck, ReasonRefused, fmt.Sprintf("%s; %v", message, acted))
	case acted != nil:
		p.conclude(status, podset.Moving, ReasonProgressing, fmt.Sprintf("%s; %v", message, acted))
	case p.summary.Progress == podset.Settled:
		p.conclude(status, podset.Settled, ReasonSettled, message)
	case p.summary.Progress == podset.Stuck:
		p.conclude(status, podset.Stuck, ReasonPodsBlocked, message)
	default:
		p.conclude(status, podset.Moving, ReasonProgressing, message)
	}
}

// refusal is the first pod that should change and cannot.
func (p *plan) refusal() error {
	if len(p.steps.Refused) == 0 {
		return nil
	}
	r := p.steps.Refused[0]
	if p.unfit != "" && !misfit(p, r) {
		return fmt.Errorf("%s: %s; undo it or use podUpdatePolicy InPlaceIfPossible", r.Pod, p.unfit)
	}
	return fmt.Errorf("%s: %s", r.Pod, r.Why)
}

// misfit says that a pod is refused for its claims.
func misfit(p *plan, r podset.Refusal) bool {
	pod := p.pods[r.Pod]
	return p.spec.Resize && pod != nil && p.claims.fits(pod.Name[len(p.set.Name)+1:]).Misfit == r.Why
}

func refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsAlreadyExists(err)
}

// failed keeps a condition as long as the failure lasts. // WL-2.14
func (p *plan) failed(status *kruise.StatefulSetStatus, kind appsv1.StatefulSetConditionType, err error) {
	if err == nil {
		status.Conditions = slices.DeleteFunc(status.Conditions, func(c appsv1.StatefulSetCondition) bool { return c.Type == kind })
		return
	}
	p.setCondition(status, kind, corev1.ConditionTrue, "", err.Error())
}

// conclude sums up in our own conditions: ready, wait, or act.
func (p *plan) conclude(status *kruise.StatefulSetStatus, progress podset.Progress, reason, message string) {
	say := func(kind string, holds bool) {
		text := ""
		if holds || kind == condition.Ready {
			text = message
		}
		p.setCondition(status, appsv1.StatefulSetConditionType(kind), corev1.ConditionStatus(condition.Of(holds)), reason, text)
	}
	say(condition.Ready, progress == podset.Settled)
	say(condition.Reconciling, progress == podset.Moving)
	say(condition.Stalled, progress == podset.Stuck)
}

// setCondition moves the transition time with the status only.
func (p *plan) setCondition(status *kruise.StatefulSetStatus, kind appsv1.StatefulSetConditionType, value corev1.ConditionStatus, reason, message string) {
	want := appsv1.StatefulSetCondition{Type: kind, Status: value, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(p.now)}
	i := slices.IndexFunc(status.Conditions, func(c appsv1.StatefulSetCondition) bool { return c.Type == kind })
	if i < 0 {
		status.Conditions = append(status.Conditions, want)
		return
	}
	if status.Conditions[i].Status == value {
		want.LastTransitionTime = status.Conditions[i].LastTransitionTime
	}
	status.Conditions[i] = want
}

// Conditions are those whose transitions become events.
func (s *steps) Conditions(set *kruise.StatefulSet) []metav1.Condition {
	var all []metav1.Condition
	for _, c := range set.Status.Conditions {
		switch string(c.Type) {
		case condition.Ready, condition.Stalled:
			all = append(all, metav1.Condition{Type: string(c.Type), Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message})
		}
	}
	return all
}
