package addon

import (
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"open-cluster-management.io/api/addon/v1alpha1"
	"open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// defaultNamespace is where add-ons live that name no other. OCM-19.4
const defaultNamespace = "open-cluster-management-agent-addon"

// installation is what a ManagedClusterAddOn says, in either version.
type installation struct {
	object        client.Object // as it was read; shared with the cache
	namespace     string        // of its lease and its secrets on this cluster
	registrations []registration
	customized    bool // its health is judged on the hub
	driver        string
	conditions    []metav1.Condition
}

// registration is one way in which the add-on's agent wants to be known to the hub.
type registration struct {
	signer string
	user   string
	groups []string
	units  []string
}

// kube says that the registration is for the hub's own API server.
func (r registration) kube() bool { return r.signer == certificatesv1.KubeAPIServerClientSignerName }

// read understands both versions; nil is neither.
func read(o client.Object) *installation {
	switch a := o.(type) {
	case *v1alpha1.ManagedClusterAddOn:
		return fromAlpha(a)
	case *v1beta1.ManagedClusterAddOn:
		return fromBeta(a)
	default:
		return nil
	}
}

func fromAlpha(a *v1alpha1.ManagedClusterAddOn) *installation {
	i := &installation{
		object: a, conditions: a.Status.Conditions, driver: a.Status.KubeClientDriver,
		namespace:  first(a.Status.Namespace, chosen(a.Spec.InstallNamespace), a.Annotations[v1beta1.InstallNamespaceAnnotation], defaultNamespace),
		customized: a.Status.HealthCheck.Mode == v1alpha1.HealthCheckModeCustomized,
	}
	for _, r := range a.Status.Registrations {
		i.registrations = append(i.registrations, registration{
			signer: r.SignerName, user: r.Subject.User, groups: r.Subject.Groups, units: r.Subject.OrganizationUnits,
		})
	}
	return i
}

func fromBeta(a *v1beta1.ManagedClusterAddOn) *installation {
	i := &installation{
		object: a, conditions: a.Status.Conditions,
		namespace:  first(a.Status.Namespace, a.Annotations[v1beta1.InstallNamespaceAnnotation], defaultNamespace),
		customized: a.Status.HealthCheck.Mode == v1beta1.HealthCheckModeCustomized,
	}
	for _, r := range a.Status.Registrations {
		switch {
		case r.Type == v1beta1.KubeClient:
			kube := registration{signer: certificatesv1.KubeAPIServerClientSignerName}
			if r.KubeClient != nil {
				kube.user, kube.groups = r.KubeClient.Subject.User, r.KubeClient.Subject.Groups
				i.driver = r.KubeClient.Driver
			}
			i.registrations = append(i.registrations, kube)
		case r.Type == v1beta1.CustomSigner && r.CustomSigner != nil:
			s := r.CustomSigner.Subject
			i.registrations = append(i.registrations, registration{signer: r.CustomSigner.SignerName, user: s.User, groups: s.Groups, units: s.OrganizationUnits})
		}
	}
	return i
}

// chosen leaves out what v1alpha1 fills in for those who chose none, who may have done so in v1beta1.
func chosen(namespace string) string {
	if namespace == defaultNamespace {
		return ""
	}
	return namespace
}

func first(names ...string) string {
	at := slices.IndexFunc(names, func(name string) bool { return name != "" })
	return names[at]
}

// declare writes into o how the add-on's agent comes by its credentials for the hub's API server, and, if the driver
// settles that, whom they name. OCM-19.4
func declare(o client.Object, driver, user string) {
	switch a := o.(type) {
	case *v1alpha1.ManagedClusterAddOn:
		a.Status.KubeClientDriver = driver
		for i := range a.Status.Registrations {
			if user != "" && a.Status.Registrations[i].SignerName == certificatesv1.KubeAPIServerClientSignerName {
				a.Status.Registrations[i].Subject = v1alpha1.Subject{User: user}
			}
		}
	case *v1beta1.ManagedClusterAddOn:
		for i := range a.Status.Registrations {
			r := &a.Status.Registrations[i]
			if r.Type != v1beta1.KubeClient {
				continue
			}
			if r.KubeClient == nil {
				r.KubeClient = &v1beta1.KubeClientConfig{}
			}
			r.KubeClient.Driver = driver
			if user != "" {
				r.KubeClient.Subject.BaseSubject = v1beta1.BaseSubject{User: user}
			}
		}
	}
}

// conditionsOf is where o keeps its conditions, to be written to.
func conditionsOf(o client.Object) *[]metav1.Condition {
	switch a := o.(type) {
	case *v1alpha1.ManagedClusterAddOn:
		return &a.Status.Conditions
	case *v1beta1.ManagedClusterAddOn:
		return &a.Status.Conditions
	default:
		return new([]metav1.Condition)
	}
}
