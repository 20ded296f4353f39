package imagepulljob

import (
	"context"
	"errors"
	"fmt"
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Act writes secrets, then places orders for nodes; a job that is over lets go of everything first and then goes. // SJ-6
func (s *steps) Act(ctx context.Context, job *kruise.ImagePullJob, p *plan) error {
	if p.protect {
		return s.protect(ctx, job)
	}
	if err := s.writeSecrets(ctx, p.secrets); err != nil {
		return err
	}
	if len(p.nodes) > 0 {
		log.FromContext(ctx).V(1).Info("asking nodes", "image", job.Spec.Image, "nodes", len(p.nodes))
		s.orders.place(p.order, p.nodes)
	}
	if p.end != "" || p.release || p.remove || job.DeletionTimestamp != nil {
		s.orders.withdraw(job.UID)
	}
	if p.release {
		if err := s.unprotect(ctx, job); err != nil {
			return err
		}
	}
	if p.remove {
		return s.remove(ctx, job)
	}
	return nil
}

// protect keeps the job until its secrets are released, also where no webhook did it. // IP-1
func (s *steps) protect(ctx context.Context, job *kruise.ImagePullJob) error {
	patched := job.DeepCopy()
	patched.Finalizers = append(patched.Finalizers, Finalizer)
	if err := s.local.Patch(ctx, patched, client.MergeFromWithOptions(job, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("add finalizer: %w", err)
	}
	return nil
}

func (s *steps) unprotect(ctx context.Context, job *kruise.ImagePullJob) error {
	patched := job.DeepCopy()
	patched.Finalizers = slices.DeleteFunc(patched.Finalizers, func(f string) bool { return f == Finalizer })
	err := s.local.Patch(ctx, patched, client.MergeFromWithOptions(job, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove finalizer: %w", err)
	}
	return nil
}

func (s *steps) remove(ctx context.Context, job *kruise.ImagePullJob) error {
	err := s.local.Delete(ctx, &kruise.ImagePullJob{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}},
		client.Preconditions{UID: &job.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete job, whose ttlSecondsAfterFinished has passed: %w", err)
	}
	return nil
}

// writeSecrets tells no secret's contents: an error names the object only.
func (s *steps) writeSecrets(ctx context.Context, w secrets) (errs error) {
	for _, secret := range w.create {
		if err := s.local.Create(ctx, secret.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
			errs = errors.Join(errs, fmt.Errorf("copy pull secret %s to namespace %s: %w", secret.Annotations[sourceKeyNote], secret.Namespace, err))
		}
	}
	for _, pair := range w.update {
		err := s.local.Patch(ctx, pair.Want, client.MergeFromWithOptions(pair.Is, client.MergeFromWithOptimisticLock{}))
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("update copy %s of a pull secret: %w", pair.Is.Name, err))
		}
	}
	for _, secret := range w.delete {
		gone := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name}}
		seen := client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion}
		if err := s.local.Delete(ctx, gone, seen); client.IgnoreNotFound(err) != nil {
			errs = errors.Join(errs, fmt.Errorf("delete copy %s of a pull secret: %w", secret.Name, err))
		}
	}
	return errs
}
