package work

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	workv1 "open-cluster-management.io/api/work/v1"
)

// fate is what happens to an object that its work no longer wants.
type fate int

const (
	forget  fate = iota // it is gone, another one by now, or not ours
	release             // others own it too, or it is to stay: take our reference away
	destroy             // delete it, and keep it listed until it is gone
	leaving             // already being deleted: keep it listed
)

// judge decides from the live object; nil is one that is not there. OCM-15.4
func judge(live *unstructured.Unstructured, uid string, record *workv1.AppliedManifestWork, orphan bool) fate {
	if live == nil || uid != "" && string(live.GetUID()) != uid {
		return forget
	}
	owners := live.GetOwnerReferences()
	ours, others := false, false
	for _, o := range owners {
		if o.Kind != recordKind || o.APIVersion != workv1.GroupVersion.String() {
			continue
		}
		if o.UID == record.UID {
			ours = true
		} else if o.Name != record.Name {
			others = true
		}
	}
	switch {
	case !ours:
		return forget
	case orphan || others:
		return release
	case live.GetDeletionTimestamp() != nil:
		return leaving
	default:
		return destroy
	}
}

// remove carries out the fate of one listed object. It reports whether the object needs no further attention.
func remove(ctx context.Context, c dynamic.Interface, record *workv1.AppliedManifestWork, id workv1.AppliedManifestResourceMeta, orphan bool) (bool, error) {
	gvr := schema.GroupVersionResource{Group: id.Group, Version: id.Version, Resource: id.Resource}
	place := in(c, gvr, id.Namespace)
	live, err := place.Get(ctx, id.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("get %s %s: %w", id.Resource, id.Name, err)
	}
	if apierrors.IsNotFound(err) {
		live = nil
	}
	switch judge(live, id.UID, record, orphan) {
	case release:
		owners, _ := own(live.GetOwnerReferences(), reference(record), true)
		if _, err := setOwners(ctx, place, live, owners); err != nil && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("release %s %s: %w", id.Resource, id.Name, err)
		}
		return true, nil
	case destroy:
		background, uid := metav1.DeletePropagationBackground, live.GetUID()
		err := place.Delete(ctx, id.Name, metav1.DeleteOptions{
			PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid},
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("delete %s %s: %w", id.Resource, id.Name, err)
		}
		return false, nil // gone only once a read says so
	case leaving:
		return false, nil
	default:
		return true, nil
	}
}

// obsolete lists what a record holds and a work no longer wants. The API version does not count, so moving a
// manifest to another version of its group deletes nothing. sure is false when some manifest could not be told
// apart from the listed objects; then nothing may be removed. OCM-15.4
func obsolete(record *workv1.AppliedManifestWork, manifests []*manifest) (gone []workv1.AppliedManifestResourceMeta, sure bool) {
	wanted := map[objectKey]bool{}
	for _, m := range manifests {
		if m.broken != nil || m.unread != nil {
			return nil, false
		}
		if !m.readOnly() {
			wanted[m.key()] = true
		}
	}
	if len(manifests) == 0 {
		return nil, false // a work without manifests is refused at admission; one all the same is no order
	}
	for _, r := range record.Status.AppliedResources {
		if !wanted[objectKey{r.Group, r.Resource, r.Namespace, r.Name}] {
			gone = append(gone, r)
		}
	}
	return gone, true
}

// held lists what the record stands for after a round: what was applied now, what was applied before and failed
// now, and what is still to go.
func held(record *workv1.AppliedManifestWork, manifests []*manifest, leaving []workv1.AppliedManifestResourceMeta, sure bool) []workv1.AppliedManifestResourceMeta {
	var out []workv1.AppliedManifestResourceMeta
	fresh := map[objectKey]bool{}
	wanted := map[objectKey]bool{}
	for _, m := range manifests {
		wanted[m.key()] = true
		if m.failed != nil || m.live == nil || m.readOnly() {
			continue
		}
		fresh[m.key()] = true
		out = append(out, workv1.AppliedManifestResourceMeta{
			ResourceIdentifier: identifier(m.meta), Version: m.meta.Version, UID: string(m.live.GetUID()),
		})
	}
	for _, r := range record.Status.AppliedResources {
		key := objectKey{r.Group, r.Resource, r.Namespace, r.Name}
		if !fresh[key] && (wanted[key] || !sure || slices.Contains(leaving, r)) {
			out = append(out, r)
		}
	}
	return out
}
