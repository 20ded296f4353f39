package integration_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/controllers/cloneset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

// cpus gives the main container cpu, and memory that nobody changes.
func cpus(amount string) func(*kruise.CloneSet) {
	return func(cs *kruise.CloneSet) {
		list := corev1.ResourceList{"cpu": resource.MustParse(amount), "memory": resource.MustParse("64Mi")}
		cs.Spec.Template.Spec.Containers[0].Resources = corev1.ResourceRequirements{Limits: list}
	}
}

// opened are the times at which the gates of the pods opened.
func opened(pods []corev1.Pod) map[string]time.Time {
	all := map[string]time.Time{}
	for i := range pods {
		all[pods[i].Name] = lifecycle.Condition(&pods[i], pub.InPlaceUpdateReady).LastTransitionTime.Time
	}
	return all
}

// WL-4.6: what Kubernetes lets through, and what it does not.
func TestResourcesOfRunningPods(t *testing.T) {
	w := newWorld(t)
	scarce := "9"
	w.kubelet(func(p *corev1.Pod) bool { return p.Spec.Containers[0].Resources.Limits.Cpu().String() != scarce })
	count, _ := w.agent(cloneset.Options{InPlace: inplace.Gates{Resources: true}})
	w.create(w.cloneSet(3, inPlace, maxUnavailable("100%"), cpus("1")))
	w.ready()
	pods := w.pods()

	count.reset()
	w.change(cpus("2"))
	w.ready()
	t.Logf("changing cpu of 3 pods took: %v", count)
	w.Expect(count.onPods()).To(BeNumerically("<=", 4*3))
	w.Expect(count.String()).To(ContainSubstring("PATCH pods/resize:3"))
	w.Expect(uids(w.pods())).To(Equal(uids(pods)), "pods were made anew")
	w.Expect(opened(w.pods())).To(Equal(opened(pods)), "pods were taken down for nothing")
	for _, pod := range w.pods() {
		got := pod.Spec.Containers[0].Resources
		w.Expect([]string{got.Limits.Cpu().String(), got.Requests.Cpu().String(), got.Limits.Memory().String()}).To(Equal([]string{"2", "2", "64Mi"}))
		w.Expect(pod.Status.ContainerStatuses[0].RestartCount).To(BeZero())
		w.Expect(pod.Labels).To(HaveKeyWithValue("controller-revision-hash", w.get().Status.UpdateRevision))
	}

	w.change(func(cs *kruise.CloneSet) { cpus(scarce)(cs); maxUnavailable("1")(cs) })
	w.Eventually(func() int { return w.refuse(scarce) }).Should(Equal(1))
	w.Eventually(w.stalled).Should(ContainSubstring("ResizeInfeasible (the node has less)"))
	w.Consistently(func() int { return w.refuse(scarce) }, time.Second).Should(Equal(1), "the others stay as they are")

	w.change(cpus("1"))
	w.ready()
	w.Expect(uids(w.pods())).To(Equal(uids(pods)))
}

// refuse says as a kubelet would that the node has not the cpu, of every pod that asks for it, and counts them.
func (w *world) refuse(cpu string) (n int) {
	for _, pod := range w.pods() {
		if pod.Spec.Containers[0].Resources.Limits.Cpu().String() != cpu {
			continue
		}
		n++
		if lifecycle.Condition(&pod, corev1.PodResizePending) != nil {
			continue
		}
		after := pod.DeepCopy()
		after.Status.Conditions = append(after.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodResizePending, Status: corev1.ConditionTrue, Reason: corev1.PodReasonInfeasible, Message: "the node has less",
		})
		w.Expect(client.IgnoreNotFound(w.client.Status().Patch(w.t.Context(), after, client.StrategicMergeFrom(&pod)))).To(Succeed())
	}
	return n
}

func (w *world) stalled() string {
	conditions := w.get().Status.Conditions
	if i := slices.IndexFunc(conditions, func(c kruise.CloneSetCondition) bool { return c.Type == "Stalled" && c.Status == corev1.ConditionTrue }); i >= 0 {
		return strings.TrimSpace(conditions[i].Message)
	}
	return ""
}
