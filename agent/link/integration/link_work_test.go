package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-project/flotilla/agent/link/work"
)

const ownFinalizer = "cluster.open-cluster-management.io/manifest-work-cleanup"

func (w *world) raw(texts ...string) []workv1.Manifest {
	w.Helper()
	var out []workv1.Manifest
	for _, text := range texts {
		data, err := yaml.YAMLToJSON([]byte(text))
		w.Expect(err).NotTo(HaveOccurred())
		out = append(out, workv1.Manifest{RawExtension: runtime.RawExtension{Raw: data}})
	}
	return out
}

func namespaceText(name string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s}}", name)
}

func configMapText(namespace, name, value string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: %s, name: %s}, data: {k: %q}}", namespace, name, value)
}

func deploymentText(namespace, name string, replicas int) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: %s, name: %s}, spec: {replicas: %d, selector: {matchLabels: {a: b}},
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}`, namespace, name, replicas)
}

// aWork is a work in the shape the hub's controller gives it: a namespace that stays, and a workload fed back.
func (w *world) aWork(name string, manifests ...workv1.Manifest) *workv1.ManifestWork {
	namespace := w.cluster
	return &workv1.ManifestWork{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.cluster, Name: name, Labels: map[string]string{"a": "b"}},
		Spec: workv1.ManifestWorkSpec{
			Workload: workv1.ManifestsTemplate{Manifests: manifests},
			DeleteOption: &workv1.DeleteOption{
				PropagationPolicy: workv1.DeletePropagationPolicyTypeSelectivelyOrphan,
				SelectivelyOrphan: &workv1.SelectivelyOrphan{OrphaningRules: []workv1.OrphaningRule{{Resource: "namespaces", Name: namespace}}},
			},
			ManifestConfigs: []workv1.ManifestConfigOption{
				{
					ResourceIdentifier: workv1.ResourceIdentifier{Resource: "namespaces", Name: namespace},
					UpdateStrategy:     &workv1.UpdateStrategy{Type: workv1.UpdateStrategyTypeCreateOnly},
				},
				{
					ResourceIdentifier: workv1.ResourceIdentifier{Group: "apps", Resource: "deployments", Namespace: "*", Name: "*"},
					UpdateStrategy: &workv1.UpdateStrategy{
						Type: workv1.UpdateStrategyTypeServerSideApply, ServerSideApply: &workv1.ServerSideApplyConfig{Force: true},
					},
					FeedbackRules: []workv1.FeedbackRule{
						{Type: workv1.WellKnownStatusType},
						{Type: workv1.JSONPathsType, JsonPaths: []workv1.JsonPath{{Name: "generation", Path: ".metadata.generation"}}},
					},
				},
			},
		},
	}
}

func (w *world) work(g Gomega, name string) *workv1.ManifestWork {
	return get(g, w.Context(), w.hub, &workv1.ManifestWork{}, w.cluster, name)
}

func (w *world) isApplied(name string) {
	w.Helper()
	w.Eventually(func(g Gomega) {
		got := w.work(g, name)
		applied := meta.FindStatusCondition(got.Status.Conditions, workv1.WorkApplied)
		g.Expect(applied).NotTo(BeNil())
		g.Expect(applied.Status).To(Equal(metav1.ConditionTrue), "%+v", got.Status)
		g.Expect(applied.ObservedGeneration).To(Equal(got.Generation))
	}).WithTimeout(quickly).Should(Succeed())
}

func (w *world) edit(name string, change func(*workv1.ManifestWork)) {
	w.Helper()
	w.Eventually(func(g Gomega) {
		got := w.work(g, name)
		change(got)
		g.Expect(w.hub.Update(w.Context(), got)).To(Succeed())
	}).Should(Succeed())
}

func (w *world) gone(o client.Object, namespace, name string) func() bool {
	return func() bool {
		return apierrors.IsNotFound(w.member.Get(w.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o))
	}
}

func (w *world) recordName(name string) string {
	return work.HubHash(w.there.RESTConfig().Host) + "-" + name
}

func values(m workv1.ManifestCondition) map[string]int64 {
	out := map[string]int64{}
	for _, v := range m.StatusFeedbacks.Values {
		if v.Value.Integer != nil {
			out[v.Name] = *v.Value.Integer
		}
	}
	return out
}

func TestAWorkIsAppliedFedBackChangedAndRemoved(t *testing.T) { // OCM-10, OCM-12, OCM-15
	w := newWorld(t, "works")
	w.join()
	ctx := t.Context()
	w.Expect(w.hub.Create(ctx, w.aWork("web", w.raw(
		deploymentText("works", "web", 2), configMapText("works", "one", "1"), configMapText("works", "two", "2"), namespaceText("works"))...))).To(Succeed())
	w.isApplied("web")

	// Finalizer, record, owner references.
	got := w.work(w, "web")
	w.Expect(got.Finalizers).To(ContainElement(ownFinalizer))
	record := get(w, ctx, w.member, &workv1.AppliedManifestWork{}, "", w.recordName("web"))
	w.Expect(record.Finalizers).To(ContainElement("cluster.open-cluster-management.io/applied-manifest-work-cleanup"))
	w.Expect(record.Labels).To(Equal(map[string]string{"a": "b"}))
	w.Expect(record.Spec.ManifestWorkName).To(Equal("web"))
	w.Expect(record.Status.AppliedResources).To(HaveLen(4))
	deployment := get(w, ctx, w.member, &appsv1.Deployment{}, "works", "web")
	w.Expect(deployment.OwnerReferences).To(HaveLen(1))
	w.Expect(deployment.OwnerReferences[0].UID).To(Equal(record.UID))
	w.Expect(deployment.OwnerReferences[0].Controller).To(BeNil())
	w.Expect(get(w, ctx, w.member, &corev1.Namespace{}, "", "works").OwnerReferences).To(BeEmpty())

	// Status in spec order.
	w.Expect(got.Status.ResourceStatus.Manifests).To(HaveLen(4))
	w.Expect(got.Status.ResourceStatus.Manifests[0].ResourceMeta).To(Equal(workv1.ManifestResourceMeta{
		Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", Namespace: "works", Name: "web"}))
	w.Expect(meta.IsStatusConditionTrue(got.Status.Conditions, workv1.WorkAvailable)).To(BeTrue())

	// A changed status is told much sooner than the next poll.
	deployment.Status.ObservedGeneration, deployment.Status.Replicas, deployment.Status.ReadyReplicas = 1, 2, 1
	w.Expect(w.member.Status().Update(ctx, deployment)).To(Succeed())
	w.Eventually(func(g Gomega) {
		g.Expect(values(w.work(g, "web").Status.ResourceStatus.Manifests[0])).To(And(
			HaveKeyWithValue("ReadyReplicas", int64(1)), HaveKeyWithValue("generation", int64(1))))
	}).WithTimeout(3 * time.Second).Should(Succeed())

	// A changed spec: one manifest changes, one leaves.
	w.edit("web", func(m *workv1.ManifestWork) {
		m.Spec.Workload.Manifests = w.raw(deploymentText("works", "web", 5), configMapText("works", "one", "11"), namespaceText("works"))
	})
	w.isApplied("web")
	w.Expect(*get(w, ctx, w.member, &appsv1.Deployment{}, "works", "web").Spec.Replicas).To(Equal(int32(5)))
	w.Expect(get(w, ctx, w.member, &corev1.ConfigMap{}, "works", "one").Data).To(HaveKeyWithValue("k", "11"))
	w.Eventually(w.gone(&corev1.ConfigMap{}, "works", "two")).Should(BeTrue())

	// Nothing changes, nothing is written.
	version := ""
	w.Eventually(func(g Gomega) {
		now := w.work(g, "web").ResourceVersion
		defer func() { version = now }()
		g.Expect(now).To(Equal(version))
	}).WithPolling(3 * time.Second).Should(Succeed())
	w.Consistently(func(g Gomega) { g.Expect(w.work(g, "web").ResourceVersion).To(Equal(version)) }, "12s", "1s").Should(Succeed())

	// Removed with its objects, but for the namespace.
	w.Expect(w.hub.Delete(ctx, w.work(w, "web"))).To(Succeed())
	w.Eventually(func() bool {
		return apierrors.IsNotFound(w.hub.Get(ctx, client.ObjectKey{Namespace: "works", Name: "web"}, &workv1.ManifestWork{}))
	}).Should(BeTrue())
	w.Expect(w.gone(&appsv1.Deployment{}, "works", "web")()).To(BeTrue())
	w.Expect(w.gone(&corev1.ConfigMap{}, "works", "one")()).To(BeTrue())
	w.Expect(w.gone(&workv1.AppliedManifestWork{}, "", w.recordName("web"))()).To(BeTrue())
	w.Expect(w.gone(&corev1.Namespace{}, "", "works")()).To(BeFalse())
}

func TestABadManifestStopsNoOther(t *testing.T) { // OCM-10.2
	t.Parallel()
	w := newWorld(t, "badly")
	w.join()
	w.Expect(w.hub.Create(t.Context(), w.aWork("mixed", w.raw(
		"{apiVersion: example.com/v1, kind: Unknown, metadata: {namespace: badly, name: x}}",
		configMapText("badly", "good", "1"),
		"{apiVersion: v1, kind: Secret, metadata: {namespace: badly, name: s}, stringData: {p: sesame}}", // the member grants no secrets
		"{apiVersion: v1, kind: ConfigMap, metadata: {namespace: badly, name: bad}, data: {k: [1]}}",
		namespaceText("badly"))...))).To(Succeed())
	w.Eventually(func(g Gomega) {
		got := w.work(g, "mixed")
		g.Expect(meta.IsStatusConditionFalse(got.Status.Conditions, workv1.WorkApplied)).To(BeTrue())
		g.Expect(got.Status.ResourceStatus.Manifests).To(HaveLen(5))
		for i, status := range []metav1.ConditionStatus{"False", "True", "False", "False", "True"} {
			m := got.Status.ResourceStatus.Manifests[i]
			applied := meta.FindStatusCondition(m.Conditions, workv1.ManifestApplied)
			g.Expect(applied.Status).To(Equal(status), "manifest %d: %s", i, applied.Message)
		}
		unknown := got.Status.ResourceStatus.Manifests[0]
		g.Expect(unknown.ResourceMeta).To(Equal(workv1.ManifestResourceMeta{Group: "example.com", Version: "v1", Kind: "Unknown", Namespace: "badly", Name: "x"}))
		g.Expect(meta.FindStatusCondition(unknown.Conditions, workv1.ManifestAvailable).Reason).To(Equal("IncompleteResourceMeta"))
	}).Should(Succeed())
	w.Expect(fmt.Sprint(w.work(w, "mixed").Status)).NotTo(ContainSubstring("sesame"))
	w.Expect(w.gone(&corev1.ConfigMap{}, "badly", "good")()).To(BeFalse())
}

func TestTwoWorksMayOwnOneObject(t *testing.T) { // OCM-15.4
	t.Parallel()
	w := newWorld(t, "shares")
	w.join()
	for _, name := range []string{"first", "second"} {
		w.Expect(w.hub.Create(t.Context(), w.aWork(name, w.raw(namespaceText("shares"), configMapText("shares", "common", "1"))...))).To(Succeed())
		w.isApplied(name)
	}
	w.Expect(w.hub.Delete(t.Context(), w.work(w, "first"))).To(Succeed())
	w.Eventually(w.gone(&workv1.AppliedManifestWork{}, "", w.recordName("first"))).Should(BeTrue())
	common := get(w, t.Context(), w.member, &corev1.ConfigMap{}, "shares", "common")
	w.Expect(common.OwnerReferences).To(HaveLen(1))
	w.Expect(common.OwnerReferences[0].Name).To(Equal(w.recordName("second")))
}

func TestAWorkThatVanishesLeavesEverythingRunning(t *testing.T) { // absence is never an order
	t.Parallel()
	w := newWorld(t, "vanishes")
	w.join()
	w.Expect(w.hub.Create(t.Context(), w.aWork("lost", w.raw(namespaceText("vanishes"), configMapText("vanishes", "kept", "1"))...))).To(Succeed())
	w.isApplied("lost")
	uid := get(w, t.Context(), w.member, &corev1.ConfigMap{}, "vanishes", "kept").UID
	w.stop() // as when the hub is restored to a time before the work
	w.edit("lost", func(m *workv1.ManifestWork) { m.Finalizers = nil })
	w.Expect(w.hub.Delete(t.Context(), w.work(w, "lost"))).To(Succeed())
	w.start()
	w.Expect(w.hub.Create(t.Context(), w.aWork("other", w.raw(namespaceText("vanishes"))...))).To(Succeed())
	w.isApplied("other") // the agent is at work again
	w.Consistently(func(g Gomega) {
		g.Expect(get(g, t.Context(), w.member, &corev1.ConfigMap{}, "vanishes", "kept").UID).To(Equal(uid))
	}, "3s").Should(Succeed())

	w.Expect(w.hub.Create(t.Context(), w.aWork("lost", w.raw(namespaceText("vanishes"), configMapText("vanishes", "kept", "2"))...))).To(Succeed())
	w.isApplied("lost") // and takes its objects up again
	kept := get(w, t.Context(), w.member, &corev1.ConfigMap{}, "vanishes", "kept")
	w.Expect(kept.UID).To(Equal(uid))
	w.Expect(kept.Data).To(HaveKeyWithValue("k", "2"))
}

func TestAHubThatGoesAndComesBack(t *testing.T) {
	w := newRoughWorld(t, "outage")
	w.join()
	w.Expect(w.hub.Create(t.Context(), w.aWork("web", w.raw(deploymentText("outage", "web", 2), namespaceText("outage"))...))).To(Succeed())
	w.isApplied("web")
	before := get(w, t.Context(), w.member, &appsv1.Deployment{}, "outage", "web")

	w.Expect(w.there.StopAPIServer(t.Context())).To(Succeed())
	before.Status.Replicas, before.Status.ReadyReplicas = 2, 2
	w.Expect(w.member.Status().Update(t.Context(), before)).To(Succeed())
	w.Consistently(func(g Gomega) {
		g.Expect(get(g, t.Context(), w.member, &appsv1.Deployment{}, "outage", "web").UID).To(Equal(before.UID))
	}, "12s", "1s").Should(Succeed())
	w.Expect(w.there.StartAPIServer(t.Context())).To(Succeed())

	w.Eventually(func(g Gomega) { // status is right within seconds
		g.Expect(values(w.work(g, "web").Status.ResourceStatus.Manifests[0])).To(HaveKeyWithValue("ReadyReplicas", int64(2)))
	}).WithTimeout(10 * time.Second).Should(Succeed())
	w.Expect(get(w, t.Context(), w.member, &appsv1.Deployment{}, "outage", "web").UID).To(Equal(before.UID))
	w.edit("web", func(m *workv1.ManifestWork) {
		m.Spec.Workload.Manifests = w.raw(deploymentText("outage", "web", 3), namespaceText("outage"))
	})
	w.isApplied("web")
}

func TestAnAgentStartsWhileTheHubIsAway(t *testing.T) {
	w := newRoughWorld(t, "late")
	w.Expect(w.there.StopAPIServer(t.Context())).To(Succeed())
	w.start()
	w.Eventually(func(g Gomega) { // what needs no hub is done
		names := get(g, t.Context(), w.member, &corev1.Secret{}, "open-cluster-management-agent", "hub-kubeconfig-secret")
		g.Expect(names.Data).To(HaveKeyWithValue("cluster-name", []byte("late")))
	}).Should(Succeed())
	w.Expect(w.there.StartAPIServer(t.Context())).To(Succeed())
	w.approve()
}

func TestDeletingANamespaceOnTheHubRemovesNothingUnconfirmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "braked")
	w.join()
	ctx := t.Context()
	for _, name := range []string{"web", "more"} {
		w.Expect(w.hub.Create(ctx, w.aWork(name, w.raw(namespaceText("braked"), configMapText("braked", name, "1"), deploymentText("braked", name, 1))...))).To(Succeed())
		w.isApplied(name)
	}
	w.Expect(w.hub.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "braked"}})).To(Succeed())
	for _, name := range []string{"web", "more"} {
		w.Eventually(func(g Gomega) {
			held := meta.FindStatusCondition(w.work(g, name).Status.Conditions, workv1.WorkDeleting)
			g.Expect(held).NotTo(BeNil())
			g.Expect(held.Status).To(Equal(metav1.ConditionFalse))
			g.Expect(held.Reason).To(Equal("HeldByBrake"))
			g.Expect(held.Message).To(Equal("namespace braked is being deleted on the hub; 2 objects left running; " +
				"to remove them annotate this work flotilla.dev/confirm-removal=" + name))
		}, "3m").Should(Succeed()) // the namespace controller may still be getting over an outage of the test before
	}
	var events corev1.EventList
	w.Expect(w.member.List(ctx, &events, client.InNamespace("default"))).To(Succeed())
	said := 0
	for _, e := range events.Items {
		if e.Reason == "HeldByBrake" && strings.HasSuffix(e.InvolvedObject.Name, "-web") {
			said++
		}
	}
	w.Expect(said).To(Equal(1), "the member hears of it, once")
	here := func(name string) bool {
		return !w.gone(&corev1.ConfigMap{}, "braked", name)() && !w.gone(&appsv1.Deployment{}, "braked", name)()
	}
	w.Consistently(func() bool { return here("web") && here("more") }, "5s").Should(BeTrue())

	w.edit("web", func(m *workv1.ManifestWork) {
		m.Annotations = map[string]string{"flotilla.dev/confirm-removal": "more"}
	})
	w.Consistently(func() bool { return here("web") && here("more") }, "3s").Should(BeTrue()) // another work's name confirms nothing
	w.edit("web", func(m *workv1.ManifestWork) { m.Annotations = map[string]string{"flotilla.dev/confirm-removal": "web"} })
	w.Eventually(func() bool {
		return apierrors.IsNotFound(w.hub.Get(ctx, client.ObjectKey{Namespace: "braked", Name: "web"}, &workv1.ManifestWork{}))
	}).Should(BeTrue())
	w.Expect(w.gone(&corev1.ConfigMap{}, "braked", "web")()).To(BeTrue())
	w.Expect(here("more")).To(BeTrue())

	// On the member the record is what to annotate.
	record := get(w, ctx, w.member, &workv1.AppliedManifestWork{}, "", w.recordName("more"))
	record.Annotations = map[string]string{"flotilla.dev/confirm-removal": "more"}
	w.Expect(w.member.Update(ctx, record)).To(Succeed())
	w.Eventually(w.gone(&workv1.AppliedManifestWork{}, "", w.recordName("more"))).Should(BeTrue())
	w.Expect(w.gone(&appsv1.Deployment{}, "braked", "more")()).To(BeTrue())

	binding := get(w, ctx, w.hub, &rbacv1.RoleBinding{}, "braked", "open-cluster-management:managedcluster:braked:work")
	binding.Finalizers = nil
	w.Expect(w.hub.Update(ctx, binding)).To(Succeed())
}
