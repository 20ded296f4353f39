package cloneset

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
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

// Report writes the status. // WL-1.15
func (s *steps) Report(cs *kruise.CloneSet, _ seen, p *plan, acted error) {
	status := &cs.Status
	status.ObservedGeneration = cs.Generation
	if p.wrong != "" {
		p.conclude(status, podset.Stuck, ReasonInvalidSpec, p.wrong)
		return
	}
	sum := p.summary
	status.Replicas, status.ReadyReplicas, status.AvailableReplicas = sum.Replicas, sum.Ready, sum.Available
	status.UpdatedReplicas, status.UpdatedReadyReplicas, status.UpdatedAvailableReplicas = sum.Updated, sum.UpdatedReady, sum.UpdatedAvailable
	status.ExpectedUpdatedReplicas = sum.ExpectedUpdated
	if !p.renamed { // else the next round knows their names
		status.UpdateRevision, status.CurrentRevision = p.revisions.Update.Name, sum.CurrentRevision
	}
	status.CollisionCount = &p.revisions.Collisions
	status.LabelSelector = metav1.FormatLabelSelector(p.set.Spec.Selector)
	p.conditions(status, acted)
}

func (p *plan) conditions(status *kruise.CloneSetStatus, acted error) {
	var scale, update error
	if failure, ok := errors.AsType[*podset.Failure](acted); ok {
		scale, update = failure.Scale, failure.Update
	} else {
		scale = acted
	}
	message := p.summary.Message
	var refused error
	if len(p.steps.Refused) > 0 && p.unfit != "" {
		refused = fmt.Errorf("%s: %s; undo it or use type InPlaceIfPossible", p.steps.Refused[0].Pod, p.unfit)
		message = fmt.Sprintf("%s: %s; undo it or use type InPlaceIfPossible", message, p.unfit)
	} else if len(p.steps.Refused) > 0 {
		refused = fmt.Errorf("%s: %s", p.steps.Refused[0].Pod, p.steps.Refused[0].Why)
	}
	p.failed(status, kruise.CloneSetConditionFailedScale, scale)
	p.failed(status, kruise.CloneSetConditionFailedUpdate, errors.Join(update, refused))

	if err := errors.Join(scale, update); err != nil {
		message = fmt.Sprintf("%s; %s", message, p.text(err))
		if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsAlreadyExists(err) {
			p.conclude(status, podset.Stuck, ReasonRefused, message)
			return
		}
		p.conclude(status, podset.Moving, ReasonProgressing, message)
		return
	}
	switch p.summary.Progress {
	case podset.Settled:
		p.conclude(status, podset.Settled, ReasonSettled, message)
	case podset.Stuck:
		p.conclude(status, podset.Stuck, ReasonPodsBlocked, message)
	default:
		p.conclude(status, podset.Moving, ReasonProgressing, message)
	}
}

// failed keeps a condition as long as the failure lasts. // WL-1.15
func (p *plan) failed(status *kruise.CloneSetStatus, kind kruise.CloneSetConditionType, err error) {
	if err == nil {
		status.Conditions = slices.DeleteFunc(status.Conditions, func(c kruise.CloneSetCondition) bool { return c.Type == kind })
		return
	}
	p.setCondition(status, kind, corev1.ConditionTrue, "", p.text(err))
}

// text is the error without the names of pods that did not come to be: they are drawn anew for each try, and would make
// each try a status to write.
func (p *plan) text(err error) string {
	text := err.Error()
	for _, c := range p.steps.Create {
		text = strings.ReplaceAll(text, p.set.Name+"-"+c.Slot, p.set.Name+"-*")
	}
	return text
}

// conclude sums up in our own conditions: ready, wait, or act.
func (p *plan) conclude(status *kruise.CloneSetStatus, progress podset.Progress, reason, message string) {
	say := func(kind string, holds bool) {
		text := ""
		if holds || kind == condition.Ready {
			text = message
		}
		p.setCondition(status, kruise.CloneSetConditionType(kind), corev1.ConditionStatus(condition.Of(holds)), reason, text)
	}
	say(condition.Ready, progress == podset.Settled)
	say(condition.Reconciling, progress == podset.Moving)
	say(condition.Stalled, progress == podset.Stuck)
}

// setCondition moves the transition time with the status only.
func (p *plan) setCondition(status *kruise.CloneSetStatus, kind kruise.CloneSetConditionType, value corev1.ConditionStatus, reason, message string) {
	want := kruise.CloneSetCondition{Type: kind, Status: value, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(p.now)}
	i := slices.IndexFunc(status.Conditions, func(c kruise.CloneSetCondition) bool { return c.Type == kind })
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
func (s *steps) Conditions(cs *kruise.CloneSet) []metav1.Condition {
	var all []metav1.Condition
	for _, c := range cs.Status.Conditions {
		switch string(c.Type) {
		case condition.Ready, condition.Stalled:
			all = append(all, metav1.Condition{Type: string(c.Type), Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message})
		}
	}
	return all
}
