package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-project/flotilla/agent/controllers/daemonset"
	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// daemons is a world with nodes of its own, on which a DaemonSet called logs runs.
type daemons struct {
	*world
	label string // of its nodes
}

func newDaemons(t *testing.T, nodes int) *daemons {
	t.Helper()
	d := &daemons{world: newWorld(t)}
	d.label = "daemonset-test/" + d.namespace
	d.installCRD("apps.kruise.io_daemonsets.yaml")
	d.Eventually(func() error { return d.client.List(t.Context(), &kruise.DaemonSetList{}) }).Should(Succeed())
	d.grant()
	for i := range nodes {
		d.addNode(fmt.Sprintf("%s-n%d", d.namespace, i))
	}
	return d
}

// grant gives the service account of agents the rights that it is deployed with.
func (d *daemons) grant() {
	d.t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "member", "rbac", "agent.yaml"))
	d.Expect(err).NotTo(HaveOccurred())
	for _, document := range strings.Split(string(raw), "\n---\n") {
		var kind metav1.TypeMeta
		d.Expect(yaml.Unmarshal([]byte(document), &kind)).To(Succeed())
		objects := map[string]client.Object{"ClusterRole": &rbacv1.ClusterRole{}, "ClusterRoleBinding": &rbacv1.ClusterRoleBinding{}}
		o, wanted := objects[kind.Kind]
		if !wanted {
			continue
		}
		d.Expect(yaml.Unmarshal([]byte(document), o)).To(Succeed())
		if err := d.client.Create(d.t.Context(), o); !apierrors.IsAlreadyExists(err) {
			d.Expect(err).NotTo(HaveOccurred())
		}
	}
}

func (d *daemons) addNode(name string) *corev1.Node {
	d.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{d.label: ""}}}
	d.Expect(d.client.Create(d.t.Context(), n)).To(Succeed())
	created := n.DeepCopy()
	n.Spec.Taints = nil // admission taints every new node as not ready
	d.Expect(d.client.Patch(d.t.Context(), n, client.MergeFrom(created))).To(Succeed())
	d.t.Cleanup(func() { d.Expect(client.IgnoreNotFound(d.client.Delete(context.Background(), n))).To(Succeed()) })
	return n
}

// controller starts the DaemonSet controller under the agent's service account; stop kills it.
func (d *daemons) controller() (counted *writes, stop context.CancelFunc) {
	d.t.Helper()
	counted = &writes{counts: map[string]int{}}
	cfg := rest.CopyConfig(d.cfg)
	cfg.Impersonate.UserName = "system:serviceaccount:open-cluster-management-agent:agent"
	cfg.Impersonate.Groups = []string{"system:serviceaccounts", "system:authenticated"}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		counted.next = next
		return counted
	})
	m, err := manager.New(cfg, scheme(d.world), logr.Discard(), "daemonset-test", d.options())
	d.Expect(err).NotTo(HaveOccurred())
	d.Expect(index.ByOwner(d.t.Context(), m.GetFieldIndexer(), &corev1.Pod{}, &appsv1.ControllerRevision{})).To(Succeed())
	d.Expect(daemonset.Register(m, daemonset.Options{})).To(Succeed())
	return counted, d.run(m)
}

func (d *daemons) createSet(change ...func(*kruise.DaemonSet)) {
	d.t.Helper()
	ds := &kruise.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "logs", Namespace: d.namespace},
		Spec: kruise.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "logs"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "logs"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "logs:1"}}, NodeSelector: map[string]string{d.label: ""}},
			},
		},
	}
	for _, c := range change {
		c(ds)
	}
	d.Expect(d.client.Create(d.t.Context(), ds)).To(Succeed())
}

func (d *daemons) getSet() *kruise.DaemonSet {
	d.t.Helper()
	var ds kruise.DaemonSet
	d.Expect(d.client.Get(d.t.Context(), client.ObjectKey{Namespace: d.namespace, Name: "logs"}, &ds)).To(Succeed())
	return &ds
}

func (d *daemons) changeSet(f func(*kruise.DaemonSet)) {
	d.t.Helper()
	before := d.getSet()
	after := before.DeepCopy()
	f(after)
	d.Expect(d.client.Patch(d.t.Context(), after, client.MergeFrom(before))).To(Succeed())
}

// allOn waits until n nodes have an available pod of the present template, and says so.
func (d *daemons) allOn(n int) {
	d.t.Helper()
	d.Eventually(func() string {
		ds := d.getSet()
		s := ds.Status
		return fmt.Sprintln(s.ObservedGeneration == ds.Generation, s.DesiredNumberScheduled, s.CurrentNumberScheduled, s.NumberReady, s.NumberAvailable,
			s.UpdatedNumberScheduled, s.NumberUnavailable, s.NumberMisscheduled)
	}).Should(Equal(fmt.Sprintln(true, n, n, n, n, n, 0, 0)))
}

// places are the nodes that pods are meant for, with their images.
func (d *daemons) places() []string {
	d.t.Helper()
	var all []string
	for _, p := range d.pods() {
		all = append(all, p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]+"="+p.Spec.Containers[0].Image)
	}
	slices.Sort(all)
	return all
}

func TestDaemonSetFromNothingToAnotherImage(t *testing.T) { // WL-3.5, WL-3.8, WL-3.10, WL-3.11
	const n = 6
	d := newDaemons(t, n)
	d.kubelet(always)
	count, stop := d.controller()
	d.createSet(func(ds *kruise.DaemonSet) {
		ds.Spec.UpdateStrategy.RollingUpdate = &kruise.RollingUpdateDaemonSet{Type: kruise.InplaceRollingUpdateType, MaxUnavailable: new(intstr.FromString("50%"))}
	})
	d.allOn(n)
	pods := d.pods()
	t.Logf("creating %d pods took %.2f writes a pod: %v", n, float64(count.onPods())/n, count)
	d.Expect(count.onPods()).To(BeNumerically("<=", 2*n))
	hash := d.getSet().Status.DaemonSetHash
	for _, pod := range pods {
		d.Expect(pod.Name).To(HavePrefix("logs-"))
		d.Expect(pod.Labels).To(HaveKeyWithValue("controller-revision-hash", hash))
		d.Expect(pod.Labels).NotTo(HaveKey("lifecycle.apps.kruise.io/state"))
		d.Expect(pod.Spec.ReadinessGates).To(ContainElement(corev1.PodReadinessGate{ConditionType: pub.InPlaceUpdateReady}))
	}
	d.Expect(d.getSet().Status.Conditions).To(BeEmpty())
	d.Eventually(count.String).Should(ContainSubstring(fmt.Sprintf("POST events:%d", n))) // they come by themselves, and late
	count.reset()
	d.Consistently(count.String, time.Second).Should(Equal("map[]"), "a settled set is written to")

	d.changeSet(func(ds *kruise.DaemonSet) { ds.Spec.Template.Spec.Containers[0].Image = "logs:2" })
	d.allOn(n)
	t.Logf("updating %d pods in place took %.2f writes a pod: %v", n, float64(count.onPods())/n, count)
	d.Expect(count.onPods()).To(BeNumerically("<=", 4*n))
	d.Expect(uids(d.pods())).To(Equal(uids(pods)), "pods were made anew")
	d.Eventually(func() string {
		var events corev1.EventList
		d.Expect(d.client.List(t.Context(), &events, client.InNamespace(d.namespace))).To(Succeed())
		return fmt.Sprint(events.Items)
	}).Should(And(ContainSubstring("SuccessfulCreate"), ContainSubstring("SuccessfulUpdatePodInPlace"), ContainSubstring("daemonset-controller")))

	stop()
	again, _ := d.controller()
	d.Consistently(again.String, time.Second).Should(Equal("map[]"), "an agent that comes back finds something to do")
	fresh := d.addNode(d.namespace + "-fresh")
	d.allOn(n + 1)
	d.Expect(d.client.Delete(t.Context(), fresh)).To(Succeed())
	d.allOn(n)
	d.Eventually(d.places).Should(HaveLen(n))
}

func TestDaemonSetRecreatesAndSurges(t *testing.T) { // WL-3.7, WL-3.12.6
	const n = 4
	d := newDaemons(t, n)
	d.kubelet(func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image != "logs:bad" })
	d.controller()
	d.createSet(func(ds *kruise.DaemonSet) { ds.Spec.BurstReplicas = new(intstr.FromString("50%")) }) // half of the first status
	d.allOn(n)
	before := uids(d.pods())

	d.changeSet(func(ds *kruise.DaemonSet) { ds.Spec.Template.Spec.Containers[0].Image = "logs:2" })
	d.allOn(n)
	for name := range uids(d.pods()) {
		d.Expect(before).NotTo(HaveKey(name))
	}

	d.changeSet(func(ds *kruise.DaemonSet) {
		ds.Spec.Template.Spec.Containers[0].Image = "logs:bad"
		ds.Spec.UpdateStrategy.RollingUpdate = &kruise.RollingUpdateDaemonSet{MaxSurge: new(intstr.FromInt32(2)), MaxUnavailable: new(intstr.FromInt32(0))}
	})
	d.Eventually(d.places).Should(HaveLen(n + 2))
	d.Consistently(func() int { return strings.Count(fmt.Sprint(d.places()), "logs:2") }, time.Second).Should(Equal(n))
	d.changeSet(func(ds *kruise.DaemonSet) { ds.Spec.Template.Spec.Containers[0].Image = "logs:3" })
	d.allOn(n)
	d.Eventually(func() int { return strings.Count(fmt.Sprint(d.places()), "logs:3") }).Should(Equal(n))
	d.Expect(d.pods()).To(HaveLen(n))
}
