package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/system"
	"github.com/flotilla-project/flotilla/test/fleet/testlevel"
)

const (
	fullNode  = 110 // what a kubelet takes by default
	newImages = 50
)

// nodedBench is one real node, as full as a kubelet lets it be, with its daemon.
type nodedBench struct {
	*testing.B
	audit   *audit
	fleet   *fleet.Fleet
	client  client.Client
	node    string
	process string
}

// BenchmarkNoded measures the node daemon on a real node: idle with 110 pods, while it pulls 50 images at once, and while it
// probes every pod each second.
func BenchmarkNoded(b *testing.B) {
	testlevel.Need(b, testlevel.Bench)
	if os.Geteuid() != 0 {
		b.Skip("real nodes need root on Linux")
	}
	ctx, audit := b.Context(), newAudit(b)
	f, err := fleet.Start(ctx, fleet.Config{Name: "noded", Log: os.Stderr, Clusters: []fleet.Cluster{{
		Name: "member", Kind: fleet.Real, Nodes: []fleet.Node{{Zone: "a", Region: "r"}}, APIServerArgs: audit.args(),
	}}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := f.Stop(context.WithoutCancel(ctx)); err != nil {
			b.Error(err)
		}
	}()
	_, file, _, _ := runtime.Caller(0)
	_, err = system.InstallAlone(ctx, f, "member", system.Options{Source: filepath.Join(filepath.Dir(file), "..", "..", ".."), Log: os.Stderr,
		AgentArgs: []string{"--feature-gates=ImagePullJobGate=true", "--nodeimage-creation-delay=0s"}})
	if err != nil {
		b.Fatal(err)
	}
	node := f.Cluster("member").Nodes()[0].Name
	w := &nodedBench{B: b, audit: audit, fleet: f, client: connect(b, f.Cluster("member")), node: node, process: "flotilla/noded-member-" + node}
	w.fill()
	b.ResetTimer()
	for range b.N {
		w.watch("idle", func() { w.rest(time.Minute) })
		w.watch(fmt.Sprintf("%d images pulled", newImages), w.pull)
		w.watch(fmt.Sprintf("%d probes a second", fullNode), w.probe)
	}
}

func (w *nodedBench) make(o client.Object) {
	w.Helper()
	if err := w.client.Create(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

func (w *nodedBench) rest(d time.Duration) {
	w.Helper()
	if err := pause(w.Context(), d); err != nil {
		w.Fatal(err)
	}
}

// until waits for as long as it takes to fill a node on a slow machine.
func (w *nodedBench) until(what string, done func() (bool, error)) {
	w.Helper()
	for deadline := time.Now().Add(15 * time.Minute); ; w.rest(200 * time.Millisecond) {
		yes, err := done()
		if err != nil {
			w.Fatal(err)
		}
		if yes {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("waited in vain: %s", what)
		}
	}
}

// fill runs as many pods as the node takes.
func (w *nodedBench) fill() {
	w.Helper()
	began, set := time.Now(), cloneSet(fullNode)
	w.make(set)
	w.until("all pods are ready", func() (bool, error) {
		err := w.client.Get(w.Context(), client.ObjectKeyFromObject(set), set)
		return set.Status.ReadyReplicas == fullNode, err
	})
	fmt.Printf("%d real pods on one node: ready after %.1f s\n", fullNode, time.Since(began).Seconds())
	w.rest(10 * time.Second)
}

// watch looks at the daemon while something happens.
func (w *nodedBench) watch(what string, do func()) {
	w.Helper()
	w.audit.since(w)
	pid, began := pidOf(w, w.fleet, w.process), time.Now()
	cpu := cpuOf(w, pid)
	do()
	took, spent, writes := time.Since(began), cpuOf(w, pid)-cpu, w.audit.since(w)
	fmt.Printf("node daemon, %s: %.1f s, %.0f thousandths of a core, %d MiB held, %d MiB at most so far; writes of the daemon %d, of the agent %d, events aside\n",
		what, took.Seconds(), 1000*spent.Seconds()/took.Seconds(), memoryOf(w, pid, held)>>20, memoryOf(w, pid, peak)>>20, sum(writes[noded]), sum(writes[agent]))
	for _, of := range []string{noded, agent} {
		for write, n := range writes[of] {
			fmt.Printf("    %6d  %s by %s\n", n, write, of[len("system:serviceaccount:open-cluster-management-agent:"):])
		}
	}
}

// pull asks for many images at once, each by a job of its own.
func (w *nodedBench) pull() {
	w.Helper()
	for i := range newImages {
		w.make(&kruisev1alpha1.ImagePullJob{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("pull-%d", i)},
			Spec: kruisev1alpha1.ImagePullJobSpec{Image: fmt.Sprintf("registry.local/new-%d:v1", i), ImagePullJobTemplate: kruisev1alpha1.ImagePullJobTemplate{
				CompletionPolicy: kruisev1alpha1.CompletionPolicy{Type: kruisev1alpha1.Always},
			}},
		})
	}
	w.until("all images are there", func() (bool, error) {
		var jobs kruisev1alpha1.ImagePullJobList
		err := w.client.List(w.Context(), &jobs)
		done := 0
		for i := range jobs.Items {
			done += int(jobs.Items[i].Status.Succeeded)
		}
		return done >= newImages, err
	})
}

// probe has every pod probed each second, for a minute after all have an answer. The probe is a connection: a command each
// second in each of them is more than two cores have for the runtime, the kubelet and the API server together.
func (w *nodedBench) probe() {
	w.Helper()
	w.make(&kruisev1alpha1.PodProbeMarker{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "probe"},
		Spec: kruisev1alpha1.PodProbeMarkerSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Probes: []kruisev1alpha1.PodContainerProbe{{
				Name: "port", ContainerName: "web", PodConditionType: "bench.flotilla.dev/port",
				Probe: kruisev1alpha1.ContainerProbeSpec{Probe: corev1.Probe{
					ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}}, PeriodSeconds: 1,
				}},
			}},
		},
	})
	w.until("all pods have an answer", func() (bool, error) {
		var pods corev1.PodList
		err := w.client.List(w.Context(), &pods, client.MatchingLabels{"app": "web"})
		known := 0
		for i := range pods.Items {
			for _, c := range pods.Items[i].Status.Conditions {
				if c.Type == "bench.flotilla.dev/port" && c.Status == corev1.ConditionTrue {
					known++
				}
			}
		}
		return known >= fullNode, err
	})
	w.rest(time.Minute)
}
