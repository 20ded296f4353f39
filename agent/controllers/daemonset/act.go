package daemonset

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
	"github.com/flotilla-project/flotilla/pkg/event"
)

// Act writes owners and the revision that pods refer to, then the pods, then tidies up. // WL-3.3
func (s *steps) Act(ctx context.Context, ds *kruise.DaemonSet, p *plan) error {
	switch {
	case p.idle:
		s.waiting.news(ds, p) // and is forgotten
		return nil
	case p.wrong != "":
		event.Emit(s.events, ds, event.Warning(p.reason, "%s", p.wrong))
		return nil
	}
	if err := s.settleClaims(ctx, ds, p.claims); err != nil {
		return err
	}
	if err := s.writeHistory(ctx, p); err != nil || p.renamed {
		return err
	}
	s.images.Act(ctx, ds, p.images)
	event.Emit(s.events, ds, s.waiting.news(ds, p)...)
	if err := s.actOnPods(ctx, ds, p); err != nil {
		return err
	}
	if p.steps.Ended {
		s.tidy(ctx, p)
	}
	return nil
}

func (s *steps) actOnPods(ctx context.Context, ds *kruise.DaemonSet, p *plan) error {
	p.steps.Log(ctx)
	err := s.hands.Act(ctx, podset.Set{
		Owner: ds, Pods: p.pods, Hooks: hooksOf(p.set), KeepStateless: true,
		New: p.newPod, Change: p.changeOf, Labels: p.labels,
		Tell: func(d podset.Deed) { s.tell(ds, p, d) },
	}, p.steps.Plan)
	failure, ok := errors.AsType[*podset.Failure](err)
	if !ok || !doomed(failure.Scale) {
		return err
	}
	if failure.Update == nil {
		return nil
	}
	return failure.Update
}

// doomed: the namespace is being deleted, and its pods with it. // WL-3.6
func doomed(err error) bool {
	return err != nil && apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// tell remembers where pods failed, and tells the user what was done.
func (s *steps) tell(ds *kruise.DaemonSet, p *plan, d podset.Deed) {
	if doomed(d.Err) {
		return
	}
	event.Emit(s.events, ds, p.told(d)...)
	if d.Do != podset.Deleted || d.Err != nil {
		return
	}
	for _, f := range p.steps.Failed {
		if f.Pod == d.Pod {
			s.failing.failed(place{ds.UID, ds.Status.ObservedGeneration, f.Slot}, s.clock.Now())
		}
	}
}

func (p *plan) changeOf(pod *corev1.Pod, _ string) (inplace.Spec, error) {
	label := pod.Labels[hashLabel]
	change, ok := p.changes[label]
	if !ok {
		return change, fmt.Errorf("find what changes from revision %q", label)
	}
	return change, nil
}

// writeHistory makes revisions what they shall be. When the name of a new one was taken by another, it gets another name,
// and its event starts the round that uses it. // WL-3.2
func (s *steps) writeHistory(ctx context.Context, p *plan) error {
	for _, r := range p.history.changes {
		err := s.local.Patch(ctx, r.want.DeepCopy(), client.MergeFromWithOptions(r.seen, client.MergeFromWithOptimisticLock{}))
		if err != nil {
			return fmt.Errorf("number and label revision %s: %w", r.seen.Name, err)
		}
	}
	hash := p.history.hash
	for p.history.create {
		if err := s.createRevision(ctx, p); err != nil {
			return err
		}
	}
	p.renamed = p.history.hash != hash
	return s.joinTwins(ctx, p)
}

func (s *steps) createRevision(ctx context.Context, p *plan) error {
	wanted := p.history.current
	err := s.local.Create(ctx, wanted.DeepCopy())
	switch {
	case err == nil:
		p.history.create = false
		return nil
	case !apierrors.IsAlreadyExists(err):
		return fmt.Errorf("create revision %s: %w", wanted.Name, err)
	}
	var taken appsv1.ControllerRevision
	if err := s.live.Get(ctx, client.ObjectKeyFromObject(wanted), &taken); err != nil {
		return fmt.Errorf("look at revision %s, whose name is taken: %w", wanted.Name, err)
	}
	p.history.clash(p.set, &taken)
	return nil
}

// joinTwins brings the pods of revisions that say the same as the current one to its hash, and then deletes those. Pods of
// other revisions keep theirs: they are old, and labelled as new they would stay old for ever. // WL-3.2
func (s *steps) joinTwins(ctx context.Context, p *plan) error {
	for _, twin := range p.history.twins {
		for _, seen := range p.claims.pods {
			if seen.DeletionTimestamp != nil || seen.Labels[hashLabel] != twin.Labels[hashLabel] || seen.Labels[hashLabel] == p.history.hash {
				continue
			}
			pod := seen.DeepCopy()
			metav1.SetMetaDataLabel(&pod.ObjectMeta, hashLabel, p.history.hash)
			if err := s.local.Patch(ctx, pod, client.MergeFromWithOptions(seen, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("relabel pod %s from revision %s to %s: %w", seen.Name, twin.Name, p.history.current.Name, err)
			}
		}
		if err := s.hands.DropRevision(ctx, twin); err != nil {
			return err
		}
	}
	return nil
}

// tidy fails quietly: the next round tries again. // WL-3.2
func (s *steps) tidy(ctx context.Context, p *plan) {
	for _, old := range p.trim {
		if err := s.hands.DropRevision(ctx, old); err != nil {
			log.FromContext(ctx).Error(err, "old revision stays")
		}
	}
}
