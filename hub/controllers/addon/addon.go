// Package addon serves OCM's add-ons on the hub (OCM-19). It owns nothing itself: offer installs and configures, standing
// says how an installation is, label tells Placements of it, approval, signer and token give an add-on's agent its
// credentials, template runs add-ons that come as a template, catalog knows what everything is called.
//
// Each part runs only where the kinds it needs are served, so that a hub without them starts all the same.
package addon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/approval"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/label"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/offer"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/signer"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/standing"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/template"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/token"
	"github.com/flotilla-project/flotilla/hub/controllers/join/acceptance"
)

// Name of the controllers, all together.
const Name = "addon"

// Options are what add-ons depend on.
type Options struct {
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
	// Braked keeps installations of which too many at once are no longer selected, until somebody confirms.
	Braked bool
}

// Watched narrows what the hub's cache holds of kinds that clusters have by the thousand, to objects made here.
func Watched() map[client.Object]cache.ByObject {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{acceptance.ManagedByLabel: acceptance.ManagedBy})}
	return map[client.Object]cache.ByObject{&corev1.ServiceAccount{}: ours, &rbacv1.Role{}: ours}
}

// Register adds the controllers to the manager.
func Register(m ctrl.Manager, o Options) error {
	is := serving{m.GetRESTMapper(), nil}
	addons := is.served(catalog.GroupVersion.WithKind("ManagedClusterAddOn")) && is.served(catalog.GroupVersion.WithKind("ClusterManagementAddOn"))
	clusters := is.served(schema.GroupVersion{Group: clusterv1.GroupName, Version: "v1"}.WithKind("ManagedCluster"))
	placements := is.served(schema.GroupVersion{Group: clusterv1beta1.GroupName, Version: "v1beta1"}.WithKind("Placement"))
	works := is.served(schema.GroupVersion{Group: workv1.GroupName, Version: "v1"}.WithKind("ManifestWork"))
	var configs []config.Kind
	kinds := map[config.Kind]schema.GroupVersionKind{}
	for _, kind := range []config.Kind{config.Templates, config.DeploymentConfigs} {
		if is.served(offer.ConfigKinds[kind]) {
			configs, kinds[kind] = append(configs, kind), offer.ConfigKinds[kind]
		}
	}
	if is.err != nil {
		return is.err
	}
	if !addons || !clusters {
		m.GetLogger().Info("add-ons are not served: their kinds, or ManagedClusters, are not")
		return nil
	}
	if err := catalog.Index(context.Background(), m.GetFieldIndexer()); err != nil {
		return err
	}
	if works && slices.Contains(configs, config.Templates) {
		if err := errors.Join(template.Register(m, template.Options{Kinds: kinds}), signer.Register(m, o.Clock)); err != nil {
			return err
		}
	}
	return errors.Join(
		offer.Register(m, offer.Options{Clock: o.Clock, Braked: o.Braked, Placements: placements, Configs: configs}),
		standing.Register(m, standing.Options{Works: works}),
		label.Register(m),
		approval.Register(m),
		token.Register(m),
	)
}

// serving asks the API server what it serves, and keeps the first failure.
type serving struct {
	mapper meta.RESTMapper
	err    error
}

func (s *serving) served(kind schema.GroupVersionKind) bool {
	_, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil && !meta.IsNoMatchError(err) && s.err == nil {
		s.err = fmt.Errorf("ask for %s: %w", kind.Kind, err)
	}
	return err == nil
}
