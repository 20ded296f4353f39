package offer

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/util/workqueue"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
)

// gather is how long the news of installations is collected: a thousand agents that answer at once are looked at together.
const gather = 100 * time.Millisecond

// Keys of the indexes; each is known to its extractor and its lookup only.
const (
	byPlacement = "offer.placement"
	byConfig    = "offer.config"
)

var indexes = []struct {
	of      client.Object
	key     string
	extract client.IndexerFunc
}{
	{&offer{}, byPlacement, func(o client.Object) (names []string) {
		if a, ok := o.(*offer); ok {
			for _, p := range placed(a) {
				names = append(names, p.Namespace+"/"+p.Name)
			}
		}
		return names
	}},
	{&installation{}, byConfig, func(o client.Object) (names []string) {
		if a, ok := o.(*installation); ok {
			for _, r := range config.Of(a.Spec.Configs) {
				names = append(names, r.Group+" "+r.String())
			}
		}
		return names
	}},
}

// placed are the strategies that count.
func placed(a *offer) []addonv1alpha1.PlacementStrategy {
	if a.Spec.InstallStrategy.Type != addonv1alpha1.AddonInstallStrategyPlacements {
		return nil
	}
	return a.Spec.InstallStrategy.Placements
}

func placementOf(decision client.Object) string {
	return decision.GetLabels()[clusterv1beta1.PlacementLabel]
}

// wake finds the offers that a change concerns.
type wake struct{ hub client.Reader }

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// ofInstallation wakes the offer of the same name, and gathers.
func ofInstallation() handler.EventHandler {
	enqueue := func(q queue, o client.Object) {
		q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Name: o.GetName()}}, gather)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { enqueue(q, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { enqueue(q, e.ObjectNew) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { enqueue(q, e.Object) },
	}
}

func (w wake) ofPlacement(name func(client.Object) string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return w.offers(ctx, nil, client.MatchingFields{byPlacement: o.GetNamespace() + "/" + name(o)})
	})
}

// ofConfig wakes the offers that name a configuration, and those of installations that do.
func (w wake) ofConfig(kind config.Kind) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		r := config.Ref{Kind: kind, ConfigReferent: addonv1alpha1.ConfigReferent{Namespace: o.GetNamespace(), Name: o.GetName()}}
		requests := w.offers(ctx, func(a *offer) bool { return slices.Contains(layers(a), r) })
		var found addonv1alpha1.ManagedClusterAddOnList
		if err := w.hub.List(ctx, &found, client.MatchingFields{byConfig: r.Group + " " + r.String()}, client.UnsafeDisableDeepCopy); err != nil {
			log.FromContext(ctx).Error(err, "cannot tell which add-ons a configuration concerns")
		}
		for i := range found.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKey{Name: found.Items[i].Name}})
		}
		return requests
	})
}

// layers are all configurations that an offer names.
func layers(a *offer) []config.Ref {
	refs := config.Defaults(a)
	for _, p := range placed(a) {
		refs = append(refs, config.Of(p.Configs)...)
	}
	return refs
}

// ofCluster wakes all offers that go by Placements.
func (w wake) ofCluster() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		return w.offers(ctx, func(a *offer) bool { return len(placed(a)) > 0 })
	})
}

func (w wake) offers(ctx context.Context, choose func(*offer) bool, by ...client.ListOption) (requests []reconcile.Request) {
	var found addonv1alpha1.ClusterManagementAddOnList
	if err := w.hub.List(ctx, &found, append(by, client.UnsafeDisableDeepCopy)...); err != nil {
		log.FromContext(ctx).Error(err, "cannot tell which add-ons a change concerns")
	}
	for i := range found.Items {
		if choose == nil || choose(&found.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found.Items[i])})
		}
	}
	return requests
}

// clusterChanged lets pass clusters that came, were let in, fell silent or came back. Heartbeats and capacity concern nobody.
func clusterChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, ok1 := e.ObjectOld.(*clusterv1.ManagedCluster)
			is, ok2 := e.ObjectNew.(*clusterv1.ManagedCluster)
			return ok1 && ok2 && (silent(was) != silent(is) || letIn(was) != letIn(is) || detach.Ordered(was) != detach.Ordered(is))
		},
	}
}

func letIn(c *clusterv1.ManagedCluster) bool {
	return meta.IsStatusConditionTrue(c.Status.Conditions, clusterv1.ManagedClusterConditionHubAccepted)
}

// silent: there is word that a cluster is not available. Where there is no word at all it is not.
func silent(c *clusterv1.ManagedCluster) bool {
	said := meta.FindStatusCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
	return said != nil && !meta.IsStatusConditionTrue(c.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
}
