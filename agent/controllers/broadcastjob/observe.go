package broadcastjob

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/nodefit"
	"github.com/flotilla-project/flotilla/pkg/index"
)

// seen is what there is of a job.
type seen struct {
	pods  []pod         // by name
	nodes []corev1.Node // by name; shared with the cache and never changed
}

// pod is what is decided on of a pod.
type pod struct {
	name     string
	uid      types.UID
	node     string // it runs on or is meant for
	phase    corev1.PodPhase
	leaving  bool
	again    bool  // restarts its containers when they fail
	restarts int32 // of all its containers
	waits    string
}

// Observe reads the cache.
func (s *steps) Observe(ctx context.Context, job *kruise.BroadcastJob) (seen, error) {
	var found seen
	if finished(job) {
		return found, nil
	}
	pods, err := index.PodsOf(ctx, s.local, job)
	if err != nil {
		return found, err
	}
	for i := range pods {
		if metav1.IsControlledBy(&pods[i], job) { // BJ-4
			found.pods = append(found.pods, factsOf(&pods[i]))
		}
	}
	var nodes corev1.NodeList
	if err := s.local.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
		return found, fmt.Errorf("list nodes: %w", err)
	}
	found.nodes = slices.Clone(nodes.Items)
	slices.SortFunc(found.nodes, func(a, b corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(found.pods, func(a, b pod) int { return cmp.Compare(a.name, b.name) })
	return found, nil
}

func factsOf(p *corev1.Pod) pod {
	f := pod{
		name: p.Name, uid: p.UID, node: nodefit.Target(p), phase: p.Status.Phase, leaving: p.DeletionTimestamp != nil,
		again: p.Spec.RestartPolicy == corev1.RestartPolicyOnFailure, waits: waitsFor(p),
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) { // BJ-9
		f.restarts += c.RestartCount
	}
	return f
}

// done: it has run to its end. // BJ-9
func (p pod) done() bool { return p.phase == corev1.PodSucceeded || p.phase == corev1.PodFailed }

// broken: it failed, or has restarted more often than it may. // BJ-9
func (p pod) broken(limit int32) bool {
	return p.phase == corev1.PodFailed || p.phase != corev1.PodSucceeded && !p.leaving && p.again && p.restarts > limit
}

// waitsFor is what keeps a pod from running, in few words that stay the same while it does; empty when nothing does.
func waitsFor(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason != "" {
			return c.Reason
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch w := c.State.Waiting; {
		case w != nil && w.Reason == "ErrImagePull": // it comes and goes with the next
			return "ImagePullBackOff"
		case c.RestartCount > 0 && c.LastTerminationState.Terminated != nil:
			return fmt.Sprintf("container %s failed and was restarted", c.Name)
		case w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing":
			return w.Reason
		}
	}
	return ""
}
