package broadcastjob

import (
	"context"
	"fmt"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/nodefit"
)

// place is where pods of a template may be. // BJ-3
type place struct {
	tolerations []corev1.Toleration
	where       *nodefit.Where
	asked       corev1.ResourceList
}

// placeOf reads a template. What cannot be read is an error: were it no match, all pods would be deleted.
func placeOf(template *corev1.PodTemplateSpec) (place, error) {
	where, err := nodefit.Of(template)
	return place{template.Spec.Tolerations, where, nodefit.Asked(template)}, err
}

// cordoned is the taint that a node carries which shall get no more pods.
var cordoned = corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}

// objection is what keeps pods off a node; empty if nothing does. Other pods there do not count, nor whether it is ready, but
// for its taints. // BJ-3
func (p place) objection(node *corev1.Node) string {
	if !p.where.Includes(node) {
		return "not selected"
	}
	if run, _ := nodefit.Taints(node, p.tolerations); !run {
		return "tainted"
	}
	if node.Spec.Unschedulable && !nodefit.Tolerates(p.tolerations, &cordoned) {
		return "cordoned"
	}
	if lacking := nodefit.Lacking(node, p.asked); lacking != "" {
		return fmt.Sprintf("too little %s", lacking)
	}
	return ""
}

// onNodes wakes the jobs that a node begins or ceases to fit. // BJ-16
type onNodes struct{ local client.Reader }

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Create wakes those that run there. What is there at the start is seen by the first rounds.
func (h onNodes) Create(ctx context.Context, e event.CreateEvent, q queue) {
	if !e.IsInInitialList {
		h.wake(ctx, q, nil, e.Object)
	}
}

// Delete wakes those that ran there: they want a pod less.
func (h onNodes) Delete(ctx context.Context, e event.DeleteEvent, q queue) {
	h.wake(ctx, q, e.Object, nil)
}

// Generic does not happen to nodes.
func (h onNodes) Generic(context.Context, event.GenericEvent, queue) {}

// Update wakes those that see the node otherwise than before; heartbeats pass by unseen.
func (h onNodes) Update(ctx context.Context, e event.UpdateEvent, q queue) {
	before, was := e.ObjectOld.(*corev1.Node)
	after, is := e.ObjectNew.(*corev1.Node)
	if was && is && equality.Semantic.DeepEqual(looks(before), looks(after)) {
		return
	}
	h.wake(ctx, q, e.ObjectOld, e.ObjectNew)
}

// looks is all of a node that decides.
func looks(n *corev1.Node) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: n.Labels}, Spec: corev1.NodeSpec{Taints: n.Spec.Taints, Unschedulable: n.Spec.Unschedulable},
		Status: corev1.NodeStatus{Allocatable: n.Status.Allocatable},
	}
}

func (h onNodes) wake(ctx context.Context, q queue, before, after client.Object) {
	old, _ := before.(*corev1.Node)
	now, _ := after.(*corev1.Node)
	jobs := all(ctx, h.local)
	for i := range jobs {
		if !finished(&jobs[i]) && meansSomething(&jobs[i], old, now) {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&jobs[i])})
		}
	}
}

// meansSomething compares how a job sees a node; a node that is not there is one where nothing runs. A spec that cannot be
// read is looked at by its own rounds only.
func meansSomething(job *kruise.BroadcastJob, before, after *corev1.Node) bool {
	where, err := placeOf(&job.Spec.Template)
	if err != nil {
		return false
	}
	fits := func(node *corev1.Node) bool { return node != nil && where.objection(node) == "" }
	return fits(before) != fits(after)
}
