package podset

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

// WriteRevision makes the update revision what it shall be, and returns what became of it. When its name was taken by
// another, the new one has another name, and its event starts the round that uses it. // WL-0.5
func (h Hands) WriteRevision(ctx context.Context, r revision.Resolution) (revision.Resolution, error) {
	switch r.Write {
	case revision.Create:
		return h.createRevision(ctx, r)
	case revision.Renumber:
		before := r.Update.DeepCopy()
		before.Revision, before.Annotations = 0, nil
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := h.Local.Patch(ctx, r.Update.DeepCopy(), patch); err != nil {
			return r, fmt.Errorf("renumber revision %s: %w", r.Update.Name, err)
		}
	}
	return r, nil
}

func (h Hands) createRevision(ctx context.Context, r revision.Resolution) (revision.Resolution, error) {
	for r.Write == revision.Create {
		update := r.Update
		err := h.Local.Create(ctx, update.DeepCopy())
		switch {
		case err == nil:
			return r, nil
		case !apierrors.IsAlreadyExists(err):
			return r, fmt.Errorf("create revision %s: %w", update.Name, err)
		}
		var taken appsv1.ControllerRevision
		if err := h.Live.Get(ctx, client.ObjectKeyFromObject(update), &taken); err != nil {
			return r, fmt.Errorf("look at revision %s, whose name is taken: %w", update.Name, err)
		}
		r = r.Clash(&taken)
	}
	return r, nil
}
