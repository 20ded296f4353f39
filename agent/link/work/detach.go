package work

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

// Detach lets go of all that an agent applied and leaves it running: its objects lose their owner reference first,
// so that no garbage collection takes them for orphans of a record, and then the records go. What cannot be released
// keeps its record. OCM-7.3
func Detach(ctx context.Context, local client.Client, acting func(*workv1.AppliedManifestWork) (dynamic.Interface, error), agentID string,
	say func(record *workv1.AppliedManifestWork, objects int, err error),
) error {
	var records workv1.AppliedManifestWorkList
	if err := local.List(ctx, &records); err != nil {
		return fmt.Errorf("list AppliedManifestWorks: %w", err)
	}
	var all error
	for i := range records.Items {
		record := &records.Items[i]
		if record.Spec.AgentID != agentID {
			continue
		}
		objects, err := letGo(ctx, local, acting, record)
		say(record, objects, err)
		if err != nil {
			all = errors.Join(all, fmt.Errorf("let go of %s: %w", record.Name, err))
		}
	}
	return all
}

// letGo releases one record's objects and then removes the record. It counts the objects that stay.
func letGo(ctx context.Context, local client.Client, acting func(*workv1.AppliedManifestWork) (dynamic.Interface, error), record *workv1.AppliedManifestWork) (int, error) {
	c, err := acting(record)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range record.Status.AppliedResources {
		there, failed := releaseOne(ctx, c, record, r)
		if there {
			n++
		}
		err = errors.Join(err, failed)
	}
	if err != nil {
		return n, err
	}
	next := record.DeepCopy()
	next.Finalizers = slices.DeleteFunc(next.Finalizers, func(f string) bool { return f == workv1.AppliedManifestWorkFinalizer })
	if _, err := patch.Metadata(ctx, local, record, next); client.IgnoreNotFound(err) != nil {
		return n, fmt.Errorf("remove finalizer: %w", err)
	}
	if err := local.Delete(ctx, next, client.Preconditions{UID: &record.UID}); client.IgnoreNotFound(err) != nil {
		return n, fmt.Errorf("delete AppliedManifestWork: %w", err)
	}
	return n, nil
}

// releaseOne takes the record's owner reference off an object, and reports whether the object is there.
func releaseOne(ctx context.Context, c dynamic.Interface, record *workv1.AppliedManifestWork, r workv1.AppliedManifestResourceMeta) (bool, error) {
	place := in(c, schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Resource}, r.Namespace)
	live, err := place.Get(ctx, r.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get %s %s: %w", r.Resource, r.Name, err)
	}
	owners, changed := own(live.GetOwnerReferences(), reference(record), true)
	if !changed {
		return true, nil
	}
	if _, err := setOwners(ctx, place, live, owners); err != nil && !apierrors.IsNotFound(err) {
		return true, fmt.Errorf("release %s %s: %w", r.Resource, r.Name, err)
	}
	return true, nil
}
