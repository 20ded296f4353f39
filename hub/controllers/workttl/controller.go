// Package workttl deletes ManifestWorks that have completed and whose time is over. It reads ManifestWorks and deletes
// those that ask for it by deleteOption.ttlSecondsAfterFinished; it writes nothing else.
//
// It promises never to delete a work before its second, nor one that it has not just seen completed, nor one of a
// ManifestWorkReplicaSet, which would make it again. OCM-13.4
package workttl

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=work.open-cluster-management.io,resources=manifestworks,verbs=get;list;watch;delete

// Name of the controller.
const Name = "workttl"

// Options are what the controller needs besides its manager.
type Options struct {
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
}

// Register adds the controller to a manager.
func Register(m ctrl.Manager, o Options) error {
	return ctrl.NewControllerManagedBy(m).Named(Name).
		For(&workv1.ManifestWork{}, builder.WithPredicates(predicate.NewPredicateFuncs(concerned))).
		Complete(newLoop(m.GetClient(), o.Clock))
}

func newLoop(hub client.Client, now clock.PassiveClock) *loop.Loop[*workv1.ManifestWork, struct{}, plan] {
	return &loop.Loop[*workv1.ManifestWork, struct{}, plan]{Steps: steps{hub}, Client: hub, Clock: now,
		New: func() *workv1.ManifestWork { return &workv1.ManifestWork{} }}
}

// concerned leaves the many works out that never end.
func concerned(o client.Object) bool {
	w, ok := o.(*workv1.ManifestWork)
	return ok && ends(w) != nil
}

// ends is when the time of a work is over; nil is never.
func ends(w *workv1.ManifestWork) *time.Time {
	if w.Spec.DeleteOption == nil || w.Spec.DeleteOption.TTLSecondsAfterFinished == nil || !w.DeletionTimestamp.IsZero() {
		return nil
	}
	if _, made := w.Labels[workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey]; made {
		return nil
	}
	complete := meta.FindStatusCondition(w.Status.Conditions, workv1.WorkComplete)
	if complete == nil || complete.Status != metav1.ConditionTrue {
		return nil
	}
	return new(complete.LastTransitionTime.Add(time.Duration(*w.Spec.DeleteOption.TTLSecondsAfterFinished) * time.Second))
}

// plan deletes a work, or waits for its second.
type plan struct {
	remove bool
	left   time.Duration
}

// Recheck is when the time is over.
func (p plan) Recheck() time.Duration { return p.left }

func decide(w *workv1.ManifestWork, now time.Time) plan {
	end := ends(w)
	if end == nil {
		return plan{}
	}
	if left := end.Sub(now); left > 0 {
		return plan{left: left}
	}
	return plan{remove: true}
}

type steps struct{ hub client.Client }

// Observe has nothing to read but the work.
func (steps) Observe(context.Context, *workv1.ManifestWork) (struct{}, error) { return struct{}{}, nil }

// Decide compares the clock with the end.
func (steps) Decide(w *workv1.ManifestWork, _ struct{}, now time.Time) plan { return decide(w, now) }

// Act deletes the work that was looked at: one that changed in between may not be complete any more.
func (s steps) Act(ctx context.Context, w *workv1.ManifestWork, p plan) error {
	if !p.remove {
		return nil
	}
	log.FromContext(ctx).Info("delete completed work", "ttlSeconds", *w.Spec.DeleteOption.TTLSecondsAfterFinished)
	err := s.hub.Delete(ctx, w.DeepCopy(), client.Preconditions{UID: &w.UID, ResourceVersion: &w.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete completed work: %w", err)
	}
	return nil
}

// Report has nothing to say: the work's status is its agent's.
func (steps) Report(*workv1.ManifestWork, struct{}, plan, error) {}
