package daemonset

import (
	"context"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// onNodes wakes the DaemonSets that a change of a node means something to. What decides are labels and taints, so heartbeats
// pass by unseen. // WL-3.10
type onNodes struct{ local client.Reader }

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Create wakes those that run there. What is there at the start is seen by the first rounds.
func (h onNodes) Create(ctx context.Context, e event.CreateEvent, q queue) {
	if !e.IsInInitialList {
		h.wake(ctx, q, nil, e.Object)
	}
}

// Delete wakes those that ran there: their numbers change.
func (h onNodes) Delete(ctx context.Context, e event.DeleteEvent, q queue) {
	h.wake(ctx, q, e.Object, nil)
}

// Generic does not happen to nodes.
func (h onNodes) Generic(context.Context, event.GenericEvent, queue) {}

// Update wakes those that see the node otherwise than before.
func (h onNodes) Update(ctx context.Context, e event.UpdateEvent, q queue) {
	before, was := e.ObjectOld.(*corev1.Node)
	after, is := e.ObjectNew.(*corev1.Node)
	if was && is && equality.Semantic.DeepEqual(before.Labels, after.Labels) && equality.Semantic.DeepEqual(before.Spec.Taints, after.Spec.Taints) {
		return
	}
	h.wake(ctx, q, e.ObjectOld, e.ObjectNew)
}

func (h onNodes) wake(ctx context.Context, q queue, before, after client.Object) {
	old, _ := before.(*corev1.Node)
	now, _ := after.(*corev1.Node)
	for _, request := range namesOf(ctx, h.local, "", func(ds *kruise.DaemonSet) bool { return meansSomething(ds, old, now) }) {
		q.Add(request)
	}
}

// meansSomething compares how a DaemonSet sees a node; a node that is not there is one where nothing runs. A spec that
// cannot be read is looked at by its own rounds only.
func meansSomething(ds *kruise.DaemonSet, before, after *corev1.Node) bool {
	ds = Default(ds)
	where, err := placementOf(&ds.Spec.Template)
	if err != nil {
		return false
	}
	chosen, err := chooser(ds)
	if err != nil {
		return false
	}
	type view struct{ run, keep, selected bool }
	look := func(node *corev1.Node) (v view) {
		if node != nil {
			v.run, v.keep = where.decide(node)
			v.selected = chosen != nil && chosen.Matches(labelsOf(node))
		}
		return v
	}
	return look(before) != look(after)
}
