package ephemeraljob

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/batch"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// Act carries the plan out. // EJ-8
func (s *steps) Act(ctx context.Context, job *kruise.EphemeralJob, p *plan) error {
	if p.expire {
		return s.expire(ctx, job)
	}
	return batch.Slowly(p.inject, func(t pod) error { return s.inject(ctx, job, t) })
}

// expire removes the job that was looked at. // EJ-3
func (s *steps) expire(ctx context.Context, job *kruise.EphemeralJob) error {
	err := s.local.Delete(ctx, &kruise.EphemeralJob{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}}, client.Preconditions{UID: &job.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete the job, whose time to live has passed: %w", err)
	}
	return nil
}

// inject adds the containers to the pod that was looked at. What else became of the pod meanwhile does not matter: one that has
// a container of the name by now is not changed by the API server. // EJ-9
func (s *steps) inject(ctx context.Context, job *kruise.EphemeralJob, t pod) error {
	patch, err := patchOf(job, t)
	if err != nil {
		return fmt.Errorf("make patch for pod %s: %w", t.name, err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: t.name}}
	err = s.local.SubResource("ephemeralcontainers").Patch(ctx, pod, patch)
	switch {
	case err == nil, apierrors.IsNotFound(err): // gone, or a cluster without ephemeral containers
		return nil
	}
	event.Emit(s.events, job, event.Warning(reasonCreateFailed, "pod %s: %v", t.name, err))
	return fmt.Errorf("add ephemeral containers to pod %s: %w", t.name, err)
}

// patchOf appends containers that carry the job's UID. // EJ-9
func patchOf(job *kruise.EphemeralJob, t pod) (client.Patch, error) {
	containers := job.Spec.DeepCopy().Template.EphemeralContainers
	for i := range containers {
		containers[i].Env = append(slices.Clone(containers[i].Env), corev1.EnvVar{Name: kruise.EphemeralContainerEnvKey, Value: string(job.UID)})
	}
	order := slices.Clone(t.had)
	for _, c := range containers {
		order = append(order, c.Name)
	}
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": t.uid}, "spec": map[string]any{
		"ephemeralContainers": containers, "$setElementOrder/ephemeralContainers": named(order), // without it they would come first
	}})
	return client.RawPatch(types.StrategicMergePatchType, raw), err
}

func named(names []string) (all []map[string]string) {
	for _, name := range names {
		all = append(all, map[string]string{"name": name})
	}
	return all
}
