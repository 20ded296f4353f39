package acceptance

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/util/workqueue"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// Register adds the controller. The live client has no cache; auto accepts clusters that join for the first time.
func Register(m ctrl.Manager, live client.Client, auto bool) error {
	l := &loop.Loop[*clusterv1.ManagedCluster, facts, plan]{
		Steps:  &Steps{Hub: m.GetClient(), Live: live, Auto: auto},
		Client: m.GetClient(),
		Events: m.GetEventRecorderFor("flotilla-hub"), //nolint:staticcheck // the loop's events are core events
		New:    func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} },
	}
	ours := builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[ManagedByLabel] == ManagedBy
	}))
	owner := handler.EnqueueRequestsFromMapFunc(ownerIn(m.GetClient()))
	return ctrl.NewControllerManagedBy(m).Named("join-acceptance").
		For(&clusterv1.ManagedCluster{}).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(namesake)).
		Watches(&rbacv1.ClusterRole{}, owner, ours).
		Watches(&rbacv1.ClusterRoleBinding{}, owner, ours).
		Watches(&rbacv1.RoleBinding{}, owner, ours).
		Watches(&workv1.ManifestWork{}, lastWork()).
		Complete(l)
}

// namesake is the cluster that a namespace may stand for.
func namesake(_ context.Context, o client.Object) []reconcile.Request { return request(o.GetName()) }

// ownerIn finds the cluster that an RBAC object was made for. A shared role belongs to all, and any one of the
// accepted clusters sees to it.
func ownerIn(r client.Reader) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		if cluster := o.GetLabels()[clusterv1.ClusterNameLabelKey]; cluster != "" {
			return request(cluster)
		}
		var all clusterv1.ManagedClusterList
		if err := r.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
			log.FromContext(ctx).Error(err, "find a cluster that needs the shared role", "role", o.GetName())
			return nil
		}
		for _, c := range all.Items {
			if c.Spec.HubAcceptsClient && c.DeletionTimestamp.IsZero() {
				return request(c.Name)
			}
		}
		return nil
	}
}

// lastWork wakes a cluster when a work is gone, since it may have been the last one that its rights waited for.
func lastWork() handler.EventHandler {
	return handler.Funcs{
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			q.Add(request(e.Object.GetNamespace())[0])
		},
	}
}

func request(cluster string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: cluster}}}
}
