package podset

import (
	"slices"
	"strings"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	life "github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

// templateHashLabel is the hash of a pod's revision alone. // WL-1.5
const templateHashLabel = appsv1.DefaultDeploymentUniqueLabelKey

// Lens is what a kind knows that turns its pods into facts. The zero value
// sees a set without hooks, priorities and spreading.
type Lens struct {
	// SlotLabel holds the slot of a pod.
	SlotLabel string
	// Revision is the full name of what a pod's revision label means, and the
	// label itself when it means nothing that is known.
	Revision func(label string) string
	Hooks    *pub.Lifecycle
	ToDelete []string // names that a user wants deleted
	// Priority is the update priority of a pod with these labels: Priority.
	Priority func(labels.Set) [2]int64
	Scatter  kruise.UpdateScatterStrategy
	// Spread holds topology keys, and Nodes the labels of the nodes by name.
	Spread []string
	Nodes  map[string]map[string]string
}

// Facts is what the engine needs to know of the pod.
func (l Lens) Facts(pod *corev1.Pod) Pod {
	label := pod.Labels[appsv1.ControllerRevisionHashLabelKey]
	revision := label
	if l.Revision != nil {
		revision = l.Revision(label)
	}
	var hooks pub.Lifecycle
	if l.Hooks != nil {
		hooks = *l.Hooks
	}
	_, labelled := pod.Labels[kruise.SpecifiedDeleteKey]
	p := Pod{
		Name:        pod.Name,
		Slot:        pod.Labels[l.SlotLabel],
		Revision:    revision,
		Node:        pod.Spec.NodeName,
		Phase:       phaseOf(pod),
		Terminating: pod.DeletionTimestamp != nil,
		Created:     pod.CreationTimestamp.Time,

		State:     State(life.Of(pod)),
		InPlace:   inPlaceOf(pod),
		Marked:    labelled || slices.Contains(l.ToDelete, pod.Name), // WL-1.8
		Cost:      ParseCost(pod.Annotations[corev1.PodDeletionCost]),
		LacksHash: label != "" && pod.Labels[templateHashLabel] == "",

		HookedDelete:    life.Hooked(hooks.PreDelete, pod),
		HookedUpdate:    life.Hooked(hooks.InPlaceUpdate, pod),
		AllHookedUpdate: life.AllHooked(hooks.InPlaceUpdate, pod),
		AllHookedNormal: life.AllHooked(hooks.PreNormal, pod),
		Blocked:         BlockedBy(pod),
	}
	p.Ready, p.ReadySince = readyOf(pod)
	gate := life.Condition(pod, pub.InPlaceUpdateReady)
	p.GateClosed = gate != nil && gate.Status != corev1.ConditionTrue // WL-1.7
	p.Restarts, p.SidecarRestarts = restartsOf(pod)
	if l.Priority != nil {
		p.Priority = l.Priority(pod.Labels)
	}
	for i, term := range l.Scatter {
		if value, ok := pod.Labels[term.Key]; ok && value == term.Value && i < 64 {
			p.Scatter |= 1 << i
		}
	}
	for _, key := range l.Spread {
		p.Domains = append(p.Domains, l.Nodes[pod.Spec.NodeName][key])
	}
	return p
}

// HooksOf says which hooks a set has.
func HooksOf(l *pub.Lifecycle) *Lifecycle {
	if l == nil {
		return nil
	}
	hook := func(h *pub.LifecycleHook) *Hook {
		if h == nil {
			return nil
		}
		return &Hook{MarkNotReady: h.MarkPodNotReady}
	}
	return &Lifecycle{PreNormal: hook(l.PreNormal), InPlaceUpdate: hook(l.InPlaceUpdate), PreDelete: hook(l.PreDelete)}
}

// Prioritize turns a priority strategy into a function of a pod's labels; nil
// when there is none. // WL-1.11
func Prioritize(s *pub.UpdatePriorityStrategy) (func(labels.Set) [2]int64, error) {
	switch {
	case s == nil || len(s.WeightPriority)+len(s.OrderPriority) == 0:
		return nil, nil
	case len(s.WeightPriority) > 0:
		return byWeight(s.WeightPriority)
	default:
		return byOrder(s.OrderPriority), nil
	}
}

func byWeight(terms []pub.UpdatePriorityWeightTerm) (func(labels.Set) [2]int64, error) {
	selectors := make([]labels.Selector, len(terms))
	for i := range terms {
		var err error
		if selectors[i], err = metav1.LabelSelectorAsSelector(&terms[i].MatchSelector); err != nil {
			return nil, err
		}
	}
	return func(pod labels.Set) [2]int64 {
		sum := 0
		for i, s := range selectors {
			if s.Matches(pod) {
				sum += int(terms[i].Weight)
			}
		}
		return WeightPriority(sum)
	}, nil
}

func byOrder(terms []pub.UpdatePriorityOrderTerm) func(labels.Set) [2]int64 {
	return func(pod labels.Set) [2]int64 {
		for i, term := range terms {
			if value, ok := pod[term.OrderedKey]; ok {
				return OrderPriority(i, value)
			}
		}
		return OrderPriority(-1, "")
	}
}

func phaseOf(pod *corev1.Pod) Phase {
	switch pod.Status.Phase {
	case corev1.PodRunning:
		return Running
	case corev1.PodSucceeded, corev1.PodFailed:
		return Finished
	case corev1.PodUnknown:
		return Unknown
	default:
		return Pending
	}
}

func readyOf(pod *corev1.Pod) (bool, time.Time) {
	c := life.Condition(pod, corev1.PodReady)
	if c == nil || c.Status != corev1.ConditionTrue {
		return false, time.Time{}
	}
	return true, c.LastTransitionTime.Time
}

var dueSteps = map[inplace.Step]Step{
	inplace.DropGrace: DropGrace, inplace.ApplyGrace: ApplyNow, inplace.ApplyNext: NextBatch, inplace.MakeReady: OpenGate,
}

func inPlaceOf(pod *corev1.Pod) InPlace {
	p := inplace.Next(pod)
	return InPlace{Done: p.Done, Grace: p.Grace, Due: dueSteps[p.Due], NotBefore: p.NotBefore, Why: p.Why}
}

// restartsOf are the highest restart counts: of regular containers, and of init
// containers that run beside them. // WL-0.1
func restartsOf(pod *corev1.Pod) (regular, sidecars int32) {
	for _, s := range pod.Status.ContainerStatuses {
		regular = max(regular, s.RestartCount)
	}
	for _, s := range pod.Status.InitContainerStatuses {
		if slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
			return c.Name == s.Name && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}) {
			sidecars = max(sidecars, s.RestartCount)
		}
	}
	return regular, sidecars
}

// longestWhy is how much of a scheduler's words fits in a message with other culprits.
const longestWhy = 200

// BlockedBy is why a pod cannot become ready by itself, in the API's own word. Of what a scheduler says the first sentence
// counts the nodes and names what they lack; the rest is about other pods.
func BlockedBy(pod *corev1.Pod) string {
	if c := life.Condition(pod, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
		if why, _, _ := strings.Cut(c.Message, ". "); why != "" && len(why) <= longestWhy {
			return c.Reason + " (" + why + ")"
		}
		return c.Reason
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range statuses {
			if w := s.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
				return w.Reason
			}
		}
	}
	return inplace.ResizeBlocked(pod)
}
