package advancedcronjob

import (
	"context"
	"fmt"
	"maps"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/flotilla-project/flotilla/pkg/batch"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// Act carries the plan out. What shall be replaced goes first.
func (s *steps) Act(ctx context.Context, acj *kruise.AdvancedCronJob, p *plan) error {
	event.Emit(s.events, acj, p.events...)
	if err := batch.Each(p.prune, func(c child) error { return s.drop(ctx, c, "of the history") }); err != nil {
		return err
	}
	if err := batch.Each(p.stop, func(c child) error { return s.drop(ctx, c, "to replace it") }); err != nil {
		return err
	}
	if p.run.IsZero() {
		return nil
	}
	job := p.child()
	err := s.local.Create(ctx, job)
	switch {
	case err == nil:
		p.made = &child{object: job, slot: p.run}
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		event.Emit(s.events, acj, event.Warning(reasonNoCreate, "%s: %v", job.GetName(), err))
	}
	return fmt.Errorf("create %s: %w", job.GetName(), err) // CJ-9
}

// drop deletes the child that was looked at, and what it owns after it. // CJ-8
func (s *steps) drop(ctx context.Context, c child, why string) error {
	if c.object.GetDeletionTimestamp() != nil {
		return nil
	}
	var gone client.Object = &kruise.BroadcastJob{}
	if _, is := c.object.(*batchv1.Job); is {
		gone = &batchv1.Job{}
	}
	gone.SetNamespace(c.object.GetNamespace())
	gone.SetName(c.object.GetName())
	err := s.local.Delete(ctx, gone, client.Preconditions{UID: new(c.object.GetUID())}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete %s %s: %w", c.object.GetName(), why, err)
	}
	return nil
}

// child is the job for the time to run. Its name is that of the time, so that none is run twice. // CJ-9
func (p *plan) child() client.Object {
	meta := metav1.ObjectMeta{
		Namespace: p.acj.Namespace, Name: fmt.Sprintf("%s-%d", p.acj.Name, p.run.Unix()),
		OwnerReferences: []metav1.OwnerReference{ownerRef(p.acj)},
	}
	template := p.acj.Spec.Template
	if t := template.JobTemplate; t != nil {
		meta.Labels, meta.Annotations = maps.Clone(t.Labels), p.annotations(t.Annotations)
		return &batchv1.Job{ObjectMeta: meta, Spec: *t.Spec.DeepCopy()}
	}
	t := template.BroadcastJobTemplate
	meta.Labels, meta.Annotations = maps.Clone(t.Labels), p.annotations(t.Annotations)
	return &kruise.BroadcastJob{ObjectMeta: meta, Spec: *t.Spec.DeepCopy()}
}

func (p *plan) annotations(of map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, of)
	all[scheduledAt] = p.run.Format(time.RFC3339) // in the zone of the schedule // CJ-4.6
	return all
}

// reference is how the status names a child.
func (s *steps) reference(o client.Object) corev1.ObjectReference {
	gvk, err := apiutil.GVKForObject(o, s.local.Scheme())
	if err != nil {
		gvk = schema.GroupVersionKind{} // not with a scheme that knows both kinds
	}
	return corev1.ObjectReference{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID()}
}
