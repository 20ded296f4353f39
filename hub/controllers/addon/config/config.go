// Package config decides which configurations an add-on has on a cluster, and what they hash to. It is pure.
package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	"open-cluster-management.io/api/addon/v1beta1"
)

// Kind is what configurations are told apart by: a group and a resource.
type Kind = addonv1alpha1.ConfigGroupResource

// The kinds that the hub reads by itself. Others are hashed by whoever runs the add-on and has the right to read them.
var (
	Templates         = Kind{Group: addonv1alpha1.GroupName, Resource: "addontemplates"}
	DeploymentConfigs = Kind{Group: addonv1alpha1.GroupName, Resource: "addondeploymentconfigs"}
)

// Ref names one configuration.
type Ref struct {
	Kind
	addonv1alpha1.ConfigReferent
}

// String names it for people.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Resource + " " + r.Name
	}
	return r.Resource + " " + r.Namespace + "/" + r.Name
}

// Known says whether the hub reads configurations of that kind.
func (r Ref) Known() bool { return r.Kind == Templates || r.Kind == DeploymentConfigs }

// Hash is the hash of a configuration's spec as the API server has it. Whoever hashes the same spec gets the same: keys
// are sorted, and nothing is left out or filled in. OCM-19.3
func Hash(object map[string]any) (string, error) {
	spec, found := object["spec"]
	if !found {
		return "", nil
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("encode spec: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// Defaults are those of an offer. A kind without one has none, whatever its name says. OCM-1.3
func Defaults(offer *addonv1alpha1.ClusterManagementAddOn) (refs []Ref) {
	for _, c := range offer.Spec.SupportedConfigs {
		if c.DefaultConfig != nil && c.DefaultConfig.Name != v1beta1.ReservedNoDefaultConfigName {
			refs = append(refs, Ref{c.ConfigGroupResource, *c.DefaultConfig})
		}
	}
	return refs
}

// Of are the configurations that a spec lists.
func Of(configs []addonv1alpha1.AddOnConfig) (refs []Ref) {
	for _, c := range configs {
		if r := (Ref{c.ConfigGroupResource, c.ConfigReferent}); c.Name != v1beta1.ReservedNoDefaultConfigName && !slices.Contains(refs, r) {
			refs = append(refs, r)
		}
	}
	return refs
}

// Named are all configurations that the specs of an offer and of an installation name, whether they count or not. What
// only a status names was written by a cluster's agent.
func Named(offer *addonv1alpha1.ClusterManagementAddOn, a *addonv1alpha1.ManagedClusterAddOn) []Ref {
	refs := append(Defaults(offer), Of(a.Spec.Configs)...)
	for _, s := range offer.Spec.InstallStrategy.Placements {
		refs = append(refs, Of(s.Configs)...)
	}
	return refs
}

// Resolve lets the more specific layer stand in for the less specific, kind by kind: installation, placement strategy,
// defaults. Layers go from the least specific to the most. OCM-19.3
func Resolve(layers ...[]Ref) (refs []Ref) {
	for _, layer := range layers {
		of := map[Kind]bool{}
		for _, r := range layer {
			of[r.Kind] = true
		}
		refs = append(slices.DeleteFunc(refs, func(r Ref) bool { return of[r.Kind] }), layer...)
	}
	slices.SortStableFunc(refs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource))
	})
	return refs
}
