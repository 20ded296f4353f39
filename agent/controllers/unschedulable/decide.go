package unschedulable

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// plan is the answer to write, if it differs from the one that is there.
type plan struct {
	write   bool
	answer  string // empty: take it away
	recheck time.Duration
}

// Recheck is when the next pod has been pending for too long.
func (p plan) Recheck() time.Duration { return p.recheck }

// decide counts the pods that have been unschedulable for too long. WL-5.7
func decide(workload *metav1.PartialObjectMetadata, pods []corev1.Pod, now time.Time) plan {
	before, answered := workload.Annotations[appsv1alpha1.AnnotationUnschedulable]
	seconds, err := strconv.Atoi(workload.Annotations[appsv1alpha1.AnnotationRescheduleCritical])
	if err != nil || seconds < 0 || !workload.DeletionTimestamp.IsZero() {
		return plan{write: answered && workload.DeletionTimestamp.IsZero()}
	}
	count, next := 0, time.Duration(0)
	for i := range pods {
		if !homeless(&pods[i]) {
			continue
		}
		left := pods[i].CreationTimestamp.Add(time.Duration(seconds) * time.Second).Sub(now)
		if left <= 0 {
			count++
		} else if next == 0 || left < next {
			next = left
		}
	}
	answer := strconv.Itoa(count)
	return plan{write: answer != before && (answered || count > 0), answer: answer, recheck: next}
}

// homeless reports a pod that the scheduler found no node for. WL-5.7
func homeless(pod *corev1.Pod) bool {
	if !pod.DeletionTimestamp.IsZero() || pod.Status.Phase != corev1.PodPending || pod.Spec.NodeName != "" {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled {
			return c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
		}
	}
	return false
}
