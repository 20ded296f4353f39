package statefulset

import (
	"context"
	"errors"
	"fmt"
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// Act adopts what is the set's own, and otherwise writes the revision that pods refer to, then repairs, then the pods. // WL-2.6
func (s *steps) Act(ctx context.Context, set *kruise.StatefulSet, p *plan) error {
	if p.wrong != "" || set.DeletionTimestamp != nil {
		return nil // a set that is leaving takes its children along
	}
	if len(p.adopt)+len(p.adoptR) > 0 {
		return s.adopt(ctx, set, p) // and its events bring the next round
	}
	if err := s.writeRevision(ctx, p); err != nil || p.renamed {
		return err
	}
	for _, pod := range p.release {
		if err := podset.ReleasePod(ctx, s.local, set, pod); err != nil {
			return &podset.Failure{Update: err}
		}
	}
	p.steps.Log(ctx)
	s.images.Act(ctx, set, p.images)
	if err := s.repair(ctx, set, p); err != nil {
		return &podset.Failure{Update: err} // WL-2.6.1
	}
	acted := s.actOnPods(ctx, set, p)
	resized := s.resize(ctx, set, p)
	s.hands.TrimRevisions(ctx, p.trim)
	return together(acted, resized)
}

func together(acted, update error) error {
	failure, ok := errors.AsType[*podset.Failure](acted)
	if update == nil || !ok && acted != nil {
		return acted
	}
	if !ok {
		return &podset.Failure{Update: update}
	}
	failure.Update = errors.Join(failure.Update, update)
	return failure
}

func (s *steps) actOnPods(ctx context.Context, set *kruise.StatefulSet, p *plan) error {
	for _, r := range p.steps.Refused {
		if misfit(p, r) {
			event.Emit(s.events, set, claimRefused(r))
		}
	}
	return s.hands.Act(ctx, podset.Set{
		Owner: set, Pods: p.pods, Hooks: p.set.Spec.Lifecycle, InOrder: true, KeepStateless: true, TellClaims: true,
		Change: p.changeOf, Labels: p.labels,
		New: func(slot, name string) (*corev1.Pod, []*corev1.PersistentVolumeClaim, error) {
			pod, claims, err := p.newPod(slot, name)
			if err != nil {
				event.Emit(s.events, set, told(podset.Deed{Do: podset.Created, Err: err}))
			}
			return pod, claims, err
		},
		Tell: func(d podset.Deed) { event.Emit(s.events, set, told(d)) },
	}, p.steps.Plan)
}

func (p *plan) changeOf(pod *corev1.Pod, _ string) (inplace.Spec, error) {
	label := pod.Labels[appsv1.ControllerRevisionHashLabelKey]
	if change, ok := p.changes[label]; ok {
		return change, nil
	}
	return inplace.Spec{}, fmt.Errorf("find what changes from revision %q", label)
}

// adopt makes the set the controller of what nobody controls, once a fresh look says that the set is still there. // WL-0.6
func (s *steps) adopt(ctx context.Context, set *kruise.StatefulSet, p *plan) error {
	var live kruise.StatefulSet
	switch err := s.live.Get(ctx, client.ObjectKeyFromObject(set), &live); {
	case err != nil:
		return client.IgnoreNotFound(err)
	case live.UID != set.UID || live.DeletionTimestamp != nil:
		return nil
	}
	var errs error
	for _, pod := range p.adopt {
		errs = errors.Join(errs, s.own(ctx, set, pod, pod.DeepCopy()))
	}
	for i := range p.adoptR {
		errs = errors.Join(errs, s.own(ctx, set, &p.adoptR[i], p.adoptR[i].DeepCopy()))
	}
	return errs
}

func (s *steps) own(ctx context.Context, set *kruise.StatefulSet, seen, owned client.Object) error {
	refs := slices.DeleteFunc(slices.Clone(seen.GetOwnerReferences()), func(r metav1.OwnerReference) bool { return r.UID == set.UID })
	owned.SetOwnerReferences(append(refs, ownerRef(set)))
	err := s.local.Patch(ctx, owned, client.MergeFromWithOptions(seen, client.MergeFromWithOptimisticLock{}))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("adopt %s: %w", seen.GetName(), err)
	}
	return nil
}

// writeRevision notes whether the update revision got another name than the plan was made with.
func (s *steps) writeRevision(ctx context.Context, p *plan) (err error) {
	wanted := p.revisions.Update.Name
	p.revisions, err = s.hands.WriteRevision(ctx, p.revisions)
	p.renamed = err == nil && p.revisions.Update.Name != wanted
	return err
}
