package statefulset

import (
	"context"
	"errors"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/ordinal"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// repair puts right who pods and claims belong to, and makes claims that pods wait for. Claims of pods that are about to be
// made are repaired too: from then on they are in use. // WL-2.4, WL-2.8
func (s *steps) repair(ctx context.Context, set *kruise.StatefulSet, p *plan) error {
	var errs error
	for _, c := range p.steps.Create {
		errs = errors.Join(errs, s.ownClaims(ctx, p, c.Slot, metav1.OwnerReference{}, true))
	}
	for _, r := range p.steps.Repair {
		err := s.repairPod(ctx, p, p.pods[r.Pod])
		errs = errors.Join(errs, err)
		event.Emit(s.events, set, repaired(r, err))
	}
	return errs
}

func (s *steps) repairPod(ctx context.Context, p *plan, pod *corev1.Pod) error {
	_, n, _ := ordinal.Parse(pod.Name)
	slot := fmt.Sprint(n)
	if pod.Labels[podNameLabel] != pod.Name {
		after := pod.DeepCopy()
		p.identify(after, slot)
		if err := s.patch(ctx, after, pod); err != nil {
			return fmt.Errorf("label pod %s: %w", pod.Name, err)
		}
	}
	if pod.Status.Phase == corev1.PodPending {
		for _, claim := range p.claims.missing(slot) { // WL-2.6.1
			if err := s.local.Create(ctx, claim); err != nil && !apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("create claim %s for pod %s: %w", claim.Name, pod.Name, err)
			}
		}
	}
	return s.ownClaims(ctx, p, slot, podRef(pod), p.inside[pod.Name])
}

func (s *steps) ownClaims(ctx context.Context, p *plan, slot string, pod metav1.OwnerReference, inside bool) error {
	for _, claim := range p.claims.misowned(slot, pod, inside) {
		after := claim.DeepCopy()
		after.OwnerReferences, _ = p.claims.owners(claim.OwnerReferences, pod, inside)
		if err := s.patch(ctx, after, claim); err != nil {
			return fmt.Errorf("change the owners of claim %s: %w", claim.Name, err)
		}
	}
	return nil
}

// patch changes the object that was looked at; one that is no longer what it was is for the next round.
func (s *steps) patch(ctx context.Context, after, before client.Object) error {
	err := s.local.Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// resize asks for claims as large as their templates. // WL-2.9
func (s *steps) resize(ctx context.Context, set *kruise.StatefulSet, p *plan) error {
	var errs error
	for _, r := range p.steps.Resize {
		_, n, _ := ordinal.Parse(r.Pod)
		for i, claim := range p.claims.of(fmt.Sprint(n)) {
			template := &p.set.Spec.VolumeClaimTemplates[i]
			if claim == nil || claim.DeletionTimestamp != nil || compare(claim, template).compatible {
				continue
			}
			err := s.resizeClaim(ctx, p, claim, template)
			event.Emit(s.events, set, resized(claim, template, err))
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

func (s *steps) resizeClaim(ctx context.Context, p *plan, claim, template *corev1.PersistentVolumeClaim) error {
	if name := claim.Spec.StorageClassName; name != nil && *name != "" {
		var class storagev1.StorageClass
		if err := s.live.Get(ctx, client.ObjectKey{Name: *name}, &class); err != nil {
			return fmt.Errorf("resize claim %s: look at its storage class: %w", claim.Name, err)
		}
		if class.AllowVolumeExpansion == nil || !*class.AllowVolumeExpansion {
			return fmt.Errorf("resize claim %s: storage class %s does not allow it (allowVolumeExpansion)", claim.Name, *name)
		}
	}
	after := claim.DeepCopy()
	after.Spec.Resources = *template.Spec.Resources.DeepCopy()
	if after.Annotations == nil {
		after.Annotations = map[string]string{}
	}
	after.Annotations[resizedAnnotation] = p.set.Name
	if err := s.patch(ctx, after, claim); err != nil {
		return fmt.Errorf("resize claim %s: %w", claim.Name, err)
	}
	return nil
}
