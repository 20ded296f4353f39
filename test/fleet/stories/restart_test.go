package stories

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

// pair is a pod of two containers that share a folder; a hook of the first writes there, or takes its time.
const pair = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: NAMESPACE, labels: {app: NAME}}
spec:
  nodeName: NODE
  readinessGates: [{conditionType: KruisePodReady}]
  containers:
  - name: main
    image: registry.local/app:1
    volumeMounts: [{name: shared, mountPath: /shared}]
    lifecycle: {preStop: {exec: {command: HOOK}}}
  - name: side
    image: registry.local/app:1
    command: [/app, sleep]
    volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {}}]
`

// request asks for containers of the pod of its name.
const request = `
apiVersion: apps.kruise.io/v1alpha1
kind: ContainerRecreateRequest
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  podName: POD
  containers: [CONTAINERS]
  strategy: {STRATEGY}
`

// onEast applies a manifest to east with words put in their places.
func (w *world) onEast(manifest string, words ...string) {
	w.Helper()
	manifest = strings.NewReplacer(append([]string{"NAMESPACE", w.ns}, words...)...).Replace(manifest)
	if err := w.Apply(w.Context(), east, manifest); err != nil {
		w.Fatal(err)
	}
}

func (w *world) podNamed(name string) *corev1.Pod {
	var p corev1.Pod
	_ = w.east.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, &p)
	return &p
}

// containersOf are a pod's containers that run, by name.
func containersOf(p *corev1.Pod) map[string]corev1.ContainerStatus {
	all := map[string]corev1.ContainerStatus{}
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running != nil {
			all[c.Name] = c
		}
	}
	return all
}

// isUp says that a pod is ready and how often its containers were restarted.
func isUp(p *corev1.Pod, restarts ...int32) string {
	c := containersOf(p)
	if !isReady(p) || len(c) != len(restarts) || c["main"].RestartCount != restarts[0] || c["side"].RestartCount != restarts[1] {
		return fmt.Sprintf("%+v", p.Status)
	}
	return ""
}

func (w *world) recreateRequest(name string) *kruisev1alpha1.ContainerRecreateRequest {
	var r kruisev1alpha1.ContainerRecreateRequest
	_ = w.east.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, &r)
	return &r
}

// recreated waits until a request has succeeded.
func (w *world) recreated(name string) {
	w.Helper()
	w.until(name+" is done", func() string {
		r := w.recreateRequest(name)
		for _, s := range r.Status.ContainerRecreateStates {
			if s.Phase != kruisev1alpha1.ContainerRecreateRequestSucceeded {
				return fmt.Sprintf("%+v %v", r.Status, r.Annotations)
			}
		}
		if r.Status.Phase != kruisev1alpha1.ContainerRecreateRequestCompleted || len(r.Status.ContainerRecreateStates) == 0 {
			return fmt.Sprintf("%+v", r.Status)
		}
		return ""
	})
}

// One container of two is restarted and its hook runs; then both, one after the other. // CRR-9, RX-8, RX-9, RX-10
func TestContainersAreRecreated(t *testing.T) {
	w := beside(t)
	w.eastNamespace()
	n := w.node(0)
	w.onEast(pair, "NAME", "pair", "NODE", n.name, "HOOK", `["/app", "write", "/shared/bye", "said"]`)
	w.until("the pair is up", func() string { return isUp(w.podNamed("pair"), 0, 0) })

	w.onEast(request, "NAME", "one", "POD", "pair", "CONTAINERS", "{name: main}", "STRATEGY", "unreadyGracePeriodSeconds: 1")
	w.recreated("one")
	w.until("main came back, and side was left alone", func() string { return isUp(w.podNamed("pair"), 1, 0) })
	if said, err := w.Kubectl(t.Context(), east, "exec", "-n", w.ns, "pair", "-c", "side", "--", "/app", "read", "/shared/bye"); err != nil || !strings.Contains(said, "said") {
		t.Errorf("the hook said %q, %v", said, err)
	}
	events, err := w.Kubectl(t.Context(), east, "get", "events", "-n", w.ns, "-o", "wide")
	if err != nil || !strings.Contains(events, "kruise-daemon-crr") {
		t.Errorf("%s, %v", events, err)
	}

	w.onEast(request, "NAME", "both", "POD", "pair", "CONTAINERS", "{name: side}, {name: main}", "STRATEGY", "orderedRecreate: true, minStartedSeconds: 3")
	w.recreated("both")
	w.until("both came back", func() string { return isUp(w.podNamed("pair"), 2, 1) })
	all := containersOf(w.podNamed("pair"))
	side, main := all["side"].State.Running.StartedAt, all["main"].State.Running.StartedAt
	if gap := main.Sub(side.Time); gap < 3*time.Second {
		t.Errorf("main started %s after side, which had to run for 3s before", gap)
	}
	if r := w.recreateRequest("both"); r.Labels["crr.apps.kruise.io/active"] != "" {
		w.until("no daemon keeps it", func() string { return w.recreateRequest("both").Labels["crr.apps.kruise.io/active"] })
	}
}

// The daemon is killed after it stopped a container and before it could say so. By force, nothing but what it had recorded
// before tells that the container was stopped. // RX-6, RX-7
func TestADaemonThatIsKilledRestartsNothingTwice(t *testing.T) {
	w := begin(t)
	w.eastNamespace()
	n := w.node(0)
	w.onEast(pair, "NAME", "forced", "NODE", n.name, "HOOK", "[/app, sleep, 8s]")
	w.until("the pair is up", func() string { return isUp(w.podNamed("forced"), 0, 0) })
	w.onEast(request, "NAME", "forced", "POD", "forced", "CONTAINERS", "{name: main}", "STRATEGY", "forceRecreate: true")
	w.until("it is about to stop", func() string {
		for _, s := range w.recreateRequest("forced").Status.ContainerRecreateStates {
			if s.Message != "" {
				return ""
			}
		}
		return "nothing announced"
	})
	const binding = "clusterrolebinding/flotilla-noded"
	saved, err := w.Kubectl(t.Context(), east, "get", binding, "-o", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := w.Apply(t.Context(), east, saved); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.Kubectl(t.Context(), east, "delete", binding); err != nil { // it can write nothing from now on
		t.Fatal(err)
	}
	w.until("the kubelet has started main again", func() string {
		if c := containersOf(w.podNamed("forced"))["main"]; c.RestartCount != 1 {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
	if s := w.recreateRequest("forced").Status.ContainerRecreateStates; len(s) != 1 || s[0].IsKilled {
		t.Errorf("it was recorded: %+v", s)
	}
	if err := w.KillNoded(t.Context(), east, n.name); err != nil {
		t.Error(err)
	}
	restore()
	if err := w.StartNoded(t.Context(), east, n.name); err != nil {
		t.Error(err)
	}
	w.recreated("forced")
	list, err := n.runtime.Containers(t.Context(), string(w.podNamed("forced").UID))
	if err != nil {
		t.Fatal(err)
	}
	if c, found := cri.Newest(list, "main"); !found || c.Attempt != 1 {
		t.Errorf("main was started %d times again", c.Attempt)
	}
}

const idle = `
apiVersion: apps.kruise.io/v1alpha1
kind: PodProbeMarker
metadata: {name: marker, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: probed}}
  probes:
  - name: idle
    containerName: side
    probe: {exec: {command: [/app, read, /shared/flag]}, periodSeconds: 1}
    podConditionType: game.io/idle
    markerPolicy:
    - {state: Succeeded, labels: {idle: "yes"}}
    - {state: Failed, annotations: {busy: "yes"}}
  - name: reached
    containerName: main
    probe: {tcpSocket: {port: 8080}, periodSeconds: 1}
    podConditionType: game.io/reached
`

// Probes of a real daemon flip conditions, labels and annotations of a pod. // PM-6, PM-11, PB-5
func TestProbesFlipConditionsOfPods(t *testing.T) {
	w := begin(t)
	w.eastNamespace()
	n := w.node(1)
	w.onEast(pair, "NAME", "probed", "NODE", n.name, "HOOK", "[/app, hello]")
	w.until("the pair is up", func() string { return isUp(w.podNamed("probed"), 0, 0) })
	w.onEast(idle)
	shows := func(idle corev1.ConditionStatus, label, annotation string) func() string {
		return func() string {
			p := w.podNamed("probed")
			c, reached := lifecycle.Condition(p, "game.io/idle"), lifecycle.Condition(p, "game.io/reached")
			if c == nil || reached == nil || c.Status != idle || reached.Status != "True" || p.Labels["idle"] != label || p.Annotations["busy"] != annotation {
				return fmt.Sprintf("%+v %+v %v %v", c, reached, p.Labels, p.Annotations)
			}
			return ""
		}
	}
	w.until("it is busy, and reached", shows("False", "", "yes"))
	if _, err := w.Kubectl(t.Context(), east, "exec", "-n", w.ns, "probed", "-c", "main", "--", "/app", "write", "/shared/flag", "up"); err != nil {
		t.Fatal(err)
	}
	w.until("it is idle", shows("True", "yes", ""))
	told, err := w.Kubectl(t.Context(), east, "describe", "pod", "-n", w.ns, "probed")
	for _, word := range []string{"KruiseProbeSucceeded", "KruiseProbeFailed", "kruise-daemon-podprobe"} {
		if err != nil || !strings.Contains(told, word) {
			t.Errorf("no %s, %v", word, err)
		}
	}
	// A restart of the daemon shows in no condition.
	before := lifecycle.Condition(w.podNamed("probed"), "game.io/idle").LastTransitionTime
	marker := &kruisev1alpha1.PodProbeMarker{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "marker"}}
	if err := w.KillNoded(t.Context(), east, n.name); err != nil {
		t.Fatal(err)
	}
	if err := w.StartNoded(t.Context(), east, n.name); err != nil {
		t.Fatal(err)
	}
	n.pause(5 * time.Second)
	if after := lifecycle.Condition(w.podNamed("probed"), "game.io/idle"); after.Status != "True" || !after.LastTransitionTime.Equal(&before) {
		t.Errorf("%+v, before it was so since %s", after, before)
	}
	if err := w.east.Delete(t.Context(), marker); err != nil {
		t.Fatal(err)
	}
	w.until("nothing is probed for it any more", func() string {
		var o kruisev1alpha1.NodePodProbe
		if err := w.east.Get(t.Context(), client.ObjectKey{Name: n.name}, &o); err != nil || len(o.Spec.PodProbes)+len(o.Status.PodProbeStatuses) > 0 {
			return fmt.Sprintf("%+v %v", o, err)
		}
		return ""
	})
}

const inOrder = `
apiVersion: v1
kind: Pod
metadata: {generateName: inorder-, namespace: NAMESPACE, labels: {app: inorder}}
spec:
  containers:
  - name: last
    image: registry.local/app:1
    env: [{name: PORT, value: "8082"}, {name: KRUISE_CONTAINER_PRIORITY, value: "-1"}]
  - name: middle
    image: registry.local/app:1
    env: [{name: PORT, value: "8081"}]
    readinessProbe: {tcpSocket: {port: 8081}, initialDelaySeconds: 2, periodSeconds: 1}
  - name: first
    image: registry.local/app:1
    env: [{name: KRUISE_CONTAINER_PRIORITY, value: "5"}]
    readinessProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 2, periodSeconds: 1}
`

// A real kubelet starts containers in the order of their priorities, each once those before it are ready. // CL-3, CL-6
func TestContainersStartInOrder(t *testing.T) {
	w := beside(t)
	w.eastNamespace()
	manifest := strings.ReplaceAll(inOrder, "NAMESPACE", w.ns)
	file := t.TempDir() + "/pod.yaml"
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Kubectl(t.Context(), east, "create", "-f", file); err != nil {
		t.Fatal(err)
	}
	var all map[string]corev1.ContainerStatus
	w.until("all run", func() string {
		var list corev1.PodList
		if err := w.east.List(t.Context(), &list, client.InNamespace(w.ns), client.MatchingLabels{"app": "inorder"}); err != nil || len(list.Items) != 1 {
			return fmt.Sprintf("%d pods, %v", len(list.Items), err)
		}
		if all = containersOf(&list.Items[0]); len(all) != 3 || list.Items[0].Annotations["apps.kruise.io/container-launch-priority-completed"] != "true" {
			return fmt.Sprintf("%v %+v", list.Items[0].Annotations, list.Items[0].Status)
		}
		return ""
	})
	started := func(name string) time.Time { return all[name].State.Running.StartedAt.Time }
	if a, b := started("middle").Sub(started("first")), started("last").Sub(started("middle")); a < 2*time.Second || b < 2*time.Second {
		t.Errorf("middle started %s after first, last %s after middle; each needs 2s to be ready", a, b)
	}
}
