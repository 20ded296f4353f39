package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/flotilla-project/flotilla/agent/link/addon"
	"github.com/flotilla-project/flotilla/agent/link/register"
	"github.com/flotilla-project/flotilla/agent/link/work"
)

// addons looks after add-ons once the cluster is accepted; before that the agent has no right to look. OCM-19
func (s *session) addons(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.acceptedAddOns.rings():
	}
	hub := portable(s.hub)
	kubeconfig, err := hub.Kubeconfig()
	if err != nil {
		return err
	}
	tokenKubeconfig, err := hub.TokenKubeconfig()
	if err != nil {
		return err
	}
	asks, err := discovery.NewDiscoveryClientForConfigAndClient(s.conn.config, s.conn.http)
	if err != nil {
		return fmt.Errorf("prepare hub discovery: %w", err)
	}
	addon.New(addon.Deps{
		Hub: s.conn.hub, Local: s.link.local.client, Holder: s.holder, Watch: s.watchAddOns,
		Serves: func(_ context.Context, version string) (bool, error) { return servesAddOns(asks, version) },
		Held: func(ctx context.Context) (string, error) {
			verdict, err := s.past.Check(ctx)
			return verdict.Held, err
		},
		Kubeconfig: kubeconfig, TokenKubeconfig: tokenKubeconfig,
		Namespace: s.link.options.AgentNamespace, Record: "flotilla-addons-" + work.HubHash(s.hub.Server)[:16],
	}, s.link.options.addOnOptions()).Run(ctx)
	return nil
}

// servesAddOns asks for one version of the add-on API. OCM-1.3
func servesAddOns(asks discovery.DiscoveryInterface, version string) (bool, error) {
	served, err := asks.ServerResourcesForGroupVersion(schema.GroupVersion{Group: addon.Kinds[0].Group, Version: version}.String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for i := range served.APIResources {
		if served.APIResources[i].Name == "managedclusteraddons" {
			return true, nil
		}
	}
	return false, nil
}

// watchAddOns is a cache of its own: it ends and begins with the API on the hub. OCM-20.2
func (s *session) watchAddOns(failed func(error)) (cache.Cache, error) {
	seen, err := cache.New(s.conn.config, cache.Options{
		HTTPClient: s.conn.http, Scheme: s.link.scheme, Mapper: hubMapper(), DefaultTransform: cache.TransformStripManagedFields(),
		DefaultNamespaces: map[string]cache.Config{s.holder.Cluster: {}},
		DefaultWatchErrorHandler: func(_ context.Context, _ *toolscache.Reflector, err error) {
			if !errors.Is(err, context.Canceled) {
				failed(err)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("prepare cache of add-ons: %w", err)
	}
	return seen, nil
}

// portable is a hub whose CA is not a file of this agent, which an add-on's agent has not.
func portable(hub register.Hub) register.Hub {
	if hub.CAFile == "" {
		return hub
	}
	if data, err := os.ReadFile(hub.CAFile); err == nil {
		hub.CAFile, hub.CAData = "", data
	}
	return hub
}

func (o Options) addOnOptions() addon.Options {
	const usual = 30 * time.Second
	often := min(o.HealthCheckPeriod, usual)
	return addon.Options{
		Driver: o.AddOnRegistrationAuth, TokenSeconds: o.AddOnTokenSeconds, CertSeconds: o.CertExpirationSeconds, Workloads: o.Workloads,
		Health: often, Unwell: min(often, usual/3), Look: min(often, usual/2), Discover: min(10*often, 5*time.Minute),
	}
}
