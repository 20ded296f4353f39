// Package app wires the hub: options, feature gates and the list of controllers. It knows everyone and nobody knows it.
package app

import (
	"slices"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"

	"github.com/flotilla-project/flotilla/pkg/cmd"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// ManagedClusterAutoApproval approves first certificates and accepts clusters without a human, for the users that
// --auto-approved-csr-users names (OCM-3.4). Off: whoever joins is looked at once.
const ManagedClusterAutoApproval featuregate.Feature = "ManagedClusterAutoApproval"

// ResourceCleanup deletes works and add-ons of a ManagedCluster that is deleted (OCM-7.2), and with the works what they
// put on the member. OCM has it on; here whoever removes a cluster says so first.
const ResourceCleanup featuregate.Feature = "ResourceCleanup"

// DefaultClusterSet keeps the cluster sets "default" and "global" (OCM-8.2).
const DefaultClusterSet featuregate.Feature = "DefaultClusterSet"

// PropagateReferences lets ConfigMaps and Secrets travel with those FederatedDeployments that ask for it. The hub then
// reads both in every namespace, for which the ClusterRole flotilla:hub:references has to be bound.
const PropagateReferences featuregate.Feature = "PropagateReferences"

// ManifestWorkReplicaSet serves ManifestWorkReplicaSets (OCM-18). OCM has it off.
const ManifestWorkReplicaSet featuregate.Feature = "ManifestWorkReplicaSet"

// CleanUpCompletedManifestWork deletes completed works whose time to live is over (OCM-13.4).
const CleanUpCompletedManifestWork featuregate.Feature = "CleanUpCompletedManifestWork"

// AddonManagement serves add-ons (OCM-19).
const AddonManagement featuregate.Feature = "AddonManagement"

// Options are the flags of the hub.
type Options struct {
	// Kubeconfig of the hub cluster; empty is the pod's service account, or what kubectl uses.
	Kubeconfig string
	// Controllers to run: names, "*" for all, "-name" for all but one.
	Controllers []string
	// AutoApprovedCSRUsers may join without a human while ManagedClusterAutoApproval is on.
	AutoApprovedCSRUsers []string
	// Manager is what hub and agent share.
	Manager manager.Options
	// Webhooks that are served.
	Webhooks WebhookOptions

	gates featuregate.MutableFeatureGate
}

// NewOptions are the defaults.
func NewOptions() (*Options, error) {
	gates := featuregate.NewFeatureGate()
	err := gates.Add(map[featuregate.Feature]featuregate.FeatureSpec{
		ManagedClusterAutoApproval:   {Default: false, PreRelease: featuregate.Alpha},
		DefaultClusterSet:            {Default: true, PreRelease: featuregate.Beta},
		ResourceCleanup:              {Default: false, PreRelease: featuregate.Beta},
		NilExecutorValidating:        {Default: false, PreRelease: featuregate.Alpha},
		PropagateReferences:          {Default: false, PreRelease: featuregate.Alpha},
		ManifestWorkReplicaSet:       {Default: true, PreRelease: featuregate.Beta},
		CleanUpCompletedManifestWork: {Default: false, PreRelease: featuregate.Alpha},
		AddonManagement:              {Default: true, PreRelease: featuregate.Beta},
		PlacementDebugServer:         {Default: false, PreRelease: featuregate.Alpha},
	})
	return &Options{
		Controllers: []string{"*"},
		gates:       gates,
		Webhooks:    newWebhookOptions(),
		Manager: manager.Options{
			MetricsAddr: "0", HealthProbeAddr: "0", LeaderElectionNamespace: "flotilla-system", LeaderElectionID: "flotilla-hub",
			Workers: map[string]int{"ManagedCluster.cluster.open-cluster-management.io": 10, "CertificateSigningRequest.certificates.k8s.io": 5},
			QPS:     500, Burst: 1000, CacheSyncTimeout: 2 * time.Minute, // a change of a thousand works; the API server keeps the peace by itself
		},
	}, err
}

// Bind adds the flags.
func (o *Options) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig of the hub cluster; empty is the pod's service account, or what kubectl uses")
	flags.StringSliceVar(&o.Controllers, "controllers", o.Controllers, `controllers to run: names, "*" for all, "-name" for all but one`)
	flags.StringSliceVar(&o.AutoApprovedCSRUsers, "auto-approved-csr-users", o.AutoApprovedCSRUsers,
		"users whose clusters join without a human, while the gate ManagedClusterAutoApproval is on")
	o.gates.AddFlag(flags)
	o.Manager.Bind(flags)
	o.Webhooks.bind(flags)
}

// Validate lists everything that is wrong.
func (o *Options) Validate() []error {
	_, problems := cmd.Choose(names(), o.Controllers)
	return slices.Concat(problems, o.Manager.Validate(), o.Webhooks.validate())
}
