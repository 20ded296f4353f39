// Package v1alpha1 holds the API of Flotilla's own group, apps.flotilla.dev: what a user writes on the hub.
// Everything else that hub and members speak is imported from the OCM and OpenKruise API modules.
//
// +kubebuilder:object:generate=true
// +groupName=apps.flotilla.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "apps.flotilla.dev", Version: "v1alpha1"}

// AddToScheme makes the kinds of this package known to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &FederatedDeployment{}, &FederatedDeploymentList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
