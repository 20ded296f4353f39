package statefulset

import (
	"context"
	"fmt"
	"strconv"

	"github.com/openkruise/kruise-api/apps/v1alpha1"
	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/ordinal"
	"github.com/flotilla-project/flotilla/pkg/index"
)

// seen is what there is of a StatefulSet. Everything is shared with the cache and never changed.
type seen struct {
	pods      []*corev1.Pod // controlled by it
	orphans   []*corev1.Pod // controlled by nobody, and named like one of its
	claims    map[string]*corev1.PersistentVolumeClaim
	revisions []appsv1.ControllerRevision // controlled by it
	loose     []appsv1.ControllerRevision // controlled by nobody
	jobs      []v1alpha1.ImagePullJob     // controlled by it, when images are pulled ahead
}

// Observe reads the cache. // WL-2.6 A
func (s *steps) Observe(ctx context.Context, set *kruise.StatefulSet) (seen, error) {
	var found seen
	pods, err := index.PodsOf(ctx, s.local, set)
	if err != nil {
		return found, err
	}
	for i := range pods {
		if metav1.IsControlledBy(&pods[i], set) {
			found.pods = append(found.pods, &pods[i])
		}
	}
	orphans, err := index.OrphanPods(ctx, s.local, set.Namespace)
	if err != nil {
		return found, fmt.Errorf("list pods without controller: %w", err)
	}
	for i := range orphans {
		if parent, _, ok := ordinal.Parse(orphans[i].Name); ok && parent == set.Name {
			found.orphans = append(found.orphans, &orphans[i])
		}
	}
	if found.revisions, err = index.RevisionsOf(ctx, s.local, set); err != nil {
		return found, err
	}
	if found.loose, err = index.OrphanRevisions(ctx, s.local, set.Namespace); err != nil {
		return found, fmt.Errorf("list revisions without controller: %w", err)
	}
	if found.jobs, err = s.images.Jobs(ctx, set); err != nil {
		return found, err
	}
	found.claims, err = s.claims(ctx, set, found)
	return found, err
}

// claims reads those of the ordinals that want a pod and of those that have one. Nothing but their names ties them to the
// set. // WL-2.4
func (s *steps) claims(ctx context.Context, set *kruise.StatefulSet, found seen) (map[string]*corev1.PersistentVolumeClaim, error) {
	claims := map[string]*corev1.PersistentVolumeClaim{}
	if len(set.Spec.VolumeClaimTemplates) == 0 {
		return claims, nil
	}
	for _, slot := range slots(Default(set, s.options), s.options, found) {
		for i := range set.Spec.VolumeClaimTemplates {
			name := claimName(set.Spec.VolumeClaimTemplates[i].Name, set.Name, slot)
			var claim corev1.PersistentVolumeClaim
			err := s.local.Get(ctx, client.ObjectKey{Namespace: set.Namespace, Name: name}, &claim)
			switch {
			case err == nil:
				claims[name] = &claim
			case !apierrors.IsNotFound(err):
				return nil, fmt.Errorf("get claim %s: %w", name, err)
			}
		}
	}
	return claims, nil
}

func slots(set *kruise.StatefulSet, o Options, found seen) []string {
	known := map[string]bool{}
	var all []string
	add := func(n int) {
		if slot := strconv.Itoa(n); !known[slot] {
			known[slot] = true
			all = append(all, slot)
		}
	}
	if reserved, err := ordinal.ParseReserved(set.Spec.ReserveOrdinals); err == nil {
		for _, n := range ordinal.Window(start(set, o), int(*set.Spec.Replicas), reserved) {
			add(n)
		}
	}
	for _, pod := range append(found.pods[:len(found.pods):len(found.pods)], found.orphans...) {
		if _, n, ok := ordinal.Parse(pod.Name); ok {
			add(n)
		}
	}
	return all
}

// start is the first ordinal. // WL-2.4
func start(set *kruise.StatefulSet, o Options) int {
	if set.Spec.Ordinals == nil || !o.StartOrdinal {
		return 0
	}
	return int(set.Spec.Ordinals.Start)
}

func claimName(template, set, slot string) string { return template + "-" + set + "-" + slot }
