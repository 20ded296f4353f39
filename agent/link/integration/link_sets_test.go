package integration

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/inventory"
	"github.com/flotilla-project/flotilla/agent/link/namespaces"
	"github.com/flotilla-project/flotilla/agent/link/work"
)

// propertyCRD is about.k8s.io's, as far as it matters here. Few clusters have it.
func propertyCRD() *apiextensionsv1.CustomResourceDefinition {
	text := apiextensionsv1.JSONSchemaProps{Type: "string"}
	spec := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"value": text}}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "clusterproperties.about.k8s.io", Annotations: map[string]string{
			"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/2151",
		}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "about.k8s.io", Scope: apiextensionsv1.ClusterScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "clusterproperties", Singular: "clusterproperty", Kind: "ClusterProperty", ListKind: "ClusterPropertyList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1alpha1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
					OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": spec}},
				},
			}},
		},
	}
}

// manages sets the list that the hub copies from its cluster sets, and keeps what the agent said.
func (w *world) manages(names ...string) {
	w.Helper()
	w.Eventually(func(g Gomega) {
		cluster := w.managedCluster(g)
		before := cluster.DeepCopy()
		had := cluster.Status.ManagedNamespaces
		cluster.Status.ManagedNamespaces = nil
		for _, name := range names {
			entry := clusterv1.ClusterSetManagedNamespaceConfig{ClusterSet: "prod"}
			entry.Name = name
			for _, e := range had {
				if e.Name == name {
					entry = e
				}
			}
			cluster.Status.ManagedNamespaces = append(cluster.Status.ManagedNamespaces, entry)
		}
		g.Expect(w.hub.Status().Patch(w.Context(), cluster, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))).To(Succeed())
	}).Should(Succeed())
}

// OCM-2.1, OCM-5.2, OCM-5.3: under the longest name there is, an agent keeps the hub's managed namespaces and tells the
// properties of its cluster, with the rights that its service account has.
func TestAnAgentKeepsManagedNamespacesAndTellsProperties(t *testing.T) {
	t.Parallel()
	name := "c" + strings.Repeat("0123456789", 6) + "zz"
	w := newWorld(t, name)
	crd := propertyCRD()
	w.Expect(w.member.Create(t.Context(), crd)).To(Succeed())
	t.Cleanup(func() { _ = w.member.Delete(w.T.Context(), crd) })
	w.Expect(established(t.Context(), w.member)).To(Succeed())
	w.options.ClusterProperties = true
	w.join()

	// Namespaces come, are labelled, and stay when they leave the list.
	hash := work.HubHash(w.there.RESTConfig().Host)
	label := namespaces.Label(hash)
	w.Expect(strings.TrimPrefix(label, "clusterset.open-cluster-management.io/")).To(Equal(hash[:63]))
	w.manages("sets-web", "sets-db")
	labelled := func(name, value string) {
		w.Helper()
		w.Eventually(func(g Gomega) {
			g.Expect(get(g, t.Context(), w.member, &corev1.Namespace{}, "", name).Labels).To(HaveKeyWithValue(label, value))
		}).Should(Succeed())
	}
	labelled("sets-web", "true")
	labelled("sets-db", "true")
	said := func(g Gomega, reason string) {
		for _, e := range w.managedCluster(g).Status.ManagedNamespaces {
			g.Expect(e.Conditions).To(ConsistOf(And(HaveField("Type", "NamespaceAvailable"), HaveField("Reason", reason))), e.Name)
		}
	}
	w.Eventually(func(g Gomega) { said(g, "NamespaceApplied") }).Should(Succeed())
	w.manages("sets-db")
	labelled("sets-web", "false")
	labelled("sets-db", "true")

	// A property wins over the claim of its name, and goes with itself.
	claim := &clusterv1alpha1.ClusterClaim{ObjectMeta: metav1.ObjectMeta{Name: "sets-both"}, Spec: clusterv1alpha1.ClusterClaimSpec{Value: "claim"}}
	w.Expect(w.member.Create(t.Context(), claim)).To(Succeed())
	t.Cleanup(func() { _ = w.member.Delete(w.T.Context(), claim) })
	told := func(value string) {
		w.Helper()
		w.Eventually(func(g Gomega) {
			g.Expect(w.managedCluster(g).Status.ClusterClaims).To(ContainElement(clusterv1.ManagedClusterClaim{Name: "sets-both", Value: value}))
		}).Should(Succeed())
	}
	told("claim")
	property := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"value": "property"}}}
	property.SetGroupVersionKind(inventory.ClusterProperty)
	property.SetName("sets-both")
	w.Expect(w.member.Create(t.Context(), property)).To(Succeed())
	told("property")
	w.Expect(w.member.Delete(t.Context(), property)).To(Succeed())
	told("claim")

	// Nothing happens any more, so nothing is written any more.
	w.Eventually(func(g Gomega) {
		before := w.managedCluster(g).ResourceVersion
		g.Consistently(func(g Gomega) { g.Expect(w.managedCluster(g).ResourceVersion).To(Equal(before)) }, 3*time.Second, glance).Should(Succeed())
	}).Should(Succeed())
}
