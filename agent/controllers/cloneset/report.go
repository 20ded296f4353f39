package cloneset

import (
	"errors"
	"fmt"
	"strings"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Report writes the status. // WL-1.15
func (s *steps) Report(cs *kruise.CloneSet, _ seen, p *plan, acted error) {
	status := &cs.Status
	status.ObservedGeneration = cs.Generation
	if p.wrong != "" {
		board := boardOf(p.now, status)
		board.Wrong(p.wrong)
		post(status, board)
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
	board := boardOf(p.now, status)
	board.Failed(string(kruise.CloneSetConditionFailedScale), p.text(scale))
	board.Failed(string(kruise.CloneSetConditionFailedUpdate), p.text(errors.Join(update, refused)))
	failed := errors.Join(scale, update)
	board.Sum(p.summary.Progress, message, failed, p.text(failed))
	post(status, board)
}

// text is the error without the names of pods that did not come to be: they are drawn anew for each try, and would make
// each try a status to write. Without an error it is empty.
func (p *plan) text(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	for _, c := range p.steps.Create {
		text = strings.ReplaceAll(text, p.set.Name+"-"+c.Slot, p.set.Name+"-*")
	}
	return text
}

// boardOf reads the conditions.
func boardOf(now time.Time, status *kruise.CloneSetStatus) *podset.Board {
	board := &podset.Board{Now: now}
	for _, c := range status.Conditions {
		board.All = append(board.All, metav1.Condition{
			Type: string(c.Type), Status: metav1.ConditionStatus(c.Status), LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return board
}

func post(status *kruise.CloneSetStatus, board *podset.Board) {
	status.Conditions = nil
	for _, c := range board.All {
		status.Conditions = append(status.Conditions, kruise.CloneSetCondition{
			Type: kruise.CloneSetConditionType(c.Type), Status: corev1.ConditionStatus(c.Status), LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
}

// Conditions are those whose transitions become events.
func (s *steps) Conditions(cs *kruise.CloneSet) []metav1.Condition {
	return boardOf(time.Time{}, &cs.Status).Told()
}
