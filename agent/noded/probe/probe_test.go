package probe

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/cri/critest"
)

// node is a node with a pool of probes and a pod whose one container says what a test wants.
type node struct {
	t       *testing.T
	pool    *pool
	runtime *critest.Runtime

	mu    sync.Mutex
	says  cri.Result
	fails error
	runs  []time.Duration
	begun time.Time
	took  time.Duration
}

// inBubble runs a test in time that passes by itself.
func inBubble(t *testing.T, test func(*node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &node{t: t, runtime: &critest.Runtime{}, begun: time.Now()}
		n.runtime.OnExec = func(_ context.Context, _ string, _ []string, timeout time.Duration) (cri.Result, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.runs = append(n.runs, time.Since(n.begun))
			if n.took > timeout {
				return cri.Result{}, cri.ErrTimeout
			}
			return n.says, n.fails
		}
		n.pool = newPool(Options{Node: "node-1", Runtime: n.runtime})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.pool.Start(ctx) }()
		synctest.Wait()
		test(n)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (n *node) say(r cri.Result, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.says, n.fails = r, err
}

func (n *node) ran() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.runs)
}

// start has the pod's container start now, or some time ago.
func (n *node) start(id string, ago time.Duration, state cri.State) {
	at := time.Now().Add(-ago)
	n.runtime.SetContainer(cri.Status{StartedAt: at, Container: cri.Container{ID: id, Name: "main", PodUID: "p", SandboxID: "box", State: state, CreatedAt: at}})
	n.runtime.SetIP("box", "127.0.0.1")
}

func (n *node) wait(how time.Duration) { pause(n.t.Context(), how); synctest.Wait() }

func (n *node) result() result { return n.pool.results()[place{"p", "m#alive"}] }

// is says what is recorded.
func (n *node) is(state kruise.ProbeState, message string) {
	n.t.Helper()
	if got := n.result(); got.state != state || got.message != message {
		n.t.Errorf("after %s: %s %q, not %s %q", time.Since(n.begun), got.state, got.message, state, message)
	}
}

func (n *node) probe(change ...func(*corev1.Probe)) corev1.Probe {
	p := corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"check"}}}}
	for _, c := range change {
		c(&p)
	}
	return p
}

var only = key{"shop", "web", "p", "10.0.0.1", "main", "m#alive"}

func (n *node) run(p corev1.Probe, before ...kruise.ContainerProbeState) {
	t := task{probe: p}
	if len(before) > 0 {
		t.before = &before[0]
	}
	n.pool.sync(map[key]task{only: t})
}

const started = "container main has just started"

func TestAProbeTurnsKnownAndChangesItsMind(t *testing.T) { // PB-3, PB-4, PB-5
	inBubble(t, func(n *node) {
		n.start("c1", time.Hour, cri.Running)
		n.say(cri.Result{Stdout: []byte("fine")}, nil)
		n.run(n.probe(func(p *corev1.Probe) { p.FailureThreshold = 3 }))
		n.wait(5 * time.Second)
		n.is(kruise.ProbeSucceeded, "fine")
		n.say(cri.Result{Code: 1, Stderr: []byte("bad"), Stdout: []byte("fine")}, nil)
		n.wait(2 * time.Second)
		n.is(kruise.ProbeSucceeded, "fine")
		n.wait(2 * time.Second)
		n.is(kruise.ProbeFailed, "bad")
	})
}

func TestARuntimeThatDoesNotAnswerFailsNothing(t *testing.T) { // PB-5
	inBubble(t, func(n *node) {
		n.start("c1", time.Hour, cri.Running)
		n.run(n.probe())
		n.wait(3 * time.Second)
		n.is(kruise.ProbeSucceeded, "")
		n.runtime.Gone()
		n.wait(30 * time.Second)
		n.is(kruise.ProbeSucceeded, "")
		n.runtime.Back()
		n.say(cri.Result{}, errors.New("cannot fork"))
		n.wait(10 * time.Second)
		n.is(kruise.ProbeSucceeded, "")
		n.say(cri.Result{Code: 1}, nil)
		n.wait(2 * time.Second)
		n.is(kruise.ProbeFailed, "")
	})
}

func TestACommandThatHangsFails(t *testing.T) { // PB-4, PB-5
	inBubble(t, func(n *node) {
		n.took = 5 * time.Second
		n.start("c1", time.Hour, cri.Running)
		n.run(n.probe(func(p *corev1.Probe) { p.TimeoutSeconds = 3 }))
		n.wait(3 * time.Second)
		n.is(kruise.ProbeFailed, "the command took longer than 3s")
	})
}

func TestANewContainerIsUnknownAndGivenTime(t *testing.T) { // PB-3
	inBubble(t, func(n *node) {
		n.run(n.probe(func(p *corev1.Probe) { p.InitialDelaySeconds = 10 }))
		n.wait(3 * time.Second)
		n.is("", "")
		n.start("c1", 0, cri.Running)
		n.wait(2 * time.Second)
		n.is(kruise.ProbeUnknown, started)
		if n.ran() != 0 {
			t.Error("it was probed before its time")
		}
		n.wait(10 * time.Second)
		n.is(kruise.ProbeSucceeded, "")
		n.start("c1", 30*time.Second, cri.Exited)
		n.wait(2 * time.Second)
		n.is(kruise.ProbeFailed, "container main is not running")
		n.start("c2", 0, cri.Running)
		n.wait(2 * time.Second)
		n.is(kruise.ProbeUnknown, started)
	})
}

func TestThePeriod(t *testing.T) { // PB-1, PB-2
	inBubble(t, func(n *node) {
		n.start("c1", time.Hour, cri.Running)
		tenth := func(p *corev1.Probe) { p.PeriodSeconds = 10 }
		n.run(n.probe(tenth))
		n.wait(100 * time.Second)
		if got := n.ran(); got != 10 {
			t.Errorf("%d runs in 10 periods", got)
		}
		if first := n.runs[0]; first >= 10*time.Second {
			t.Errorf("the first after %s", first)
		}
		n.run(n.probe())
		n.wait(10 * time.Second)
		if got := n.ran() - 10; got < 10 {
			t.Errorf("%d runs in 10 of the new periods", got)
		}
		n.pool.sync(nil)
		n.wait(time.Second)
		before := n.ran()
		n.wait(10 * time.Second)
		if n.ran() != before || len(n.pool.results()) != 0 {
			t.Errorf("it still runs: %v", n.pool.results())
		}
	})
}

func TestAnotherHandlerMakesItUnknown(t *testing.T) { // PB-1
	inBubble(t, func(n *node) {
		n.start("c1", time.Hour, cri.Running)
		n.run(n.probe())
		n.wait(3 * time.Second)
		n.is(kruise.ProbeSucceeded, "")
		n.say(cri.Result{}, errors.New("no answer"))
		n.run(n.probe(func(p *corev1.Probe) { p.Exec.Command = []string{"other"} }))
		n.wait(2 * time.Second)
		n.is(kruise.ProbeUnknown, "the probe was changed")
	})
}

// A restart of the daemon shows in no result: what is written of a container that still runs stays.
func TestARestartShowsInNoResult(t *testing.T) {
	for name, tc := range map[string]struct {
		written time.Duration // before now
		want    kruise.ProbeState
	}{
		"found out of this container": {time.Minute, kruise.ProbeFailed},
		"found out of an older one":   {2 * time.Hour, kruise.ProbeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(n *node) {
				n.start("c1", time.Hour, cri.Running)
				n.say(cri.Result{}, errors.New("not yet"))
				n.run(n.probe(), kruise.ContainerProbeState{Name: "m#alive", State: kruise.ProbeFailed, Message: "x", LastProbeTime: metav1.NewTime(time.Now().Add(-tc.written))})
				n.wait(3 * time.Second)
				if got := n.result(); got.state != tc.want {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func TestResultsAreGatheredAndRepeated(t *testing.T) { // PB-6
	inBubble(t, func(n *node) {
		n.start("c1", time.Hour, cri.Running)
		n.run(n.probe())
		told := 0
		go func() {
			for {
				select {
				case e := <-n.pool.news:
					if e.Object.GetName() != "node-1" {
						t.Error(e.Object.GetName())
					}
					n.mu.Lock()
					told++
					n.mu.Unlock()
				case <-n.t.Context().Done():
					return
				}
			}
		}()
		count := func() int { n.mu.Lock(); defer n.mu.Unlock(); return told }
		n.wait(10 * time.Second)
		if got := count(); got < 1 || got > 2 { // unknown and known, perhaps at once
			t.Errorf("%d rounds", got)
		}
		before, since := count(), n.result().at
		n.wait(580 * time.Second)
		if count() != before {
			t.Error("nothing has changed")
		}
		n.wait(30 * time.Second)
		if count() != before+1 || !n.result().at.After(since) {
			t.Errorf("%d rounds, last at %s", count()-before, n.result().at)
		}
	})
}

func TestMessagesAreCut(t *testing.T) { // PB-5
	if got := short([]byte(strings.Repeat("x", 1023) + "é and more")); got != strings.Repeat("x", 1023) {
		t.Errorf("%d bytes", len(got))
	}
	if got := short([]byte("fine")); got != "fine" {
		t.Error(got)
	}
}

func TestConnections(t *testing.T) { // PB-5
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	r := &critest.Runtime{}
	r.SetIP("box", "127.0.0.1")
	probe := func(at intstr.IntOrString) corev1.Probe {
		return corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: at}}}
	}
	c := cri.Container{ID: "c1", SandboxID: "box"}
	if got, known := newTarget(r).try(t.Context(), only, c, probe(intstr.FromInt(port))); !known || got.state != kruise.ProbeSucceeded {
		t.Errorf("%+v", got)
	}
	if _, known := newTarget(r).try(t.Context(), only, c, probe(intstr.FromString("web"))); known {
		t.Error("a name was resolved, by whom?")
	}
	_ = l.Close()
	if got, known := newTarget(r).try(t.Context(), only, c, probe(intstr.FromInt(port))); !known || got.state != kruise.ProbeFailed || got.message == "" {
		t.Errorf("%+v", got)
	}
	if _, known := newTarget(r).try(t.Context(), only, cri.Container{SandboxID: "none"}, probe(intstr.FromInt(port))); known {
		t.Error("a pod without an address was probed")
	}
	if _, known := newTarget(r).try(t.Context(), only, c, corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{}}}); known {
		t.Error("HTTP is not executed")
	}
}

func TestAProbeReachesItsOwnPodOnly(t *testing.T) {
	n := &target{local: func(ip string) bool { return ip == "192.168.0.7" }}
	for name, tc := range map[string]struct{ recorded, own, want string }{
		"a pod with an address":        {"10.0.0.1", "10.0.0.1", "10.0.0.1"},
		"an address of somebody else":  {"10.9.9.9", "10.0.0.1", "10.0.0.1"},
		"an address that has changed":  {"10.0.0.2", "10.0.0.1", "10.0.0.1"},
		"none recorded":                {"", "10.0.0.1", "10.0.0.1"},
		"the host's network":           {"192.168.0.7", "", "192.168.0.7"},
		"somebody else's, on the host": {"10.9.9.9", "", "localhost"},
	} {
		if got := n.address(tc.recorded, tc.own); got != tc.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if !isLocal("127.0.0.1") || isLocal("192.0.2.1") || isLocal("") {
		t.Error("the node does not know its addresses")
	}
}

func TestTwoProbesOfOneContainer(t *testing.T) { // PB-8
	inBubble(t, func(n *node) {
		n.start("c1", time.Hour, cri.Running)
		second := only
		second.probe = "m#ready"
		n.pool.sync(map[key]task{only: {probe: n.probe()}, second: {probe: n.probe()}})
		n.wait(3 * time.Second)
		if d := cmp.Diff(2, len(n.pool.results())); d != "" {
			t.Error(d)
		}
	})
}
