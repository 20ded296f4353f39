package work

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/brake"
	"github.com/flotilla-project/flotilla/agent/link/patch"
)

// removeWork takes a deleted work off the cluster, if the brake lets it. OCM-15.5
func (a *Agent) removeWork(ctx context.Context, work *workv1.ManifestWork, s *state) (time.Duration, error) {
	a.watcher.want(ctx, work.Name, nil)
	if !slices.Contains(work.Finalizers, workv1.ManifestWorkFinalizer) {
		return 0, nil // done, or never begun
	}
	if !a.deps.Online() {
		return offlineLook, nil
	}
	record, err := a.records.get(ctx, work.Name)
	if err != nil {
		return failFirst, err
	}
	if record != nil && record.DeletionTimestamp.IsZero() {
		verdict, err := a.consult(ctx, removal{
			work: work.Name, record: record, objects: endangered(work, record), state: s,
			confirmed: brake.Confirmed(work.Name, work, record),
		})
		if err != nil || !verdict.Go {
			return verdict.After, errors.Join(err, a.hold(ctx, work, record, verdict, s))
		}
	}
	if record != nil && !brake.Excused(work) && !brake.Confirmed(work.Name, record) {
		a.crowd.depart(departed(record.Name, work))
	}
	after, err := a.takeDown(ctx, work, record, s)
	if apierrors.IsConflict(err) {
		return 200 * time.Millisecond, nil
	}
	return after, err
}

// endangered counts the objects that removing the work would delete.
func endangered(work *workv1.ManifestWork, record *workv1.AppliedManifestWork) int {
	n := 0
	for _, r := range record.Status.AppliedResources {
		if !orphans(work.Spec.DeleteOption, r.ResourceIdentifier) {
			n++
		}
	}
	return n
}

// hold says on both sides that the work is held.
func (a *Agent) hold(ctx context.Context, work *workv1.ManifestWork, record *workv1.AppliedManifestWork, v brake.Verdict, s *state) error {
	if v.Held == "" {
		return nil
	}
	if v.Lasting {
		if err := a.markHeld(ctx, record, v.Held); err != nil {
			return err
		}
	}
	next := work.DeepCopy()
	changed := meta.SetStatusCondition(&next.Status.Conditions, metav1.Condition{
		Type: workv1.WorkDeleting, Status: metav1.ConditionFalse, Reason: brake.ReasonHeld, Message: v.Held,
		ObservedGeneration: work.Generation,
	})
	if !changed {
		return nil
	}
	logf.FromContext(ctx).Info("Removal held", "why", v.Held)
	if err := a.write(ctx, work, next, s); client.IgnoreNotFound(err) != nil {
		return err
	}
	return a.warn(ctx, record, v.Held)
}

// markHeld writes on the record why its removal is held until somebody confirms it, so that neither a restart nor the
// departure of others lets it go; empty takes the mark away.
func (a *Agent) markHeld(ctx context.Context, record *workv1.AppliedManifestWork, why string) error {
	next := record.DeepCopy()
	if why == "" {
		delete(next.Annotations, annotationHeld)
	} else {
		metav1.SetMetaDataAnnotation(&next.ObjectMeta, annotationHeld, why)
	}
	if _, err := patch.Metadata(ctx, a.deps.Local, record, next); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("mark AppliedManifestWork as held: %w", err)
	}
	*record = *next
	return nil
}

// takeDown deletes the record and with it the objects; then the work may go.
func (a *Agent) takeDown(ctx context.Context, work *workv1.ManifestWork, record *workv1.AppliedManifestWork, s *state) (time.Duration, error) {
	if record == nil {
		return 0, a.release(ctx, work)
	}
	next := work.DeepCopy()
	meta.SetStatusCondition(&next.Status.Conditions, metav1.Condition{
		Type: workv1.WorkDeleting, Status: metav1.ConditionTrue, Reason: reasonWorkDeleting, Message: "ManifestWork is being deleted",
		ObservedGeneration: work.Generation,
	})
	if err := a.write(ctx, work, next, s); err != nil {
		return failFirst, err
	}
	if record.DeletionTimestamp.IsZero() {
		seen := client.Preconditions{UID: &record.UID}
		if err := a.deps.Local.Delete(ctx, record, seen); client.IgnoreNotFound(err) != nil {
			return failFirst, fmt.Errorf("delete AppliedManifestWork: %w", err)
		}
		fresh, err := a.records.get(ctx, work.Name)
		if err != nil {
			return failFirst, err
		}
		record = fresh
	}
	if record != nil {
		if err := a.clear(ctx, record, work); err != nil {
			s.removals++
			if errors.Is(err, errLeaving) || apierrors.IsConflict(err) {
				err = nil
			}
			return backoff(removeFirst, removeMost, s.removals), err
		}
	}
	return 0, a.release(ctx, next)
}

// release drops our finalizer from the work; its objects are gone.
func (a *Agent) release(ctx context.Context, work *workv1.ManifestWork) error {
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	next := work.DeepCopy()
	next.Finalizers = slices.DeleteFunc(next.Finalizers, func(f string) bool { return f == workv1.ManifestWorkFinalizer })
	if _, err := patch.Metadata(ctx, a.deps.Hub, work, next); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove finalizer: %w", err)
	}
	return nil
}
