package nodeimage

import (
	"context"
	"fmt"
	"strings"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/imageref"
	"github.com/flotilla-project/flotilla/pkg/event"
)

func compare(a, b string) int { return strings.Compare(a, b) }

// Act deletes, or changes metadata and spec, or writes the status. Who loses a race looks again when the winner shows.
func (s *steps) Act(ctx context.Context, image *kruise.NodeImage, p *plan) error {
	err := s.write(ctx, image, p)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		p.recheck = s.jitter()
		return nil
	}
	return err
}

func (s *steps) write(ctx context.Context, image *kruise.NodeImage, p *plan) error {
	switch {
	case p.remove:
		log.FromContext(ctx).Info("deleting", "why", "its node is gone")
		seen := client.Preconditions{UID: &image.UID, ResourceVersion: &image.ResourceVersion}
		if err := s.local.Delete(ctx, &kruise.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: image.Name}}, seen); err != nil {
			return fmt.Errorf("delete NodeImage %s, whose node is gone: %w", image.Name, err)
		}
	case p.spec != nil || p.labels != nil:
		return s.writeSpec(ctx, image, p)
	case p.status != nil:
		return s.writeStatus(ctx, image, p)
	}
	return nil
}

func (s *steps) writeSpec(ctx context.Context, image *kruise.NodeImage, p *plan) error {
	after := image.DeepCopy()
	if p.labels != nil {
		after.Labels = p.labels
	}
	if p.spec != nil {
		after.Spec = *p.spec
	}
	if err := s.local.Patch(ctx, after, client.MergeFromWithOptions(image, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("patch NodeImage %s: %w", image.Name, err)
	}
	return nil
}

// writeStatus speaks for a daemon that is silent. // NI-8, NI-9
func (s *steps) writeStatus(ctx context.Context, image *kruise.NodeImage, p *plan) error {
	after := image.DeepCopy()
	after.Status = *p.status
	if err := s.local.Status().Patch(ctx, after, client.MergeFromWithOptions(image, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("patch status of NodeImage %s: %w", image.Name, err)
	}
	for _, silent := range p.silent {
		e := pullFailed(image.Name, silent)
		for i := range silent.owners {
			event.Emit(s.events, &silent.owners[i], e)
		}
		event.Emit(s.events, image, e)
	}
	return nil
}

// pullFailed says that an image is given up for a node. // NI-8
func pullFailed(node string, silent silence) event.Event {
	return event.Warning("PullImageFailed", "pull %s on node %s: %s", imageref.Join(silent.image, silent.tag), node, silent.message)
}

// Report has nothing to say: the daemon owns the status, and Act speaks only where it is silent. // NI-9
func (s *steps) Report(*kruise.NodeImage, seen, *plan, error) {}
