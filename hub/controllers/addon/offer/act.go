package offer

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Act makes, changes and then takes away. What is refused on one cluster stops no other.
func (s *Steps) Act(ctx context.Context, _ *offer, p plan) error {
	var errs []error
	for _, a := range p.create {
		errs = append(errs, s.install(ctx, a.DeepCopy()))
	}
	for _, c := range p.change {
		errs = append(errs, s.write(ctx, c))
	}
	for _, r := range p.remove {
		errs = append(errs, s.remove(ctx, r))
	}
	return errors.Join(errs...)
}

// install leaves out a cluster whose namespace is not there or on its way out; it is looked at again.
func (s *Steps) install(ctx context.Context, a *installation) error {
	err := s.Hub.Create(ctx, a)
	switch {
	case err == nil:
		log.FromContext(ctx).Info("install add-on", "cluster", a.Namespace, "why", "a placement selects the cluster")
	case apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
	case apierrors.IsForbidden(err) && apierrors.HasStatusCause(err, "NamespaceTerminating"):
	default:
		return fmt.Errorf("install on cluster %s: %w", a.Namespace, err)
	}
	return nil
}

// write patches first the object, then its status. Whoever was faster wakes the offer again. OCM-20.1
func (s *Steps) write(ctx context.Context, c change) error {
	is := c.live.DeepCopy()
	if !equality.Semantic.DeepEqual(c.live.ObjectMeta, c.want.ObjectMeta) {
		before := is.DeepCopy()
		is.Annotations, is.OwnerReferences = c.want.Annotations, c.want.OwnerReferences
		if err := s.Hub.Patch(ctx, is, locked(before)); err != nil {
			return lost(err, "patch add-on of cluster "+c.live.Namespace)
		}
	}
	if equality.Semantic.DeepEqual(c.live.Status, c.want.Status) {
		return nil
	}
	is.Status = c.live.Status
	before := is.DeepCopy()
	is.Status = c.want.Status
	log.FromContext(ctx).V(1).Info("configure add-on", "cluster", is.Namespace, "configs", len(is.Status.ConfigReferences))
	if err := s.Hub.Status().Patch(ctx, is, locked(before)); err != nil {
		return lost(err, "patch status of add-on of cluster "+c.live.Namespace)
	}
	return nil
}

func locked(before client.Object) client.Patch {
	return client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
}

// lost races are no errors.
func lost(err error, what string) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// remove deletes the installation that was looked at.
func (s *Steps) remove(ctx context.Context, r removal) error {
	log.FromContext(ctx).Info("uninstall add-on", "cluster", r.live.Namespace, "why", r.why)
	err := s.Hub.Delete(ctx, r.live.DeepCopy(), client.Preconditions{UID: &r.live.UID, ResourceVersion: &r.live.ResourceVersion})
	if err != nil {
		return lost(err, "uninstall from cluster "+r.live.Namespace)
	}
	return nil
}
