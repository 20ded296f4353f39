// Package managedclustersetbinding checks that a binding is called like its set, and that whoever makes one may bind that
// set to a namespace. It asks for rights; it reads and writes nothing.
package managedclustersetbinding

import (
	"context"
	"fmt"
	"net/http"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Validator is the handler that judges a binding.
func Validator(rights webhook.Reviewer) http.Handler {
	return webhook.Validator(func(ctx context.Context, r webhook.Request[*clusterv1beta2.ManagedClusterSetBinding]) error {
		if err := Validate(r.New); err != nil {
			return err
		}
		return webhook.Refuse(ctx, rights, r.UserInfo, Asks(r.Old, r.New, r.UserInfo.Username)...)
	})
}

// Validate wants one binding per set and namespace, so it is called like the set. OCM-8.3
func Validate(b *clusterv1beta2.ManagedClusterSetBinding) error {
	if b.Name != b.Spec.ClusterSet {
		return webhook.BadRequest("metadata.name: a ManagedClusterSetBinding must have the same name as its spec.clusterSet, which is %q and not %q", b.Spec.ClusterSet, b.Name)
	}
	return nil
}

// Asks are the rights that it takes to make a binding; changing one takes none.
func Asks(old, b *clusterv1beta2.ManagedClusterSetBinding, user string) []webhook.Ask {
	if old != nil {
		return nil
	}
	return []webhook.Ask{{
		What: authorizationv1.ResourceAttributes{
			Verb: "create", Group: clusterv1beta2.GroupName, Resource: "managedclustersets", Subresource: "bind", Name: b.Spec.ClusterSet,
		},
		Refusal: apierrors.NewForbidden(clusterv1beta2.Resource("managedclustersetbindings"), b.Name, fmt.Errorf(
			"spec.clusterSet: user %s may not bind cluster set %s to a namespace; it takes the right to create managedclustersets/bind of that name", user, b.Spec.ClusterSet)),
	}}
}
