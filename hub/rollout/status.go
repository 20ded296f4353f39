package rollout

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

// Status is what a cluster has made of the wanted content. OCM-18.4
type Status int

const (
	// New has not been given the content.
	New Status = iota
	// ToApply was given it and has not said anything about it.
	ToApply
	// Progressing is at it.
	Progressing
	// Succeeded is through.
	Succeeded
	// Failed is at it and degraded.
	Failed
)

func (s Status) String() string {
	return [...]string{"New", "ToApply", "Progressing", "Succeeded", "Failed"}[s]
}

// Judge reads the status of a cluster, and since when, from the conditions of a work that carries the wanted content.
// With derive it takes Applied and Available for success where no Progressing is to be expected: an extension, without
// which OCM's rollouts never complete unless a rule yields Progressing. Such a success is not older than given, the time
// when the content was given: neither condition moves when content is replaced. OCM-18.4
func Judge(conditions []metav1.Condition, generation int64, derive bool, given time.Time) (Status, time.Time) {
	current := func(kind string) *metav1.Condition {
		c := meta.FindStatusCondition(conditions, kind)
		if c == nil || c.ObservedGeneration != generation {
			return nil
		}
		return c
	}
	applied, progressing, degraded := current(workv1.WorkApplied), current(workv1.WorkProgressing), current(workv1.WorkDegraded)
	switch {
	case applied == nil || applied.Status != metav1.ConditionTrue:
		return ToApply, time.Time{}
	case degraded == nil && meta.FindStatusCondition(conditions, workv1.WorkDegraded) != nil:
		return ToApply, time.Time{}
	case progressing == nil && derive && meta.FindStatusCondition(conditions, workv1.WorkProgressing) == nil:
		return derived(applied, current(workv1.WorkAvailable), degraded, given)
	case progressing == nil:
		return ToApply, time.Time{}
	case progressing.Status == metav1.ConditionTrue && degraded != nil && degraded.Status == metav1.ConditionTrue:
		return Failed, degraded.LastTransitionTime.Time
	case progressing.Status == metav1.ConditionFalse:
		return Succeeded, progressing.LastTransitionTime.Time
	}
	return Progressing, progressing.LastTransitionTime.Time
}

// derived does without Progressing.
func derived(applied, available, degraded *metav1.Condition, given time.Time) (Status, time.Time) {
	switch {
	case degraded != nil && degraded.Status == metav1.ConditionTrue:
		return Failed, latest(given, degraded)
	case available != nil && available.Status == metav1.ConditionTrue:
		return Succeeded, latest(given, applied, available)
	}
	return Progressing, latest(given, applied)
}

func latest(t time.Time, conditions ...*metav1.Condition) time.Time {
	for _, c := range conditions {
		if c.LastTransitionTime.After(t) {
			t = c.LastTransitionTime.Time
		}
	}
	return t
}
