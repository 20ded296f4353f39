package federateddeployment

import (
	"context"
	"reflect"

	"k8s.io/client-go/util/workqueue"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// workHandler wakes whom a work was made for and, once a name is free, those who waited for it.
type workHandler struct{ users }

// Create wakes the maker.
func (h workHandler) Create(_ context.Context, e event.CreateEvent, q queue) { h.maker(e.Object, q) }

// Update wakes the maker, both of them if the labels name another now.
func (h workHandler) Update(ctx context.Context, e event.UpdateEvent, q queue) {
	h.maker(e.ObjectNew, q)
	if !reflect.DeepEqual(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) {
		h.maker(e.ObjectOld, q)
		h.freed(ctx, e.ObjectOld, q)
	}
}

// Delete wakes the maker, and others.
func (h workHandler) Delete(ctx context.Context, e event.DeleteEvent, q queue) {
	h.maker(e.Object, q)
	h.freed(ctx, e.Object, q)
}

// Generic does not happen.
func (h workHandler) Generic(context.Context, event.GenericEvent, queue) {}

func (h workHandler) maker(w client.Object, q queue) {
	if m, made := makerOf(w); made && m.gvk == h.kind {
		q.Add(reconcile.Request{NamespacedName: m.NamespacedName})
	}
}

func (h workHandler) freed(ctx context.Context, w client.Object, q queue) {
	waiting, err := h.waiting(ctx, w)
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot tell who waits for a name", "work", client.ObjectKeyFromObject(w))
	}
	for _, request := range waiting {
		q.Add(request)
	}
}

// clusterHandler wakes those whom a change of a cluster may concern. Heartbeats and capacity concern nobody.
type clusterHandler struct{ users }

// Create wakes who may have waited for the cluster. At the start everybody is looked at anyway.
func (h clusterHandler) Create(ctx context.Context, e event.CreateEvent, q queue) {
	if !e.IsInInitialList {
		h.wake(ctx, q, e.Object.GetName(), true)
	}
}

// Update wakes those who use the cluster, and those who look for one when it may be found now, or no longer.
func (h clusterHandler) Update(ctx context.Context, e event.UpdateEvent, q queue) {
	before, ok := e.ObjectOld.(*clusterv1.ManagedCluster)
	after, okToo := e.ObjectNew.(*clusterv1.ManagedCluster)
	if !ok || !okToo {
		return
	}
	was, is := clusterFacts(before), clusterFacts(after)
	if reflect.DeepEqual(was, is) {
		return
	}
	was.heard, was.since = is.heard, is.since
	h.wake(ctx, q, is.name, !reflect.DeepEqual(was, is))
}

// Delete wakes those who use the cluster.
func (h clusterHandler) Delete(ctx context.Context, e event.DeleteEvent, q queue) {
	h.wake(ctx, q, e.Object.GetName(), true)
}

// Generic does not happen.
func (h clusterHandler) Generic(context.Context, event.GenericEvent, queue) {}

func (h clusterHandler) wake(ctx context.Context, q queue, cluster string, searching bool) {
	users, err := h.of(ctx, cluster, searching)
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot tell who uses a cluster", "cluster", cluster)
	}
	for _, user := range users {
		q.Add(user)
	}
}
