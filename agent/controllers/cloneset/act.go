package cloneset

import (
	"context"
	"errors"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// Act writes the revision that pods refer to, then the pods, then tidies up. // WL-1.3
func (s *steps) Act(ctx context.Context, cs *kruise.CloneSet, p *plan) error {
	if p.wrong != "" || cs.DeletionTimestamp != nil {
		return nil // a CloneSet that is leaving takes its children along
	}
	if err := s.writeRevision(ctx, p); err != nil || p.renamed {
		return err
	}
	var released, cleaned error
	for _, pod := range p.release {
		released = errors.Join(released, podset.ReleasePod(ctx, s.local, cs, pod))
	}
	cleaned = s.cleanClaims(ctx, cs, p)
	s.images.Act(ctx, cs, p.images)
	acted := s.actOnPods(ctx, cs, p)
	s.tidy(ctx, cs, p)
	if failure, ok := errors.AsType[*podset.Failure](acted); ok {
		failure.Scale = errors.Join(released, cleaned, failure.Scale)
		return failure
	}
	if err := errors.Join(released, cleaned); err != nil {
		return &podset.Failure{Scale: err}
	}
	return nil
}

func (s *steps) actOnPods(ctx context.Context, cs *kruise.CloneSet, p *plan) error {
	if p.steps.Waiting.Creates > 0 {
		event.Emit(s.events, cs, scaleLimited(p.steps.Waiting.Creates, p.spec.ScaleMaxUnavailable))
	}
	p.steps.Log(ctx)
	return s.hands.Act(ctx, podset.Set{
		Owner: cs, Pods: p.pods, Hooks: p.set.Spec.Lifecycle,
		New: p.newPod, Change: p.changeOf, Labels: p.labels,
		Claims: func(id string) []*corev1.PersistentVolumeClaim { return p.claims.byID[id] },
		Tell:   func(d podset.Deed) { event.Emit(s.events, cs, told(d)) },
	}, p.steps)
}

func (p *plan) changeOf(pod *corev1.Pod, _ string) (inplace.Spec, error) {
	label := pod.Labels[appsv1.ControllerRevisionHashLabelKey]
	for name, change := range p.changes {
		if revision.Same(label, name) {
			return change, nil
		}
	}
	return inplace.Spec{}, fmt.Errorf("find what changes from revision %q", label)
}

// writeRevision notes whether the update revision got another name than the plan was made with.
func (s *steps) writeRevision(ctx context.Context, p *plan) (err error) {
	wanted := p.revisions.Update.Name
	p.revisions, err = s.hands.WriteRevision(ctx, p.revisions)
	p.renamed = err == nil && p.revisions.Update.Name != wanted
	return err
}

// cleanClaims lets nobody reuse the claims of pods that are gone, when the CloneSet says so. // WL-1.4
func (s *steps) cleanClaims(ctx context.Context, cs *kruise.CloneSet, p *plan) error {
	var errs error
	for claim, name := range p.claims.follow {
		pod := p.pods[name]
		after := claim.DeepCopy()
		after.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(pod, corev1.SchemeGroupVersion.WithKind("Pod"))}
		for _, ref := range claim.OwnerReferences {
			if ref.UID != cs.UID {
				after.OwnerReferences = append(after.OwnerReferences, ref)
			}
		}
		err := s.local.Patch(ctx, after, client.MergeFromWithOptions(claim, client.MergeFromWithOptimisticLock{}))
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			err = fmt.Errorf("hand claim %s to pod %s: %w", claim.Name, name, err)
			event.Emit(s.events, cs, claimKept(err))
			errs = errors.Join(errs, err)
		}
	}
	for _, claim := range p.claims.drop {
		errs = errors.Join(errs, podset.DeleteClaim(ctx, s.local, claim))
	}
	return errs
}

// tidy fails quietly: the next round tries again. // WL-1.3 steps 13 and 14
func (s *steps) tidy(ctx context.Context, cs *kruise.CloneSet, p *plan) {
	if p.prune {
		after := cs.DeepCopy()
		after.Spec.ScaleStrategy.PodsToDelete = p.unlisted
		if err := s.local.Patch(ctx, after, client.MergeFromWithOptions(cs, client.MergeFromWithOptimisticLock{})); err != nil {
			log.FromContext(ctx).Error(err, "names of pods that are gone stay in podsToDelete")
		}
	}
	s.hands.TrimRevisions(ctx, p.trim)
}
