package inplace

import (
	"fmt"
	"strings"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/agent/podset/containermeta"
)

// Shown says that the containers which an update has reached so far show it; others may be left for later. // WL-1.16
func Shown(pod *corev1.Pod) bool {
	state := stateOf(pod)
	return state == nil || unfinished(pod, state) == ""
}

// unfinished names what may not show the update yet; empty when everything does. // WL-4.7
func unfinished(pod *corev1.Pod, state *pub.InPlaceUpdateState) string {
	statuses, reported := statusesOf(pod), containermeta.Of(pod)
	if state.UpdateEnvFromMetadata {
		if why := oldEnv(pod, statuses, reported); why != "" {
			return why
		}
	}
	if state.UpdateResources {
		if why := oldResources(pod, statuses); why != "" {
			return why
		}
	}
	if reported != nil && shown(pod, statuses, reported, plainly) == "" {
		return ""
	}
	return oldImage(pod, statuses, state)
}

func statusesOf(pod *corev1.Pod) map[string]*corev1.ContainerStatus {
	all := make(map[string]*corev1.ContainerStatus, len(pod.Status.ContainerStatuses))
	for i := range pod.Status.ContainerStatuses {
		all[pod.Status.ContainerStatuses[i].Name] = &pod.Status.ContainerStatuses[i]
	}
	return all
}

// oldEnv names a container that may still have its old environment. // WL-4.12.7
func oldEnv(pod *corev1.Pod, statuses map[string]*corev1.ContainerStatus, reported map[string]pub.RuntimeContainerMeta) string {
	if reported == nil {
		return "its environment comes from metadata, and no node daemon has reported it"
	}
	name := shown(pod, statuses, reported, func(c *corev1.Container, h pub.RuntimeContainerHashes) bool {
		return h.ExtractedEnvFromMetadataHash == containermeta.ExpectedEnv(pod, c)
	})
	if name == "" {
		return ""
	}
	return fmt.Sprintf("container %s has not been seen with its new environment", name)
}

// plainly says that the container is the one that runs. Kubelets before 1.31 hash more than we do; then images decide.
func plainly(c *corev1.Container, h pub.RuntimeContainerHashes) bool {
	want := containermeta.Plain(c)
	return h.PlainHash == want || h.PlainHashWithoutResources == want
}

// shown names a container whose report is missing, of an earlier container or another one; empty when all fit.
func shown(pod *corev1.Pod, statuses map[string]*corev1.ContainerStatus, reported map[string]pub.RuntimeContainerMeta,
	fits func(*corev1.Container, pub.RuntimeContainerHashes) bool,
) string {
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		status, meta := statuses[c.Name], reported[c.Name]
		if status == nil || meta.Name == "" || meta.ContainerID != status.ContainerID || !fits(c, meta.Hashes) {
			return c.Name
		}
	}
	return ""
}

// oldImage names a container that may still run its old image.
func oldImage(pod *corev1.Pod, statuses map[string]*corev1.ContainerStatus, state *pub.InPlaceUpdateState) string {
	images := map[string]string{}
	for i := range pod.Spec.Containers {
		images[pod.Spec.Containers[i].Name] = pod.Spec.Containers[i].Image
	}
	for i := range pod.Status.ContainerStatuses {
		s := &pod.Status.ContainerStatuses[i]
		last, recorded := state.LastContainerStatuses[s.Name]
		if recorded && s.ImageID == last.ImageID && s.Image != tagged(images[s.Name]) {
			return fmt.Sprintf("container %s still runs its old image", s.Name)
		}
	}
	for name := range state.LastContainerStatuses {
		if statuses[name] == nil {
			return fmt.Sprintf("container %s has no status", name)
		}
	}
	return ""
}

// tagged is the image as a status shows it.
func tagged(image string) string {
	if image != "" && !strings.Contains(image, ":") {
		return image + ":latest"
	}
	return image
}
