package podset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/pkg/batch"
)

// Hands carry plans out. They write pods and claims, each write on the
// condition that the object is what the plan saw, and decide nothing: a write
// that lost a race is left to the next plan, which the winner's event brings.
type Hands struct {
	Local client.Client
	// Live reads past the cache, once per write that lost a race.
	Live  client.Reader
	Clock clock.PassiveClock
}

// Set is what a kind adds to a plan so that it can be carried out.
type Set struct {
	Owner client.Object
	// Pods are those the plan was made from, by name. They are never changed.
	Pods  map[string]*corev1.Pod
	Hooks *pub.Lifecycle
	// New makes the pod of a slot and the claims it lacks.
	New func(slot, revision string) (*corev1.Pod, []*corev1.PersistentVolumeClaim, error)
	// Claims are those that go with the pod of a slot.
	Claims func(slot string) []*corev1.PersistentVolumeClaim
	// Change is how a pod is brought to a revision in place.
	Change func(pod *corev1.Pod, revision string) (inplace.Spec, error)
	// Labels are what a pod of the revision carries.
	Labels func(revision string) map[string]string
	// InOrder makes pods one after the other, and none after one that could not be made. // WL-2.6
	InOrder bool
	// TellClaims tells of claims that were made, too. // WL-2.15
	TellClaims bool
	// KeepStateless leaves a pod without lifecycle state without one when it is updated in place. // WL-2.12, WL-3.8
	KeepStateless bool
	// Tell hears of each action that succeeded or failed; it may be called
	// from several goroutines at once.
	Tell func(Deed)
}

// Deed is one action that was tried.
type Deed struct {
	Do  Action
	Pod string // or claim
	Why string
	Err error
}

// Action is what was tried.
type Action uint8

// Actions that users hear of.
const (
	Created Action = iota
	Deleted
	UpdatedInPlace
	MarkedForRecreate
)

// Failure is what went wrong while a plan was carried out; the rest of the
// plan was carried out all the same.
type Failure struct {
	Scale  error // creating and deleting
	Update error // everything else
}

// Error names the first of each kind and counts the others.
func (f *Failure) Error() string { return errors.Join(f.Scale, f.Update).Error() }

// Unwrap lets errors.Is see what happened.
func (f *Failure) Unwrap() []error { return []error{f.Scale, f.Update} }

// Act carries the plan out. What it returns is nil or a *Failure. Refused pods
// are none: trying again does not help them, and the kind reports them.
func (h Hands) Act(ctx context.Context, set Set, plan Plan) error {
	now := h.Clock.Now().Truncate(time.Second) // the API server keeps no more
	refreshed := batch.Each(plan.Refresh, func(r Refresh) error { return h.refresh(ctx, set, r, now) })
	deleted := batch.Each(plan.Delete, func(d Delete) error { return h.delete(ctx, set, d) })
	updated := batch.Each(plan.Update, func(u Update) error { return h.update(ctx, set, u, now) })
	inBatches := batch.Slowly[Create] // WL-0.8
	if set.InOrder {
		inBatches = batch.InTurn[Create]
	}
	created := inBatches(plan.Create, func(c Create) error { return h.create(ctx, set, c) })

	f := &Failure{Scale: errors.Join(deleted, created), Update: errors.Join(refreshed, updated)}
	if f.Scale == nil && f.Update == nil {
		return nil
	}
	return f
}

// lostRace says that the object is no longer what the plan saw. That is no
// failure: its event is on the way, and the next plan sees what it is now.
func lostRace(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err) || isAnother(err)
}

// isAnother says that the name belongs to another object by now: a patch with
// the old UID tries to change an immutable field, says the API server.
func isAnother(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsInvalid(err) || status.ErrStatus.Details == nil {
		return false
	}
	return slices.ContainsFunc(status.ErrStatus.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

func (h Hands) create(ctx context.Context, set Set, c Create) error {
	pod, claims, err := set.New(c.Slot, c.Revision)
	if err != nil {
		return fmt.Errorf("make pod for slot %s: %w", c.Slot, err)
	}
	for _, claim := range claims { // WL-1.9: a pod's claims come before it
		err := h.Local.Create(ctx, claim)
		if err != nil && !apierrors.IsAlreadyExists(err) {
			err = fmt.Errorf("create claim %s for slot %s: %w", claim.Name, c.Slot, err)
			set.tell(Deed{Created, claim.Name, c.Why, err})
			return err
		}
		if set.TellClaims && err == nil {
			set.tell(Deed{Created, claim.Name, c.Why, nil})
		}
	}
	made := pod.DeepCopy()
	err = h.Local.Create(ctx, made)
	if err == nil {
		pod = made // its name may be the server's choice
	}
	if apierrors.IsAlreadyExists(err) && h.isOurs(ctx, set, pod) {
		return nil // an earlier plan made it, and its event is on the way
	}
	if err != nil {
		err = fmt.Errorf("create pod %s: %w", pod.Name, err)
	}
	set.tell(Deed{Created, pod.Name, c.Why, err})
	return err
}

func (h Hands) isOurs(ctx context.Context, set Set, pod *corev1.Pod) bool {
	var there corev1.Pod
	err := h.Live.Get(ctx, client.ObjectKeyFromObject(pod), &there)
	return err == nil && metav1.IsControlledBy(&there, set.Owner) && there.DeletionTimestamp == nil
}

// delete removes the pod and then its claims: a claim that went first could
// belong to a pod that stays after all.
func (h Hands) delete(ctx context.Context, set Set, d Delete) error {
	pod, ok := set.Pods[d.Pod]
	if !ok {
		return nil
	}
	err := h.Local.Delete(ctx, named(pod), client.Preconditions{UID: &pod.UID, ResourceVersion: &pod.ResourceVersion})
	switch {
	case apierrors.IsConflict(err):
		return nil
	case client.IgnoreNotFound(err) != nil:
		err = fmt.Errorf("delete pod %s: %w", pod.Name, err)
		set.tell(Deed{Deleted, pod.Name, d.Why, err})
		return err
	}
	set.tell(Deed{Deleted, pod.Name, d.Why, nil})
	if set.Claims == nil {
		return nil
	}
	for _, claim := range set.Claims(d.Slot) { // WL-1.4
		if err := DeleteClaim(ctx, h.Local, claim); err != nil {
			set.tell(Deed{Deleted, claim.Name, d.Why, err})
			return err
		}
	}
	return nil
}

// DeleteClaim deletes the claim that was looked at.
func DeleteClaim(ctx context.Context, c client.Client, claim *corev1.PersistentVolumeClaim) error {
	err := c.Delete(ctx, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: claim.Namespace, Name: claim.Name}},
		client.Preconditions{UID: &claim.UID})
	if err != nil && !lostRace(err) {
		return fmt.Errorf("delete claim %s: %w", claim.Name, err)
	}
	return nil
}

func (s Set) tell(d Deed) {
	if s.Tell != nil {
		s.Tell(d)
	}
}
