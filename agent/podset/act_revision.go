package podset

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

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

// DropRevision deletes the revision that was looked at.
func (h Hands) DropRevision(ctx context.Context, r *appsv1.ControllerRevision) error {
	err := h.Local.Delete(ctx, &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name}}, client.Preconditions{UID: &r.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete revision %s: %w", r.Name, err)
	}
	return nil
}

// TrimRevisions deletes revisions that nobody needs any more. It fails quietly: the next round tries again. // WL-0.5
func (h Hands) TrimRevisions(ctx context.Context, old []appsv1.ControllerRevision) {
	for i := range old {
		if err := h.DropRevision(ctx, &old[i]); err != nil {
			log.FromContext(ctx).Error(err, "old revision stays", "revision", old[i].Name)
		}
	}
}

// logged is how many actions of a plan a log line tells.
const logged = 10

// Log tells what a plan will do.
func (p Plan) Log(ctx context.Context) {
	if lines := p.Lines(); len(lines) > 0 {
		log.FromContext(ctx).Info("acting on pods", "actions", len(lines), "first", lines[:min(len(lines), logged)])
	}
}
