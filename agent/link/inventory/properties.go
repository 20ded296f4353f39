package inventory

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
)

// ClusterProperty is what a cluster may say of itself beside ClusterClaims. Its CRD may be missing. OCM-5.2
var ClusterProperty = schema.GroupVersionKind{Group: "about.k8s.io", Version: "v1alpha1", Kind: "ClusterProperty"}

// claims are the ClusterClaims and, if asked for, the ClusterProperties in the shape of claims.
func (l Local) claims(ctx context.Context, properties bool) ([]clusterv1alpha1.ClusterClaim, error) {
	var claims clusterv1alpha1.ClusterClaimList
	if err := l.Reader.List(ctx, &claims); err != nil {
		return nil, fmt.Errorf("list ClusterClaims: %w", err)
	}
	if !properties {
		return claims.Items, nil
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(ClusterProperty.GroupVersion().WithKind(ClusterProperty.Kind + "List"))
	err := l.Reader.List(ctx, list)
	if meta.IsNoMatchError(err) {
		return claims.Items, nil // not served here
	}
	if err != nil {
		return nil, fmt.Errorf("list ClusterProperties: %w", err)
	}
	return merged(claims.Items, list.Items), nil
}

// merged lets a property win over the claim of its name, also when it says less: hidden properties hide the claim. OCM-5.2
func merged(claims []clusterv1alpha1.ClusterClaim, properties []unstructured.Unstructured) []clusterv1alpha1.ClusterClaim {
	names := map[string]bool{}
	out := make([]clusterv1alpha1.ClusterClaim, 0, len(claims)+len(properties))
	for i := range properties {
		value, found, err := unstructured.NestedString(properties[i].Object, "spec", "value")
		if err != nil || !found || value == "" {
			continue // one bad object never stops its kind
		}
		claim := clusterv1alpha1.ClusterClaim{Spec: clusterv1alpha1.ClusterClaimSpec{Value: value}}
		claim.Name, claim.Labels = properties[i].GetName(), properties[i].GetLabels()
		names[claim.Name] = true
		out = append(out, claim)
	}
	for _, claim := range claims {
		if !names[claim.Name] {
			out = append(out, claim)
		}
	}
	return out
}
