package integration_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/controllers/containerlaunchpriority"
	"github.com/flotilla-project/flotilla/agent/controllers/containerrecreaterequest"
	"github.com/flotilla-project/flotilla/agent/controllers/nodepodprobe"
	"github.com/flotilla-project/flotilla/agent/controllers/podprobemarker"
	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/cri/critest"
	noded "github.com/flotilla-project/flotilla/agent/noded/probe"
	"github.com/flotilla-project/flotilla/agent/noded/restart"
	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/agent/webhooks"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// tended is a world with one node, whose daemon speaks with a runtime in memory, and with the agent's half of what needs a
// daemon, under the agent's own rights.
type tended struct {
	*hooked
	node    string
	runtime *critest.Runtime
}

func newTended(t *testing.T) *tended {
	t.Helper()
	w := newWorld(t)
	for _, kind := range []string{"containerrecreaterequests", "podprobemarkers", "nodepodprobes"} {
		w.installCRD("apps.kruise.io_" + kind + ".yaml")
	}
	for _, kind := range []client.ObjectList{&kruise.ContainerRecreateRequestList{}, &kruise.PodProbeMarkerList{}, &kruise.NodePodProbeList{}} {
		w.Eventually(func() error { return w.client.List(t.Context(), kind) }).Should(Succeed())
	}
	h := withWebhooks(w, func(o *webhooks.Options) { o.Daemon, o.ProbeMarkers = true, true })
	d := &tended{hooked: h, node: "node-of-" + w.namespace, runtime: &critest.Runtime{}}
	d.makeNode()
	m, err := manager.New(d.rights, scheme(w), logr.Discard(), "agent-test", w.options())
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(containerrecreaterequest.Register(m)).To(Succeed())
	w.Expect(podprobemarker.Register(m, manager.DefaultRetry())).To(Succeed())
	w.Expect(nodepodprobe.Register(m, manager.DefaultRetry())).To(Succeed())
	w.Expect(containerlaunchpriority.Register(m)).To(Succeed())
	w.run(m)
	w.run(d.daemon())
	return d
}

// daemon is the part of noded that is about restarts and probes.
func (d *tended) daemon() ctrl.Manager {
	d.t.Helper()
	o := d.world.options()
	o.Watch = map[client.Object]cache.ByObject{&kruise.ContainerRecreateRequest{}: {Label: labels.SelectorFromSet(labels.Set{
		kruise.ContainerRecreateRequestNodeNameKey: d.node, kruise.ContainerRecreateRequestActiveKey: "true"})}}
	m, err := manager.New(d.cfg, scheme(d.world), logr.Discard(), "daemon-test", o)
	d.Expect(err).NotTo(HaveOccurred())
	events := record.NewFakeRecorder(1000)
	d.Expect(restart.Register(m, restart.Options{Runtimes: cri.Runtimes{d.runtime}, Events: events})).To(Succeed())
	d.Expect(noded.Register(m, noded.Options{Node: d.node, Runtime: d.runtime, Events: events})).To(Succeed())
	return m
}

func (d *tended) makeNode() {
	d.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: d.node}}
	d.Expect(d.client.Create(d.t.Context(), node)).To(Succeed())
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	d.Expect(d.client.Status().Update(d.t.Context(), node)).To(Succeed())
	d.t.Cleanup(func() {
		d.Expect(client.IgnoreNotFound(d.client.Delete(context.Background(), node))).To(Succeed())
	})
}

// pod makes one that runs on the node, with containers of these names, each ready.
func (d *tended) pod(name string, change func(*corev1.Pod), containers ...string) *corev1.Pod {
	d.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: d.namespace, Labels: map[string]string{"app": name}}, Spec: corev1.PodSpec{NodeName: d.node}}
	for _, c := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: c, Image: "i"})
	}
	if change != nil {
		change(pod)
	}
	d.Expect(d.client.Create(d.t.Context(), pod)).To(Succeed())
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, "10.0.0.1"
	pod.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
		corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	for _, c := range containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: c})
	}
	d.Expect(d.client.Status().Update(d.t.Context(), pod)).To(Succeed())
	for _, c := range containers {
		d.start(pod, c, 0)
	}
	return pod
}

// start is what the kubelet does: a container of that many restarts runs, and the pod's status says so.
func (d *tended) start(pod *corev1.Pod, name string, restarts int32) {
	d.t.Helper()
	id, now := fmt.Sprintf("%s-%s-%d", pod.UID, name, restarts), time.Now()
	d.runtime.SetContainer(cri.Status{StartedAt: now, Container: cri.Container{
		ID: id, Name: name, PodUID: string(pod.UID), SandboxID: string(pod.UID), State: cri.Running, CreatedAt: now, Attempt: uint32(restarts)}})
	d.Eventually(func() error {
		if err := d.client.Get(d.t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		for i := range pod.Status.ContainerStatuses {
			if s := &pod.Status.ContainerStatuses[i]; s.Name == name {
				*s = corev1.ContainerStatus{Name: name, Ready: true, RestartCount: restarts, ContainerID: "containerd://" + id,
					State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}}}
			}
		}
		return d.client.Status().Update(d.t.Context(), pod)
	}).Should(Succeed())
}

func (d *tended) now(o client.Object) error {
	return d.client.Get(d.t.Context(), client.ObjectKeyFromObject(o), o)
}

// CRR-1 to CRR-11, RX-3 to RX-9: from the request to its end, by both halves.
func TestContainersAreRecreatedInOrder(t *testing.T) {
	d := newTended(t)
	gated := func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: pub.KruisePodReadyConditionType}}
		p.Spec.TerminationGracePeriodSeconds = new(int64(7))
	}
	pod := d.pod("web", gated, "main", "helper")
	request := &kruise.ContainerRecreateRequest{ObjectMeta: metav1.ObjectMeta{Name: "again", Namespace: d.namespace}, Spec: kruise.ContainerRecreateRequestSpec{
		PodName: "web", Containers: []kruise.ContainerRecreateRequestContainer{{Name: "helper"}, {Name: "main"}},
		Strategy: &kruise.ContainerRecreateRequestStrategy{OrderedRecreate: true, UnreadyGracePeriodSeconds: new(int64(1))},
	}}
	wrong := request.DeepCopy()
	wrong.Spec.Containers[0].Name = "none"
	err := d.client.Create(t.Context(), wrong)
	d.Expect(apierrors.IsBadRequest(err)).To(BeTrue(), "%v", err)
	d.Expect(d.client.Create(t.Context(), request)).To(Succeed())
	d.Expect(request.Labels).To(HaveKeyWithValue("crr.apps.kruise.io/node-name", d.node))
	d.Expect(*request.Spec.Strategy.TerminationGracePeriodSeconds).To(BeEquivalentTo(7))

	stops := func() string {
		return strings.ReplaceAll(strings.Join(d.runtime.Stops(), " "), string(pod.UID)+"-", "")
	}
	d.Eventually(func() string {
		d.Expect(d.now(pod)).To(Succeed())
		if c := lifecycle.Condition(pod, pub.KruisePodReadyConditionType); c != nil && stops() == "" {
			return string(c.Status) + c.Message
		}
		return ""
	}).Should(Equal(`False[{"userAgent":"ContainerRecreateRequest","key":"` + d.namespace + `/again"}]`))
	d.Eventually(stops).Should(Equal("helper-0 7s"))
	d.Consistently(stops, "1s").Should(Equal("helper-0 7s"), "the second waits for the first")
	d.start(pod, "helper", 1)
	d.Eventually(stops).Should(Equal("helper-0 7s main-0 7s"))
	d.start(pod, "main", 1)
	d.Eventually(func() kruise.ContainerRecreateRequestPhase {
		d.Expect(d.now(request)).To(Succeed())
		return request.Status.Phase
	}).Should(Equal(kruise.ContainerRecreateRequestCompleted))
	for _, s := range request.Status.ContainerRecreateStates {
		d.Expect(s.Phase).To(Equal(kruise.ContainerRecreateRequestSucceeded), "%+v", request.Status)
	}
	d.Eventually(func() []any {
		d.Expect(d.now(request)).To(Succeed())
		d.Expect(d.now(pod)).To(Succeed())
		return []any{request.Labels["crr.apps.kruise.io/active"], len(request.Finalizers), string(lifecycle.Condition(pod, pub.KruisePodReadyConditionType).Status)}
	}).Should(Equal([]any{"", 0, "True"}))
	changed := request.DeepCopy()
	changed.Spec.ActiveDeadlineSeconds = new(int64(60))
	err = d.client.Update(t.Context(), changed)
	d.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
	d.Expect(d.client.Delete(t.Context(), request)).To(Succeed())
}

// PM-4 to PM-12, PB-1 to PB-7: from the marker to the pod's condition, and back when a probe changes its mind.
func TestProbesMarkTheirPod(t *testing.T) {
	d := newTended(t)
	says := make(chan cri.Result, 1)
	says <- cri.Result{Stdout: []byte("nobody is here")}
	d.runtime.OnExec = func(context.Context, string, []string, time.Duration) (cri.Result, error) {
		now := <-says
		says <- now
		return now, nil
	}
	pod := d.pod("game", nil, "main")
	marker := &kruise.PodProbeMarker{ObjectMeta: metav1.ObjectMeta{Name: "idle", Namespace: d.namespace}, Spec: kruise.PodProbeMarkerSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "game"}},
		Probes: []kruise.PodContainerProbe{{
			Name: "idle", ContainerName: "main", PodConditionType: "game.io/idle",
			Probe:        kruise.ContainerProbeSpec{Probe: corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"idle"}}}}},
			MarkerPolicy: []kruise.ProbeMarkerPolicy{{State: kruise.ProbeSucceeded, Labels: map[string]string{"idle": "yes"}}},
		}},
	}}
	wrong := marker.DeepCopy()
	wrong.Spec.Probes[0].Name = "a#b"
	err := d.client.Create(t.Context(), wrong)
	d.Expect(apierrors.IsBadRequest(err)).To(BeTrue(), "%v", err)
	d.Expect(d.client.Create(t.Context(), marker)).To(Succeed())
	mark := func() string {
		d.Expect(d.now(pod)).To(Succeed())
		c := lifecycle.Condition(pod, "game.io/idle")
		if c == nil {
			return ""
		}
		return fmt.Sprintf("%s %q %s", c.Status, c.Message, pod.Labels["idle"])
	}
	d.Eventually(mark).Should(Equal(`True "nobody is here" yes`))
	d.Expect(d.now(marker)).To(Succeed())
	d.Expect(marker.Status.MatchedPods).To(BeEquivalentTo(1))
	<-says
	says <- cri.Result{Code: 1, Stderr: []byte("busy")}
	d.Eventually(mark).Should(Equal(`False "busy" `))

	entries := func() int {
		o := &kruise.NodePodProbe{ObjectMeta: metav1.ObjectMeta{Name: d.node}}
		d.Expect(d.now(o)).To(Succeed())
		return len(o.Spec.PodProbes) + len(o.Status.PodProbeStatuses)
	}
	d.Expect(entries()).To(Equal(2))
	d.Expect(d.client.Delete(t.Context(), marker)).To(Succeed())
	d.Eventually(entries).Should(BeZero())
	d.Eventually(func() bool { return apierrors.IsNotFound(d.now(marker)) }).Should(BeTrue())
	gone := &kruise.NodePodProbe{ObjectMeta: metav1.ObjectMeta{Name: d.node}}
	d.Expect(d.now(gone)).To(Succeed())
	d.Expect(d.client.Delete(t.Context(), gone.DeepCopy())).To(Succeed())
	d.Eventually(func() bool {
		again := &kruise.NodePodProbe{ObjectMeta: metav1.ObjectMeta{Name: d.node}}
		return d.now(again) == nil && again.UID != gone.UID
	}).Should(BeTrue(), "a node has its object as long as it is there")
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: d.node}}
	d.Expect(d.client.Delete(t.Context(), node)).To(Succeed())
	d.Eventually(func() bool {
		return apierrors.IsNotFound(d.now(&kruise.NodePodProbe{ObjectMeta: metav1.ObjectMeta{Name: d.node}}))
	}).Should(BeTrue())
}

// CL-1 to CL-5: barriers of a pod whose name nobody gave.
func TestBarriersOpenInOrder(t *testing.T) {
	d := newTended(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "ordered-", Namespace: d.namespace, Annotations: map[string]string{"apps.kruise.io/container-launch-priority": "Ordered"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "first", Image: "i"}, {Name: "second", Image: "i"}}},
	}
	d.Expect(d.client.Create(t.Context(), pod)).To(Succeed())
	ref := pod.Spec.Containers[1].Env[0].ValueFrom.ConfigMapKeyRef
	d.Expect([]string{ref.Name, ref.Key}).To(Equal([]string{pod.Name + "-barrier", "p_-1"}))
	open := func() map[string]string {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: pod.Name + "-barrier"}}
		d.Expect(client.IgnoreNotFound(d.now(cm))).To(Succeed())
		return cm.Data
	}
	d.Eventually(open).Should(Equal(map[string]string{"p_0": "true"}))
	d.Consistently(open, "1s").Should(HaveLen(1))
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "first", Ready: true}, {Name: "second"}}
	d.Expect(d.client.Status().Update(t.Context(), pod)).To(Succeed())
	d.Eventually(open).Should(Equal(map[string]string{"p_0": "true", "p_-1": "true"}))
	d.Eventually(func() string {
		d.Expect(d.now(pod)).To(Succeed())
		return pod.Annotations["apps.kruise.io/container-launch-priority-completed"]
	}).Should(Equal("true"))
	pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "wrong", Namespace: d.namespace}, Spec: *pod.Spec.DeepCopy()}
	pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "KRUISE_CONTAINER_PRIORITY", Value: "high"}}
	err := d.client.Create(t.Context(), pod)
	d.Expect(apierrors.IsBadRequest(err)).To(BeTrue(), "%v", err)
}
