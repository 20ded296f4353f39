package pod

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/rand"
)

// Ordered is the condition of admission of pods whose containers start in an order.
const Ordered = "has(object.metadata.annotations) && 'apps.kruise.io/container-launch-priority' in object.metadata.annotations || " +
	"object.spec.containers.exists(c, has(c.env) && c.env.exists(e, e.name == 'KRUISE_CONTAINER_PRIORITY'))"

const (
	// suffix is how much of a generated name is random, and longest how long the rest may be, as the API server has it.
	suffix  = 5
	longest = 63 - suffix
)

// Order puts a barrier before each container of a pod whose containers start in an order: a reference to a key that
// agent/controllers/containerlaunchpriority writes when it is their turn. // CL-1, CL-2
func Order(pod *corev1.Pod) error {
	if len(pod.Spec.Containers) < 2 {
		return nil
	}
	priorities, err := prioritiesOf(pod)
	if err != nil {
		return err
	}
	if slices.Min(priorities) == slices.Max(priorities) {
		return nil
	}
	if pod.Name == "" && pod.GenerateName != "" {
		pod.Name = pod.GenerateName[:min(len(pod.GenerateName), longest)] + rand.String(suffix)
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		c.Env = append(slices.DeleteFunc(c.Env, isBarrier), corev1.EnvVar{
			Name: pub.ContainerLaunchBarrierEnvName,
			ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: pod.Name + "-barrier"}, Key: "p_" + strconv.Itoa(priorities[i]),
			}},
		})
	}
	return nil
}

// isBarrier is that of the pod that this one was copied from.
func isBarrier(e corev1.EnvVar) bool { return e.Name == pub.ContainerLaunchBarrierEnvName }

// prioritiesOf are those of the containers; 0 where nothing is said. // CL-1
func prioritiesOf(pod *corev1.Pod) ([]int, error) {
	all := make([]int, len(pod.Spec.Containers))
	ordered := pod.Annotations[pub.ContainerLaunchPriorityKey] == pub.ContainerLaunchOrdered
	for i := range pod.Spec.Containers {
		if ordered {
			all[i] = -i
			continue
		}
		for _, e := range pod.Spec.Containers[i].Env {
			if e.Name != pub.ContainerLaunchPriorityEnvName {
				continue
			}
			n, err := strconv.Atoi(e.Value)
			if err != nil {
				return nil, fmt.Errorf("container %s: environment variable %s must be an integer, not %q", pod.Spec.Containers[i].Name, e.Name, e.Value)
			}
			all[i] = n
		}
	}
	return all, nil
}
