package integration

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lose takes a work off the hub as a restored backup would: without anybody having asked for its removal.
func (w *world) lose(name string) {
	w.Helper()
	w.stop()
	w.edit(name, func(m *workv1.ManifestWork) { m.Finalizers = nil })
	w.Expect(w.hub.Delete(w.Context(), w.work(w, name))).To(Succeed())
	w.start()
}

func TestAWorkThatVanishedIsEvictedAfterItsGrace(t *testing.T) { // OCM-15.6
	t.Parallel()
	w := newWorld(t, "evicts")
	w.options.AgentID, w.options.EvictionGrace = "evicts", 4*time.Second
	w.join()
	ctx := t.Context()
	w.Expect(w.hub.Create(ctx, w.aWork("lost", w.raw(namespaceText("evicts"), configMapText("evicts", "lost", "1"))...))).To(Succeed())
	w.Expect(w.hub.Create(ctx, w.aWork("kept", w.raw(namespaceText("evicts"), configMapText("evicts", "kept", "1"))...))).To(Succeed())
	w.isApplied("lost")
	w.isApplied("kept")
	w.lose("lost")
	w.Eventually(func(g Gomega) {
		record := get(g, ctx, w.member, &workv1.AppliedManifestWork{}, "", w.recordName("lost"))
		g.Expect(record.Status.EvictionStartTime).NotTo(BeNil())
		g.Expect(w.gone(&corev1.ConfigMap{}, "evicts", "lost")()).To(BeFalse())
	}).Should(Succeed())
	w.Eventually(w.gone(&workv1.AppliedManifestWork{}, "", w.recordName("lost"))).Should(BeTrue())
	w.Expect(w.gone(&corev1.ConfigMap{}, "evicts", "lost")()).To(BeTrue())
	kept := get(w, ctx, w.member, &workv1.AppliedManifestWork{}, "", w.recordName("kept"))
	w.Expect(kept.Status.EvictionStartTime).To(BeNil())
	w.Expect(w.gone(&corev1.ConfigMap{}, "evicts", "kept")()).To(BeFalse())
}

func TestAWorkThatReturnsWithinItsGraceIsKept(t *testing.T) { // OCM-15.6
	t.Parallel()
	w := newWorld(t, "returns")
	w.options.AgentID = "returns"
	w.join()
	ctx := t.Context()
	again := func() *workv1.ManifestWork {
		return w.aWork("returned", w.raw(namespaceText("returns"), configMapText("returns", "returned", "1"))...)
	}
	w.Expect(w.hub.Create(ctx, again())).To(Succeed())
	w.isApplied("returned")
	uid := get(w, ctx, w.member, &corev1.ConfigMap{}, "returns", "returned").UID
	w.lose("returned")
	started := func(g Gomega) *metav1.Time {
		return get(g, ctx, w.member, &workv1.AppliedManifestWork{}, "", w.recordName("returned")).Status.EvictionStartTime
	}
	w.Eventually(func(g Gomega) { g.Expect(started(g)).NotTo(BeNil()) }).Should(Succeed())
	w.Expect(w.hub.Create(ctx, again())).To(Succeed())
	w.isApplied("returned")
	w.Eventually(func(g Gomega) { g.Expect(started(g)).To(BeNil()) }).Should(Succeed())
	w.Expect(get(w, ctx, w.member, &corev1.ConfigMap{}, "returns", "returned").UID).To(Equal(uid))
}

func TestWorksDeletedByAMistakenSelectorAreHeld(t *testing.T) { // OCM-21.3
	t.Parallel()
	w := newWorld(t, "crowds")
	w.options.AgentID = "crowds"
	w.join()
	ctx := t.Context()
	name := func(i int) string { return fmt.Sprintf("w%d", i) }
	const works = 8
	for i := range works {
		w.Expect(w.hub.Create(ctx, w.aWork(name(i), w.raw(namespaceText("crowds"), configMapText("crowds", name(i), "1"))...))).To(Succeed())
		w.isApplied(name(i))
	}
	w.Expect(w.hub.DeleteAllOf(ctx, &workv1.ManifestWork{}, client.InNamespace("crowds"))).To(Succeed())
	for i := range works {
		w.Eventually(func(g Gomega) {
			c := meta.FindStatusCondition(w.work(g, name(i)).Status.Conditions, workv1.WorkDeleting)
			g.Expect(c).NotTo(BeNil())
			g.Expect(c.Reason).To(Equal("HeldByBrake"))
			g.Expect(c.Message).To(MatchRegexp("^[3-8] of 8 works of cluster crowds were deleted or vanished"))
			g.Expect(c.Message).To(ContainSubstring("flotilla.dev/confirm-removal=" + name(i)))
		}).Should(Succeed())
	}
	there := func() (n int) {
		for i := range works {
			if !w.gone(&corev1.ConfigMap{}, "crowds", name(i))() {
				n++
			}
		}
		return n
	}
	w.Consistently(there, "3s").Should(Equal(works))
	var events eventsv1.EventList
	w.Expect(w.hub.List(ctx, &events, client.InNamespace("crowds"))).To(Succeed())
	told := 0
	for _, e := range events.Items {
		if e.Reason == "RemovalHeld" && e.Regarding.Kind == "ManagedCluster" {
			told++
		}
	}
	w.Expect(told).To(Equal(1), "the hub hears of it, once")

	w.edit(name(0), func(m *workv1.ManifestWork) {
		m.Annotations = map[string]string{"flotilla.dev/confirm-removal": name(0)}
	})
	w.Eventually(there).Should(Equal(works - 1))
	w.Consistently(there, "2s").Should(Equal(works-1), "the others are confirmed by nobody")
	w.annotate("flotilla.dev/confirm-mass-removal", "crowds")
	w.Eventually(there).Should(BeZero())
	w.Eventually(func(g Gomega) {
		var left workv1.ManifestWorkList
		g.Expect(w.hub.List(ctx, &left, client.InNamespace("crowds"))).To(Succeed())
		g.Expect(left.Items).To(BeEmpty())
	}).Should(Succeed())
}

// annotate says something on the ManagedCluster.
func (w *world) annotate(key, value string) {
	w.Helper()
	w.Eventually(func(g Gomega) {
		cluster := get(g, w.Context(), w.hub, &clusterv1.ManagedCluster{}, "", w.cluster)
		metav1.SetMetaDataAnnotation(&cluster.ObjectMeta, key, value)
		g.Expect(w.hub.Update(w.Context(), cluster)).To(Succeed())
	}).Should(Succeed())
}
