// Package bench measures Flotilla on fleets of fake nodes. It asserts nothing about time; it prints figures with their set-up.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/system"
	"github.com/flotilla-project/flotilla/test/fleet/testlevel"
)

// BenchmarkPods measures the agent with one CloneSet of FLOTILLA_BENCH_PODS pods, once for each number of the list: how
// long scale-out, update in place, recreation and scale-in take, what the agent writes for it, and what it needs. At the end
// of the scale-out it looks at the agent while nothing happens.
func BenchmarkPods(b *testing.B) {
	testlevel.Need(b, testlevel.Bench)
	for _, size := range strings.Split(cmp.Or(os.Getenv("FLOTILLA_BENCH_PODS"), "1000,5000"), ",") {
		n, err := strconv.ParseInt(size, 10, 32)
		if err != nil {
			b.Fatalf("FLOTILLA_BENCH_PODS is a list of numbers, such as 1000,5000: %v", err)
		}
		b.Run(size, func(b *testing.B) { measurePods(b, int32(n)) })
	}
}

func measurePods(b *testing.B, n int32) {
	audit := newAudit(b)
	var nodes []fleet.Node
	for range max(10, n/podsPerNode) {
		nodes = append(nodes, fleet.Node{Zone: "a", Region: "r"})
	}
	ctx := b.Context()
	f, err := fleet.Start(ctx, fleet.Config{Name: "bench", Log: os.Stderr, Clusters: []fleet.Cluster{{
		Name: "member", Kind: fleet.Fake, Nodes: nodes, APIServerArgs: audit.args(),
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
	s, err := system.InstallAlone(ctx, f, "member", system.Options{Source: filepath.Join(filepath.Dir(file), "..", "..", ".."), Log: os.Stderr,
		AgentArgs: []string{"--rest-config-qps=500", "--rest-config-burst=1000"}})
	if err != nil {
		b.Fatal(err)
	}
	w := &bench{B: b, audit: audit, system: s, fleet: f, pods: n, nodes: len(nodes), client: connect(b, f.Cluster("member"))}
	w.served = w.metrics()
	b.ResetTimer()
	for range b.N {
		w.measure()
	}
}

func (w *bench) measure() {
	set := cloneSet(w.pods)
	change := func(to func()) func() error {
		return func() error {
			before := set.DeepCopy()
			to()
			return w.client.Patch(w.Context(), set, client.MergeFrom(before))
		}
	}
	web := func() *corev1.Container { return &set.Spec.Template.Spec.Containers[0] } // each phase reads the set anew
	w.phase("scale-out", set, func() error { return w.client.Create(w.Context(), set) })
	w.idle()
	if w.pods > wanted {
		return
	}
	w.phase("update-in-place", set, change(func() { web().Image = "registry.local/web:v2" }))
	w.phase("recreate", set, change(func() { web().Env = []corev1.EnvVar{{Name: "VERSION", Value: "3"}} }))
	w.phase("scale-in", set, change(func() { set.Spec.Replicas = new(int32(0)) }))
}

// Of a set with more pods than wanted only the scale-out and the idle agent are looked at: the fake kubelet takes an hour
// for the rest.
const (
	wanted      = 5000
	podsPerNode = 100
)

// idle looks at the agent for a minute in which nothing happens.
func (w *bench) idle() {
	w.Helper()
	settle, window := 10*time.Second, time.Minute
	if err := pause(w.Context(), settle); err != nil {
		w.Fatal(err)
	}
	pid := w.agent()
	w.audit.since(w) // what came late belongs to the phase before
	cpu := cpuOf(w, pid)
	if err := pause(w.Context(), window); err != nil {
		w.Fatal(err)
	}
	spent := (cpuOf(w, pid) - cpu).Seconds()
	fmt.Printf("idle with %d pods: %.1f thousandths of a core, %d writes in a minute, %d MiB held\n", w.pods, 1000*spent/window.Seconds(), sum(w.audit.since(w)[agent]), memoryOf(w, pid, held)>>20)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (w *bench) agent() int { return pidOf(w, w.fleet, "flotilla/agent-member") }

type bench struct {
	*testing.B
	audit  *audit
	system *system.System
	fleet  *fleet.Fleet
	pods   int32
	nodes  int
	client client.Client
	served map[string]int
}

func connect(b *testing.B, c *fleet.Running) client.Client {
	scheme := k8sruntime.NewScheme()
	for _, add := range []func(*k8sruntime.Scheme) error{clientgoscheme.AddToScheme, kruisev1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			b.Fatal(err)
		}
	}
	cl, err := client.New(c.RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		b.Fatal(err)
	}
	return cl
}

func cloneSet(replicas int32) *kruisev1alpha1.CloneSet {
	labels := map[string]string{"app": "web"}
	return &kruisev1alpha1.CloneSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: kruisev1alpha1.CloneSetSpec{
			Replicas: new(replicas),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			UpdateStrategy: kruisev1alpha1.CloneSetUpdateStrategy{
				Type: kruisev1alpha1.InPlaceIfPossibleCloneSetUpdateStrategyType, MaxUnavailable: new(intstr.FromString("100%")),
			},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "registry.local/web:v1"}}},
			},
		},
	}
}

// phase makes a change, waits until it is carried out, and prints what it cost.
func (w *bench) phase(name string, set *kruisev1alpha1.CloneSet, change func() error) {
	w.Helper()
	began, cpu := time.Now(), cpuOf(w, w.agent())
	if err := change(); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Minute)
	defer cancel()
	for {
		if err := w.client.Get(ctx, client.ObjectKeyFromObject(set), set); err != nil {
			w.Fatal(err)
		}
		want, s := *set.Spec.Replicas, set.Status
		if s.ObservedGeneration == set.Generation && s.Replicas == want && s.UpdatedReplicas == want && s.UpdatedAvailableReplicas == want {
			break
		}
		select {
		case <-ctx.Done():
			w.Fatalf("%s is not done: %+v", name, s)
		case <-time.After(200 * time.Millisecond):
		}
	}
	took, spent := time.Since(began), cpuOf(w, w.agent())-cpu
	writes := w.audit.since(w)[agent]
	total := sum(writes)
	perPod := float64(total) / float64(w.pods)
	w.ReportMetric(perPod, name+"-writes/pod")
	w.ReportMetric(took.Seconds(), name+"-s")
	w.ReportMetric(spent.Seconds(), name+"-cpu-s")
	fmt.Printf("%s of %d pods, %d fake nodes: %.1f s, %.2f CPU s of the agent, its peak so far %d MiB, %.2f writes of ours per pod, events aside\n",
		name, w.pods, w.nodes, took.Seconds(), spent.Seconds(), memoryOf(w, w.agent(), peak)>>20, perPod)
	for _, what := range slices.Sorted(maps.Keys(writes)) {
		fmt.Printf("    %6d  %s\n", writes[what], what)
	}
	before := w.served
	if w.served = w.metrics(); len(w.served) == 0 {
		w.Fatal("the API server's metrics hold no writes")
	}
	fmt.Println("  as the API server's metrics have it, all clients together:")
	for _, what := range slices.Sorted(maps.Keys(w.served)) {
		if n := w.served[what] - before[what]; n > 0 {
			fmt.Printf("    %6d  %s\n", n, what)
		}
	}
}

var served = regexp.MustCompile(`^apiserver_request_total\{.*code="(2\d\d)".*resource="(pods|clonesets|controllerrevisions)".*subresource="([a-z]*)".*verb="(POST|PUT|PATCH|DELETE)".*\} (\S+)`)

// metrics reads the API server's count of writes to the kinds that the agent writes.
func (w *bench) metrics() map[string]int {
	w.Helper()
	out, err := w.system.Kubectl(w.Context(), "member", "get", "--raw", "/metrics")
	if err != nil {
		w.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(out) {
		if m := served.FindStringSubmatch(line); m != nil {
			n, err := strconv.ParseFloat(m[5], 64)
			if err != nil {
				w.Fatal(err)
			}
			counts[m[4]+" "+strings.TrimSuffix(m[2]+"/"+m[3], "/")+" "+m[1]] += int(n)
		}
	}
	return counts
}
