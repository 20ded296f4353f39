package statefulset

import (
	"errors"
	"fmt"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Report writes the status. // WL-2.14
func (s *steps) Report(set *kruise.StatefulSet, _ seen, p *plan, acted error) {
	status := &set.Status
	status.ObservedGeneration = set.Generation
	if p.wrong != "" {
		board := boardOf(p.now, status)
		board.Wrong(p.wrong)
		post(status, board)
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
	board := boardOf(p.now, status)
	board.Failed(string(kruise.FailedCreatePod), text(create))
	board.Failed(string(kruise.FailedUpdatePod), text(errors.Join(update, p.refusal())))

	message := p.summary.Message
	if len(p.steps.Refused) > 0 && p.unfit != "" {
		message = fmt.Sprintf("%s: %s; undo it or use podUpdatePolicy InPlaceIfPossible", message, p.unfit)
	}
	board.Sum(p.summary.Progress, message, acted, text(acted))
	post(status, board)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
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

// boardOf reads the conditions.
func boardOf(now time.Time, status *kruise.StatefulSetStatus) *podset.Board {
	board := &podset.Board{Now: now}
	for _, c := range status.Conditions {
		board.All = append(board.All, metav1.Condition{
			Type: string(c.Type), Status: metav1.ConditionStatus(c.Status), LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
	return board
}

func post(status *kruise.StatefulSetStatus, board *podset.Board) {
	status.Conditions = nil
	for _, c := range board.All {
		status.Conditions = append(status.Conditions, appsv1.StatefulSetCondition{
			Type: appsv1.StatefulSetConditionType(c.Type), Status: corev1.ConditionStatus(c.Status), LastTransitionTime: c.LastTransitionTime, Reason: c.Reason, Message: c.Message,
		})
	}
}

// Conditions are those whose transitions become events.
func (s *steps) Conditions(set *kruise.StatefulSet) []metav1.Condition {
	return boardOf(time.Time{}, &set.Status).Told()
}
