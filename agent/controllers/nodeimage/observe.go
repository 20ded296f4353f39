package nodeimage

import (
	"context"
	"fmt"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// seen is what there is around a NodeImage.
type seen struct {
	node   *corev1.Node       // nil when there is none, which was asked of the API server
	jobs   map[types.UID]bool // the jobs that tags name: whether each is there
	jitter time.Duration
}

// Observe reads the node and the jobs that tags name.
func (s *steps) Observe(ctx context.Context, image *kruise.NodeImage) (seen, error) {
	found := seen{jobs: map[types.UID]bool{}, jitter: s.jitter()}
	var err error
	if found.node, err = s.node(ctx, image.Name); err != nil {
		return found, err
	}
	for _, spec := range image.Spec.Images {
		for i := range spec.Tags {
			for _, ref := range spec.Tags[i].OwnerReferences {
				if err := s.job(ctx, ref, found.jobs); err != nil {
					return found, err
				}
			}
		}
	}
	return found, nil
}

// node looks twice before it says that there is none.
func (s *steps) node(ctx context.Context, name string) (*corev1.Node, error) {
	for _, reader := range []client.Reader{s.local, s.live} {
		var node corev1.Node
		err := reader.Get(ctx, client.ObjectKey{Name: name}, &node)
		if err == nil {
			return &node, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("get node %s: %w", name, err)
		}
	}
	return nil, nil
}

func (s *steps) job(ctx context.Context, ref corev1.ObjectReference, known map[types.UID]bool) error {
	if _, asked := known[ref.UID]; asked || !ofJob(ref) {
		return nil
	}
	var job kruise.ImagePullJob
	err := s.local.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &job)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get ImagePullJob %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	known[ref.UID] = err == nil && job.UID == ref.UID
	return nil
}

// ofJob: owners of other kinds are kept. // NI-5
func ofJob(ref corev1.ObjectReference) bool {
	return ref.Kind == "ImagePullJob" && ref.GroupVersionKind().Group == kruise.GroupVersion.Group
}
