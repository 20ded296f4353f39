package placement

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ofPlacement indexes decisions by the name of their placement.
const ofPlacement = "flotilla.placement"

// kind of the owner of decisions.
const kind = "Placement"

// placementNames are the placements that a decision says it belongs to, by its label and by its owner: somebody may have
// taken the label away.
func placementNames(o client.Object) (names []string) {
	if name := o.GetLabels()[clusterv1beta1.PlacementLabel]; name != "" {
		names = append(names, name)
	}
	if by := metav1.GetControllerOf(o); by != nil && by.Kind == kind && !slices.Contains(names, by.Name) {
		names = append(names, by.Name)
	}
	return names
}

// decisionsOf lists the decisions of a placement. They are shared with the cache: read only.
func decisionsOf(ctx context.Context, r client.Reader, p *clusterv1beta1.Placement) ([]clusterv1beta1.PlacementDecision, error) {
	var decisions clusterv1beta1.PlacementDecisionList
	err := r.List(ctx, &decisions, client.InNamespace(p.Namespace), client.MatchingFields{ofPlacement: p.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list decisions: %w", err)
	}
	return decisions.Items, nil
}
