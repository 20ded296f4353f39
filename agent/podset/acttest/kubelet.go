package acttest

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Run gives the pod the status that a kubelet would, once its containers run: every image has an ID of its own, and the pod
// is Ready when its gates are open. It tells whether that changed anything.
func Run(pod *corev1.Pod, now time.Time) bool {
	before := pod.Status.DeepCopy()
	pod.Status.Phase = corev1.PodRunning
	was := map[string]corev1.ContainerStatus{}
	for _, s := range pod.Status.ContainerStatuses {
		was[s.Name] = s
	}
	pod.Status.ContainerStatuses = nil
	for _, c := range pod.Spec.Containers {
		s := corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: "sha256:" + c.Image, Ready: true, Resources: c.Resources.DeepCopy()}
		if old, ran := was[c.Name]; ran {
			s.RestartCount = old.RestartCount
			if old.Image != c.Image {
				s.RestartCount++
			}
		}
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, s)
	}
	ready := corev1.ConditionTrue
	for _, gate := range pod.Spec.ReadinessGates {
		if status(pod, gate.ConditionType) != corev1.ConditionTrue {
			ready = corev1.ConditionFalse
		}
	}
	set(pod, corev1.ContainersReady, corev1.ConditionTrue, now)
	set(pod, corev1.PodReady, ready, now)
	return !equality.Semantic.DeepEqual(before, &pod.Status)
}

func status(pod *corev1.Pod, t corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range pod.Status.Conditions {
		if c.Type == t {
			return c.Status
		}
	}
	return ""
}

func set(pod *corev1.Pod, t corev1.PodConditionType, to corev1.ConditionStatus, now time.Time) {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == t {
			if c.Status != to {
				*c = corev1.PodCondition{Type: t, Status: to, LastTransitionTime: metav1.NewTime(now)}
			}
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: t, Status: to, LastTransitionTime: metav1.NewTime(now)})
}
