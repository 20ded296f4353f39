package integration

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/work"
)

// memory is what the member remembers of the hub.
func (w *world) memory(g Gomega) *coordinationv1.Lease {
	return get(g, w.Context(), w.member, &coordinationv1.Lease{}, "open-cluster-management-agent", w.memoryName())
}

// remember makes the member believe that the hub once was much further.
func (w *world) remember(version string) {
	w.Helper()
	lease := w.memory(w)
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, "flotilla.dev/hub-version", version)
	w.Expect(w.member.Update(w.Context(), lease)).To(Succeed())
}

// forget clears the memory, which all tests share as they share the hub.
func (w *world) forget() {
	w.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "open-cluster-management-agent", Name: w.memoryName()}}
	w.Expect(client.IgnoreNotFound(w.member.Delete(context.WithoutCancel(w.Context()), lease))).To(Succeed())
}

func (w *world) memoryName() string {
	return "flotilla-hub-" + work.HubHash(w.there.RESTConfig().Host)[:16]
}

func (w *world) value(g Gomega, name string) string {
	return get(g, w.Context(), w.member, &corev1.ConfigMap{}, w.cluster, name).Data["k"]
}

func TestNothingIsRemovedOrChangedForAHubThatWentBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "restored")
	w.options.AgentID, w.options.EvictionGrace = "restored", 3*time.Second
	w.join()
	ctx := t.Context()
	manifests := func(name, value string) []workv1.Manifest {
		return w.raw(namespaceText("restored"), configMapText("restored", name, value))
	}
	for _, name := range []string{"changes", "stays", "goes", "lost"} {
		w.Expect(w.hub.Create(ctx, w.aWork(name, manifests(name, "1")...))).To(Succeed())
		w.isApplied(name)
	}
	w.Expect(w.memory(w).Annotations["flotilla.dev/hub-version"]).NotTo(BeEmpty())
	w.Cleanup(w.forget)
	w.lose("lost")
	w.stop()
	w.edit("stays", func(m *workv1.ManifestWork) { m.Spec.Workload.Manifests = manifests("stays", "old") }) // as the backup has it
	w.remember("999999999")
	w.start()

	w.Eventually(func(g Gomega) {
		c := meta.FindStatusCondition(w.managedCluster(g).Status.Conditions, "HubHistoryChanged")
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Status).To(Equal(metav1.ConditionTrue))
		g.Expect(c.Message).To(ContainSubstring("annotate ManagedCluster restored flotilla.dev/confirm-history="))
	}).Should(Succeed())
	w.edit("changes", func(m *workv1.ManifestWork) { m.Spec.Workload.Manifests = manifests("changes", "2") })
	w.isApplied("changes") // the new truth
	w.Expect(w.value(w, "changes")).To(Equal("2"))
	w.Expect(w.hub.Create(ctx, w.aWork("new", manifests("new", "1")...))).To(Succeed())
	w.isApplied("new")
	w.Expect(w.hub.Delete(ctx, w.work(w, "goes"))).To(Succeed())
	w.Eventually(func(g Gomega) {
		c := meta.FindStatusCondition(w.work(g, "goes").Status.Conditions, workv1.WorkDeleting)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Message).To(ContainSubstring("the hub's versions went back from 999999999"))
	}).Should(Succeed())
	w.Consistently(func(g Gomega) { // longer than the grace of an eviction
		g.Expect(w.value(g, "stays")).To(Equal("1"))
		g.Expect(w.value(g, "goes")).To(Equal("1"))
		g.Expect(w.value(g, "lost")).To(Equal("1"))
	}, "8s").Should(Succeed())
	lost := get(w, ctx, w.member, &workv1.AppliedManifestWork{}, "", w.recordName("lost"))
	w.Expect(lost.Status.EvictionStartTime).NotTo(BeNil())

	w.annotate("flotilla.dev/confirm-history", string(w.managedCluster(w).UID))
	w.Eventually(func(g Gomega) { g.Expect(w.value(g, "stays")).To(Equal("old")) }).Should(Succeed())
	w.Eventually(w.gone(&corev1.ConfigMap{}, "restored", "goes")).Should(BeTrue())
	w.Eventually(w.gone(&corev1.ConfigMap{}, "restored", "lost")).Should(BeTrue())
	w.Eventually(func(g Gomega) {
		g.Expect(meta.IsStatusConditionFalse(w.managedCluster(g).Status.Conditions, "HubHistoryChanged")).To(BeTrue())
	}).Should(Succeed())
}

func TestAnotherHistoryIDHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "renewed")
	w.options.AgentID = "renewed"
	w.join()
	ctx := t.Context()
	w.annotate("flotilla.dev/hub-history", "h1")
	w.Cleanup(w.forget)
	w.Eventually(func(g Gomega) {
		g.Expect(w.memory(g).Annotations).To(HaveKeyWithValue("flotilla.dev/hub-history", "h1"))
	}).Should(Succeed())
	w.Expect(w.hub.Create(ctx, w.aWork("held", w.raw(namespaceText("renewed"), configMapText("renewed", "held", "1"))...))).To(Succeed())
	w.isApplied("held")
	w.annotate("flotilla.dev/hub-history", "h2")
	w.Eventually(func(g Gomega) {
		g.Expect(meta.IsStatusConditionTrue(w.managedCluster(g).Status.Conditions, "HubHistoryChanged")).To(BeTrue())
	}).Should(Succeed())
	w.Expect(w.hub.Delete(ctx, w.work(w, "held"))).To(Succeed())
	w.Consistently(func(g Gomega) { g.Expect(w.value(g, "held")).To(Equal("1")) }, "3s").Should(Succeed())
	w.annotate("flotilla.dev/confirm-history", "h2")
	w.Eventually(w.gone(&corev1.ConfigMap{}, "renewed", "held")).Should(BeTrue())
}
