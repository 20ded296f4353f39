package clusterset

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Reasons of Bound. OCM-8.4
const (
	ReasonClusterSetBound    = "ClusterSetBound"
	ReasonClusterSetNotFound = "ClusterSetNotFound"
)

// found says whether the set of a binding is there.
type found bool

// bindingSteps binds one namespace to one set.
type bindingSteps struct {
	Hub client.Reader
}

// Observe looks for the set.
func (s *bindingSteps) Observe(ctx context.Context, binding *clusterv1beta2.ManagedClusterSetBinding) (found, error) {
	var set clusterv1beta2.ManagedClusterSet
	err := s.Hub.Get(ctx, client.ObjectKey{Name: binding.Spec.ClusterSet}, &set)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read ManagedClusterSet %s: %w", binding.Spec.ClusterSet, err)
	}
	return true, nil
}

// Decide says whether the binding binds. OCM-8.4
func (*bindingSteps) Decide(binding *clusterv1beta2.ManagedClusterSetBinding, there found, _ time.Time) verdict {
	if !binding.DeletionTimestamp.IsZero() {
		return verdict{}
	}
	c := metav1.Condition{
		Type: clusterv1beta2.ClusterSetBindingBoundType, Status: metav1.ConditionTrue, Reason: ReasonClusterSetBound,
		Message:            fmt.Sprintf("Placements in this namespace can choose from ManagedClusterSet %s", binding.Spec.ClusterSet),
		ObservedGeneration: binding.Generation,
	}
	if !there {
		c.Status, c.Reason = metav1.ConditionFalse, ReasonClusterSetNotFound
		c.Message = fmt.Sprintf("There is no ManagedClusterSet %s; create it, or delete this binding", binding.Spec.ClusterSet)
	}
	return verdict{&c}
}

// Act has nothing to do.
func (*bindingSteps) Act(context.Context, *clusterv1beta2.ManagedClusterSetBinding, verdict) error {
	return nil
}

// Report writes the verdict.
func (*bindingSteps) Report(binding *clusterv1beta2.ManagedClusterSetBinding, _ found, v verdict, _ error) {
	if v.condition != nil {
		meta.SetStatusCondition(&binding.Status.Conditions, *v.condition)
	}
}
