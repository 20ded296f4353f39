package workset

import (
	"context"
	"fmt"

	"github.com/hashicorp/go-multierror"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/hub/brake/order"
)

// parallel is how many works are written at a time.
const parallel = 16

// Act writes works and then deletes. One cluster that refuses does not hold the others.
func (s *Steps) Act(ctx context.Context, obj *set, p plan) error {
	if n := len(p.create) + len(p.update) + len(p.relabel) + len(p.remove); n == 0 {
		return nil
	}
	log.FromContext(ctx).Info("carrying out plan", "create", len(p.create), "update", len(p.update), "relabel", len(p.relabel),
		"delete", len(p.remove), "reasons", reasons(p))
	var failed *multierror.Error
	return multierror.Append(failed,
		each(p.create, func(c change) error { return s.create(ctx, obj, c) }),
		each(p.update, func(c change) error { return s.patch(ctx, c) }),
		each(p.relabel, func(c change) error { return s.patch(ctx, c) }),
		each(p.remove, func(r removal) error { return s.remove(ctx, r) }),
	).ErrorOrNil()
}

// takenError: what has the name of a work is none of the set's.
type takenError struct{ error }

// reasons are each told once: a thousand clusters have a few between them.
func reasons(p plan) map[string]int {
	count := map[string]int{}
	for _, r := range p.remove {
		count[r.why]++
	}
	if len(p.create) > 0 {
		count["clusters are selected"] = len(p.create)
	}
	if len(p.update) > 0 {
		count["the template changed"] = len(p.update)
	}
	return count
}

func (s *Steps) create(ctx context.Context, obj *set, c change) error {
	err := s.Hub.Create(ctx, c.want.DeepCopy())
	if apierrors.IsAlreadyExists(err) {
		return s.taken(ctx, obj, c)
	}
	if err != nil {
		return fmt.Errorf("create work in %s: %w", c.want.Namespace, err)
	}
	return nil
}

// taken is content with a work that the cache does not show yet.
func (s *Steps) taken(ctx context.Context, obj *set, c change) error {
	var there workv1.ManifestWork
	if err := s.Live.Get(ctx, client.ObjectKeyFromObject(c.want), &there); err != nil {
		return client.IgnoreNotFound(err)
	}
	if there.Labels[workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey] == labelOf(obj) {
		return nil
	}
	return takenError{fmt.Errorf("create work in %s: %s is there and does not carry the label %s=%s; put the label back or delete it",
		there.Namespace, there.Name, workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey, labelOf(obj))}
}

// patch writes what differs, all in one. Who lost a race is woken by the winner's write.
func (s *Steps) patch(ctx context.Context, c change) error {
	err := s.Hub.Patch(ctx, c.want.DeepCopy(), client.MergeFromWithOptions(c.live, client.MergeFromWithOptimisticLock{}))
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("change work %s/%s: %w", c.live.Namespace, c.live.Name, err)
	}
	return nil
}

// remove deletes the work that was looked at, with the order for it where there is one.
func (s *Steps) remove(ctx context.Context, r removal) error {
	if err := order.Delete(ctx, s.Hub, r.work, r.ordered); err != nil {
		return fmt.Errorf("delete work %s/%s, because %s: %w", r.work.Namespace, r.work.Name, r.why, err)
	}
	return nil
}

// each does something for all items, a few at a time, and collects what failed.
func each[T any](items []T, do func(T) error) error {
	var group multierror.Group
	slots := make(chan struct{}, parallel)
	for _, item := range items {
		slots <- struct{}{}
		group.Go(func() error {
			defer func() { <-slots }()
			return do(item)
		})
	}
	return group.Wait().ErrorOrNil()
}
