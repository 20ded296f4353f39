package imagepulljob

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	beta "github.com/openkruise/kruise-api/apps/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// targets are the NodeImages that the job is for, in the order in which they get it. They are shared with the cache. // IP-4
func (s *steps) targets(ctx context.Context, job *kruise.ImagePullJob) ([]*kruise.NodeImage, error) {
	var list kruise.NodeImageList
	if err := s.local.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list NodeImages: %w", err)
	}
	all := make([]*kruise.NodeImage, 0, len(list.Items))
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			all = append(all, &list.Items[i])
		}
	}
	slices.SortFunc(all, func(a, b *kruise.NodeImage) int { return cmp.Compare(a.Name, b.Name) })
	if job.Spec.PodSelector != nil {
		names, err := s.podNodes(ctx, job)
		return named(all, names), err
	}
	match, err := chosen(job)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(n *kruise.NodeImage) bool { return !match(n) }), nil
}

// chosen tells NodeImages that spec.selector is about.
func chosen(job *kruise.ImagePullJob) (func(*kruise.NodeImage) bool, error) {
	s := job.Spec.Selector
	if s == nil {
		return func(*kruise.NodeImage) bool { return true }, nil
	}
	if len(s.Names) > 0 {
		return func(n *kruise.NodeImage) bool { return slices.Contains(s.Names, n.Name) }, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(&s.LabelSelector)
	if err != nil {
		return nil, fmt.Errorf("read spec.selector: %w", err)
	}
	return func(n *kruise.NodeImage) bool { return selector.Matches(labels.Set(n.Labels)) }, nil
}

func named(all []*kruise.NodeImage, names []string) (some []*kruise.NodeImage) {
	byName := make(map[string]*kruise.NodeImage, len(all))
	for _, n := range all {
		byName[n.Name] = n
	}
	for _, name := range names {
		if n := byName[name]; n != nil {
			some = append(some, n)
			delete(byName, name)
		}
	}
	return some
}

// podNodes are the nodes of the pods that the job selects, those first whose pod is updated first.
func (s *steps) podNodes(ctx context.Context, job *kruise.ImagePullJob) ([]string, error) {
	selector, err := metav1.LabelSelectorAsSelector(&job.Spec.PodSelector.LabelSelector)
	if err != nil {
		return nil, fmt.Errorf("read spec.podSelector: %w", err)
	}
	var list corev1.PodList
	if err := s.local.List(ctx, &list, client.InNamespace(job.Namespace), client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var pods []*corev1.Pod
	for i := range list.Items {
		if settled(&list.Items[i]) {
			pods = append(pods, &list.Items[i])
		}
	}
	before, err := s.order(ctx, job)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(pods, before)
	nodes := make([]string, len(pods))
	for i, pod := range pods {
		nodes[i] = pod.Spec.NodeName
	}
	return nodes, nil
}

// settled: the pod is active and has a node. // SJ-0.2
func settled(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Spec.NodeName != "" && pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded
}

// order is how the workload that the job is for updates its pods. // IP-4
func (s *steps) order(ctx context.Context, job *kruise.ImagePullJob) (func(a, b *corev1.Pod) int, error) {
	owner := metav1.GetControllerOfNoCopy(job)
	if owner == nil || schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).Group != kruise.GroupVersion.Group {
		return byNode, nil
	}
	key := client.ObjectKey{Namespace: job.Namespace, Name: owner.Name}
	switch owner.Kind {
	case "CloneSet":
		var set kruise.CloneSet
		if err := s.local.Get(ctx, key, &set); err != nil {
			return byNode, client.IgnoreNotFound(err)
		}
		return first(priority(set.Spec.UpdateStrategy.PriorityStrategy), leastHealthy), nil
	case "StatefulSet":
		var set beta.StatefulSet
		if err := s.local.Get(ctx, key, &set); err != nil {
			return byNode, client.IgnoreNotFound(err)
		}
		rolling := set.Spec.UpdateStrategy.RollingUpdate
		if rolling == nil || rolling.UnorderedUpdate == nil {
			return highest, nil
		}
		return first(priority(rolling.UnorderedUpdate.PriorityStrategy), highest), nil
	}
	return byNode, nil
}

func byNode(a, b *corev1.Pod) int { return cmp.Compare(a.Spec.NodeName, b.Spec.NodeName) }

type before = func(a, b *corev1.Pod) int

func first(orders ...before) before {
	return func(a, b *corev1.Pod) int {
		for _, order := range orders {
			if c := order(a, b); c != 0 {
				return c
			}
		}
		return byNode(a, b)
	}
}

// priority puts what the strategy weighs more first; one that cannot be read says nothing. // WL-1.11
func priority(strategy *pub.UpdatePriorityStrategy) before {
	weigh, err := podset.Prioritize(strategy)
	if err != nil || weigh == nil {
		return func(*corev1.Pod, *corev1.Pod) int { return 0 }
	}
	return func(a, b *corev1.Pod) int {
		x, y := weigh(a.Labels), weigh(b.Labels)
		return slices.Compare(x[:], y[:])
	}
}

// leastHealthy puts pods first that are not ready, then the youngest. // WL-0.1
func leastHealthy(a, b *corev1.Pod) int {
	return cmp.Or(cmp.Compare(ready(a), ready(b)), b.CreationTimestamp.Compare(a.CreationTimestamp.Time))
}

func ready(pod *corev1.Pod) int {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return 1
		}
	}
	return 0
}

// highest puts the highest ordinal first. // WL-2.10
func highest(a, b *corev1.Pod) int { return cmp.Compare(ordinalOf(b), ordinalOf(a)) }

func ordinalOf(pod *corev1.Pod) int {
	n, err := strconv.Atoi(pod.Name[strings.LastIndex(pod.Name, "-")+1:])
	if err != nil {
		return -1
	}
	return n
}
