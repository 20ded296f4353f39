// Package index holds the field indexes of the cache, each beside the one typed lookup that knows its key.
package index

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ownerUID indexes objects by the UID of every owner they name, controllers or not.
const ownerUID = "metadata.ownerReferences.uid"

// ByOwner makes objects of a kind findable by the UIDs of their owners. Registering a kind twice is an error of the
// cache, so each kind is registered once, by the list of controllers.
func ByOwner(ctx context.Context, indexer client.FieldIndexer, kinds ...client.Object) error {
	for _, kind := range kinds {
		if err := indexer.IndexField(ctx, kind, ownerUID, Owners); err != nil {
			return fmt.Errorf("index %T by owner: %w", kind, err)
		}
	}
	return nil
}

// orphan is the key of objects that nothing controls, and no UID.
const orphan = "none"

// Owners are the keys of ByOwner; a fake client registers it under Key.
func Owners(o client.Object) []string {
	var uids []string
	if metav1.GetControllerOfNoCopy(o) == nil {
		uids = append(uids, orphan)
	}
	for _, ref := range o.GetOwnerReferences() {
		uids = append(uids, string(ref.UID))
	}
	return uids
}

// Key is the name of the owner index, for tests that build a fake client.
const Key = ownerUID

// PodsOf lists the pods that name owner. They are shared with the cache: read only.
func PodsOf(ctx context.Context, r client.Reader, owner client.Object) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := list(ctx, r, owner, &pods)
	return pods.Items, err
}

// OrphanPods lists the pods of a namespace that nothing controls. They are shared with the cache: read only.
func OrphanPods(ctx context.Context, r client.Reader, namespace string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := listBy(ctx, r, namespace, orphan, &pods)
	return pods.Items, err
}

// OrphanRevisions lists the ControllerRevisions of a namespace that nothing controls. They are shared with the cache: read
// only.
func OrphanRevisions(ctx context.Context, r client.Reader, namespace string) ([]appsv1.ControllerRevision, error) {
	var revisions appsv1.ControllerRevisionList
	err := listBy(ctx, r, namespace, orphan, &revisions)
	return revisions.Items, err
}

// ClaimsOf lists the PersistentVolumeClaims that name owner. They are shared with the cache: read only.
func ClaimsOf(ctx context.Context, r client.Reader, owner client.Object) ([]corev1.PersistentVolumeClaim, error) {
	var claims corev1.PersistentVolumeClaimList
	err := list(ctx, r, owner, &claims)
	return claims.Items, err
}

// RevisionsOf lists the ControllerRevisions that owner controls. They are shared with the cache: read only.
func RevisionsOf(ctx context.Context, r client.Reader, owner client.Object) ([]appsv1.ControllerRevision, error) {
	var revisions appsv1.ControllerRevisionList
	if err := list(ctx, r, owner, &revisions); err != nil {
		return nil, err
	}
	kept := revisions.Items[:0]
	for _, revision := range revisions.Items {
		if metav1.IsControlledBy(&revision, owner) {
			kept = append(kept, revision)
		}
	}
	return kept, nil
}

// Children lists into the objects of its kind that name owner, which are shared with the cache: read only.
func Children(ctx context.Context, r client.Reader, owner client.Object, into client.ObjectList) error {
	return list(ctx, r, owner, into)
}

// JobsOf lists the Jobs that name owner. They are shared with the cache: read only.
func JobsOf(ctx context.Context, r client.Reader, owner client.Object) ([]batchv1.Job, error) {
	var jobs batchv1.JobList
	err := list(ctx, r, owner, &jobs)
	return jobs.Items, err
}

// BroadcastJobsOf lists the BroadcastJobs that name owner. They are shared with the cache: read only.
func BroadcastJobsOf(ctx context.Context, r client.Reader, owner client.Object) ([]kruise.BroadcastJob, error) {
	var jobs kruise.BroadcastJobList
	err := list(ctx, r, owner, &jobs)
	return jobs.Items, err
}

func list(ctx context.Context, r client.Reader, owner client.Object, into client.ObjectList) error {
	if err := listBy(ctx, r, owner.GetNamespace(), string(owner.GetUID()), into); err != nil {
		return fmt.Errorf("list what %s/%s owns: %w", owner.GetNamespace(), owner.GetName(), err)
	}
	return nil
}

func listBy(ctx context.Context, r client.Reader, namespace, key string, into client.ObjectList) error {
	return r.List(ctx, into, client.InNamespace(namespace), client.MatchingFields{ownerUID: key}, client.UnsafeDisableDeepCopy)
}
