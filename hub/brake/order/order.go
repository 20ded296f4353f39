// Package order deletes ManifestWorks for the controllers of the hub. Where somebody ordered just that – the owner of the
// works is being deleted, or its own spec asks for fewer; their cluster is being deleted – the order travels with the work,
// as the annotation by which people confirm a removal, so that neither admission on the hub nor the agent asks for another
// word. Where works go for another reason, such as a Placement that decides otherwise, nothing is confirmed and the brakes
// judge.
//
// It reads nothing and writes only the work that it is given, as that was seen.
package order

import (
	"context"
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// Delete deletes the work that was looked at, not whatever has its name by now. A work that is gone is no error.
func Delete(ctx context.Context, hub client.Client, work client.Object, confirmed bool) error {
	seen := work.DeepCopyObject().(client.Object)
	if confirmed {
		var err error
		if seen, err = Confirm(ctx, hub, work); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	if !seen.GetDeletionTimestamp().IsZero() {
		return nil
	}
	as := client.Preconditions{UID: new(seen.GetUID()), ResourceVersion: new(seen.GetResourceVersion())}
	return client.IgnoreNotFound(hub.Delete(ctx, seen, as))
}

// Confirm puts the order on a work, which may be on its way out already, and returns it as it is then.
func Confirm(ctx context.Context, hub client.Client, work client.Object) (client.Object, error) {
	changed := work.DeepCopyObject().(client.Object)
	if Confirmed(work) {
		return changed, nil
	}
	annotations := maps.Clone(work.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.AnnotationConfirmRemoval] = work.GetName()
	changed.SetAnnotations(annotations)
	if err := hub.Patch(ctx, changed, client.MergeFromWithOptions(work, client.MergeFromWithOptimisticLock{})); err != nil {
		return nil, fmt.Errorf("confirm the removal: %w", err)
	}
	return changed, nil
}

// Confirmed says that a work carries the order.
func Confirmed(work metav1.Object) bool {
	return work.GetName() != "" && work.GetAnnotations()[v1alpha1.AnnotationConfirmRemoval] == work.GetName()
}
