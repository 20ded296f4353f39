package cloneset

import (
	"maps"
	"slices"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

// telling lets through what may be news to a CloneSet of its pods: gate CloneSetEventHandlerOptimization. Beside what the
// clause lists it lets through that a pod has ended, which must be replaced, and why one cannot become ready, which the
// status says. // WL-1.16
func telling(resources bool) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, was := e.ObjectOld.(*corev1.Pod)
		after, is := e.ObjectNew.(*corev1.Pod)
		return !was || !is || changed(before, after) || carriedOn(after, resources)
	}}
}

func changed(before, after *corev1.Pod) bool {
	return !equality.Semantic.DeepEqual(metav1.GetControllerOfNoCopy(before), metav1.GetControllerOfNoCopy(after)) ||
		!maps.Equal(before.Labels, after.Labels) || before.Generation != after.Generation ||
		!slices.Equal(before.Finalizers, after.Finalizers) || // those of hooks among them
		isTrue(before, corev1.PodReady) != isTrue(after, corev1.PodReady) ||
		before.Status.Phase != after.Status.Phase || podset.BlockedBy(before) != podset.BlockedBy(after)
}

// carriedOn says that an update in place may be brought to its end.
func carriedOn(pod *corev1.Pod, resources bool) bool {
	if !lifecycle.HasGate(pod, pub.InPlaceUpdateReady) && lifecycle.Of(pod) == lifecycle.Normal {
		return false
	}
	return (resources || !isTrue(pod, pub.InPlaceUpdateReady)) && inplace.Shown(pod)
}

func isTrue(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	c := lifecycle.Condition(pod, kind)
	return c != nil && c.Status == corev1.ConditionTrue
}
