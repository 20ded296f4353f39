package daemonset

import (
	"context"
	"fmt"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/nodefit"
	"github.com/flotilla-project/flotilla/pkg/index"
)

// seen is what there is of a DaemonSet. Everything is shared with the cache and never changed.
type seen struct {
	pods      []*corev1.Pod // controlled by it, or by nobody and matching
	revisions []*appsv1.ControllerRevision
	nodes     []corev1.Node
	jobs      []kruise.ImagePullJob // controlled by it, when images are pulled ahead
	resting   map[string]time.Time  // by node: when its failed pods may be deleted
}

// Observe reads the cache. // WL-3.3
func (s *steps) Observe(ctx context.Context, ds *kruise.DaemonSet) (seen, error) {
	var found seen
	selector, readable := selectorOf(ds)
	if ds.DeletionTimestamp != nil || !readable {
		return found, nil // Decide says what that means
	}
	var err error
	if found.pods, err = s.pods(ctx, ds, selector); err != nil {
		return found, err
	}
	if found.revisions, err = s.revisions(ctx, ds, selector); err != nil {
		return found, err
	}
	if found.jobs, err = s.images.Jobs(ctx, ds); err != nil {
		return found, err
	}
	var nodes corev1.NodeList
	if err := s.local.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
		return found, fmt.Errorf("list nodes: %w", err)
	}
	found.nodes = nodes.Items
	found.resting = map[string]time.Time{}
	for _, pod := range found.pods {
		if finished(pod) {
			node := nodefit.Target(pod)
			found.resting[node] = s.failing.until(place{ds.UID, ds.Status.ObservedGeneration, node})
		}
	}
	return found, nil
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

func (s *steps) pods(ctx context.Context, ds *kruise.DaemonSet, selector labels.Selector) ([]*corev1.Pod, error) {
	owned, err := index.PodsOf(ctx, s.local, ds)
	if err != nil {
		return nil, err
	}
	orphans, err := index.OrphanPods(ctx, s.local, ds.Namespace)
	if err != nil {
		return nil, fmt.Errorf("list pods without a controller: %w", err)
	}
	var all []*corev1.Pod
	for i := range owned {
		if metav1.IsControlledBy(&owned[i], ds) {
			all = append(all, &owned[i])
		}
	}
	for i := range orphans {
		if adoptable(selector, &orphans[i]) {
			all = append(all, &orphans[i])
		}
	}
	return all, nil
}

func (s *steps) revisions(ctx context.Context, ds *kruise.DaemonSet, selector labels.Selector) ([]*appsv1.ControllerRevision, error) {
	owned, err := index.RevisionsOf(ctx, s.local, ds)
	if err != nil {
		return nil, err
	}
	orphans, err := index.OrphanRevisions(ctx, s.local, ds.Namespace)
	if err != nil {
		return nil, fmt.Errorf("list revisions without a controller: %w", err)
	}
	var all []*appsv1.ControllerRevision
	for i := range owned {
		all = append(all, &owned[i])
	}
	for i := range orphans {
		if adoptable(selector, &orphans[i]) {
			all = append(all, &orphans[i])
		}
	}
	return all, nil
}

// adoptable: an orphan that matches and stays. // WL-0.6
func adoptable(selector labels.Selector, o client.Object) bool {
	return o.GetDeletionTimestamp() == nil && selector.Matches(labels.Set(o.GetLabels()))
}

// selectorOf is what a DaemonSet selects, unless that is everything or cannot be read.
func selectorOf(ds *kruise.DaemonSet) (labels.Selector, bool) {
	selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	return selector, err == nil && !selector.Empty()
}

// selects tells whether an object's labels match the selector.
func selects(ds *kruise.DaemonSet, o client.Object) bool {
	selector, readable := selectorOf(ds)
	return readable && selector.Matches(labels.Set(o.GetLabels()))
}
