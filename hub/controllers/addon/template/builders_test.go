package template

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
)

const (
	agent = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"agent","namespace":"home"},"spec":{"template":{"spec":{"containers":[{"name":"a","image":"quay.io/x/agent:1","args":["--cluster={{CLUSTER_NAME}}","--hub={{HUB_KUBECONFIG}}","--level={{LEVEL}}","--other={{OTHER}}"],"env":[{"name":"LEVEL","value":"mine"}]}]}}}}`
	crd   = `{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"kept","annotations":{"addon.open-cluster-management.io/deletion-orphan":""}}}`
	bye   = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"bye","namespace":"n","annotations":{"addon.open-cluster-management.io/addon-pre-delete":""}}}`
)

// tmpl is a template of add-on logs with these manifests.
func tmpl(manifests ...string) *addonv1alpha1.AddOnTemplate {
	t := &addonv1alpha1.AddOnTemplate{TypeMeta: metav1.TypeMeta{APIVersion: "addon.open-cluster-management.io/v1alpha1", Kind: "AddOnTemplate"},
		ObjectMeta: metav1.ObjectMeta{Name: "t"}, Spec: addonv1alpha1.AddOnTemplateSpec{AddonName: "logs"}}
	for _, m := range manifests {
		t.Spec.AgentSpec.Workload.Manifests = append(t.Spec.AgentSpec.Workload.Manifests, workv1.Manifest{RawExtension: runtime.RawExtension{Raw: []byte(m)}})
	}
	return t
}

// registered lets the add-on's agent to the hub, with a role on its cluster and one in a namespace.
func registered(t *addonv1alpha1.AddOnTemplate) *addonv1alpha1.AddOnTemplate {
	t.Spec.Registration = []addonv1alpha1.RegistrationSpec{{Type: addonv1alpha1.RegistrationTypeKubeClient, KubeClient: &addonv1alpha1.KubeClientRegistrationConfig{HubPermissions: []addonv1alpha1.HubPermissionConfig{
		{Type: addonv1alpha1.HubPermissionsBindingCurrentCluster, CurrentCluster: &addonv1alpha1.CurrentClusterBindingConfig{ClusterRoleName: "logs-reader"}},
		{Type: addonv1alpha1.HubPermissionsBindingSingleNamespace, SingleNamespace: &addonv1alpha1.SingleNamespaceBindingConfig{Namespace: "logs-hub", RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "writer"}}},
	}}}}
	return t
}

func custom(t *addonv1alpha1.AddOnTemplate) *addonv1alpha1.AddOnTemplate {
	t.Spec.Registration = append(t.Spec.Registration, addonv1alpha1.RegistrationSpec{Type: addonv1alpha1.RegistrationTypeCustomSigner,
		CustomSigner: &addonv1alpha1.CustomSignerRegistrationConfig{SignerName: "example.com/signer", Subject: &addonv1alpha1.Subject{User: "u"}}})
	return t
}

func deploymentConfig() *addonv1alpha1.AddOnDeploymentConfig {
	return &addonv1alpha1.AddOnDeploymentConfig{TypeMeta: metav1.TypeMeta{APIVersion: "addon.open-cluster-management.io/v1alpha1", Kind: "AddOnDeploymentConfig"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "c"}}
}

func unstructuredOf(t *testing.T, o any) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

func hashOf(t *testing.T, o any) string {
	t.Helper()
	hash, err := config.Hash(unstructuredOf(t, o).Object)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// logs is configured with a template of that hash.
func logs(hash string, change ...func(*installation)) *installation {
	a := &installation{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "logs", UID: "addon-1"}}
	a.Status.ConfigReferences = []addonv1alpha1.ConfigReference{{ConfigGroupResource: config.Templates,
		DesiredConfig: &addonv1alpha1.ConfigSpecHash{ConfigReferent: addonv1alpha1.ConfigReferent{Name: "t"}, SpecHash: hash}}}
	a.Status.Conditions = []metav1.Condition{{Type: "Configured", Status: metav1.ConditionTrue, Reason: "x", LastTransitionTime: metav1.Now()}}
	for _, c := range change {
		c(a)
	}
	return a
}

// offered names the template as a default.
func offered(change ...func(*addonv1alpha1.ClusterManagementAddOn)) *addonv1alpha1.ClusterManagementAddOn {
	o := &addonv1alpha1.ClusterManagementAddOn{ObjectMeta: metav1.ObjectMeta{Name: "logs"}}
	o.Spec.SupportedConfigs = []addonv1alpha1.ConfigMeta{{ConfigGroupResource: config.Templates, DefaultConfig: &addonv1alpha1.ConfigReferent{Name: "t"}}}
	for _, c := range change {
		c(o)
	}
	return o
}

// labelled is what a binding of the add-on on east carries.
var labelled = map[string]string{"app.kubernetes.io/managed-by": "flotilla-hub", catalog.NameLabel: "logs", catalog.NamespaceLabel: "east"}
