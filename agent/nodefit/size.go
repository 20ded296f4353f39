package nodefit

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// Asked is what a pod of the template asks for.
func Asked(template *corev1.PodTemplateSpec) corev1.ResourceList {
	return resource.PodRequests(&corev1.Pod{Spec: template.Spec}, resource.PodResourcesOptions{})
}

// Lacking is a resource of which the node has less to give than is asked for, whatever else runs there; empty if there is none.
func Lacking(node *corev1.Node, asked corev1.ResourceList) corev1.ResourceName {
	var lacking []corev1.ResourceName
	for name, quantity := range asked {
		if has := node.Status.Allocatable[name]; !quantity.IsZero() && quantity.Cmp(has) > 0 {
			lacking = append(lacking, name)
		}
	}
	// A node that does not say how many pods it can hold was never asked by a kubelet; it may hold one.
	if pods, said := node.Status.Allocatable[corev1.ResourcePods]; said && pods.Value() < 1 {
		lacking = append(lacking, corev1.ResourcePods)
	}
	if len(lacking) == 0 {
		return ""
	}
	return slices.Min(lacking)
}
