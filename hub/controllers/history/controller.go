// Package history tells every agent which history its hub has. It owns the ConfigMap flotilla-system/hub-history, which
// holds the id, and writes it into an annotation of every ManagedCluster; it reads those and nothing else.
//
// It promises never to give a hub another id than it has: an id is made only where there is none, and when the ConfigMap
// is gone the id is taken from the clusters. Only `hub restore` replaces it.
package history

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/history"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=cluster.open-cluster-management.io,resources=managedclusters,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",namespace=flotilla-system,resources=configmaps,resourceNames=hub-history,verbs=get;list;watch
// +kubebuilder:rbac:groups="",namespace=flotilla-system,resources=configmaps,verbs=create

// Name of the controller.
const Name = "history"

// Register adds the controller to a manager. The one ConfigMap has a cache of its own, so that nobody needs the right to
// read others.
func Register(m ctrl.Manager) error {
	own, err := cluster.New(m.GetConfig(), func(o *cluster.Options) {
		o.Scheme, o.HTTPClient, o.Logger = m.GetScheme(), m.GetHTTPClient(), m.GetLogger()
		o.Cache.DefaultNamespaces = map[string]cache.Config{history.Namespace: {}}
		o.Cache.DefaultFieldSelector = fields.OneTermEqualSelector("metadata.name", history.Name)
	})
	if err != nil {
		return fmt.Errorf("make cache of the hub's history: %w", err)
	}
	if err := m.Add(own); err != nil {
		return err
	}
	s := &Steps{Hub: m.GetClient(), IDs: own.GetClient(), Live: own.GetAPIReader()}
	everyone := handler.TypedEnqueueRequestsFromMapFunc(func(ctx context.Context, _ *corev1.ConfigMap) []reconcile.Request { return s.clusters(ctx) })
	return ctrl.NewControllerManagedBy(m).Named(Name).
		For(&clusterv1.ManagedCluster{}, builder.WithPredicates(unmarked())).
		WatchesRawSource(source.Kind(own.GetCache(), &corev1.ConfigMap{}, everyone)).
		Complete(newLoop(s))
}

func newLoop(s *Steps) *loop.Loop[*clusterv1.ManagedCluster, facts, plan] {
	return &loop.Loop[*clusterv1.ManagedCluster, facts, plan]{Steps: s, Client: s.Hub,
		New: func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} }}
}

// unmarked leaves out heartbeats: only new clusters and changed annotations are looked at.
func unmarked() predicate.Predicate {
	return predicate.Funcs{
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetAnnotations()[v1alpha1.AnnotationHubHistory] != e.ObjectNew.GetAnnotations()[v1alpha1.AnnotationHubHistory]
		},
	}
}

// Steps are the controller of one ManagedCluster's mark.
type Steps struct {
	// Hub reads clusters from the cache and writes them.
	Hub client.Client
	// IDs reads the ConfigMap from its cache and writes it.
	IDs client.Client
	// Live reads the ConfigMap as it is.
	Live client.Reader
}

func (s *Steps) clusters(ctx context.Context) (requests []reconcile.Request) {
	var found clusterv1.ManagedClusterList
	if err := s.Hub.List(ctx, &found, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot tell clusters of the hub's history")
	}
	for i := range found.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found.Items[i])})
	}
	return requests
}
