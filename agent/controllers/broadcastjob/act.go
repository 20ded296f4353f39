package broadcastjob

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/batch"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// askAgain is how long after an answer that did not come in time we look what became of the request.
const askAgain = time.Second

// Act carries the plan out.
func (s *steps) Act(ctx context.Context, job *kruise.BroadcastJob, p *plan) error {
	switch {
	case p.wrong != "":
		if !said(job, p.wrong) {
			event.Emit(s.events, job, event.Warning(reasonInvalid, "%s", p.wrong))
		}
		return nil
	case p.expire:
		return s.expire(ctx, job)
	case p.idle:
		return nil
	}
	removed := batch.Each(p.remove, func(r removal) error { return s.remove(ctx, job, r) })
	made := batch.Slowly(p.create, func(node string) error { return s.create(ctx, p, node) }) // BJ-7
	if timedOut(made) {
		p.wait, made = askAgain, nil // it may have been made all the same: what is there says so // BJ-7
	}
	if doomed(made) {
		made = nil
	}
	if err := errors.Join(removed, made); err != nil {
		return err
	}
	event.Emit(s.events, job, p.events...)
	return nil
}

// expire removes the job that was looked at; its pods go with it. // BJ-15
func (s *steps) expire(ctx context.Context, job *kruise.BroadcastJob) error {
	err := s.local.Delete(ctx, &kruise.BroadcastJob{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}},
		client.Preconditions{UID: &job.UID, ResourceVersion: &job.ResourceVersion}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete the job, whose time to live has passed: %w", err)
	}
	return nil
}

// remove deletes that pod and none that has its name by now. What became of it meanwhile does not matter.
func (s *steps) remove(ctx context.Context, job *kruise.BroadcastJob, r removal) error {
	err := s.local.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: r.pod.name}}, client.Preconditions{UID: &r.pod.uid})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, and maybe another by the same name
		return nil
	case err != nil:
		event.Emit(s.events, job, event.Warning(reasonNoDelete, "pod %s: %v", r.pod.name, err))
		return fmt.Errorf("delete pod %s: %w", r.pod.name, err)
	}
	event.Emit(s.events, job, event.Normal(reasonDeleted, "deleted pod %s: %s", r.pod.name, r.why))
	return nil
}

// create makes the pod of a node. Its name is that of the node's pod, so one that was made unnoticed is found instead of
// doubled. // BJ-6, BJ-17
func (s *steps) create(ctx context.Context, p *plan, node string) error {
	pod := p.newPod(node)
	err := s.local.Create(ctx, pod)
	if apierrors.IsAlreadyExists(err) {
		if s.isOurs(ctx, p.job, pod.Name) {
			return nil
		}
		pod = p.newPod(node)
		pod.Name = "" // somebody else has the name
		err = s.local.Create(ctx, pod)
	}
	switch {
	case err == nil:
		atomic.AddInt32(&p.made, 1)
		event.Emit(s.events, p.job, event.Normal(reasonCreated, "created pod %s on node %s", pod.Name, node))
		return nil
	case apierrors.IsTimeout(err), doomed(err):
	default:
		event.Emit(s.events, p.job, event.Warning(reasonNoCreate, "pod on node %s: %v", node, err))
	}
	return fmt.Errorf("create pod on node %s: %w", node, err)
}

func (s *steps) isOurs(ctx context.Context, job *kruise.BroadcastJob, name string) bool {
	var there corev1.Pod
	err := s.live.Get(ctx, client.ObjectKey{Namespace: job.Namespace, Name: name}, &there)
	return err == nil && metav1.IsControlledBy(&there, job)
}

func timedOut(err error) bool { return err != nil && apierrors.IsTimeout(err) }

// doomed: the namespace is being deleted, and the job with it.
func doomed(err error) bool {
	return err != nil && apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
