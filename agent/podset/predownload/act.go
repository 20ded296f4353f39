package predownload

import (
	"context"
	"errors"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/index"
)

// +kubebuilder:rbac:groups=apps.kruise.io,resources=imagepulljobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=patch

// Reasons of events about jobs, both of type Normal. // WL-1.18
const (
	reasonCreated = "CreatedImagePullJob"
	reasonFailed  = "FailedCreateImagePullJob"
)

// Hands read and write the jobs of sets. A nil *Hands is the gate switched off: it sees and does nothing.
type Hands struct {
	// Local is the client of the manager, whose cache has to index ImagePullJobs with index.ByOwner.
	Local client.Client
	// Events of the set.
	Events record.EventRecorder
}

// Jobs are those that the set controls. They are shared with the cache: read only.
func (h *Hands) Jobs(ctx context.Context, set client.Object) ([]kruise.ImagePullJob, error) {
	if h == nil {
		return nil, nil
	}
	var jobs kruise.ImagePullJobList
	if err := index.Children(ctx, h.Local, set, &jobs); err != nil {
		return nil, err
	}
	kept := jobs.Items[:0:0]
	for i := range jobs.Items {
		if metav1.IsControlledBy(&jobs.Items[i], set) {
			kept = append(kept, jobs.Items[i])
		}
	}
	return kept, nil
}

// Act carries the plan out. It fails quietly, for pods can be updated without: the next round tries again. // WL-1.14
func (h *Hands) Act(ctx context.Context, set client.Object, p Plan) {
	if h == nil {
		return
	}
	if err := errors.Join(h.delete(ctx, p), h.create(ctx, set, p)); err != nil {
		log.FromContext(ctx).Error(err, "images are not pulled ahead of the update")
	}
}

func (h *Hands) delete(ctx context.Context, p Plan) (errs error) {
	for i := range p.Delete {
		job := &p.Delete[i]
		err := h.Local.Delete(ctx, &kruise.ImagePullJob{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}},
			client.Preconditions{UID: &job.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
		if client.IgnoreNotFound(err) != nil {
			errs = errors.Join(errs, fmt.Errorf("delete ImagePullJob %s: %w", job.Name, err))
		}
	}
	return errs
}

// create labels the revision last: a crash in between makes the same jobs again, whose names are taken.
func (h *Hands) create(ctx context.Context, set client.Object, p Plan) (errs error) {
	for _, job := range p.Create {
		err := h.Local.Create(ctx, job.DeepCopy())
		switch {
		case err == nil:
			event.Emit(h.Events, set, event.Normal(reasonCreated, "created ImagePullJob %s for image %s", job.Name, job.Spec.Image))
		case !apierrors.IsAlreadyExists(err):
			errs = errors.Join(errs, fmt.Errorf("create ImagePullJob %s for image %s: %w", job.Name, job.Spec.Image, err))
		}
	}
	if errs != nil {
		event.Emit(h.Events, set, event.Normal(reasonFailed, "%v", errs))
		return errs
	}
	return h.label(ctx, p)
}

func (h *Hands) label(ctx context.Context, p Plan) error {
	if p.Label == "" {
		return nil
	}
	bare := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: p.Revision.Namespace, Name: p.Revision.Name}}
	labelled := bare.DeepCopy()
	labelled.Labels = map[string]string{p.Label: "true"}
	if err := h.Local.Patch(ctx, labelled, client.MergeFrom(bare)); err != nil {
		return fmt.Errorf("label revision %s with %s: %w", p.Revision.Name, p.Label, err)
	}
	return nil
}
