package register

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Choose picks the bootstrap kubeconfig of the hub to join: of the hub that the stored credentials are for, if it
// lets us in, else the first that does. A hub that was just left is asked last. When none lets us in, the known hub it
// is, for bootstrap credentials run out and stored ones may still be good. OCM-6.2
func Choose(ctx context.Context, kubeconfigs []string, stored, left string, welcome func(context.Context, Bootstrap) error) (string, error) {
	var all error
	known := ""
	for _, candidate := range inTurn(kubeconfigs, stored, left) {
		boot, err := ReadBootstrap(candidate)
		if err == nil && boot.Hub.Server == stored {
			known = candidate
		}
		if err == nil {
			err = welcome(ctx, boot)
		}
		if err == nil {
			return candidate, nil
		}
		all = errors.Join(all, fmt.Errorf("%s: %w", candidate, err))
	}
	if known != "" {
		return known, nil
	}
	return "", fmt.Errorf("choose one of %d hubs: %w", len(kubeconfigs), all)
}

// inTurn is the order in which hubs are asked.
func inTurn(kubeconfigs []string, stored, left string) []string {
	out := slices.Clone(kubeconfigs)
	rank := func(file string) int {
		boot, err := ReadBootstrap(file)
		switch {
		case err == nil && boot.Hub.Server == left:
			return 2
		case err == nil && boot.Hub.Server == stored:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	return out
}

// MayBootstrap says what a bootstrap identity may not do, of what joining takes. OCM-3.7
func MayBootstrap(ctx context.Context, hub client.Client) error {
	for _, needed := range []struct {
		group, resource string
		verbs           []string
	}{
		{clusterv1.GroupName, "managedclusters", []string{"create", "get"}},
		{"certificates.k8s.io", "certificatesigningrequests", []string{"create", "get", "list", "watch"}},
	} {
		for _, verb := range needed.verbs {
			if err := may(ctx, hub, &authorizationv1.ResourceAttributes{Group: needed.group, Resource: needed.resource, Verb: verb}); err != nil {
				return err
			}
		}
	}
	return nil
}

func may(ctx context.Context, hub client.Client, action *authorizationv1.ResourceAttributes) error {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: action}}
	if err := hub.Create(ctx, review); err != nil {
		return fmt.Errorf("ask whether %s of %s is allowed: %w", action.Verb, action.Resource, err)
	}
	if !review.Status.Allowed {
		return fmt.Errorf("the bootstrap identity may not %s %s", action.Verb, action.Resource)
	}
	return nil
}
