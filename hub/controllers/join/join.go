// Package join lets clusters into the hub and out again. It owns nothing itself: approval signs off their certificate
// requests, acceptance gives them their place and their rights, cleanup empties that place when they are deleted,
// detach lets them go with everything in them running, identity knows what they are called.
//
// A stock agent joins with nothing but a bootstrap kubeconfig (OCM-21.1): it asks for a certificate and makes a
// ManagedCluster, an administrator approves the one and accepts the other, in either order.
package join

import (
	"errors"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/join/acceptance"
	"github.com/flotilla-project/flotilla/hub/controllers/join/approval"
	"github.com/flotilla-project/flotilla/hub/controllers/join/cleanup"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
)

// Options are what joining depends on.
type Options struct {
	// AutoApproval accepts clusters that join for the first time, and approves the first certificates of
	// AutoApprovedUsers, without a human. OCM-3.4
	AutoApproval bool
	// AutoApprovedUsers are compared whole; without AutoApproval they mean nothing.
	AutoApprovedUsers []string
	// ResourceCleanup removes the works of a cluster that is deleted, and with them its workloads. Without it the
	// deletion waits until people have removed them. OCM-7.2
	ResourceCleanup bool
}

// Watched narrows what the hub's cache holds of kinds that clusters have by the thousand: RBAC objects made here, and
// certificate requests of members and their add-ons. Whoever reads others of these kinds reads past the cache.
func Watched() (map[client.Object]cache.ByObject, error) {
	member, err := labels.NewRequirement(clusterv1.ClusterNameLabelKey, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("select certificate requests: %w", err)
	}
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{acceptance.ManagedByLabel: acceptance.ManagedBy})}
	return map[client.Object]cache.ByObject{
		&rbacv1.ClusterRole{}: ours, &rbacv1.ClusterRoleBinding{}: ours, &rbacv1.RoleBinding{}: ours,
		&certificatesv1.CertificateSigningRequest{}: {Label: labels.NewSelector().Add(*member)},
	}, nil
}

// Register adds the controllers to the manager.
func Register(m ctrl.Manager, o Options) error {
	live, err := client.New(m.GetConfig(), client.Options{
		HTTPClient: m.GetHTTPClient(), Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(),
	})
	if err != nil {
		return fmt.Errorf("make client without cache: %w", err)
	}
	return errors.Join(
		approval.Register(m, live, o.users()),
		acceptance.Register(m, live, o.AutoApproval),
		cleanup.Register(m, live, o.ResourceCleanup),
		detach.Register(m, live),
	)
}

// users whose first certificates need no human.
func (o Options) users() []string {
	if !o.AutoApproval {
		return nil
	}
	return o.AutoApprovedUsers
}
