package federateddeployment

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/hashicorp/go-multierror"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/brake"
	"github.com/flotilla-project/flotilla/hub/brake/order"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/revision"
)

// parallel is how many works are written at a time.
const parallel = 8

// errNameTaken: the name of the new revision belongs to another.
var errNameTaken = errors.New("the revision's name is taken; another is tried")

// refusedError is a write that the API server will refuse again as long as nobody acts.
type refusedError struct{ error }

func (r refusedError) Unwrap() error { return r.error }

// Act writes the revision first, because works name it, then works, and removes last.
func (s *steps) Act(ctx context.Context, obj *v1alpha1.FederatedDeployment, plan Plan) error {
	event.Emit(s.events, obj, tookSteps(obj.Status.Rollout, plan.rollout)...)
	if plan.empty() {
		return nil
	}
	log.FromContext(ctx).Info("carrying out plan", "reasons", reasons(plan))
	if err := s.keepRevision(ctx, plan); err != nil {
		return err
	}
	err := each(plan.works, func(c change) error { return s.writeWork(ctx, obj, c) })
	if err != nil { // half of a move is no reason to go on with the other half
		return err
	}
	err = each(plan.remove, func(r removal) error { return s.removeWork(ctx, obj, r) })
	return errors.Join(err, each(plan.trim, func(r appsv1.ControllerRevision) error { return s.dropRevision(ctx, r) }))
}

func reasons(plan Plan) []string {
	var all []string
	if plan.write != revision.Keep {
		all = append(all, "revision "+plan.update.Name+" is the newest")
	}
	for _, c := range plan.works {
		all = append(all, c.why)
	}
	for _, r := range plan.remove {
		all = append(all, fmt.Sprintf("subset %s leaves %s: %s", r.work.subset(), r.work.cluster(), r.why))
	}
	for _, r := range plan.trim {
		all = append(all, "revision "+r.Name+" is over the limit")
	}
	return all
}

func (s *steps) keepRevision(ctx context.Context, plan Plan) error {
	switch plan.write {
	case revision.Create:
		wanted := plan.update.DeepCopy()
		err := s.hub.Create(ctx, wanted)
		if apierrors.IsAlreadyExists(err) {
			return s.adoptRevision(ctx, plan.update)
		}
		if err != nil {
			return fmt.Errorf("create revision %s: %w", wanted.Name, err)
		}
	case revision.Renumber:
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"revision":%d,"metadata":{"resourceVersion":%q}}`,
			plan.update.Revision, plan.update.ResourceVersion))
		if err := s.hub.Patch(ctx, plan.update.DeepCopy(), patch); err != nil {
			return fmt.Errorf("renumber revision %s: %w", plan.update.Name, err)
		}
	}
	return nil
}

// adoptRevision is content with a revision of the same name that means the same.
func (s *steps) adoptRevision(ctx context.Context, wanted *appsv1.ControllerRevision) error {
	var there appsv1.ControllerRevision
	if err := s.live.Get(ctx, client.ObjectKeyFromObject(wanted), &there); err != nil {
		return fmt.Errorf("get revision %s: %w", wanted.Name, err)
	}
	if len(there.OwnerReferences) == 1 && there.OwnerReferences[0].UID == wanted.OwnerReferences[0].UID && sameData(there.Data.Raw, wanted.Data.Raw) {
		return nil
	}
	return fmt.Errorf("create revision %s: %w", wanted.Name, errNameTaken)
}

func (s *steps) dropRevision(ctx context.Context, r appsv1.ControllerRevision) error {
	if err := client.IgnoreNotFound(s.hub.Delete(ctx, &r, asSeen(&r))); err != nil {
		return fmt.Errorf("delete revision %s: %w", r.Name, err)
	}
	return nil
}

// writeWork makes a work, or changes the one that was looked at.
func (s *steps) writeWork(ctx context.Context, obj *v1alpha1.FederatedDeployment, c change) error {
	var err error
	verb := "create"
	if c.live == nil {
		err = s.hub.Create(ctx, c.want.DeepCopy())
	} else {
		verb = "change"
		err = s.hub.Patch(ctx, towards(c.live, c.want), client.MergeFromWithOptions(c.live, client.MergeFromWithOptimisticLock{}))
	}
	if err != nil {
		err = fmt.Errorf("%s work %s/%s: %w", verb, c.want.Namespace, c.want.Name, err)
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) || apierrors.IsRequestEntityTooLargeError(err) {
			return refusedError{err}
		}
		return err
	}
	event.Emit(s.events, obj, written(c))
	return nil
}

// towards keeps what others have added to the metadata.
func towards(live, want *workv1.ManifestWork) *workv1.ManifestWork {
	changed := live.DeepCopy()
	if changed.Annotations == nil {
		changed.Annotations = map[string]string{}
	}
	maps.Copy(changed.Labels, want.Labels)
	delete(changed.Annotations, v1alpha1.AnnotationStepDownAfter)
	maps.Copy(changed.Annotations, want.Annotations)
	changed.Spec = *want.Spec.DeepCopy()
	return changed
}

func (s *steps) removeWork(ctx context.Context, obj *v1alpha1.FederatedDeployment, r removal) error {
	event.Emit(s.events, obj, removing(r))
	err := order.Delete(ctx, s.hub, r.work.live, r.ordered)
	if err == nil {
		return nil
	}
	if r.confirm != "" && brake.Refused(err) {
		err = fmt.Errorf("%w. To let all go that the Placement no longer decides for, run: %s", err, r.confirm)
	}
	err = fmt.Errorf("delete work %s/%s: %w", r.work.live.Namespace, r.work.live.Name, err)
	if apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) { // the brake of the hub says what to do
		return refusedError{err}
	}
	return err
}

// asSeen deletes the object we looked at, not whatever has its name by now.
func asSeen(o client.Object) client.Preconditions {
	return client.Preconditions{UID: new(o.GetUID()), ResourceVersion: new(o.GetResourceVersion())}
}

// each does something for all items, a few at a time, and collects what failed.
func each[T any](items []T, do func(T) error) error {
	var group multierror.Group
	slots := make(chan struct{}, parallel)
	for _, item := range items {
		slots <- struct{}{}
		group.Go(func() error {
			defer func() { <-slots }()
			return do(item)
		})
	}
	return group.Wait().ErrorOrNil()
}
