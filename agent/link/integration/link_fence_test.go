package integration

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

func TestAWorkStepsDownWithoutItsHubAndComesBackWithIt(t *testing.T) {
	w := newRoughWorld(t, "fenced")
	w.options.AgentID = "fenced"
	w.join()
	ctx := t.Context()
	fenced := w.aWork("fenced", w.raw(deploymentText("fenced", "fenced", 3), namespaceText("fenced"))...)
	fenced.Annotations = map[string]string{"apps.flotilla.dev/step-down-after": "8s"}
	w.Expect(w.hub.Create(ctx, fenced)).To(Succeed())
	w.Expect(w.hub.Create(ctx, w.aWork("plain", w.raw(deploymentText("fenced", "plain", 3), namespaceText("fenced"))...))).To(Succeed())
	w.isApplied("fenced")
	w.isApplied("plain")
	replicas := func(name string) func(g Gomega) int32 {
		return func(g Gomega) int32 {
			return *get(g, ctx, w.member, &appsv1.Deployment{}, "fenced", name).Spec.Replicas
		}
	}
	w.Consistently(replicas("fenced"), "10s", "1s").Should(Equal(int32(3)), "with its hub it never steps down")

	w.Expect(w.there.StopAPIServer(ctx)).To(Succeed())
	w.Consistently(replicas("fenced"), "4s").Should(Equal(int32(3)), "a short outage costs nothing")
	w.stop() // neither a restart nor the hub's absence at the start makes it forget
	w.start()
	w.Eventually(replicas("fenced")).Should(BeZero())
	w.Expect(replicas("plain")(w)).To(Equal(int32(3)), "nobody asked it to")
	record := get(w, ctx, w.member, &workv1.AppliedManifestWork{}, "", w.recordName("fenced"))
	w.Expect(record.Annotations["apps.flotilla.dev/stepped-down"]).To(ContainSubstring(`"apps/deployments/fenced/fenced":3`))
	w.Consistently(replicas("fenced"), "3s").Should(BeZero())

	w.Expect(w.there.StartAPIServer(ctx)).To(Succeed())
	w.Eventually(replicas("fenced")).WithTimeout(20 * time.Second).Should(Equal(int32(3)))
	w.Eventually(func(g Gomega) {
		record := get(g, ctx, w.member, &workv1.AppliedManifestWork{}, "", w.recordName("fenced"))
		g.Expect(record.Annotations).NotTo(HaveKey("apps.flotilla.dev/stepped-down"))
	}).Should(Succeed())
	w.Consistently(replicas("fenced"), "3s").Should(Equal(int32(3)))
}
