// Package addon converts the add-on API between v1alpha1, which is stored, and v1beta1, which newer agents read. It owns
// nothing; it is a function of the object. It promises that a round trip from either version loses nothing that the API
// server keeps, but for organization units of Kubernetes client certificates, which v1beta1 has no place for.
package addon

import (
	"encoding/json"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"open-cluster-management.io/api/addon/v1alpha1"
	"open-cluster-management.io/api/addon/v1beta1"

	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Definitions are the custom resource definitions with two versions. OCM-1.1
var Definitions = []string{
	"clustermanagementaddons.addon.open-cluster-management.io",
	"managedclusteraddons.addon.open-cluster-management.io",
	"addondeploymentconfigs.addon.open-cluster-management.io",
}

// annotationKept carries fields of v1alpha1 that v1beta1 has no place for.
const annotationKept = "flotilla.dev/addon-v1alpha1-fields"

// kept is what it holds.
type kept struct {
	AddOnConfiguration *v1alpha1.ConfigCoordinates `json:"addOnConfiguration,omitempty"`
	KubeClientDriver   string                      `json:"kubeClientDriver,omitempty"`
}

// Converter is the handler that converts.
func Converter() http.Handler { return webhook.Converter(Convert) }

// Convert turns an object into the wanted version of its kind. OCM-1.3
func Convert(raw []byte, apiVersion string) (any, error) {
	var from metav1.TypeMeta
	if err := json.Unmarshal(raw, &from); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	const alpha, beta = "addon.open-cluster-management.io/v1alpha1", "addon.open-cluster-management.io/v1beta1"
	type way struct{ kind, from, to string }
	to := metav1.TypeMeta{Kind: from.Kind, APIVersion: apiVersion}
	switch (way{from.Kind, from.APIVersion, apiVersion}) {
	case way{"ClusterManagementAddOn", alpha, beta}:
		return convert(raw, &v1beta1.ClusterManagementAddOn{TypeMeta: to}, offerUp)
	case way{"ClusterManagementAddOn", beta, alpha}:
		return convert(raw, &v1alpha1.ClusterManagementAddOn{TypeMeta: to}, offerDown)
	case way{"ManagedClusterAddOn", alpha, beta}:
		return convert(raw, &v1beta1.ManagedClusterAddOn{TypeMeta: to}, installationUp)
	case way{"ManagedClusterAddOn", beta, alpha}:
		return convert(raw, &v1alpha1.ManagedClusterAddOn{TypeMeta: to}, installationDown)
	case way{"AddOnDeploymentConfig", alpha, beta}:
		return convert(raw, &v1beta1.AddOnDeploymentConfig{TypeMeta: to}, func(in *v1alpha1.AddOnDeploymentConfig, out *v1beta1.AddOnDeploymentConfig) error {
			return v1beta1.Convert_v1alpha1_AddOnDeploymentConfig_To_v1beta1_AddOnDeploymentConfig(in, out, nil)
		})
	case way{"AddOnDeploymentConfig", beta, alpha}:
		return convert(raw, &v1alpha1.AddOnDeploymentConfig{TypeMeta: to}, func(in *v1beta1.AddOnDeploymentConfig, out *v1alpha1.AddOnDeploymentConfig) error {
			return v1beta1.Convert_v1beta1_AddOnDeploymentConfig_To_v1alpha1_AddOnDeploymentConfig(in, out, nil)
		})
	}
	return nil, fmt.Errorf("convert %s of %s to %s: there is no way", from.Kind, from.APIVersion, apiVersion)
}

func convert[In, Out any](raw []byte, out *Out, by func(*In, *Out) error) (*Out, error) {
	in := new(In)
	if err := json.Unmarshal(raw, in); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	return out, by(in, out)
}

func offerUp(in *v1alpha1.ClusterManagementAddOn, out *v1beta1.ClusterManagementAddOn) error {
	if err := v1beta1.Convert_v1alpha1_ClusterManagementAddOn_To_v1beta1_ClusterManagementAddOn(in, out, nil); err != nil {
		return err
	}
	hideSentinel(out)
	return keep(&out.ObjectMeta, kept{AddOnConfiguration: nonzero(in.Spec.AddOnConfiguration)})
}

func offerDown(in *v1beta1.ClusterManagementAddOn, out *v1alpha1.ClusterManagementAddOn) error {
	hideSentinel(in)
	if err := v1beta1.Convert_v1beta1_ClusterManagementAddOn_To_v1alpha1_ClusterManagementAddOn(in, out, nil); err != nil {
		return err
	}
	fields, err := restore(&out.ObjectMeta)
	if fields.AddOnConfiguration != nil {
		out.Spec.AddOnConfiguration = *fields.AddOnConfiguration
	}
	return err
}

// hideSentinel drops what was resolved from the name that stands for no default: it is no object. OCM-1.3
func hideSentinel(a *v1beta1.ClusterManagementAddOn) {
	for i := range a.Status.DefaultConfigReferences {
		resolved(&a.Status.DefaultConfigReferences[i].DesiredConfig)
	}
	for _, p := range a.Status.InstallProgressions {
		for i := range p.ConfigReferences {
			c := &p.ConfigReferences[i]
			resolved(&c.DesiredConfig)
			resolved(&c.LastKnownGoodConfig)
			resolved(&c.LastAppliedConfig)
		}
	}
}

func resolved(c **v1beta1.ConfigSpecHash) {
	if *c != nil && (*c).Name == v1beta1.ReservedNoDefaultConfigName {
		*c = nil
	}
}

func installationUp(in *v1alpha1.ManagedClusterAddOn, out *v1beta1.ManagedClusterAddOn) error {
	if err := v1beta1.Convert_v1alpha1_ManagedClusterAddOn_To_v1beta1_ManagedClusterAddOn(in, out, nil); err != nil {
		return err
	}
	for i, c := range in.Status.ConfigReferences {
		if c.DesiredConfig == nil && c.Name != "" { // from before there was a desired config
			out.Status.ConfigReferences[i].DesiredConfig = &v1beta1.ConfigSpecHash{
				ConfigReferent: v1beta1.ConfigReferent{Namespace: c.Namespace, Name: c.Name},
			}
		}
		resolved(&out.Status.ConfigReferences[i].DesiredConfig)
		resolved(&out.Status.ConfigReferences[i].LastAppliedConfig)
	}
	if in.Spec.InstallNamespace != "" { // OCM-19.1: losing it moves secrets to another namespace
		annotate(&out.ObjectMeta, v1beta1.InstallNamespaceAnnotation, in.Spec.InstallNamespace)
	}
	fields := kept{AddOnConfiguration: nonzero(in.Status.AddOnConfiguration)}
	if !carriesDriver(out.Status.Registrations) {
		fields.KubeClientDriver = in.Status.KubeClientDriver
	}
	return keep(&out.ObjectMeta, fields)
}

func carriesDriver(all []v1beta1.RegistrationConfig) bool {
	for _, r := range all {
		if r.Type == v1beta1.KubeClient {
			return true
		}
	}
	return false
}

func installationDown(in *v1beta1.ManagedClusterAddOn, out *v1alpha1.ManagedClusterAddOn) error {
	for i := range in.Status.ConfigReferences {
		resolved(&in.Status.ConfigReferences[i].DesiredConfig)
		resolved(&in.Status.ConfigReferences[i].LastAppliedConfig)
	}
	if err := v1beta1.Convert_v1beta1_ManagedClusterAddOn_To_v1alpha1_ManagedClusterAddOn(in, out, nil); err != nil {
		return err
	}
	for i := range out.Status.ConfigReferences { // older readers know only the name
		if c := &out.Status.ConfigReferences[i]; c.DesiredConfig != nil {
			c.ConfigReferent = c.DesiredConfig.ConfigReferent
		}
	}
	out.Spec.InstallNamespace = out.Annotations[v1beta1.InstallNamespaceAnnotation]
	remove(&out.ObjectMeta, v1beta1.InstallNamespaceAnnotation)
	fields, err := restore(&out.ObjectMeta)
	if fields.AddOnConfiguration != nil {
		out.Status.AddOnConfiguration = *fields.AddOnConfiguration
	}
	if out.Status.KubeClientDriver == "" {
		out.Status.KubeClientDriver = fields.KubeClientDriver
	}
	return err
}

func nonzero(c v1alpha1.ConfigCoordinates) *v1alpha1.ConfigCoordinates {
	if c == (v1alpha1.ConfigCoordinates{}) {
		return nil
	}
	return &c
}

func keep(o *metav1.ObjectMeta, fields kept) error {
	if fields == (kept{}) {
		return nil
	}
	value, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	annotate(o, annotationKept, string(value))
	return nil
}

func restore(o *metav1.ObjectMeta) (fields kept, err error) {
	value, ok := o.Annotations[annotationKept]
	if !ok {
		return kept{}, nil
	}
	remove(o, annotationKept)
	if err := json.Unmarshal([]byte(value), &fields); err != nil {
		return kept{}, fmt.Errorf("read annotation %s of %s: %w", annotationKept, o.Name, err)
	}
	return fields, nil
}

func annotate(o *metav1.ObjectMeta, key, value string) {
	if o.Annotations == nil {
		o.Annotations = map[string]string{}
	}
	o.Annotations[key] = value
}

func remove(o *metav1.ObjectMeta, key string) {
	if delete(o.Annotations, key); len(o.Annotations) == 0 {
		o.Annotations = nil
	}
}
