package imagelistpulljob

import (
	"context"
	"errors"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/batch"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// Reasons of events, which hold blanks. // IL-5
const (
	reasonCreated = "Successful create ImagePullJob"
	reasonDeleted = "Successful delete ImagePullJob"
	reasonFailed  = "FailedCreateImagePullJob"
	reasonInvalid = "InvalidSpec" // ours: without conditions there is no other place to say it
)

// Act deletes children before it creates their successors. // IL-5
func (s *steps) Act(ctx context.Context, list *kruise.ImageListPullJob, p *plan) error {
	if p.remove {
		return s.remove(ctx, list)
	}
	if p.wrong != "" {
		event.Emit(s.events, list, event.Warning(reasonInvalid, "%s", p.wrong))
		return nil
	}
	if p.hash != "" {
		return s.label(ctx, list, p.hash)
	}
	deleted := batch.Each(p.delete, func(c *kruise.ImagePullJob) error {
		if err := s.delete(ctx, c); err != nil {
			return fmt.Errorf("delete ImagePullJob %s: %w", c.Name, err)
		}
		event.Emit(s.events, list, event.Normal(reasonDeleted, "deleted %s for image %s", c.Name, c.Spec.Image))
		return nil
	})
	created := batch.Slowly(p.create, func(c *kruise.ImagePullJob) error {
		made := c.DeepCopy()
		if err := s.local.Create(ctx, made); err != nil {
			return fmt.Errorf("create ImagePullJob for image %s: %w", c.Spec.Image, err)
		}
		event.Emit(s.events, list, event.Normal(reasonCreated, "created %s for image %s", made.Name, made.Spec.Image))
		return nil
	})
	if created != nil {
		event.Emit(s.events, list, event.Warning(reasonFailed, "%v", created))
	}
	return errors.Join(deleted, created)
}

// label patches what anybody may have changed meanwhile: it is about the spec that this round has read. // IL-3
func (s *steps) label(ctx context.Context, list *kruise.ImageListPullJob, hash string) error {
	patched := list.DeepCopy()
	metav1.SetMetaDataLabel(&patched.ObjectMeta, hashLabel, hash)
	if err := s.local.Patch(ctx, patched, client.MergeFromWithOptions(list, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("label list with the hash of its template: %w", err)
	}
	return nil
}

func (s *steps) delete(ctx context.Context, c *kruise.ImagePullJob) error {
	gone := &kruise.ImagePullJob{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name}}
	return client.IgnoreNotFound(s.local.Delete(ctx, gone, client.Preconditions{UID: &c.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground)))
}

func (s *steps) remove(ctx context.Context, list *kruise.ImageListPullJob) error {
	gone := &kruise.ImageListPullJob{ObjectMeta: metav1.ObjectMeta{Namespace: list.Namespace, Name: list.Name}}
	err := s.local.Delete(ctx, gone, client.Preconditions{UID: &list.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete list, whose ttlSecondsAfterFinished has passed: %w", err)
	}
	return nil
}

// Report writes the sums. // IL-6
func (s *steps) Report(list *kruise.ImageListPullJob, _ seen, p *plan, _ error) {
	if !p.over && p.wrong == "" && p.hash == "" {
		list.Status = p.counts
	}
}
