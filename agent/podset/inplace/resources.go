package inplace

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

// resizable are the resources of a container that change while it runs. // WL-4.6
var resizable = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}

// isResource recognises /spec/containers/<i>/resources/{limits,requests}/{cpu,memory}.
func isResource(path []string) bool {
	return len(path) == 6 && path[3] == "resources" && (path[4] == "limits" || path[4] == "requests") &&
		slices.Contains(resizable, corev1.ResourceName(path[5]))
}

// resize takes another limit or request of a container.
func (s *Spec) resize(container, kind string, name corev1.ResourceName, text, path string) error {
	amount, err := resource.ParseQuantity(text)
	if err != nil {
		return &NotPossible{path, "it is no amount"}
	}
	r := s.ContainerResources[container]
	if kind == "limits" {
		put(&r.Limits, name, amount)
	} else {
		put(&r.Requests, name, amount)
	}
	put(&s.ContainerResources, container, r)
	return nil
}

// fits completes the requests that a template leaves to its limits, as for a new pod, and refuses resources with which the
// pod would be of another QoS class: the API server does. // WL-4.6
func (s *Spec) fits(from, to *corev1.PodTemplateSpec) error {
	if len(s.ContainerResources) == 0 {
		return nil
	}
	for i := range to.Spec.Containers {
		c := &to.Spec.Containers[i]
		r, changes := s.ContainerResources[c.Name]
		for name, amount := range r.Limits {
			if _, given := c.Resources.Requests[name]; !given {
				put(&r.Requests, name, amount)
			}
		}
		if changes {
			s.ContainerResources[c.Name] = r
		}
	}
	if was, is := qosOf(&from.Spec), qosOf(&to.Spec); was != is {
		return &NotPossible{"/spec/containers", fmt.Sprintf("resources that make a %s pod %s cannot", was, is)}
	}
	return nil
}

// qosOf is the class that a pod with this spec is of.
func qosOf(spec *corev1.PodSpec) corev1.PodQOSClass {
	all := slices.Concat(requirements(spec.InitContainers), requirements(spec.Containers))
	if spec.Resources != nil && len(spec.Resources.Limits)+len(spec.Resources.Requests) > 0 {
		all = []corev1.ResourceRequirements{*spec.Resources} // what a pod has as a whole decides alone
	}
	best, guaranteed := true, true
	for _, r := range all {
		for _, name := range resizable {
			limit, limited := r.Limits[name]
			request, asked := r.Requests[name]
			best = best && limit.IsZero() && request.IsZero()
			guaranteed = guaranteed && limited && !limit.IsZero() && (!asked || request.Cmp(limit) == 0)
		}
	}
	switch {
	case best:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

func requirements(containers []corev1.Container) []corev1.ResourceRequirements {
	all := make([]corev1.ResourceRequirements, len(containers))
	for i := range containers {
		all[i] = containers[i].Resources
	}
	return all
}

// interrupts says that the pod cannot serve while it changes. Resources alone change under a running container, unless it
// asks to be restarted for one of them. // WL-4.6
func (s *Spec) interrupts(pod *corev1.Pod) bool {
	if len(s.ContainerResources) == 0 || len(s.ContainerImages)+len(s.ContainerRefMetadata) > 0 {
		return true
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		r := s.ContainerResources[c.Name]
		if slices.ContainsFunc(c.ResizePolicy, func(p corev1.ContainerResizePolicy) bool {
			return p.RestartPolicy == corev1.RestartContainer && (differs(r.Limits, c.Resources.Limits, p.ResourceName) || differs(r.Requests, c.Resources.Requests, p.ResourceName))
		}) {
			return true
		}
	}
	return false
}

func differs(wanted, has corev1.ResourceList, name corev1.ResourceName) bool {
	want, asked := wanted[name]
	is := has[name]
	return asked && want.Cmp(is) != 0
}

// Resized is seen with the resources of the changed pod and nothing else of it, for the endpoint that takes only those; nil
// when they are the same. // WL-4.6
func Resized(seen, changed *corev1.Pod) *corev1.Pod {
	var resized *corev1.Pod
	for i := range min(len(seen.Spec.Containers), len(changed.Spec.Containers)) {
		want := changed.Spec.Containers[i].Resources
		if equality.Semantic.DeepEqual(seen.Spec.Containers[i].Resources, want) {
			continue
		}
		if resized == nil {
			resized = seen.DeepCopy()
		}
		resized.Spec.Containers[i].Resources = *want.DeepCopy()
	}
	return resized
}

// oldResources names a container that does not run with the resources of its spec. // WL-4.6
func oldResources(pod *corev1.Pod, statuses map[string]*corev1.ContainerStatus) string {
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		status := statuses[c.Name]
		if status == nil {
			return fmt.Sprintf("container %s has no status", c.Name)
		}
		var has corev1.ResourceRequirements
		if status.Resources != nil {
			has = *status.Resources
		}
		if why := oldAmount("limit", c.Resources.Limits, has.Limits) + oldAmount("request", c.Resources.Requests, has.Requests); why != "" {
			return fmt.Sprintf("container %s still runs with%s", c.Name, why)
		}
	}
	return ""
}

func oldAmount(kind string, wanted, has corev1.ResourceList) (text string) {
	for _, name := range resizable {
		want, is := wanted[name], has[name]
		if want.Cmp(is) != 0 {
			text += fmt.Sprintf(" %s %s %s", name, kind, is.String())
		}
	}
	return text
}

// ResizeBlocked is why the pod does not get the resources that its spec asks for; empty when it gets or has them.
func ResizeBlocked(pod *corev1.Pod) string {
	if c := lifecycle.Condition(pod, corev1.PodResizePending); c != nil && c.Status == corev1.ConditionTrue {
		return "Resize" + c.Reason + because(c.Message) // Infeasible or Deferred
	}
	if c := lifecycle.Condition(pod, corev1.PodResizeInProgress); c != nil && c.Status == corev1.ConditionTrue && c.Reason == corev1.PodReasonError {
		return "ResizeError" + because(c.Message)
	}
	return ""
}

// longestWhy is how much of a kubelet's words fits in a message with other culprits.
const longestWhy = 200

func because(message string) string {
	if message == "" || len(message) > longestWhy {
		return ""
	}
	return " (" + message + ")"
}
