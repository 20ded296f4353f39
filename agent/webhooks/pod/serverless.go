package pod

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Probe writes the probes of markers into a pod, for a provider of virtual nodes to run: whether the pod comes to such a node is
// not known yet. // PM-14
func Probe(pod *corev1.Pod, markers []kruise.PodProbeMarker) error {
	var kept []kruise.PodContainerProbe
	var used []string
	conditions, names := map[string]bool{}, map[string]bool{}
	for _, m := range chosen(pod, markers) {
		for _, p := range m.Spec.Probes {
			name := p.ContainerName + "/" + p.Name
			if p.PodConditionType == "" || conditions[p.PodConditionType] || names[name] || !runs(pod, p.ContainerName) {
				continue
			}
			conditions[p.PodConditionType], names[name] = true, true
			p.MarkerPolicy = nil
			kept = append(kept, p)
			used = append(used, m.Name)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	raw, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode probes: %w", err)
	}
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, kruise.PodProbeMarkerAnnotationKey, string(raw))
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, kruise.PodProbeMarkerListAnnotationKey, strings.Join(slices.Compact(used), ","))
	return nil
}

// chosen are the markers that the pod names, or else those that select it, by name.
func chosen(pod *corev1.Pod, markers []kruise.PodProbeMarker) (all []kruise.PodProbeMarker) {
	named := pod.Annotations[kruise.PodProbeMarkerListAnnotationKey]
	for _, m := range markers {
		selector, err := metav1.LabelSelectorAsSelector(m.Spec.Selector)
		if named != "" && slices.Contains(strings.Split(named, ","), m.Name) || named == "" && err == nil && selector.Matches(labels.Set(pod.Labels)) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b kruise.PodProbeMarker) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// runs says that the pod has such a container for as long as it lives.
func runs(pod *corev1.Pod, name string) bool {
	stays := func(c corev1.Container) bool {
		return c.Name == name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	}
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name }) ||
		slices.ContainsFunc(pod.Spec.InitContainers, stays)
}
