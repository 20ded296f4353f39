package nodeimage

import (
	"context"
	"fmt"
	"maps"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// virtual nodes have no daemon.
func virtual(node client.Object) bool { return node.GetLabels()["type"] == "virtual-kubelet" }

// readySince is the zero time for a node that is not ready.
func readySince(node *corev1.Node) time.Time {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// due is when a node shall have a NodeImage: never, when ok is false. // NI-3
func due(node *corev1.Node, delay time.Duration) (at time.Time, ok bool) {
	since := readySince(node)
	if virtual(node) || node.DeletionTimestamp != nil || since.IsZero() {
		return time.Time{}, false
	}
	return since.Add(delay), true
}

// create makes the NodeImage of a node whose time has come. // NI-3
func (s *steps) create(ctx context.Context, name string, now time.Time) (reconcile.Result, error) {
	var node corev1.Node
	err := s.local.Get(ctx, client.ObjectKey{Name: name}, &node)
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	at, ok := due(&node, s.options.Delay)
	switch {
	case !ok:
		return reconcile.Result{}, nil // its event comes
	case now.Before(at):
		return reconcile.Result{RequeueAfter: at.Sub(now)}, nil
	}
	image := &kruise.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: maps.Clone(node.Labels)}}
	if err := s.local.Create(ctx, image); err != nil && !apierrors.IsAlreadyExists(err) {
		return reconcile.Result{}, fmt.Errorf("create NodeImage %s: %w", name, err)
	}
	return reconcile.Result{}, nil
}
