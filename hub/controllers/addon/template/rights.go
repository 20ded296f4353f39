package template

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/join/acceptance"
)

// kubeSigner is the signer of certificates for the hub's API server.
const kubeSigner = "kubernetes.io/kube-apiserver-client"

// registrations are what the cluster's agent gets credentials by. It may have written whom they name; that stays. OCM-19.4
func registrations(obj *installation, t *addonv1alpha1.AddOnTemplate) (all []addonv1alpha1.RegistrationConfig) {
	for _, r := range t.Spec.Registration {
		is := addonv1alpha1.RegistrationConfig{SignerName: kubeSigner}
		if r.Type == addonv1alpha1.RegistrationTypeCustomSigner {
			if r.CustomSigner == nil {
				continue
			}
			is.SignerName = r.CustomSigner.SignerName
			if r.CustomSigner.Subject != nil {
				is.Subject = *r.CustomSigner.Subject
			}
		}
		for _, had := range obj.Status.Registrations {
			if had.SignerName == is.SignerName && r.Type == addonv1alpha1.RegistrationTypeKubeClient {
				is.Subject = had.Subject
			}
		}
		all = append(all, is)
	}
	return all
}

// bindings are the rights that a template gives to the add-on's agents of this cluster, and of no other: never to the
// group that all clusters' agents share. OCM-19.4
func bindings(obj *installation, t *addonv1alpha1.AddOnTemplate) (all []*rbacv1.RoleBinding) {
	for _, r := range t.Spec.Registration {
		if r.Type != addonv1alpha1.RegistrationTypeKubeClient || r.KubeClient == nil {
			continue
		}
		for _, p := range r.KubeClient.HubPermissions {
			switch {
			case p.Type == addonv1alpha1.HubPermissionsBindingCurrentCluster && p.CurrentCluster != nil:
				all = append(all, binding(obj, obj.Namespace, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: p.CurrentCluster.ClusterRoleName}))
			case p.Type == addonv1alpha1.HubPermissionsBindingSingleNamespace && p.SingleNamespace != nil:
				ref := p.SingleNamespace.RoleRef
				ref.APIGroup = rbacv1.GroupName
				all = append(all, binding(obj, p.SingleNamespace.Namespace, ref))
			}
		}
	}
	slices.SortFunc(all, func(a, b *rbacv1.RoleBinding) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return slices.CompactFunc(all, func(a, b *rbacv1.RoleBinding) bool { return a.Namespace == b.Namespace && a.Name == b.Name })
}

func binding(obj *installation, namespace string, role rbacv1.RoleRef) *rbacv1.RoleBinding {
	b := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace,
			Name:   fmt.Sprintf("open-cluster-management:%s:addon:%s:%s:%s", obj.Namespace, obj.Name, strings.ToLower(role.Kind), role.Name),
			Labels: bindingLabels(obj.Namespace, obj.Name)},
		RoleRef:  role,
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: catalog.Group(obj.Namespace, obj.Name)}},
	}
	if obj.Status.KubeClientDriver == catalog.TokenDriver {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: obj.Namespace, Name: catalog.ServiceAccount(obj.Name)})
	}
	return b
}

// bindingLabels find the bindings of an installation, also when it is gone. They are not those of a cluster's own: the
// label of the cluster would have them looked after by who lets clusters in.
func bindingLabels(cluster, addon string) map[string]string {
	return map[string]string{acceptance.ManagedByLabel: acceptance.ManagedBy, catalog.NameLabel: addon, catalog.NamespaceLabel: cluster}
}

func sameBinding(have, want *rbacv1.RoleBinding) bool {
	return have.RoleRef == want.RoleRef && slices.Equal(have.Subjects, want.Subjects)
}
