package placement

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/pkg/event"
)

// Act writes decision after decision and ends at the first failure: what follows may remove clusters that the failed
// write should have gained.
func (s *Steps) Act(ctx context.Context, p *clusterv1beta1.Placement, todo plan) error {
	if len(todo.writes) > 0 || len(todo.surplus) > 0 {
		log.FromContext(ctx).Info("decide placement", "selected", todo.result.Selected, "write", len(todo.writes), "delete", len(todo.surplus))
	}
	var parked []*clusterv1beta1.PlacementDecision
	for _, w := range todo.writes {
		written, err := s.write(ctx, p, w)
		if err != nil {
			return fmt.Errorf("write PlacementDecision %s: %w", w.slice.Name, err)
		}
		if w.parked {
			parked = append(parked, written)
		}
	}
	for _, d := range slices.Concat(todo.surplus, parked) {
		if err := s.remove(ctx, p, d); err != nil {
			return fmt.Errorf("delete PlacementDecision %s: %w", d.Name, err)
		}
	}
	if len(todo.writes) > 0 && todo.result.Problem == nil {
		event.Emit(s.Events, p, scoreUpdate(todo.result.ScoreText())...)
	}
	return nil
}

// write creates the object if need be, then patches its status, then its labels. OCM-17.1
func (s *Steps) write(ctx context.Context, p *clusterv1beta1.Placement, w write) (*clusterv1beta1.PlacementDecision, error) {
	told := decisionUpdated(p, w.slice.Name)
	have := w.have
	if have == nil {
		have = &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: w.slice.Name, Labels: labelsOf(p, w.slice), OwnerReferences: []metav1.OwnerReference{ownerOf(p)},
		}}
		if err := s.Hub.Create(ctx, have); err != nil {
			return nil, err
		}
		told = decisionCreated(p, w.slice.Name)
	}
	have = have.DeepCopy() // what the cache gave is shared
	if w.status {
		if err := s.patchStatus(ctx, have, w.slice.Decisions); err != nil {
			return nil, err
		}
	}
	if w.meta {
		if err := s.patchMeta(ctx, p, have, w); err != nil {
			return nil, err
		}
	}
	event.Emit(s.Events, p, told)
	return have, nil
}

func (s *Steps) patchStatus(ctx context.Context, have *clusterv1beta1.PlacementDecision, decisions []clusterv1beta1.ClusterDecision) error {
	if decisions == nil {
		decisions = []clusterv1beta1.ClusterDecision{} // the field is required and must not be null
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": have.UID, "resourceVersion": have.ResourceVersion}, // OCM-20.1
		"status":   map[string]any{"decisions": decisions},
	})
	if err != nil {
		return fmt.Errorf("encode decisions: %w", err)
	}
	return s.Hub.Status().Patch(ctx, have, client.RawPatch(types.MergePatchType, patch))
}

// patchMeta sets labels and owner. A decision that something else controls is not ours to take.
func (s *Steps) patchMeta(ctx context.Context, p *clusterv1beta1.Placement, have *clusterv1beta1.PlacementDecision, w write) error {
	if by := metav1.GetControllerOf(have); by != nil && by.Kind != kind {
		return fmt.Errorf("it is controlled by %s %s; delete or rename that", by.Kind, by.Name)
	}
	before := have.DeepCopy()
	have.OwnerReferences = append(withoutController(have.OwnerReferences), ownerOf(p))
	if have.Labels == nil {
		have.Labels = map[string]string{}
	}
	for key, value := range labelsOf(p, w.slice) {
		have.Labels[key] = value
	}
	return s.Hub.Patch(ctx, have, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

func withoutController(refs []metav1.OwnerReference) (left []metav1.OwnerReference) {
	for _, ref := range refs {
		if ref.Controller == nil || !*ref.Controller {
			left = append(left, ref)
		}
	}
	return left
}

func ownerOf(p *clusterv1beta1.Placement) metav1.OwnerReference {
	return *metav1.NewControllerRef(p, schema.GroupVersionKind{Group: clusterv1beta1.GroupName, Version: clusterv1beta1.GroupVersion.Version, Kind: kind})
}

func (s *Steps) remove(ctx context.Context, p *clusterv1beta1.Placement, d *clusterv1beta1.PlacementDecision) error {
	err := s.Hub.Delete(ctx, d.DeepCopy(), client.Preconditions{UID: &d.UID, ResourceVersion: &d.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	event.Emit(s.Events, p, decisionDeleted(p, d.Name))
	return nil
}
