package nodepodprobe

import (
	"context"
	"fmt"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// nodes makes the object of a node that has none.
type nodes struct{ local client.Client }

var _ loop.Steps[*corev1.Node, bool, birth] = &nodes{}

// birth is whether to make it.
type birth bool

// Recheck is never.
func (birth) Recheck() time.Duration { return 0 }

// Observe looks whether it is there.
func (n *nodes) Observe(ctx context.Context, node *corev1.Node) (bool, error) {
	err := n.local.Get(ctx, client.ObjectKey{Name: node.Name}, &kruise.NodePodProbe{})
	return err == nil, client.IgnoreNotFound(err)
}

// Decide says that nodes with a daemon have one. // PM-9
func (*nodes) Decide(node *corev1.Node, there bool, _ time.Time) birth {
	return birth(!there && served(node))
}

// served nodes have a daemon that runs.
func served(node *corev1.Node) bool {
	ready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	return ready && node.DeletionTimestamp == nil && node.Labels[virtualLabel] != virtual
}

// Act makes it.
func (n *nodes) Act(ctx context.Context, node *corev1.Node, b birth) error {
	if !b {
		return nil
	}
	err := n.local.Create(ctx, &kruise.NodePodProbe{ObjectMeta: metav1.ObjectMeta{Name: node.Name}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make NodePodProbe of node %s: %w", node.Name, err)
	}
	return nil
}

// Report has nothing to say: nodes are not ours.
func (*nodes) Report(*corev1.Node, bool, birth, error) {}
