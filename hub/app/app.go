package app

import (
	"context"
	"fmt"
	"maps"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/addon"
	"github.com/flotilla-project/flotilla/hub/controllers/clusterset"
	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
	"github.com/flotilla-project/flotilla/hub/controllers/health"
	"github.com/flotilla-project/flotilla/hub/controllers/history"
	"github.com/flotilla-project/flotilla/hub/controllers/join"
	"github.com/flotilla-project/flotilla/hub/controllers/placement"
	"github.com/flotilla-project/flotilla/hub/controllers/uniteddeployment"
	"github.com/flotilla-project/flotilla/hub/controllers/workset"
	"github.com/flotilla-project/flotilla/hub/controllers/workttl"
	"github.com/flotilla-project/flotilla/pkg/cmd"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// controllers is everything the hub does, in the order in which a cluster meets it.
var controllers = []struct {
	name     string
	register func(ctrl.Manager, *Options) error
}{
	{"join", func(m ctrl.Manager, o *Options) error {
		return join.Register(m, join.Options{
			AutoApproval:      o.gates.Enabled(ManagedClusterAutoApproval),
			AutoApprovedUsers: o.AutoApprovedCSRUsers,
			ResourceCleanup:   o.gates.Enabled(ResourceCleanup),
		})
	}},
	{history.Name, func(m ctrl.Manager, _ *Options) error { return history.Register(m) }},
	{"health", func(m ctrl.Manager, _ *Options) error { return health.Register(m, health.Options{}) }},
	{"clusterset", func(m ctrl.Manager, o *Options) error {
		return clusterset.Register(m, clusterset.Options{StockSets: o.gates.Enabled(DefaultClusterSet)})
	}},
	{"placement", func(m ctrl.Manager, _ *Options) error { return placement.Register(m, placement.Options{}) }},
	{workset.Name, func(m ctrl.Manager, o *Options) error {
		if !o.gates.Enabled(ManifestWorkReplicaSet) {
			return nil
		}
		return workset.Register(m, workset.Options{Braked: o.Webhooks.braked()})
	}},
	{workttl.Name, func(m ctrl.Manager, o *Options) error {
		if !o.gates.Enabled(CleanUpCompletedManifestWork) {
			return nil
		}
		return workttl.Register(m, workttl.Options{})
	}},
	{addon.Name, func(m ctrl.Manager, o *Options) error {
		if !o.gates.Enabled(AddonManagement) {
			return nil
		}
		return addon.Register(m, addon.Options{Braked: o.Webhooks.braked()})
	}},
	{"federateddeployment", func(m ctrl.Manager, o *Options) error {
		return federateddeployment.Register(m, federateddeployment.Options{
			References: o.gates.Enabled(PropagateReferences), Braked: o.Webhooks.braked(),
		})
	}},
	{"uniteddeployment", func(m ctrl.Manager, _ *Options) error {
		return uniteddeployment.Register(m, federateddeployment.Options{})
	}},
}

func names() (all []string) {
	for _, c := range controllers {
		all = append(all, c.name)
	}
	return all
}

// Scheme knows every kind that the hub reads or writes.
func Scheme() (*runtime.Scheme, error) {
	return manager.Scheme(clientgoscheme.AddToScheme, clusterv1.Install, clusterv1alpha1.Install, clusterv1beta1.Install, clusterv1beta2.Install, workv1.Install, workv1alpha1.Install, addonv1alpha1.Install, appsv1alpha1.AddToScheme)
}

// watched narrows the cache: a hub may share its API server with a cluster that has leases and roles by the thousand.
func watched() (map[client.Object]cache.ByObject, error) {
	all, err := join.Watched()
	if err != nil {
		return nil, err
	}
	maps.Copy(all, addon.Watched())
	all[&coordinationv1.Lease{}] = cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", "managed-cluster-lease")}
	return all, nil
}

// Run is the hub, until ctx ends.
func Run(ctx context.Context, o *Options) error {
	cfg, err := manager.Config(o.Kubeconfig)
	if err != nil {
		return err
	}
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	if o.Manager.Watch, err = watched(); err != nil {
		return err
	}
	m, err := manager.New(cfg, scheme, ctrl.Log, "flotilla-hub", o.Manager)
	if err != nil {
		return err
	}
	chosen, _ := cmd.Choose(names(), o.Controllers)
	for _, c := range controllers {
		if !chosen[c.name] {
			continue
		}
		if err := c.register(m, o); err != nil {
			return fmt.Errorf("register controller %s: %w", c.name, err)
		}
	}
	if err := serveWebhooks(m, o); err != nil {
		return fmt.Errorf("serve webhooks: %w", err)
	}
	return m.Start(ctx)
}
