// Package catalog says what add-ons, their agents and their objects are called, and finds the installations of one. It
// owns the index of ManagedClusterAddOns by name; it writes nothing. Names are compared whole, so that cluster "a" is
// never taken for cluster "ab".
package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
)

const (
	// NameLabel carries an add-on's name on works, certificate requests and RBAC objects. OCM-19.4
	NameLabel = addonv1alpha1.AddonLabelKey
	// NamespaceLabel carries the cluster whose add-on it is. OCM-19.5
	NamespaceLabel = addonv1alpha1.AddonNamespaceLabelKey
	// DefaultNamespace is where add-ons are installed that say nothing else. OCM-19.4
	DefaultNamespace = "open-cluster-management-agent-addon"

	// TokenDriver is the way to a credential by a service account's token; every other driver is a certificate. OCM-19.4
	TokenDriver = "token"

	// featurePrefix begins the labels that say how a cluster's add-ons are. OCM-19.7
	featurePrefix = "feature.open-cluster-management.io/addon-"
	// longestKey is what a label's key may have after the slash.
	longestKey = 63

	clusterPrefix = "system:open-cluster-management:cluster:"
	sharedPrefix  = "system:open-cluster-management:addon:"
	byName        = "addon.name"
)

// GroupVersion is the version that is stored, and that the hub reads and writes. OCM-1.1
var GroupVersion = schema.GroupVersion{Group: addonv1alpha1.GroupName, Version: addonv1alpha1.GroupVersion.Version}

// FeatureLabel is the label of an add-on on its clusters; there is none where the name is too long. OCM-19.7
func FeatureLabel(addon string) (key string, fits bool) {
	key = featurePrefix + addon
	return key, len(key)-strings.Index(key, "/")-1 <= longestKey
}

// IsFeatureLabel says whether a label speaks of an add-on.
func IsFeatureLabel(key string) bool { return strings.HasPrefix(key, featurePrefix) }

// SelfDriven says that the add-on's own controller looks after configuration and installation. OCM-19.1
func SelfDriven(offer *addonv1alpha1.ClusterManagementAddOn) bool {
	return offer.Annotations[addonv1alpha1.AddonLifecycleAnnotationKey] == addonv1alpha1.AddonLifecycleSelfManageAnnotationValue
}

// Group is the group of the agents of an add-on on one cluster. Rights are bound to it and to no other. OCM-19.4
func Group(cluster, addon string) string { return clusterPrefix + cluster + ":addon:" + addon }

// SharedGroup is the group of the agents of an add-on on all clusters. Nothing is bound to it: one cluster's agent would
// reach what is another's. OCM-19.4
func SharedGroup(addon string) string { return sharedPrefix + addon }

// User is one agent of an add-on. OCM-19.4
func User(cluster, addon, agent string) string { return Group(cluster, addon) + ":agent:" + agent }

// IsAgent says whether the user is some agent of that add-on on that cluster.
func IsAgent(user, cluster, addon string) bool {
	agent, ok := strings.CutPrefix(user, User(cluster, addon, ""))
	return ok && agent != "" && !strings.Contains(agent, ":")
}

// ServiceAccount is the account whose tokens an add-on's agent uses. OCM-19.4
func ServiceAccount(addon string) string { return addon + "-agent" }

// ServiceAccountUser is the user of those tokens.
func ServiceAccountUser(cluster, addon string) string {
	return "system:serviceaccount:" + cluster + ":" + ServiceAccount(addon)
}

// ClusterGroups are the two groups of a cluster's own agent. OCM-3.6
func ClusterGroups(cluster string) []string {
	return []string{identity.Group(cluster), identity.CloudGroup(cluster)}
}

// Index makes installations findable by name.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	kind, key, extract := IndexOf()
	if err := indexer.IndexField(ctx, kind, key, extract); err != nil {
		return fmt.Errorf("index add-ons by name: %w", err)
	}
	return nil
}

// IndexOf is that index, for fake clients.
func IndexOf() (client.Object, string, client.IndexerFunc) {
	return &addonv1alpha1.ManagedClusterAddOn{}, byName, func(o client.Object) []string { return []string{o.GetName()} }
}

// Installations lists those of one add-on on all clusters. They are shared with the cache: read only.
func Installations(ctx context.Context, r client.Reader, addon string) ([]addonv1alpha1.ManagedClusterAddOn, error) {
	var found addonv1alpha1.ManagedClusterAddOnList
	if err := r.List(ctx, &found, client.MatchingFields{byName: addon}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list installations of %s: %w", addon, err)
	}
	return found.Items, nil
}

// Deploys says whether a work deploys the add-on; others are hooks of its deletion. OCM-19.5
func Deploys(work client.Object, addon string) bool {
	return strings.HasPrefix(work.GetName(), DeployPrefix(addon))
}

// DeployPrefix begins the names of the works that deploy an add-on; a number ends them. OCM-19.5
func DeployPrefix(addon string) string { return "addon-" + addon + "-deploy-" }

// HookName is the work that runs before an add-on is deleted. OCM-19.5
func HookName(addon string) string { return "addon-" + addon + "-pre-delete" }

// ConfigKey names a configuration in the annotation of works that were rendered with it. OCM-19.5
func ConfigKey(r addonv1alpha1.ConfigReference) string {
	parts := []string{r.Resource + "." + r.Group, r.DesiredConfig.Namespace, r.DesiredConfig.Name}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "/")
}

// RunByTemplate says whether the hub runs the add-on, by an AddOnTemplate among its configurations.
func RunByTemplate(offer *addonv1alpha1.ClusterManagementAddOn, a *addonv1alpha1.ManagedClusterAddOn) bool {
	return !SelfDriven(offer) && Template(a) != nil
}

// Template is the AddOnTemplate that an installation has, or nil.
func Template(a *addonv1alpha1.ManagedClusterAddOn) *addonv1alpha1.ConfigSpecHash {
	for _, r := range a.Status.ConfigReferences {
		if r.Group == addonv1alpha1.GroupName && r.Resource == "addontemplates" {
			return r.DesiredConfig
		}
	}
	return nil
}
