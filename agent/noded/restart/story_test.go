package restart

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/cri/critest"
)

// node is a node with one pod: an API server, a runtime, a kubelet that starts again what ended, and the manager's half.
type node struct {
	client.Client
	t       *testing.T
	runtime *critest.Runtime
	events  *record.FakeRecorder
	now     time.Time
	latest  map[string]int
	// deaf loses the next writes.
	deaf int
}

func newNode(t *testing.T, r *kruise.ContainerRecreateRequest) *node {
	t.Helper()
	s := runtime.NewScheme()
	if err := kruise.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, runtime: &critest.Runtime{}, events: record.NewFakeRecorder(1000), now: noon.Add(time.Minute), latest: map[string]int{}}
	n.Client = fake.NewClientBuilder().WithScheme(s).WithObjects(r).WithStatusSubresource(r).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if n.deaf > 0 {
				n.deaf--
				return apierrors.NewServiceUnavailable("killed before it could write")
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	for _, c := range r.Spec.Containers {
		n.runtime.SetContainer(container(c.Name, 0, before))
	}
	return n
}

// daemon is one pass of a daemon that has just started, so nothing is kept in memory between two passes.
func (n *node) daemon() error {
	p := newPods(n, n, Options{Runtimes: cri.Runtimes{n.runtime}, Events: n.events})
	p.loop.Clock = testclock.NewFakePassiveClock(n.now)
	_, err := p.Reconcile(context.Background(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web-x"}})
	return err
}

// kubelet starts what ended.
func (n *node) kubelet() {
	all, err := n.runtime.Containers(context.Background(), "p")
	if err != nil {
		return
	}
	for _, name := range []string{"a", "b"} {
		if c, found := cri.Newest(all, name); found && c.State == cri.Exited {
			n.start(name)
		}
	}
}

func (n *node) start(name string) {
	n.now = n.now.Add(3 * time.Second)
	n.latest[name]++
	n.runtime.SetContainer(container(name, n.latest[name], n.now.Sub(noon)))
}

// manager tells the daemon which containers are back. // A: CRR-9
func (n *node) manager() {
	n.now = n.now.Add(time.Second)
	r := n.request()
	var items []string
	for _, name := range []string{"a", "b"} {
		if n.latest[name] > 0 {
			items = append(items, fmt.Sprintf(`{"name":%q,"ready":true,"restartCount":1,"containerID":"containerd://%s%d"}`, name, name, n.latest[name]))
		}
	}
	next := r.DeepCopy()
	next.Annotations[kruise.ContainerRecreateRequestSyncContainerStatusesKey] = "[" + strings.Join(items, ",") + "]"
	if err := n.Patch(context.Background(), next, client.MergeFrom(r)); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) request() *kruise.ContainerRecreateRequest {
	n.t.Helper()
	var r kruise.ContainerRecreateRequest
	if err := n.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "again"}, &r); err != nil {
		n.t.Fatal(err)
	}
	if r.Annotations == nil {
		r.Annotations = map[string]string{}
	}
	return &r
}

func (n *node) done() bool { return n.request().Status.Phase == phaseCompleted }

// stopped is what was stopped, by name.
func (n *node) stopped() map[string]int {
	all := map[string]int{}
	for _, s := range n.runtime.Stops() {
		all[s[:1]]++
	}
	return all
}

// Whatever is interrupted when, each container is stopped once and the request succeeds. // RX-2, RX-6, RX-7, RX-8
func TestNothingIsRestartedTwice(t *testing.T) {
	for seed := range uint64(150) {
		luck := rand.New(rand.NewPCG(seed, 1))
		changes := []change{in("")}
		for _, c := range []change{forced, ordered, lenient} {
			if luck.IntN(2) == 0 {
				changes = append(changes, c)
			}
		}
		n := newNode(t, request(changes...))
		r := n.request()
		if r.Spec.Strategy.ForceRecreate && luck.IntN(2) == 0 { // it restarted by itself since the request was made
			n.runtime.SetContainer(container("a", 0, before, cri.Exited))
			n.start("a")
		}
		var transcript []string
		for step := 0; step < 300 && !n.done(); step++ {
			switch luck.IntN(6) {
			case 0:
				n.kubelet()
				transcript = append(transcript, "kubelet")
			case 1:
				n.manager()
				transcript = append(transcript, "manager")
			case 2: // killed between what it did and writing that down
				n.deaf = 1
				transcript = append(transcript, fmt.Sprintf("crash: %v", n.daemon()))
				n.deaf = 0
			case 3:
				n.runtime.Gone()
				transcript = append(transcript, fmt.Sprintf("runtime gone: %v", n.daemon()))
				n.runtime.Back()
			default:
				transcript = append(transcript, fmt.Sprintf("daemon: %v, %v", n.daemon(), n.runtime.Stops()))
			}
		}
		r = n.request()
		good := func(s state) bool { return s.Phase == phaseSucceeded }
		if got := n.stopped(); got["a"] != 1 || got["b"] != 1 || !n.done() || !good(r.Status.ContainerRecreateStates[0]) || !good(r.Status.ContainerRecreateStates[1]) {
			t.Fatalf("seed %d: stopped %v of %+v\n%+v\n%s", seed, n.runtime.Stops(), *r.Spec.Strategy, r.Status, strings.Join(transcript, "\n"))
		}
	}
}

func TestInOrderTheSecondWaitsForTheFirst(t *testing.T) { // RX-8
	n := newNode(t, request(in(""), ordered))
	for range 5 {
		if err := n.daemon(); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.runtime.Stops(); len(got) != 1 || got[0] != "a0 30s" {
		t.Fatalf("%v", got)
	}
	n.kubelet()
	for range 3 {
		if err := n.daemon(); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.runtime.Stops(); len(got) != 1 {
		t.Fatalf("it was not ready yet: %v", got)
	}
	n.manager()
	for range 3 {
		if err := n.daemon(); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.runtime.Stops(); len(got) != 2 || got[1] != "b0 30s" {
		t.Errorf("%v", got)
	}
}

func TestWhatCannotBeStoppedHasFailed(t *testing.T) { // RX-8
	n := newNode(t, request(in("")))
	n.runtime.OnStop = func(context.Context, string, time.Duration) error { return fmt.Errorf("device busy") }
	for range 6 {
		if err := n.daemon(); err != nil {
			t.Fatal(err)
		}
	}
	status := n.request().Status
	if status.Phase != phaseCompleted || status.CompletionTime == nil || status.Message != "" ||
		!slices.Equal(status.ContainerRecreateStates, []state{is("a", phaseFailed, "stop container: device busy"), is("b", phasePending)}) {
		t.Errorf("%+v", status)
	}
}

func TestOthersWait(t *testing.T) { // RX-1
	n := newNode(t, request())
	second := request(in(""))
	second.Name, second.UID = "second", "s"
	if err := n.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if err := n.daemon(); err != nil {
		t.Fatal(err)
	}
	if err := n.Get(t.Context(), client.ObjectKeyFromObject(second), second); err != nil || second.Status.Phase != phasePending {
		t.Errorf("%v %+v", err, second.Status)
	}
}

func TestRuntimeOf(t *testing.T) { // RX-5
	all := cri.Runtimes{&critest.Runtime{}, &critest.Runtime{Called: "cri-o"}}
	id := func(i int, id string) change {
		return func(r *kruise.ContainerRecreateRequest) { r.Spec.Containers[i].StatusContext.ContainerID = id }
	}
	for name, tc := range map[string]struct {
		r    *kruise.ContainerRecreateRequest
		want string
	}{
		"one":     {request(), ""},
		"another": {request(id(0, "cri-o://x"), id(1, "cri-o://y")), ""},
		"two":     {request(id(1, "cri-o://y")), "two runtimes"},
		"none":    {request(id(0, "docker://y")), "no runtime on this node serves docker://y of container a"},
		"unknown": {request(func(r *kruise.ContainerRecreateRequest) { r.Spec.Containers[1].StatusContext = nil }), "container b has no recorded ID"},
		"no pod":  {request(func(r *kruise.ContainerRecreateRequest) { r.Labels = nil }), "pod-uid is missing"},
	} {
		if _, problem := runtimeOf(tc.r, all); (problem == "") != (tc.want == "") || !strings.Contains(problem, tc.want) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// killWith stops container a0 with a hook and says what came of it.
func killWith(t *testing.T, n *node, grace time.Duration, hook *corev1.LifecycleHandler, ports ...corev1.ContainerPort) (stop, events string) {
	t.Helper()
	pod := &corev1.Pod{}
	if err := NewKiller(n.events).Kill(t.Context(), n.runtime, pod, container("a", 0, before), grace, hook, ports); err != nil {
		t.Fatal(err)
	}
	close(n.events.Events)
	var all []string
	for e := range n.events.Events {
		all = append(all, e)
	}
	return n.runtime.Stops()[0], strings.Join(all, "; ")
}

func TestTheHookComesOutOfTheGracePeriod(t *testing.T) { // RX-10
	for name, tc := range map[string]struct {
		grace, takes time.Duration
		code         int
		none         bool
		stop, events string
	}{
		"a quick one":         {grace: 30 * time.Second, takes: 4 * time.Second, stop: "a0 26s", events: "Normal Killing Stopping container a"},
		"one that fails":      {grace: 30 * time.Second, takes: 4 * time.Second, code: 3, stop: "a0 26s", events: "Normal Killing Stopping container a; Warning FailedPreStopHook PreStop hook of container a failed: exit code 3: no"},
		"one that hangs":      {grace: 10 * time.Second, takes: time.Hour, stop: "a0 2s", events: "Normal Killing Stopping container a; Warning FailedPreStopHook PreStop hook of container a failed: timed out"},
		"no time for one":     {grace: 0, takes: time.Hour, stop: "a0 2s", events: "Normal Killing Stopping container a"},
		"none":                {grace: time.Minute, none: true, stop: "a0 1m0s", events: "Normal Killing Stopping container a"},
		"a second is too few": {grace: time.Second, none: true, stop: "a0 2s", events: "Normal Killing Stopping container a"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, request())
				n.runtime.OnExec = func(ctx context.Context, _ string, _ []string, timeout time.Duration) (cri.Result, error) {
					if err := rest(ctx, min(tc.takes, timeout)); err != nil || tc.takes > timeout {
						return cri.Result{}, cri.ErrTimeout
					}
					return cri.Result{Code: tc.code, Stderr: []byte("no\n")}, nil
				}
				hook := &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"bye"}}}
				if tc.none {
					hook = nil
				}
				if stop, events := killWith(t, n, tc.grace, hook); stop != tc.stop || events != tc.events {
					t.Errorf("%s: %s", stop, events)
				}
			})
		})
	}
}

func TestHooksAreCalledAtThePodsAddress(t *testing.T) { // RX-11
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String()+" "+r.Header.Get("X"))
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	_, text, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port := intstr.Parse(text)
	ports := []corev1.ContainerPort{{Name: "web", ContainerPort: port.IntVal}}
	header := []corev1.HTTPHeader{{Name: "X", Value: "y"}}
	for name, tc := range map[string]struct {
		get    corev1.HTTPGetAction
		asked  string
		failed string
	}{
		"by number":   {get: corev1.HTTPGetAction{Path: "/bye?now=1", Port: port, HTTPHeaders: header}, asked: "/bye?now=1 y"},
		"by name":     {get: corev1.HTTPGetAction{Path: "bye", Port: intstr.FromString("web")}, asked: "/bye "},
		"refused":     {get: corev1.HTTPGetAction{Path: "/bad", Port: port}, asked: "/bad ", failed: "418"},
		"no such":     {get: corev1.HTTPGetAction{Path: "/bye", Port: intstr.FromString("none")}, failed: `no port "none"`},
		"by a number": {get: corev1.HTTPGetAction{Path: "/bye", Port: intstr.FromString(text)}, asked: "/bye "},
	} {
		t.Run(name, func(t *testing.T) {
			asked = nil
			n := newNode(t, request())
			n.runtime.SetIP("box", "127.0.0.1")
			_, events := killWith(t, n, time.Minute, &corev1.LifecycleHandler{HTTPGet: &tc.get}, ports...)
			if strings.Join(asked, " ") != tc.asked || strings.Contains(events, "FailedPreStopHook") != (tc.failed != "") || !strings.Contains(events, tc.failed) {
				t.Errorf("%q %s", asked, events)
			}
		})
	}
}

func TestHooksThatTheKubeletHasNotEither(t *testing.T) { // RX-12
	if stop, events := killWith(t, newNode(t, request()), time.Minute, &corev1.LifecycleHandler{TCPSocket: &corev1.TCPSocketAction{}}); !strings.HasPrefix(stop, "a0 ") || !strings.Contains(events, "FailedPreStopHook") {
		t.Errorf("%s %s", stop, events)
	}
}
