package integration

import (
	"context"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/controllers/addon"
)

// addons is a hub that lets clusters in and serves one add-on, offered on what a Placement of its namespace selects.
type addons struct {
	server
	*WithT
	t               testing.TB
	name, namespace string
	decision        *clusterv1beta1.PlacementDecision
}

func offerAddon(t testing.TB, name string) addons {
	t.Helper()
	a := addons{server: hubServer(t), WithT: NewWithT(t), t: t, name: name, namespace: "offers-" + name}
	a.run(t, append(joining(), func(m ctrl.Manager) error { return addon.Register(m, addon.Options{}) })...)
	a.Expect(a.Admin.Create(t.Context(), namespace(a.namespace))).To(Succeed())
	a.Expect(a.Admin.Create(t.Context(), &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: "p"}})).To(Succeed())
	a.decision = &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: "p-decision-1", Labels: map[string]string{clusterv1beta1.PlacementLabel: "p"}}}
	a.Expect(a.Admin.Create(t.Context(), a.decision)).To(Succeed())
	template := &addonv1alpha1.AddOnTemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: addonv1alpha1.AddOnTemplateSpec{AddonName: name,
		Registration: []addonv1alpha1.RegistrationSpec{{Type: addonv1alpha1.RegistrationTypeKubeClient, KubeClient: &addonv1alpha1.KubeClientRegistrationConfig{HubPermissions: []addonv1alpha1.HubPermissionConfig{
			{Type: addonv1alpha1.HubPermissionsBindingCurrentCluster, CurrentCluster: &addonv1alpha1.CurrentClusterBindingConfig{ClusterRoleName: name}}}}}}}}
	template.Spec.AgentSpec.Workload.Manifests = []workv1.Manifest{{RawExtension: runtime.RawExtension{Raw: []byte(
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"default"},"data":{"cluster":"{{CLUSTER_NAME}}","level":"{{LEVEL}}"}}`)}}}
	a.Expect(a.Admin.Create(t.Context(), template)).To(Succeed())
	a.Expect(a.Admin.Create(t.Context(), &addonv1alpha1.AddOnDeploymentConfig{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: "c"},
		Spec: addonv1alpha1.AddOnDeploymentConfigSpec{CustomizedVariables: []addonv1alpha1.CustomizedVariable{{Name: "LEVEL", Value: "one"}}}})).To(Succeed())
	kind := func(resource string) addonv1alpha1.ConfigGroupResource {
		return addonv1alpha1.ConfigGroupResource{Group: addonv1alpha1.GroupName, Resource: resource}
	}
	offer := &addonv1alpha1.ClusterManagementAddOn{ObjectMeta: metav1.ObjectMeta{Name: name}}
	offer.Spec.SupportedConfigs = []addonv1alpha1.ConfigMeta{{ConfigGroupResource: kind("addontemplates"), DefaultConfig: &addonv1alpha1.ConfigReferent{Name: name}}, {ConfigGroupResource: kind("addondeploymentconfigs")}}
	offer.Spec.InstallStrategy = addonv1alpha1.InstallStrategy{Type: "Placements", Placements: []addonv1alpha1.PlacementStrategy{{
		PlacementRef: addonv1alpha1.PlacementRef{Namespace: a.namespace, Name: "p"},
		Configs:      []addonv1alpha1.AddOnConfig{{ConfigGroupResource: kind("addondeploymentconfigs"), ConfigReferent: addonv1alpha1.ConfigReferent{Namespace: a.namespace, Name: "c"}}}}}}
	a.Expect(a.Admin.Create(t.Context(), offer)).To(Succeed())
	return a
}

// place has the Placement decide for these clusters.
func (a addons) place(clusters ...string) {
	a.t.Helper()
	a.decision.Status.Decisions = []clusterv1beta1.ClusterDecision{}
	for _, c := range clusters {
		a.decision.Status.Decisions = append(a.decision.Status.Decisions, clusterv1beta1.ClusterDecision{ClusterName: c})
	}
	a.Expect(a.Admin.Status().Update(a.t.Context(), a.decision)).To(Succeed())
}

func (a addons) on(cluster string) *addonv1alpha1.ManagedClusterAddOn {
	return &addonv1alpha1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: a.name}}
}

// says is a condition of the add-on on a cluster.
func (a addons) says(cluster, kind string) func() string {
	return func() string {
		is := a.on(cluster)
		if err := a.Admin.Get(a.t.Context(), client.ObjectKeyFromObject(is), is); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(is.Status.Conditions, kind)
		if c == nil {
			return "nothing"
		}
		return string(c.Status) + " " + c.Reason + " " + c.Message
	}
}

// label is what the cluster is labelled with.
func (a addons) label(cluster string) func() string {
	return func() string {
		var c clusterv1.ManagedCluster
		if err := a.Admin.Get(a.t.Context(), client.ObjectKey{Name: cluster}, &c); err != nil {
			return err.Error()
		}
		return c.Labels["feature.open-cluster-management.io/addon-"+a.name]
	}
}

func (a addons) work(cluster string) func() (string, error) {
	return func() (string, error) {
		var w workv1.ManifestWork
		err := a.Admin.Get(a.t.Context(), client.ObjectKey{Namespace: cluster, Name: "addon-" + a.name + "-deploy-0"}, &w)
		if err != nil || len(w.Spec.Workload.Manifests) != 1 {
			return "", err
		}
		return string(w.Spec.Workload.Manifests[0].Raw), nil
	}
}

// available has the cluster's agent, or the hub in its stead, say how the cluster is.
func available(status metav1.ConditionStatus, reason string) func(*clusterv1.ManagedCluster) {
	return func(c *clusterv1.ManagedCluster) {
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: clusterv1.ManagedClusterConditionAvailable, Status: status, Reason: reason, Message: "said by a test"})
	}
}

func (a addons) report(cluster string, change func(*clusterv1.ManagedCluster)) {
	a.t.Helper()
	a.Eventually(func() error {
		var c clusterv1.ManagedCluster
		if err := a.Admin.Get(a.t.Context(), client.ObjectKey{Name: cluster}, &c); err != nil {
			return err
		}
		change(&c)
		return a.Admin.Status().Update(a.t.Context(), &c)
	}, soon, interval).Should(Succeed())
}

// OCM-19.2, OCM-19.3, OCM-19.5: under the hub's own rights, and in both versions of the API.
func TestAnAddOnIsInstalledByPlacementAndConfigured(t *testing.T) {
	a := offerAddon(t, "addon-placed")
	a.accepted(t, "addon-placed-1", func(c *clusterv1.ManagedCluster) {
		c.Annotations = map[string]string{"addon.open-cluster-management.io/on-multicluster-hub": "yes"}
	})
	a.accepted(t, "addon-placed-2")
	a.place("addon-placed-1")
	a.exists(t, a.on("addon-placed-1"))
	a.Eventually(a.says("addon-placed-1", "Configured"), soon, interval).Should(HavePrefix("True"))
	is := a.on("addon-placed-1")
	a.Expect(a.Admin.Get(t.Context(), client.ObjectKeyFromObject(is), is)).To(Succeed())
	a.Expect(is.Annotations).To(HaveKeyWithValue("addon.open-cluster-management.io/on-multicluster-hub", "yes"))
	a.Expect(metav1.GetControllerOf(is)).To(HaveField("Kind", "ClusterManagementAddOn"))
	a.Expect(is.Status.ConfigReferences).To(HaveLen(2))
	for _, r := range is.Status.ConfigReferences {
		a.Expect(r.DesiredConfig.SpecHash).To(HaveLen(64))
	}
	a.Eventually(a.work("addon-placed-1"), soon, interval).Should(And(ContainSubstring(`"cluster":"addon-placed-1"`), ContainSubstring(`"level":"one"`)))
	a.inBeta("addon-placed-1")
	a.reconfigured("addon-placed-1")

	a.place("addon-placed-2")
	a.exists(t, a.on("addon-placed-2"))
	a.goes(t, a.on("addon-placed-1"))
}

// inBeta reads what newer agents read. OCM-1.3
func (a addons) inBeta(cluster string) {
	a.t.Helper()
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: addonv1alpha1.GroupName, Version: "v1beta1", Kind: "ManagedClusterAddOn"})
	a.Eventually(func() string {
		if err := a.Admin.Get(a.t.Context(), client.ObjectKey{Namespace: cluster, Name: a.name}, o); err != nil {
			return err.Error()
		}
		all, _, _ := unstructured.NestedSlice(o.Object, "status", "registrations")
		for _, r := range all {
			kind, _, _ := unstructured.NestedString(r.(map[string]any), "type")
			return kind
		}
		return ""
	}, soon, interval).Should(Equal("kubeClient"))
}

// reconfigured: a change of a configuration reaches the work, and what was applied is remembered when the agent has answered.
func (a addons) reconfigured(cluster string) {
	a.t.Helper()
	c := &addonv1alpha1.AddOnDeploymentConfig{}
	a.Expect(a.Admin.Get(a.t.Context(), client.ObjectKey{Namespace: a.namespace, Name: "c"}, c)).To(Succeed())
	c.Spec.CustomizedVariables[0].Value = "two"
	a.Expect(a.Admin.Update(a.t.Context(), c)).To(Succeed())
	a.Eventually(a.work(cluster), soon, interval).Should(ContainSubstring(`"level":"two"`))
	a.Eventually(func() error {
		var w workv1.ManifestWork
		if err := a.Admin.Get(a.t.Context(), client.ObjectKey{Namespace: cluster, Name: "addon-" + a.name + "-deploy-0"}, &w); err != nil {
			return err
		}
		for _, kind := range []string{workv1.WorkApplied, workv1.WorkAvailable} {
			meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "x", ObservedGeneration: w.Generation})
		}
		return a.Admin.Status().Update(a.t.Context(), &w)
	}, soon, interval).Should(Succeed())
	a.Eventually(a.says(cluster, "Progressing"), soon, interval).Should(HavePrefix("False Completed"))
	a.Eventually(a.says(cluster, "ManifestApplied"), soon, interval).Should(HavePrefix("True AddonManifestApplied"))
	a.Eventually(func() string {
		var offer addonv1alpha1.ClusterManagementAddOn
		if err := a.Admin.Get(a.t.Context(), client.ObjectKey{Name: a.name}, &offer); err != nil || len(offer.Status.InstallProgressions) != 1 {
			return "no progressions"
		}
		return offer.Status.InstallProgressions[0].Conditions[0].Message
	}, soon, interval).Should(Equal("1/1 completed with no errors."))
}

// OCM-19.4: a certificate for the cluster's own agent, for its own add-on; and rights that the hub has been given to hand on.
func TestAnAddOnsAgentComesToTheHub(t *testing.T) {
	a := offerAddon(t, "addon-comes")
	a.accepted(t, "addon-comes-1")
	a.accepted(t, "addon-comes-2")
	a.place("addon-comes-1", "addon-comes-2")
	a.Eventually(a.says("addon-comes-1", "RegistrationApplied"), soon, interval).Should(HavePrefix("False SetPermissionFailed"), "the hub does not hold the right")
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: a.name}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"podtemplates"}, Verbs: []string{"get"}}}}
	a.Expect(a.Admin.Create(t.Context(), role)).To(Succeed())
	a.bindToHub(role.Name)
	a.Eventually(a.says("addon-comes-1", "RegistrationApplied"), soon, interval).Should(HavePrefix("True SetPermissionApplied"))

	ask := func(as, cluster string) *certificatesv1.CertificateSigningRequest {
		group := "system:open-cluster-management:cluster:" + cluster + ":addon:" + a.name
		request := csr(t, cluster, group+":agent:a1", group, "system:open-cluster-management:addon:"+a.name)
		request.Labels["open-cluster-management.io/addon-name"] = a.name
		a.Expect(a.member(t, as).Create(t.Context(), request)).To(Succeed())
		return request
	}
	fate := func(r *certificatesv1.CertificateSigningRequest) func() string {
		return func() string {
			if err := a.Admin.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
				return err.Error()
			}
			for _, c := range r.Status.Conditions {
				return string(c.Type)
			}
			return a.eventsOn(t, r)
		}
	}
	foreign, own := ask("addon-comes-2", "addon-comes-1"), ask("addon-comes-1", "addon-comes-1")
	a.Eventually(fate(own), soon, interval).Should(Equal("Approved"))
	a.Eventually(fate(foreign), soon, interval).Should(Equal("CertificateRequestLeftAlone"))

	group := "system:open-cluster-management:cluster:addon-comes-1:addon:" + a.name
	agent := a.as(t, group+":agent:a1", group, "system:open-cluster-management:addon:"+a.name)
	a.Eventually(func() error {
		return client.IgnoreNotFound(agent.Get(t.Context(), client.ObjectKey{Namespace: "addon-comes-1", Name: "x"}, &corev1.PodTemplate{}))
	}, soon, interval).Should(Succeed())
	err := agent.Get(t.Context(), client.ObjectKey{Namespace: "addon-comes-2", Name: "x"}, &corev1.PodTemplate{})
	a.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "another cluster's namespace: %v", err)
	a.tokens()

	a.place("addon-comes-2")
	a.goes(t, a.on("addon-comes-1"))
	a.goes(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "addon-comes-1", Name: "open-cluster-management:addon-comes-1:addon:" + a.name + ":clusterrole:" + a.name}})
}

func (a addons) bindToHub(role string) {
	a.t.Helper()
	b := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "hub-" + a.name + "-" + strings.ReplaceAll(role, ":", "-")},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "flotilla-system", Name: "hub"}}}
	a.Expect(a.Admin.Create(a.t.Context(), b)).To(Succeed())
	a.t.Cleanup(func() { // other tests look at what the hub may do
		if err := a.Admin.Delete(context.Background(), b); err != nil {
			a.t.Error(err)
		}
	})
}

// tokens: the agent declares that it wants one, and gets those of its add-on's account and no other's. OCM-19.4
func (a addons) tokens() {
	a.t.Helper()
	agent := a.member(a.t, "addon-comes-1")
	a.Eventually(func() error {
		is := &addonv1alpha1.ManagedClusterAddOn{}
		if err := agent.Get(a.t.Context(), client.ObjectKey{Namespace: "addon-comes-1", Name: a.name}, is); err != nil {
			return err
		}
		before := is.DeepCopy()
		is.Status.KubeClientDriver = "token"
		return agent.Status().Patch(a.t.Context(), is, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	}, soon, interval).Should(Succeed())
	a.Eventually(a.says("addon-comes-1", "TokenInfrastructureReady"), soon, interval).Should(And(HavePrefix("False"), ContainSubstring("flotilla:hub:addon-tokens")))
	a.bindToHub("flotilla:hub:addon-tokens")
	a.Eventually(a.says("addon-comes-1", "TokenInfrastructureReady"), soon, interval).Should(And(HavePrefix("True"), ContainSubstring("(UID: ")))
	token := func(account string) error {
		o := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "addon-comes-1", Name: account}}
		return agent.SubResource("token").Create(a.t.Context(), o, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(600))}})
	}
	a.Eventually(func() error { return token(a.name + "-agent") }, soon, interval).Should(Succeed())
	a.Expect(apierrors.IsForbidden(token("default"))).To(BeTrue())
}

// OCM-19.6, OCM-19.7: labels follow what agents say; a cluster that is not heard from takes its add-ons with it.
func TestLabelsFollowTheHealthOfAddOns(t *testing.T) {
	a := offerAddon(t, "addon-health")
	a.accepted(t, "addon-health-1")
	plain := a.on("addon-health-1")
	plain.Name = "addon-health-plain"
	a.Expect(a.Admin.Create(t.Context(), plain)).To(Succeed())
	a.name = plain.Name
	a.Consistently(a.label("addon-health-1"), "500ms", interval).Should(BeEmpty(), "the cluster has not said how it is")
	a.report("addon-health-1", available(metav1.ConditionTrue, "ManagedClusterAvailable"))
	a.Eventually(a.label("addon-health-1"), soon, interval).Should(Equal("unreachable"))

	agent := a.member(t, "addon-health-1")
	says := func(status metav1.ConditionStatus, reason string) {
		a.Eventually(func() error {
			is := &addonv1alpha1.ManagedClusterAddOn{}
			if err := agent.Get(t.Context(), client.ObjectKeyFromObject(plain), is); err != nil {
				return err
			}
			before := is.DeepCopy()
			meta.SetStatusCondition(&is.Status.Conditions, metav1.Condition{Type: "Available", Status: status, Reason: reason})
			return agent.Status().Patch(t.Context(), is, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		}, soon, interval).Should(Succeed())
	}
	says(metav1.ConditionTrue, "ManagedClusterAddOnLeaseUpdated")
	a.Eventually(a.label("addon-health-1"), soon, interval).Should(Equal("available"))
	says(metav1.ConditionFalse, "ManagedClusterAddOnLeaseUpdateStopped")
	a.Eventually(a.label("addon-health-1"), soon, interval).Should(Equal("unhealthy"))

	a.report("addon-health-1", available(metav1.ConditionUnknown, "ManagedClusterLeaseUpdateStopped"))
	a.Eventually(a.says("addon-health-1", "Available"), soon, interval).Should(HavePrefix("Unknown ManagedClusterLeaseUpdateStopped"))
	a.Eventually(a.label("addon-health-1"), soon, interval).Should(Equal("unreachable"))
	a.Expect(a.Admin.Delete(t.Context(), plain)).To(Succeed())
	a.Eventually(a.label("addon-health-1"), soon, interval).Should(BeEmpty())
}

// OCM-19.6: what people apply to see the workload manager is accepted, and asks for nothing but its lease.
func TestTheWorkloadManagerCanBeOffered(t *testing.T) {
	s, g := hubServer(t), NewWithT(t)
	kinds := []string{}
	for _, o := range objectsIn(t, "../../deploy/hub/addons/workload-manager.yaml") {
		g.Expect(s.Admin.Create(t.Context(), o, client.DryRunAll)).To(Succeed())
		kinds = append(kinds, o.GetKind()+" "+o.GetName())
	}
	g.Expect(kinds).To(Equal([]string{"ClusterManagementAddOn flotilla-workload-manager", "Placement workload-manager", "ManagedClusterSetBinding global"}))
}
