package stories

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/podset/containermeta"
	"github.com/flotilla-project/flotilla/test/fleet"
)

// node is a real node of east with its daemon.
type node struct {
	*world
	name    string
	runtime cri.Runtime
}

func (w *world) node(number int) *node {
	w.Helper()
	n := &node{world: w, name: w.eastern().Nodes()[number].Name}
	socket, err := w.eastern().RuntimeSocket(n.name)
	if err != nil {
		w.Fatal(err)
	}
	if n.runtime, err = cri.Connect(w.Context(), "unix://"+socket); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) eastern() *fleet.Running { return w.Fleet.Cluster(east) }

// change changes the node's NodeImage, and makes it first if need be.
func (n *node) change(change func(map[string]kruisev1alpha1.ImageSpec)) {
	n.Helper()
	blank := &kruisev1alpha1.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: n.name}}
	if err := n.east.Create(n.Context(), blank); err != nil && !apierrors.IsAlreadyExists(err) {
		n.Fatal(err)
	}
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var image kruisev1alpha1.NodeImage
		if err := n.east.Get(n.Context(), client.ObjectKey{Name: n.name}, &image); err != nil {
			return err
		}
		if image.Spec.Images == nil {
			image.Spec.Images = map[string]kruisev1alpha1.ImageSpec{}
		}
		change(image.Spec.Images)
		return n.east.Update(n.Context(), &image)
	})
	if err != nil {
		n.Fatal(err)
	}
}

// want is a tag to pull, as a controller asks for it.
func want(tag string, backoff, timeout int32) []kruisev1alpha1.ImageTagSpec {
	return []kruisev1alpha1.ImageTagSpec{{
		Tag: tag, CreatedAt: new(metav1.Now()), ImagePullPolicy: kruisev1alpha1.PullAlways,
		PullPolicy: &kruisev1alpha1.ImageTagPullPolicy{BackoffLimit: &backoff, TimeoutSeconds: &timeout, TTLSecondsAfterFinished: new(int32(3600))},
	}}
}

// forget takes images out again, so that the stories after this one find an empty NodeImage.
func (n *node) forget(images ...string) {
	n.Cleanup(func() {
		_, _ = n.Kubectl(context.WithoutCancel(n.Context()), east, "patch", "nodeimage", n.name, "--type=merge", "-p", `{"spec":{"images":{"`+strings.Join(images, `":null,"`)+`":null}}}`)
	})
}

func (n *node) status(image string) kruisev1alpha1.ImageTagStatus {
	n.Helper()
	var obj kruisev1alpha1.NodeImage
	if err := n.east.Get(n.Context(), client.ObjectKey{Name: n.name}, &obj); err != nil { // an API server that is coming back
		return kruisev1alpha1.ImageTagStatus{Message: err.Error()}
	}
	for _, t := range obj.Status.ImageStatuses[image].Tags {
		return t
	}
	return kruisev1alpha1.ImageTagStatus{}
}

// untilPhase waits for what becomes of an image.
func (n *node) untilPhase(image string, phase kruisev1alpha1.ImagePullPhase) kruisev1alpha1.ImageTagStatus {
	n.Helper()
	n.until(fmt.Sprintf("%s on %s is %s", image, n.name, phase), func() string {
		if s := n.status(image); s.Phase != phase {
			return fmt.Sprintf("%s: %s", s.Phase, s.Message)
		}
		return ""
	})
	return n.status(image)
}

// IM-4, IM-5, IM-8, IM-11: the test registry is asked through a real containerd, and its own words reach the status.
func TestNodedPullsOntoRealNodes(t *testing.T) {
	n := beside(t).node(0)
	const (
		ok      = "registry.local/pulled"
		missing = "registry.local/notexist"
		private = "registry.local/faults/unauthorised"
		allowed = "registry.local/faults/unauthorised/with-secret"
		broken  = "registry.local/faults/failing"
		forged  = "registry.local/faults/wrong-digest"
		cut     = "registry.local/faults/cut"
		late    = "registry.local/faults/slow/late"
	)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kruise-daemon-config", GenerateName: "robot-"}, Type: corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"registry.local":{"username":"robot","password":"secret"}}}`},
	}
	if err := n.east.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	n.forget(ok, missing, private, allowed, broken, forged, cut, late)
	n.change(func(images map[string]kruisev1alpha1.ImageSpec) {
		for _, name := range []string{missing, private, forged} {
			images[name] = kruisev1alpha1.ImageSpec{Tags: want("1", 0, 60)}
		}
		images[broken] = kruisev1alpha1.ImageSpec{Tags: want("1", 1, 60)}
		images[ok] = kruisev1alpha1.ImageSpec{Tags: want("1", 0, 60)}
		images[cut] = kruisev1alpha1.ImageSpec{Tags: want("1", 4, 60)}
		images[late] = kruisev1alpha1.ImageSpec{Tags: want("1", 0, 3)}
		images[allowed] = kruisev1alpha1.ImageSpec{Tags: want("1", 0, 60),
			PullSecrets: []kruisev1alpha1.ReferenceObject{{Namespace: secret.Namespace, Name: secret.Name}}}
	})
	for _, image := range []string{ok, allowed, cut} {
		s := n.untilPhase(image, kruisev1alpha1.ImagePhaseSucceeded)
		there, err := n.runtime.Image(t.Context(), image+":1")
		if err != nil || s.ImageID != image+"@"+there.ID || s.Progress != 100 || s.CompletionTime == nil {
			t.Errorf("%s: %+v, on the node %+v, %v", image, s, there, err)
		}
	}
	for image, words := range map[string]string{
		missing: "not found", private: "no basic auth credentials", broken: "503 Service Unavailable", forged: "digest", late: "took longer than 3s",
	} {
		s := n.untilPhase(image, kruisev1alpha1.ImagePhaseFailed)
		if !strings.Contains(s.Message, words) || s.CompletionTime == nil {
			t.Errorf("%s: %+v", image, s)
		}
		if _, err := n.runtime.Image(t.Context(), image+":1"); !errors.Is(err, cri.ErrNotFound) {
			t.Errorf("%s is on the node: %v", image, err)
		}
	}
	n.until("events that tell", func() string {
		told, err := n.Kubectl(t.Context(), east, "describe", "nodeimage", n.name)
		for _, word := range []string{"PullImageSucceed", "PullImageFailed", "PullImageRetrying", "no basic auth credentials", "kruise-daemon-imagepuller"} {
			if err != nil || !strings.Contains(told, word) {
				return fmt.Sprintf("no %s in %s, %v", word, told, err)
			}
		}
		return ""
	})
}

// A killed containerd, a killed daemon and an API server that is away cost time and nothing else: what was being pulled is pulled, what is finished is
// not pulled again. // CR-2, IM-3
func TestNodedLosesNoPull(t *testing.T) {
	n := begin(t).node(0)
	const first, second, third = "registry.local/faults/slow/one", "registry.local/faults/slow/two", "registry.local/faults/slow/three"
	n.forget(first, second, third)

	n.change(func(images map[string]kruisev1alpha1.ImageSpec) {
		images[first] = kruisev1alpha1.ImageSpec{Tags: want("1", 0, 120)}
	})
	n.untilPhase(first, kruisev1alpha1.ImagePhasePulling)
	n.pause(2 * time.Second) // a fifth of it
	told, isToldBy := n.runtime.(cri.Downloader)
	if d, err := told.Downloads(t.Context()); !isToldBy || err != nil || d.Layers == 0 || d.Done == 0 || d.Done >= d.Total {
		t.Errorf("containerd tells of its downloads: %+v, %v", d, err)
	}
	if err := n.eastern().KillRuntime(t.Context(), n.name); err != nil {
		t.Fatal(err)
	}
	n.pause(10 * time.Second)
	if s := n.status(first); s.Phase != kruisev1alpha1.ImagePhasePulling || !strings.Contains(s.Message, "does not answer") {
		t.Errorf("without containerd: %+v", s)
	}
	if err := n.eastern().StartRuntime(t.Context(), n.name); err != nil {
		t.Fatal(err)
	}
	done := n.untilPhase(first, kruisev1alpha1.ImagePhaseSucceeded)
	if _, err := n.runtime.Image(t.Context(), first+":1"); err != nil || done.Message != "" {
		t.Errorf("%v, %+v", err, done)
	}

	n.change(func(images map[string]kruisev1alpha1.ImageSpec) {
		images[second] = kruisev1alpha1.ImageSpec{Tags: want("1", 0, 120)}
	})
	n.untilPhase(second, kruisev1alpha1.ImagePhasePulling)
	n.pause(2 * time.Second)
	if err := n.KillNoded(t.Context(), east, n.name); err != nil {
		t.Fatal(err)
	}
	if err := n.StartNoded(t.Context(), east, n.name); err != nil {
		t.Fatal(err)
	}
	n.untilPhase(second, kruisev1alpha1.ImagePhaseSucceeded)
	if again := n.status(first); again.StartTime == nil || !again.StartTime.Equal(done.StartTime) || !again.CompletionTime.Equal(done.CompletionTime) {
		t.Errorf("pulled again after a restart: %+v, before %+v", again, done)
	}

	n.change(func(images map[string]kruisev1alpha1.ImageSpec) {
		images[third] = kruisev1alpha1.ImageSpec{Tags: want("1", 0, 120)}
	})
	n.untilPhase(third, kruisev1alpha1.ImagePhasePulling)
	if err := n.eastern().StopAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.until("it is there while nobody can be told", func() string {
		if _, err := n.runtime.Image(t.Context(), third+":1"); err != nil {
			return err.Error()
		}
		return ""
	})
	n.pause(5 * time.Second)
	if err := n.eastern().StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.untilPhase(third, kruisev1alpha1.ImagePhaseSucceeded)
}

// CM-3, CM-5, CM-6: an update in place that changes a label changes the environment made of it, by one restart of that one
// container in the same pod; its neighbour and its other containers go on.
func TestNodedRestartsContainersForTheirEnvironment(t *testing.T) {
	w := beside(t)
	w.eastNamespace()
	if err := w.Apply(t.Context(), east, strings.ReplaceAll(envCloneSet, "NAMESPACE", w.ns)); err != nil {
		t.Fatal(err)
	}
	pod := func() *corev1.Pod {
		var list corev1.PodList
		if err := w.east.List(t.Context(), &list, client.InNamespace(w.ns), client.MatchingLabels{"app": "env"}); err != nil || len(list.Items) != 1 {
			return &corev1.Pod{}
		}
		return &list.Items[0]
	}
	runsWith := func(team string, restarts int32) string {
		p := pod()
		seen := containermeta.Of(p)["main"].Hashes.ExtractedEnvFromMetadataHash
		if !isReady(p) || len(p.Status.ContainerStatuses) != 2 || p.Labels["team"] != team || seen != containermeta.ExpectedEnv(p, &p.Spec.Containers[0]) {
			return fmt.Sprintf("labels %v, environment %d, %+v", p.Labels, seen, p.Status)
		}
		for _, c := range p.Status.ContainerStatuses {
			if want := map[string]int32{"main": restarts, "side": 0}[c.Name]; c.RestartCount != want {
				return fmt.Sprintf("%s was restarted %d times", c.Name, c.RestartCount)
			}
		}
		return ""
	}
	w.until("a first report", func() string { return runsWith("a", 0) })
	before := pod()
	_, err := w.Kubectl(t.Context(), east, "-n", w.ns, "patch", "cloneset", "env", "--type=merge", "-p", `{"spec":{"template":{"metadata":{"labels":{"team":"b"}}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	w.until("a restart with the new environment", func() string { return runsWith("b", 1) })
	if after := pod(); after.UID != before.UID {
		t.Error("the pod was replaced")
	}
	printed, err := w.Kubectl(t.Context(), east, "-n", w.ns, "exec", before.Name, "-c", "main", "--", "env")
	if err != nil || !strings.Contains(printed, "TEAM=b\n") {
		t.Errorf("%s, %v", printed, err)
	}
}

const envCloneSet = `{"apiVersion":"apps.kruise.io/v1alpha1","kind":"CloneSet","metadata":{"name":"env","namespace":"NAMESPACE"},
"spec":{"replicas":1,"selector":{"matchLabels":{"app":"env"}},"updateStrategy":{"type":"InPlaceIfPossible"},
"template":{"metadata":{"labels":{"app":"env","team":"a"}},"spec":{"readinessGates":[{"conditionType":"InPlaceUpdateReady"}],"containers":[
{"name":"main","image":"registry.local/web:v1","env":[{"name":"TEAM","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['team']"}}}]},
{"name":"side","image":"registry.local/web:v1","args":["sleep"]}]}}}}`

// eastNamespace makes the story's namespace on east, with the service account that pods wait for.
func (w *world) eastNamespace() {
	w.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}}
	if err := w.east.Create(w.Context(), ns); err != nil && !apierrors.IsAlreadyExists(err) {
		w.Fatal(err)
	}
	w.until("a service account", func() string {
		err := w.east.Get(w.Context(), client.ObjectKey{Namespace: w.ns, Name: "default"}, &corev1.ServiceAccount{})
		if err != nil {
			return err.Error()
		}
		return ""
	})
}

// ND-5, NP-14: health and metrics on one port of the node, the daemon's queues by their names, and no profiler unasked.
func TestNodedSaysHowItIs(t *testing.T) {
	w := beside(t)
	var n corev1.Node
	if err := w.east.Get(t.Context(), client.ObjectKey{Name: w.eastern().Nodes()[0].Name}, &n); err != nil {
		t.Fatal(err)
	}
	get := func(port, path string) (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Status.Addresses[0].Address+":"+port+path, nil)
		if err != nil {
			return "", err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	w.until("health", func() string {
		if body, err := get("10221", "/healthz"); err != nil || body != "ok" {
			return fmt.Sprintf("%s, %v", body, err)
		}
		return ""
	})
	metrics, err := get("10221", "/metrics")
	for _, queue := range []string{"imagepuller", "crr", "sync_node_pod_probe", "runtime_container_meta"} {
		if err != nil || !strings.Contains(metrics, `controller_runtime_max_concurrent_reconciles{controller="`+queue+`"}`) {
			t.Errorf("no queue %s in the metrics, %v", queue, err)
		}
	}
	if body, err := get("10222", "/debug/pprof/"); err == nil {
		t.Errorf("the profiler says %s", body)
	}
}

// pause lets something get under way that shows nowhere.
func (n *node) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.Context().Done():
	}
}

// Whoever has the token of one node's daemon writes that node's objects and no other's, and reads no secrets. // RB-1, RB-2, RB-3
func TestNodedWritesItsOwnNodeOnly(t *testing.T) {
	w := beside(t)
	own, other := w.node(0), w.node(1)
	for _, n := range []*node{own, other} {
		n.change(func(map[string]kruisev1alpha1.ImageSpec) {})
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", w.NodedKubeconfig(east, own.name))
	if err != nil {
		t.Fatal(err)
	}
	token, err := client.New(cfg, client.Options{Scheme: w.east.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	write := func(obj client.Object, patch string) error {
		return token.Status().Patch(t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(patch)))
	}
	const harmless = `{"status":{"desired":0,"firstSyncStatus":{"message":"seen"}}}`
	if err := write(&kruisev1alpha1.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: own.name}}, harmless); err != nil {
		t.Errorf("its own: %v", err)
	}
	err = write(&kruisev1alpha1.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: other.name}}, harmless)
	if err == nil || !strings.Contains(err.Error(), "may not write nodeimages of node '"+other.name+"'") {
		t.Errorf("another's: %v", err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "elsewhere"}, Spec: corev1.PodSpec{
		NodeName: other.name, Containers: []corev1.Container{{Name: "main", Image: image("v1")}},
	}}
	w.eastNamespace()
	if err := w.east.Create(t.Context(), pod.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	err = write(pod.DeepCopy(), `{"metadata":{"annotations":{"apps.kruise.io/runtime-containers-meta":"{}"}}}`)
	if err == nil || !strings.Contains(err.Error(), "may not write pods of node '"+other.name+"'") {
		t.Errorf("another's pod: %v", err)
	}
	if err := token.Get(t.Context(), client.ObjectKey{Namespace: "open-cluster-management-agent", Name: "any"}, &corev1.Secret{}); !apierrors.IsForbidden(err) {
		t.Errorf("reads secrets: %v", err)
	}
}
