// Package condition keeps the status conditions that every kind of ours shares: Ready sums up, Reconciling says
// wait, Stalled says act. It works on the lists of the API machinery and touches nothing else.
package condition

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Types that our own kinds carry.
const (
	Ready       = "Ready"
	Reconciling = "Reconciling"
	Stalled     = "Stalled"
)

// maxMessage is the longest message a metav1.Condition admits.
const maxMessage = 32768

// Set writes one condition and reports whether that changed anything. The transition time moves with the status only.
func Set(conditions *[]metav1.Condition, kind string, status metav1.ConditionStatus, reason, message string, generation int64) bool {
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	return meta.SetStatusCondition(conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: generation,
	})
}

// IsTrue says whether the condition is present and True.
func IsTrue(conditions []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionTrue(conditions, kind)
}

// Find returns the condition of that type, or nil.
func Find(conditions []metav1.Condition, kind string) *metav1.Condition {
	return meta.FindStatusCondition(conditions, kind)
}

// Of turns a fact into a condition status.
func Of(holds bool) metav1.ConditionStatus {
	if holds {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}
