// Package loop is the one reconcile loop: observe, decide, act, report. It owns what would otherwise be written
// thirty-five times: fetching the object, finalizers, saving the status only when it changed, events for condition
// transitions, and the log line that says why something was done.
//
// It reads and writes the object it reconciles (finalizer and status) and nothing else.
package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/event"
)

// conflictPause is how long a lost race for the status waits for the winner to show in the cache. It is no error.
const conflictPause = 100 * time.Millisecond

// Plan is what Decide wants done.
type Plan interface {
	// Recheck is when time alone will change the answer; 0 is never.
	Recheck() time.Duration
}

// Steps is one controller. Decide gets no context and no client: what it knows is in seen, what it wants is in the plan.
type Steps[T client.Object, S any, P Plan] interface {
	// Observe reads. What is missing is an observation, not an error.
	Observe(ctx context.Context, obj T) (S, error)
	// Decide turns facts into a plan. The same facts always give the same plan.
	Decide(obj T, seen S, now time.Time) P
	// Act carries the plan out; nothing is decided here.
	Act(ctx context.Context, obj T, plan P) error
	// Report writes obj's status in memory, also when Act failed. It says what was observed, never what is hoped for.
	Report(obj T, seen S, plan P, acted error)
}

// Finalizing is implemented by steps that must see a deletion through. The loop adds the finalizer before anything
// is done for an object, and drops it once the plan of a deleting object is Done and was carried out.
type Finalizing interface{ Finalizer() string }

// Done is implemented by the plans of Finalizing steps: nothing is left that the object stands for.
type Done interface{ Done() bool }

// Conditioned is implemented by steps whose condition transitions become events.
type Conditioned[T client.Object] interface {
	Conditions(obj T) []metav1.Condition
}

// Loop reconciles one kind by its Steps.
type Loop[T client.Object, S any, P Plan] struct {
	// Steps is the controller.
	Steps Steps[T, S, P]
	// Client reads the object and writes its finalizer and status.
	Client client.Client
	// Events receives condition transitions; nil drops them.
	Events record.EventRecorder
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
	// New makes an empty T.
	New func() T
}

// Reconcile is one round for the object that the request names.
func (l *Loop[T, S, P]) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	obj := l.New()
	if err := l.Client.Get(ctx, request.NamespacedName, obj); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return l.ReconcileObject(ctx, obj)
}

// ReconcileObject is one round for an object that was just read.
func (l *Loop[T, S, P]) ReconcileObject(ctx context.Context, obj T) (reconcile.Result, error) {
	finalizer, finalizing := l.finalizer()
	leaving := !obj.GetDeletionTimestamp().IsZero()
	if finalizing && leaving && !controllerutil.ContainsFinalizer(obj, finalizer) {
		return reconcile.Result{}, nil
	}
	if finalizing && !leaving {
		if err := l.patchFinalizer(ctx, obj, finalizer, controllerutil.AddFinalizer); err != nil {
			return reconcile.Result{}, fmt.Errorf("add finalizer: %w", err)
		}
	}
	before := obj.DeepCopyObject().(T)
	seen, err := l.Steps.Observe(ctx, obj)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("observe: %w", err)
	}
	plan := l.Steps.Decide(obj, seen, l.now())
	acted := l.Steps.Act(ctx, obj, plan)
	l.Steps.Report(obj, seen, plan, acted)
	if done, ok := any(plan).(Done); ok && finalizing && leaving && acted == nil && done.Done() {
		err := l.patchFinalizer(ctx, obj, finalizer, controllerutil.RemoveFinalizer)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	saved := l.saveStatus(ctx, before, obj)
	if acted == nil && apierrors.IsConflict(saved) {
		return reconcile.Result{RequeueAfter: conflictPause}, nil
	}
	if err := errors.Join(acted, saved); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: plan.Recheck()}, nil
}

func (l *Loop[T, S, P]) finalizer() (string, bool) {
	f, ok := l.Steps.(Finalizing)
	if !ok {
		return "", false
	}
	return f.Finalizer(), true
}

func (l *Loop[T, S, P]) now() time.Time {
	if l.Clock == nil {
		return time.Now()
	}
	return l.Clock.Now()
}

// patchFinalizer leaves the object as it is when change changes nothing.
func (l *Loop[T, S, P]) patchFinalizer(ctx context.Context, obj T, finalizer string, change func(client.Object, string) bool) error {
	before := obj.DeepCopyObject().(T)
	if !change(obj, finalizer) {
		return nil
	}
	// Status is not part of this write; the server's answer would overwrite what Report has set, so patch a copy.
	patched := obj.DeepCopyObject().(T)
	if err := l.Client.Patch(ctx, patched, locked(before)); err != nil {
		return err
	}
	obj.SetResourceVersion(patched.GetResourceVersion())
	obj.SetFinalizers(patched.GetFinalizers())
	return nil
}

// saveStatus writes nothing when nothing changed.
func (l *Loop[T, S, P]) saveStatus(ctx context.Context, before, after T) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	patch, err := statusPatch(before, after)
	if err != nil {
		return fmt.Errorf("make status patch: %w", err)
	}
	err = l.Client.Status().Patch(ctx, after.DeepCopyObject().(T), patch)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("save status: %w", err)
	}
	if c, ok := l.Steps.(Conditioned[T]); ok && l.Events != nil {
		event.Emit(l.Events, after, event.Transitions(c.Conditions(before), c.Conditions(after))...)
	}
	return nil
}

// locked patches only the object that was looked at.
func locked(before client.Object) client.Patch {
	return client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
}

// statusPatch is the merge patch from before to after, for the object that was looked at and no other (OCM-20.1). It
// carries every plain value of the new status, changed or not: a kind may require a counter that is still zero, and the
// stored object has no status at all before the first write.
func statusPatch(before, after client.Object) (client.Patch, error) {
	diff, err := locked(before).Data(after)
	if err != nil {
		return nil, err
	}
	var patch, whole struct {
		Metadata map[string]any `json:"metadata,omitempty"`
		Status   map[string]any `json:"status,omitempty"`
	}
	if err := json.Unmarshal(diff, &patch); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &whole); err != nil {
		return nil, err
	}
	for key, value := range whole.Status {
		switch value.(type) {
		case map[string]any, []any:
		default:
			if patch.Status == nil {
				patch.Status = map[string]any{}
			}
			patch.Status[key] = value
		}
	}
	if patch.Metadata == nil {
		patch.Metadata = map[string]any{}
	}
	patch.Metadata["uid"] = after.GetUID()
	raw, err = json.Marshal(patch)
	return client.RawPatch(types.MergePatchType, raw), err
}
