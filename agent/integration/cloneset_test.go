package integration_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func inPlace(cs *kruise.CloneSet) {
	cs.Spec.UpdateStrategy.Type = kruise.InPlaceIfPossibleCloneSetUpdateStrategyType
}

func maxUnavailable(v string) func(*kruise.CloneSet) {
	return func(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.MaxUnavailable = new(intstr.Parse(v)) }
}

func image(name string) func(*kruise.CloneSet) {
	return func(cs *kruise.CloneSet) { cs.Spec.Template.Spec.Containers[0].Image = name }
}

// uids tells pods apart that have the same name.
func uids(pods []corev1.Pod) map[string]string {
	all := map[string]string{}
	for _, p := range pods {
		all[p.Name] = string(p.UID)
	}
	return all
}

func TestCloneSetFromNothingToAnotherImage(t *testing.T) { // WL-0.2, WL-1.18
	w := newWorld(t)
	w.kubelet(always)
	count, _ := w.agent()
	const n = 20

	w.create(w.cloneSet(n, inPlace))
	w.ready()
	pods := w.pods()
	w.Expect(pods).To(HaveLen(n))
	t.Logf("creating %d pods took %.2f writes a pod: %v", n, float64(count.onPods())/n, count)
	w.Expect(count.onPods()).To(BeNumerically("<=", 3*n)) // the budget of DESIGN.md
	status := w.get().Status
	for _, pod := range pods { // WL-1.5
		id := pod.Labels[kruise.CloneSetInstanceID]
		w.Expect(pod.Name).To(Equal("web-" + id))
		w.Expect(pod.Labels).To(HaveKeyWithValue("controller-revision-hash", status.UpdateRevision))
		w.Expect(pod.Labels).To(HaveKeyWithValue("lifecycle.apps.kruise.io/state", "Normal"))
		w.Expect(pod.Labels).To(HaveKey("pod-template-hash"))
		w.Expect(pod.Annotations).To(HaveKey("lifecycle.apps.kruise.io/timestamp"))
		w.Expect(pod.Spec.ReadinessGates).To(ContainElement(corev1.PodReadinessGate{ConditionType: pub.InPlaceUpdateReady}))
	}
	w.Expect(status.AvailableReplicas).To(BeEquivalentTo(n))
	w.Expect(status.LabelSelector).To(Equal("app=web"))

	count.reset()
	w.Consistently(count.String, time.Second).Should(Equal("map[]"), "a settled set is written to")

	w.change(func(cs *kruise.CloneSet) { image("web:2")(cs); maxUnavailable("50%")(cs) })
	w.ready()
	t.Logf("updating %d pods in place took %.2f writes a pod: %v", n, float64(count.onPods())/n, count)
	w.Expect(count.onPods()).To(BeNumerically("<=", 4*n))
	w.Expect(uids(w.pods())).To(Equal(uids(pods)), "pods were made anew")
	for _, pod := range w.pods() {
		w.Expect(pod.Status.ContainerStatuses[0].ImageID).To(Equal("sha256:web:2"))
		w.Expect(pod.Status.ContainerStatuses[0].RestartCount).To(BeEquivalentTo(1))
	}
	w.Expect(w.get().Status.CurrentRevision).To(Equal(w.get().Status.UpdateRevision))
}

func TestBadImageStopsAtTheBudgetAndGoingBackHeals(t *testing.T) {
	w := newWorld(t)
	w.kubelet(func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image != "web:bad" })
	w.agent()
	w.create(w.cloneSet(5, inPlace, maxUnavailable("2")))
	w.ready()
	before := uids(w.pods())

	w.change(image("web:bad"))
	changed := func() int {
		n := 0
		for _, pod := range w.pods() {
			if pod.Spec.Containers[0].Image == "web:bad" {
				n++
			}
		}
		return n
	}
	w.Eventually(changed).Should(Equal(2))
	w.Consistently(changed, time.Second).Should(Equal(2))
	w.Eventually(func() int32 { return w.get().Status.ReadyReplicas }).Should(BeEquivalentTo(3))

	w.change(image("web:1"))
	w.ready()
	w.Expect(changed()).To(BeZero())
	w.Expect(uids(w.pods())).To(Equal(before))
	var revisions appsv1.ControllerRevisionList
	w.Expect(w.client.List(t.Context(), &revisions, client.InNamespace(w.namespace))).To(Succeed())
	w.Expect(revisions.Items).To(HaveLen(2), "going back made a revision")
}

func TestRecreateAndScale(t *testing.T) {
	w := newWorld(t)
	w.kubelet(always)
	w.agent()
	w.create(w.cloneSet(4, maxUnavailable("50%")))
	w.ready()
	before := uids(w.pods())

	w.change(image("web:2"))
	w.ready()
	for name := range uids(w.pods()) {
		w.Expect(before).NotTo(HaveKey(name), "a pod outlived its revision")
	}
	w.Expect(w.pods()).To(HaveLen(4))

	for _, replicas := range []int32{7, 2} {
		w.change(func(cs *kruise.CloneSet) { cs.Spec.Replicas = &replicas })
		w.ready()
		w.Expect(w.pods()).To(HaveLen(int(replicas)))
	}
}

func TestMaxSurgeAddsBeforeItTakes(t *testing.T) { // WL-1.17
	w := newWorld(t)
	w.kubelet(always)
	w.agent()
	w.create(w.cloneSet(3, maxUnavailable("0"), func(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.MaxSurge = new(intstr.FromInt32(1)) }))
	w.ready()
	w.change(image("web:2"))
	w.ready()
	w.Expect(w.pods()).To(HaveLen(3))
	for _, pod := range w.pods() {
		w.Expect(pod.Spec.Containers[0].Image).To(Equal("web:2"))
	}
}

func TestAgentKilledInTheMiddleOfAnUpdate(t *testing.T) {
	w := newWorld(t)
	w.kubelet(always)
	_, kill := w.agent()
	w.create(w.cloneSet(12, inPlace, maxUnavailable("1")))
	w.ready()
	before := uids(w.pods())

	w.change(image("web:2"))
	updated := func() int {
		return len(slices.DeleteFunc(w.pods(), func(p corev1.Pod) bool { return p.Spec.Containers[0].Image != "web:2" }))
	}
	w.Eventually(updated, patience, time.Millisecond).Should(BeNumerically(">", 3))
	kill()
	w.Expect(updated()).To(BeNumerically("<", 12), "the agent was killed too late to tell anything")
	t.Logf("killed with %d of 12 pods updated", updated())
	w.agent()
	w.ready()
	w.Expect(uids(w.pods())).To(Equal(before))
	for _, pod := range w.pods() {
		w.Expect(pod.Status.ContainerStatuses[0].RestartCount).To(BeEquivalentTo(1), "pod %s was updated twice", pod.Name)
	}
}

func TestAgentKilledInTheMiddleOfAScaleOut(t *testing.T) {
	w := newWorld(t)
	_, kill := w.agent()
	w.create(w.cloneSet(30))
	w.Eventually(func() int { return len(w.pods()) }, patience, time.Millisecond).Should(BeNumerically(">", 0))
	kill()
	t.Logf("killed with %d of 30 pods made", len(w.pods()))
	w.kubelet(always)
	w.agent()
	w.ready()
	w.Consistently(func() int { return len(w.pods()) }, time.Second).Should(Equal(30))
}

func TestLostPodComesBackWithItsClaim(t *testing.T) { // WL-1.4
	w := newWorld(t)
	w.kubelet(always)
	w.agent()
	w.create(w.cloneSet(2, func(cs *kruise.CloneSet) {
		claim := corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}}}
		claim.Name = "data"
		claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
		cs.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claim}
		cs.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	}))
	w.ready()
	lost := w.pods()[0]
	w.Expect(w.client.Delete(t.Context(), &lost)).To(Succeed())
	w.Eventually(func() string { return uids(w.pods())[lost.Name] }).ShouldNot(Or(BeEmpty(), Equal(string(lost.UID))))
	w.ready()
	var claims corev1.PersistentVolumeClaimList
	w.Expect(w.client.List(t.Context(), &claims, client.InNamespace(w.namespace))).To(Succeed())
	w.Expect(claims.Items).To(HaveLen(2))
}

func TestHookIsPutBackThroughTheStatusEndpoint(t *testing.T) { // WL-4.9
	w := newWorld(t)
	w.kubelet(always)
	w.agent()
	const hold = "shop.example/hold"
	w.create(w.cloneSet(1, inPlace, func(cs *kruise.CloneSet) {
		cs.Spec.Template.Finalizers = []string{hold}
		cs.Spec.Template.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: pub.KruisePodReadyConditionType}}
		cs.Spec.Lifecycle = &pub.Lifecycle{InPlaceUpdate: &pub.LifecycleHook{FinalizersHandler: []string{hold}, MarkPodNotReady: true}}
	}))
	state := func() string { return w.pods()[0].Labels[pub.LifecycleStateKey] }
	held := func(finalizers ...string) {
		t.Helper()
		w.Eventually(func() error {
			pod := w.pods()[0]
			pod.Finalizers = finalizers
			return w.client.Update(context.Background(), &pod) // also while the test cleans up
		}).Should(Succeed())
	}
	t.Cleanup(func() { held() })
	w.Eventually(func() int { return len(w.pods()) }).Should(Equal(1))
	w.Eventually(state).Should(Equal("Normal"))

	w.change(image("web:2"))
	w.Eventually(state).Should(Equal("PreparingUpdate"))
	w.Expect(fmt.Sprint(w.pods()[0].Status.Conditions)).To(ContainSubstring(`[{"userAgent":"Lifecycle","key":"preUpdateHook"}]`)) // WL-4.8
	held()
	w.Eventually(state).Should(Equal("Updated"))
	w.Expect(fmt.Sprint(w.pods()[0].Status.Conditions)).NotTo(ContainSubstring("preUpdateHook"))
	w.change(image("web:3")) // before its user put the hook back
	w.Eventually(state).Should(Equal("PreparingUpdate"))
	w.Expect(w.pods()[0].Finalizers).To(ContainElement(hold))
	held()
	w.Eventually(state).Should(Equal("Updated"))
	held(hold)
	w.Eventually(state).Should(Equal("Normal"))
	w.Expect(w.pods()[0].Spec.Containers[0].Image).To(Equal("web:3"))
}

func TestSpecThatCannotBeRight(t *testing.T) { // WL-1.2
	w := newWorld(t)
	count, _ := w.agent()
	w.create(w.cloneSet(3, func(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.Partition = new(intstr.FromString("half")) }))
	w.Eventually(func() string { return fmt.Sprint(w.get().Status.Conditions) }).Should(
		And(ContainSubstring("spec.updateStrategy.partition"), ContainSubstring("half")))
	w.Expect(w.pods()).To(BeEmpty())
	w.Expect(count.onPods()).To(BeZero())

	w.change(func(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.Partition = nil })
	w.kubelet(always)
	w.ready()
}

// A pod's status endpoint takes labels, annotations and finalizers, which is what our two writes for a new pod rest on.
func TestStatusEndpointTakesMetadata(t *testing.T) {
	w := newWorld(t)
	pod := &corev1.Pod{Spec: w.cloneSet(1).Spec.Template.Spec}
	pod.Namespace, pod.Name = w.namespace, "plain"
	w.Expect(w.client.Create(t.Context(), pod)).To(Succeed())
	after := pod.DeepCopy()
	after.Labels = map[string]string{"moved": "yes"}
	after.Status.Conditions = append(after.Status.Conditions, corev1.PodCondition{Type: pub.InPlaceUpdateReady, Status: corev1.ConditionTrue})
	w.Expect(w.client.Status().Patch(t.Context(), after, client.StrategicMergeFrom(pod))).To(Succeed())
	w.Expect(after.Labels).To(HaveKeyWithValue("moved", "yes"))
	w.Expect(after.Status.Conditions).NotTo(BeEmpty())

	wrong := client.RawPatch("application/strategic-merge-patch+json", []byte(`{"metadata":{"uid":"other","labels":{"moved":"no"}}}`))
	err := w.client.Status().Patch(context.Background(), pod.DeepCopy(), wrong)
	w.Expect(apierrors.IsInvalid(err)).To(BeTrue(), "a patch that names another UID got %v", err)
	w.Expect(err.Error()).To(ContainSubstring("metadata.uid"))
}
