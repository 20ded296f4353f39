package cloneset

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/index"
)

// seen is what there is of a CloneSet. Everything is shared with the cache and never changed.
type seen struct {
	pods      []*corev1.Pod                  // controlled by it
	claims    []corev1.PersistentVolumeClaim // owned by it and not on their way out
	revisions []appsv1.ControllerRevision
	nodes     map[string]map[string]string // labels by node name, when the template spreads pods
	jobs      []kruise.ImagePullJob        // controlled by it, when images are pulled ahead
}

// Observe reads the cache. // WL-1.3 step 4
func (s *steps) Observe(ctx context.Context, cs *kruise.CloneSet) (seen, error) {
	var found seen
	pods, err := index.PodsOf(ctx, s.local, cs)
	if err != nil {
		return found, err
	}
	for i := range pods {
		if metav1.IsControlledBy(&pods[i], cs) {
			found.pods = append(found.pods, &pods[i])
		}
	}
	claims, err := index.ClaimsOf(ctx, s.local, cs)
	if err != nil {
		return found, err
	}
	for _, claim := range claims {
		if claim.DeletionTimestamp == nil {
			found.claims = append(found.claims, claim)
		}
	}
	if found.revisions, err = index.RevisionsOf(ctx, s.local, cs); err != nil {
		return found, err
	}
	if found.jobs, err = s.images.Jobs(ctx, cs); err != nil {
		return found, err
	}
	if len(cs.Spec.Template.Spec.TopologySpreadConstraints) > 0 {
		found.nodes, err = s.nodes(ctx)
	}
	return found, err
}

func (s *steps) nodes(ctx context.Context) (map[string]map[string]string, error) {
	var nodes corev1.NodeList
	if err := s.local.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	labels := make(map[string]map[string]string, len(nodes.Items))
	for _, n := range nodes.Items {
		labels[n.Name] = n.Labels
	}
	return labels, nil
}
