package daemonset

import (
	"context"
	"fmt"
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// claims is what belongs to a DaemonSet, what comes to it and what leaves it. // WL-0.6
type claims struct {
	pods      []*corev1.Pod // those to adopt included
	revisions []*appsv1.ControllerRevision
	adopt     []client.Object
	release   []client.Object
}

// sortOut goes by the selector: what matches and has no controller is adopted, what no longer matches is let go.
func sortOut(ds *kruise.DaemonSet, selector labels.Selector, found seen) claims {
	var c claims
	for _, pod := range found.pods {
		if c.take(ds, selector, pod) {
			c.pods = append(c.pods, pod)
		}
	}
	for _, r := range found.revisions {
		if c.take(ds, selector, r) {
			c.revisions = append(c.revisions, r)
		}
	}
	return c
}

func (c *claims) take(ds *kruise.DaemonSet, selector labels.Selector, o client.Object) bool {
	owned := metav1.IsControlledBy(o, ds)
	switch {
	case owned && selector.Matches(labels.Set(o.GetLabels())):
		return true
	case owned:
		if o.GetDeletionTimestamp() == nil {
			c.release = append(c.release, o)
		}
		return false
	}
	c.adopt = append(c.adopt, o)
	return true
}

// settleClaims writes owners. Nothing is adopted for a DaemonSet that is gone, leaving, or another by the same name. // WL-0.6
func (s *steps) settleClaims(ctx context.Context, ds *kruise.DaemonSet, c claims) error {
	for _, o := range c.release {
		if err := s.setOwners(ctx, o, others(ds, o)); err != nil {
			return fmt.Errorf("release %s, which no longer matches the selector: %w", o.GetName(), err)
		}
	}
	if len(c.adopt) == 0 {
		return nil
	}
	var there kruise.DaemonSet
	if err := s.live.Get(ctx, client.ObjectKeyFromObject(ds), &there); err != nil {
		return fmt.Errorf("look again before adopting %s: %w", c.adopt[0].GetName(), err)
	}
	if there.UID != ds.UID || there.DeletionTimestamp != nil {
		return fmt.Errorf("adopt %s: the DaemonSet is being deleted", c.adopt[0].GetName())
	}
	for _, o := range c.adopt {
		if err := s.setOwners(ctx, o, append(others(ds, o), ownerRef(ds))); err != nil {
			return fmt.Errorf("adopt %s: %w", o.GetName(), err)
		}
	}
	return nil
}

// others are the owners of the object but for the DaemonSet.
func others(ds *kruise.DaemonSet, o client.Object) []metav1.OwnerReference {
	return slices.DeleteFunc(slices.Clone(o.GetOwnerReferences()), func(r metav1.OwnerReference) bool { return r.UID == ds.UID })
}

// setOwners changes exactly the object that was looked at. One that is gone needs no owner.
func (s *steps) setOwners(ctx context.Context, seen client.Object, owners []metav1.OwnerReference) error {
	want, ok := seen.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("copy %T", seen)
	}
	want.SetOwnerReferences(owners)
	err := s.local.Patch(ctx, want, client.MergeFromWithOptions(seen, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
