package history

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/history"
)

// facts are the id of the hub, and without one what could be it.
type facts struct {
	id string
	// told are the ids that clusters were told, without repetition.
	told []string
	// fresh is an id that no hub had before.
	fresh string
}

// plan keeps the id, or marks a cluster with it. What is kept now is marked when the ConfigMap shows.
type plan struct{ keep, mark string }

// Recheck is never: the ConfigMap and the clusters are watched.
func (plan) Recheck() time.Duration { return 0 }

// Observe reads the id.
func (s *Steps) Observe(ctx context.Context, cluster *clusterv1.ManagedCluster) (facts, error) {
	id, err := read(ctx, s.IDs)
	// A restore writes the ConfigMap and the clusters at once, and the two caches hear of it in any order. Who told the
	// old id again meanwhile would undo the news that agents wait for, so a difference is looked up first.
	if told := cluster.Annotations[v1alpha1.AnnotationHubHistory]; err == nil && told != "" && told != id {
		id, err = read(ctx, s.Live)
	}
	if err == nil || !apierrors.IsNotFound(err) {
		return facts{id: id}, err
	}
	seen := facts{fresh: history.NewID()}
	seen.told, err = s.told(ctx)
	return seen, err
}

// read gives the id, or an error that is not found where there is none yet.
func read(ctx context.Context, from client.Reader) (string, error) {
	var kept corev1.ConfigMap
	if err := from.Get(ctx, client.ObjectKey{Namespace: history.Namespace, Name: history.Name}, &kept); err != nil {
		return "", fmt.Errorf("read the hub's history: %w", err)
	}
	if kept.Data[history.Key] == "" {
		return "", fmt.Errorf("the ConfigMap %s/%s has no %s; delete it, and the id that clusters were told is taken", history.Namespace, history.Name, history.Key)
	}
	return kept.Data[history.Key], nil
}

func (s *Steps) told(ctx context.Context) (ids []string, err error) {
	var found clusterv1.ManagedClusterList
	if err := s.Hub.List(ctx, &found, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	seen := map[string]bool{"": true}
	for i := range found.Items {
		if id := found.Items[i].Annotations[v1alpha1.AnnotationHubHistory]; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Decide keeps the one id that clusters were told, if the ConfigMap is gone. When they were told several, none can be
// trusted, and a new one lets agents wait for a human.
func (*Steps) Decide(cluster *clusterv1.ManagedCluster, seen facts, _ time.Time) plan {
	switch {
	case seen.id == "" && len(seen.told) == 1:
		return plan{keep: seen.told[0]}
	case seen.id == "":
		return plan{keep: seen.fresh}
	case !cluster.DeletionTimestamp.IsZero(), cluster.Annotations[v1alpha1.AnnotationHubHistory] == seen.id:
		return plan{}
	}
	return plan{mark: seen.id}
}

// Act writes the ConfigMap or the one annotation.
func (s *Steps) Act(ctx context.Context, cluster *clusterv1.ManagedCluster, p plan) error {
	if p.keep != "" {
		return s.keep(ctx, p.keep)
	}
	if p.mark == "" {
		return nil
	}
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"annotations":{%q:%q}}}`, cluster.UID, v1alpha1.AnnotationHubHistory, p.mark)
	if err := s.Hub.Patch(ctx, cluster.DeepCopy(), client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("tell the cluster of the hub's history: %w", err)
	}
	return nil
}

// keep makes no namespace: where the hub runs without one, outside of its cluster, there is no history to compare, and
// agents recognize the hub by its versions.
func (s *Steps) keep(ctx context.Context, id string) error {
	err := s.IDs.Create(ctx, history.ConfigMap(id))
	switch {
	case err == nil:
		log.FromContext(ctx).Info("keep the id of the hub's history", "id", id)
	case apierrors.IsNotFound(err):
		log.FromContext(ctx).Info("there is no namespace to keep the id of the hub's history in; agents go by versions alone", "namespace", history.Namespace)
	case !apierrors.IsAlreadyExists(err):
		return fmt.Errorf("keep the id of the hub's history: %w", err)
	}
	return nil
}

// Report has nothing to say.
func (*Steps) Report(*clusterv1.ManagedCluster, facts, plan, error) {}
