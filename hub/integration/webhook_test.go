package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/webhooks"
)

func merge(patch string) client.Patch {
	return client.RawPatch(types.MergePatchType, []byte(patch))
}

// OCM-4.4
func TestAdmissionSaysWhenATaintWasAdded(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	const name = "tainted"
	long := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	g.Expect(s.Admin.Create(t.Context(), managed(name, func(c *clusterv1.ManagedCluster) {
		c.Spec.Taints = []clusterv1.Taint{{Key: "old", Effect: "NoSelect", TimeAdded: long}}
	}))).To(Succeed())
	c := managed(name)
	s.exists(t, c)
	g.Expect(c.Spec.Taints[0].TimeAdded.Time).To(BeTemporally("~", time.Now(), time.Minute), "a client said when")

	kept := c.Spec.Taints[0].DeepCopy()
	g.Expect(changeAs(t.Context(), s.Admin, name, func(c *clusterv1.ManagedCluster) {
		c.Spec.Taints = append(c.Spec.Taints, clusterv1.Taint{Key: "new", Effect: "PreferNoSelect"})
	})).To(Succeed())
	s.exists(t, c)
	g.Expect(c.Spec.Taints[0].TimeAdded.Equal(&kept.TimeAdded)).To(BeTrue())
	g.Expect(c.Spec.Taints[1].TimeAdded.IsZero()).To(BeFalse())

	err := changeAs(t.Context(), s.Admin, name, func(c *clusterv1.ManagedCluster) {
		c.Spec.Taints[0].TimeAdded = long
		c.Spec.Taints[1].Value = "changed"
	})
	g.Expect(apierrors.IsBadRequest(err)).To(BeTrue(), "%v", err)
	g.Expect(err).To(MatchError(ContainSubstring("taint old, new")))
	g.Expect(changeAs(t.Context(), s.Admin, name, func(c *clusterv1.ManagedCluster) { c.Labels = map[string]string{"a": "b"} })).To(Succeed())
}

// OCM-8.2, OCM-8.3
func TestSetsAndWhoMayBindThem(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	boot := s.bootstrapper(t)
	g.Expect(boot.Create(t.Context(), managed("in-default"))).To(Succeed())
	c := managed("in-default")
	s.exists(t, c)
	g.Expect(c.Labels).To(HaveKeyWithValue("cluster.open-cluster-management.io/clusterset", "default"))
	err := boot.Create(t.Context(), managed("in-blue", func(c *clusterv1.ManagedCluster) {
		c.Labels = map[string]string{"cluster.open-cluster-management.io/clusterset": "blue"}
	}))
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)

	s.grant(t, "binders", rbacv1.PolicyRule{APIGroups: []string{clusterv1.GroupName}, Resources: []string{"managedclustersetbindings"}, Verbs: []string{"get", "create", "patch"}},
		rbacv1.PolicyRule{APIGroups: []string{clusterv1.GroupName}, Resources: []string{"managedclustersets/bind"}, ResourceNames: []string{"blue"}, Verbs: []string{"create"}})
	binder := s.as(t, "binder", "binders")
	bind := func(name, set string) error {
		return binder.Create(t.Context(), &clusterv1beta2.ManagedClusterSetBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: clusterv1beta2.ManagedClusterSetBindingSpec{ClusterSet: set},
		})
	}
	g.Eventually(func() error { return bind("blue", "blue") }, soon, interval).Should(Succeed())
	g.Expect(bind("green", "green")).To(MatchError(ContainSubstring("user binder may not bind cluster set green")))
	err = bind("red", "blue")
	g.Expect(apierrors.IsBadRequest(err)).To(BeTrue(), "%v", err)
	s.grant(t, "unbound", rbacv1.PolicyRule{APIGroups: []string{clusterv1.GroupName}, Resources: []string{"managedclustersetbindings"}, Verbs: []string{"get", "patch"}})
	g.Eventually(func() error {
		return s.as(t, "unbound", "unbound").Patch(t.Context(), &clusterv1beta2.ManagedClusterSetBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "blue"}},
			merge(`{"metadata":{"labels":{"a":"b"}},"spec":{"clusterSet":"blue"}}`))
	}, soon, interval).Should(Succeed(), "changing a binding takes no right of its own")
}

// OCM-9.3: the limit is a flag, and no executor can take a right too.
func TestLimitAndNilExecutorOfWorks(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.webhooksAs(t, func(o *webhooks.Options) { o.ManifestLimit, o.NilExecutorValidating = 300, true })
	g.Expect(s.Admin.Create(t.Context(), manifestWork("default", "limited", configMap("a")), client.DryRunAll)).To(Succeed())
	err := s.Admin.Create(t.Context(), manifestWork("default", "limited", configMap(strings.Repeat("a", 250))), client.DryRunAll)
	g.Expect(apierrors.IsBadRequest(err)).To(BeTrue(), "%v", err)
	g.Expect(err).To(MatchError(ContainSubstring("exceeds the 300 limit")))

	s.grant(t, "plain", rbacv1.PolicyRule{APIGroups: []string{workv1.GroupName}, Resources: []string{"manifestworks"}, Verbs: []string{"create"}})
	err = s.as(t, "plain", "plain").Create(t.Context(), manifestWork("default", "limited", configMap("a")), client.DryRunAll)
	g.Eventually(func() error {
		return s.as(t, "plain", "plain").Create(t.Context(), manifestWork("default", "limited", configMap("a")), client.DryRunAll)
	}, soon, interval).Should(MatchError(ContainSubstring("may not have works executed as system:serviceaccount::klusterlet-work-sa")), "%v", err)
}

// OCM-9.3: what is wrong with a template shows at once, not as a work that cannot be made. OCM-9.4: a long name is legal.
func TestTemplatesAreJudgedLikeWorks(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	set := func(manifests ...string) *workv1alpha1.ManifestWorkReplicaSet {
		return &workv1alpha1.ManifestWorkReplicaSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "judged"},
			Spec: workv1alpha1.ManifestWorkReplicaSetSpec{
				ManifestWorkTemplate: manifestWork("default", "w", manifests...).Spec,
				PlacementRefs:        []workv1alpha1.LocalPlacementReference{{Name: "p"}},
			},
		}
	}
	g.Expect(s.Admin.Create(t.Context(), set(configMap("a")), client.DryRunAll)).To(Succeed())
	err := s.Admin.Create(t.Context(), set(configMap("a"), configMap("a")), client.DryRunAll)
	g.Expect(apierrors.IsBadRequest(err)).To(BeTrue(), "%v", err)
	g.Expect(err).To(MatchError(ContainSubstring("is there twice")))
	g.Expect(s.Admin.Create(t.Context(), manifestWork("default", strings.Repeat("n", 250), configMap("a")), client.DryRunAll)).To(Succeed())
}

// DESIGN: a brake on mass deletion, for whoever deletes.
func TestAMistakenSelectorIsStopped(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.webhooksAs(t, func(o *webhooks.Options) { o.MassRemovalShare = 20 })
	const home = "braked"
	g.Expect(s.Admin.Create(t.Context(), namespace(home))).To(Succeed())
	for i := range 30 {
		w := manifestWork(home, fmt.Sprintf("web-%d", i), configMap("a"))
		w.Labels = map[string]string{"app": "web"}
		g.Expect(s.Admin.Create(t.Context(), w)).To(Succeed())
	}
	left := func() int {
		var all workv1.ManifestWorkList
		g.Expect(s.Admin.List(t.Context(), &all, client.InNamespace(home))).To(Succeed())
		return len(all.Items)
	}
	mistake := func(options ...client.DeleteAllOfOption) error {
		return s.Admin.DeleteAllOf(t.Context(), &workv1.ManifestWork{}, append(options, client.InNamespace(home), client.MatchingLabels{"app": "web"})...)
	}
	g.Eventually(func() error { return mistake(client.DryRunAll) }, soon, interval).Should(Succeed(), "a rehearsal is nothing that could be counted")
	g.Expect(left()).To(Equal(30))
	err := mistake()
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
	g.Expect(err).To(MatchError(And(ContainSubstring("works of the fleet were removed within 10 minutes"), ContainSubstring("kubectl annotate namespace flotilla-system"))))
	rest := left()
	g.Expect(rest).To(BeNumerically(">=", 10), "most of the fleet is gone")
	g.Expect(mistake()).NotTo(Succeed(), "asking again is no way around")
	g.Expect(left()).To(Equal(rest))

	var works workv1.ManifestWorkList
	g.Expect(s.Admin.List(t.Context(), &works, client.InNamespace(home))).To(Succeed())
	meant := &works.Items[0]
	g.Expect(s.Admin.Delete(t.Context(), meant)).NotTo(Succeed())
	g.Expect(s.Admin.Patch(t.Context(), meant, merge(`{"spec":{"workload":{"manifests":[]}}}`))).NotTo(Succeed())
	g.Expect(s.Admin.Patch(t.Context(), meant, merge(`{"metadata":{"annotations":{"flotilla.dev/confirm-removal":"`+meant.Name+`"}}}`))).To(Succeed())
	g.Expect(s.Admin.Delete(t.Context(), meant)).To(Succeed())

	hub := namespace("flotilla-system")
	until := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	g.Expect(s.Admin.Patch(t.Context(), hub, merge(`{"metadata":{"annotations":{"flotilla.dev/confirm-mass-removal":"`+until+`"}}}`))).To(Succeed())
	t.Cleanup(func() {
		drop := merge(`{"metadata":{"annotations":{"flotilla.dev/confirm-mass-removal":null}}}`)
		if err := s.Admin.Patch(context.Background(), namespace("flotilla-system"), drop); err != nil {
			t.Error(err)
		}
	})
	g.Eventually(func() error { return mistake() }, soon, interval).Should(Succeed())
	g.Expect(left()).To(BeZero())
}

// OCM-1.3, OCM-19.1: agents of either age read what the other wrote.
func TestAddOnsAreServedInBothVersions(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	addon := func(version, kind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
		o.SetAPIVersion("addon.open-cluster-management.io/" + version)
		o.SetKind(kind)
		o.SetNamespace(namespace)
		o.SetName(name)
		return o
	}
	read := func(version, kind, namespace, name string) *unstructured.Unstructured {
		o := addon(version, kind, namespace, name, nil)
		// The API server takes a new address for conversions version by version, some time after it was registered.
		g.Eventually(func() error { return s.Admin.Get(t.Context(), client.ObjectKeyFromObject(o), o) }, soon, interval).Should(Succeed())
		return o
	}
	g.Eventually(func() error {
		return client.IgnoreAlreadyExists(s.Admin.Create(t.Context(), addon("v1alpha1", "ManagedClusterAddOn", "default", "old", map[string]any{"installNamespace": "secrets-here"})))
	}, soon, interval).Should(Succeed())
	g.Expect(read("v1beta1", "ManagedClusterAddOn", "default", "old").GetAnnotations()).
		To(HaveKeyWithValue("addon.open-cluster-management.io/v1alpha1-install-namespace", "secrets-here"))

	young := addon("v1beta1", "ManagedClusterAddOn", "default", "young", map[string]any{"configs": []any{map[string]any{"group": "g", "resource": "r", "name": "x"}}})
	young.SetAnnotations(map[string]string{"addon.open-cluster-management.io/v1alpha1-install-namespace": "there"})
	g.Eventually(func() error { return client.IgnoreAlreadyExists(s.Admin.Create(t.Context(), young)) }, soon, interval).Should(Succeed())
	seen := read("v1alpha1", "ManagedClusterAddOn", "default", "young")
	g.Expect(seen.Object["spec"]).To(HaveKeyWithValue("installNamespace", "there"))

	g.Eventually(func() error {
		return client.IgnoreAlreadyExists(s.Admin.Create(t.Context(), addon("v1alpha1", "ClusterManagementAddOn", "", "offer", map[string]any{
			"supportedConfigs": []any{map[string]any{"group": "g", "resource": "r"}}, "installStrategy": map[string]any{"type": "Manual"},
		})))
	}, soon, interval).Should(Succeed())
	offer := read("v1beta1", "ClusterManagementAddOn", "", "offer")
	configs, _, _ := unstructured.NestedSlice(offer.Object, "spec", "defaultConfigs")
	g.Expect(configs).To(ConsistOf(HaveKeyWithValue("name", "__reserved_no_default__")))
	g.Expect(s.Admin.Update(t.Context(), offer)).To(Succeed())
	configs, _, _ = unstructured.NestedSlice(read("v1alpha1", "ClusterManagementAddOn", "", "offer").Object, "spec", "supportedConfigs")
	g.Expect(configs).To(ConsistOf(Not(HaveKey("defaultConfig"))), "the sentinel came back as a default")

	status := read("v1beta1", "ManagedClusterAddOn", "default", "old")
	g.Expect(unstructured.SetNestedField(status.Object, "somewhere", "status", "namespace")).To(Succeed())
	g.Expect(s.Admin.Status().Update(t.Context(), status)).To(Succeed())
	old := read("v1alpha1", "ManagedClusterAddOn", "default", "old")
	g.Expect(old.Object["spec"]).To(HaveKeyWithValue("installNamespace", "secrets-here"), "a status update by a newer agent moved the secrets")
}

// OCM-21.1: what takes a right is refused while nobody is there to ask for it.
func TestTheDoorIsShutWhileNobodyGuardsIt(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	s.guarded(t)
	const name = "unguarded"
	g.Expect(s.Admin.Create(t.Context(), managed(name))).To(Succeed())
	accept := func() error {
		return s.Admin.Patch(t.Context(), managed(name), merge(`{"spec":{"hubAcceptsClient":true}}`), client.DryRunAll)
	}
	g.Expect(accept()).To(Succeed())
	const registration = "managedclustervalidators.admission.cluster.open-cluster-management.io"
	s.unregistered(t, registration, func() {
		g.Eventually(accept, soon, interval).Should(MatchError(ContainSubstring("the hub's webhooks are not registered yet")))
		g.Expect(s.Admin.Patch(t.Context(), managed(name), merge(`{"metadata":{"annotations":{"a":"b"}}}`))).To(Succeed(), "what takes no right goes on")
		g.Expect(s.Admin.Delete(t.Context(), &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: registration}})).To(Succeed())
		g.Eventually(accept, soon, interval).Should(MatchError(ContainSubstring("webhooks-clusters.flotilla.dev")), "the object that it looks at is gone")
		s.install(t, "webhooks")
	})
	g.Eventually(accept, soon, interval).Should(Succeed())
}
