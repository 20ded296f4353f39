package restart

import (
	"context"
	"errors"
	"fmt"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

// defaultGrace is that of pods. // RX-10
const defaultGrace = 30 * time.Second

// Act stops the container. A runtime that does not answer says nothing about the container: that is tried again; what it
// refuses to stop has failed. // RX-8
func (s *steps) Act(ctx context.Context, r *kruise.ContainerRecreateRequest, p *plan) error {
	if p.kill == nil {
		return nil
	}
	asked := find(r, p.states[p.kill.index].Name)
	err := s.killer.Kill(ctx, p.kill.runtime, podOf(r), p.kill.container, graceOf(r), hookOf(asked), asked.Ports)
	if errors.Is(err, cri.ErrGone) || ctx.Err() != nil {
		p.kill = nil
		return fmt.Errorf("stop container %s: %w", asked.Name, err)
	}
	if !errors.Is(err, cri.ErrNotFound) {
		p.failed = err
	}
	return nil
}

func find(r *kruise.ContainerRecreateRequest, name string) *kruise.ContainerRecreateRequestContainer {
	for i := range r.Spec.Containers {
		if r.Spec.Containers[i].Name == name {
			return &r.Spec.Containers[i]
		}
	}
	return &kruise.ContainerRecreateRequestContainer{Name: name}
}

// podOf is what events need to know of the pod.
func podOf(r *kruise.ContainerRecreateRequest) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: r.Namespace, Name: r.Spec.PodName, UID: types.UID(r.Labels[kruise.ContainerRecreateRequestPodUIDKey]),
	}}
}

func graceOf(r *kruise.ContainerRecreateRequest) time.Duration {
	if grace := strategyOf(r).TerminationGracePeriodSeconds; grace != nil {
		return time.Duration(*grace) * time.Second
	}
	return defaultGrace
}

func hookOf(c *kruise.ContainerRecreateRequestContainer) *corev1.LifecycleHandler {
	if c.PreStop == nil {
		return nil
	}
	return &corev1.LifecycleHandler{Exec: c.PreStop.Exec, HTTPGet: c.PreStop.HTTPGet, TCPSocket: c.PreStop.TCPSocket}
}

// Report records what was decided, and what came of stopping a container. // RX-8, RX-9
func (*steps) Report(r *kruise.ContainerRecreateRequest, _ seen, p *plan, _ error) {
	if p.kill != nil {
		st := &p.states[p.kill.index]
		if *st = (state{Name: st.Name, Phase: phaseRecreating, IsKilled: true}); p.failed != nil {
			*st = state{Name: st.Name, Phase: phaseFailed, Message: fmt.Sprintf("stop container: %v", p.failed)}
		}
	}
	r.Status.Phase, r.Status.ContainerRecreateStates, r.Status.Message = p.phase, p.states, p.message
	if p.phase == phaseCompleted && r.Status.CompletionTime == nil {
		r.Status.CompletionTime = new(metav1.NewTime(p.now))
	}
}
