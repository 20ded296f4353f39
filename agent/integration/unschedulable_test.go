package integration_test

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/controllers/unschedulable"
	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

func TestUnschedulablePodsOfADeploymentAreCountedInTime(t *testing.T) { // WL-5.7
	w := newWorld(t)
	ctx := t.Context()
	labels := map[string]string{"apps.kruise.io/subset-name": "east"}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web", Annotations: map[string]string{"apps.flotilla.dev/reschedule-critical-seconds": "5"}},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}
	w.Expect(w.client.Create(ctx, deployment)).To(Succeed())
	set := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web-1", Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(deployment, appsv1.SchemeGroupVersion.WithKind("Deployment"))}},
		Spec: appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}
	w.Expect(w.client.Create(ctx, set)).To(Succeed())

	m, err := manager.New(w.cfg, scheme(w), logr.Discard(), "agent-test", w.options())
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(index.ByOwner(ctx, m.GetFieldIndexer(), &corev1.Pod{})).To(Succeed())
	w.Expect(unschedulable.Register(m)).To(Succeed(), "kinds that are not served are left out")
	w.run(m)

	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web-1-a", Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}},
		Spec: template.Spec,
	}
	w.Expect(w.client.Create(ctx, pod)).To(Succeed())
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}
	w.Expect(w.client.Status().Update(ctx, pod)).To(Succeed())
	says := func() (number, version string) {
		w.Expect(w.client.Get(ctx, client.ObjectKeyFromObject(deployment), deployment)).To(Succeed())
		return deployment.Annotations["apps.flotilla.dev/unschedulable-replicas"], deployment.ResourceVersion
	}
	number := func() string { n, _ := says(); return n }
	w.Consistently(number, "3s").Should(BeEmpty())
	w.Eventually(number).WithTimeout(8 * time.Second).Should(Equal("1"))
	_, version := says()
	w.Consistently(func() string { _, v := says(); return v }, "2s").Should(Equal(version), "the same number is written once")
	w.Expect(w.client.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
	w.Eventually(number).Should(Equal("0"))
}
