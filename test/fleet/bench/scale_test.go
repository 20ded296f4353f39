package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link"
	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/memory"
	"github.com/flotilla-project/flotilla/test/fleet/system"
	"github.com/flotilla-project/flotilla/test/fleet/testlevel"
)

// idleWindow is how long an idle fleet is looked at.
const idleWindow = time.Minute

// BenchmarkFleet runs one hub, its API server real, with members whose agents' hub side is the real code and whose
// clusters are in memory. FLOTILLA_BENCH_MEMBERS sets how many, such as "100,1000".
func BenchmarkFleet(b *testing.B) {
	testlevel.Need(b, testlevel.Bench)
	sizes := os.Getenv("FLOTILLA_BENCH_MEMBERS")
	if sizes == "" {
		sizes = "100,1000"
	}
	for size := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 {
			b.Fatalf("FLOTILLA_BENCH_MEMBERS=%q: want numbers like 100,1000", sizes)
		}
		b.Run(size, func(b *testing.B) {
			for range b.N {
				measureFleet(b, n)
			}
		})
	}
}

func measureFleet(b *testing.B, n int) {
	logf.SetLogger(logr.Discard())
	f, err := fleet.Start(b.Context(), fleet.Config{Name: "scale", Log: os.Stderr, Clusters: []fleet.Cluster{{Name: system.HubCluster}}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := f.Stop(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	}()
	_, file, _, _ := runtime.Caller(0)
	s, err := system.Install(b.Context(), f, system.Options{
		Source: filepath.Join(filepath.Dir(file), "..", "..", ".."), Log: os.Stderr,
		HubArgs: []string{"--feature-gates=ManagedClusterAutoApproval=true",
			"--auto-approved-csr-users=system:serviceaccount:open-cluster-management:agent-registration-bootstrap"},
	})
	if err != nil {
		b.Fatal(err)
	}
	if out, err := s.Kubectl(b.Context(), system.HubCluster, "create", "clusterrolebinding", "flotilla:hub:auto-accept",
		"--clusterrole=flotilla:hub:auto-accept", "--serviceaccount=flotilla-system:hub"); err != nil {
		b.Fatal(out, err)
	}
	w := &fleetBench{B: b, n: n, system: s, fleet: f, hub: connectHub(b, f)}
	w.seen = w.watch()
	defer w.end()
	fmt.Printf("\n%d members, each an agent's hub side on a cluster in memory, in one process beside the hub's API server, etcd and hub, on %d cores\n",
		n, runtime.NumCPU())

	w.phase("join", "until all are accepted and available", w.join)
	w.phase("idle", fmt.Sprintf("for %s", idleWindow), func() { w.pass(idleWindow) })
	w.phase("place", "a FederatedDeployment over all, until 99 % have applied it", w.place)
	w.phase("settle", "until its status says that all are ready", w.ready)
	w.phase("change", "its template, until 99 % have applied it", w.change)
	w.phase("settle", "until its status says that all are updated", w.ready)
	w.phase("idle", fmt.Sprintf("for %s, with a work on each", idleWindow), func() { w.pass(idleWindow) })
	w.phase("restart", "of the hub, until it has been quiet for 3 s", w.restart)
	stop := w.flap(max(n/20, 1))
	w.phase("change", fmt.Sprintf("its template while %d agents stop and start every few seconds, until 99 %% have applied it", max(n/20, 1)), w.change)
	stop()
	w.phase("settle", "until its status says that all are updated", w.ready)
}

// fleetBench is the fleet that is measured.
type fleetBench struct {
	*testing.B
	n       int
	system  *system.System
	fleet   *fleet.Fleet
	hub     client.Client
	seen    client.Reader // what a watch tells: lists of a thousand objects would be most of the work that is measured
	members []*member
	version int
	began   time.Time // of the change that is measured
}

// member is one agent's hub side and its cluster.
type member struct {
	name    string
	cluster *memory.Cluster
	options link.Options
	stop    func()
}

func connectHub(b *testing.B, f *fleet.Fleet) client.Client {
	b.Helper()
	scheme := k8sruntime.NewScheme()
	for _, add := range []func(*k8sruntime.Scheme) error{clientgoscheme.AddToScheme, clusterv1.Install, clusterv1beta1.Install,
		clusterv1beta2.Install, workv1.Install, appsv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			b.Fatal(err)
		}
	}
	c, err := client.New(f.Cluster(system.HubCluster).RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// watch follows clusters and works of the hub.
func (w *fleetBench) watch() client.Reader {
	c, err := cache.New(w.fleet.Cluster(system.HubCluster).RESTConfig(), cache.Options{Scheme: w.hub.Scheme(), ReaderFailOnMissingInformer: true})
	if err != nil {
		w.Fatal(err)
	}
	for _, kind := range []client.Object{&clusterv1.ManagedCluster{}, &workv1.ManifestWork{}} {
		if _, err := c.GetInformer(w.Context(), kind, cache.BlockUntilSynced(false)); err != nil {
			w.Fatal(err)
		}
	}
	go func() {
		if err := c.Start(w.Context()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	if !c.WaitForCacheSync(w.Context()) {
		w.Fatal("clusters and works are not seen")
	}
	return c
}

func (w *fleetBench) start(m *member) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	l, err := link.New(m.cluster.Config(), m.options)
	if err != nil {
		w.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Start(ctx); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, m.name, err)
		}
	})
	m.stop = func() { cancel(); running.Wait() }
}

func (w *fleetBench) end() {
	var all sync.WaitGroup
	for _, m := range w.members {
		all.Go(m.stop)
	}
	all.Wait()
}

func (w *fleetBench) join() {
	bootstrap, err := w.system.CLI(w.Context(), "bootstrap")
	if err != nil {
		w.Fatal(err)
	}
	dir := w.TempDir()
	file := filepath.Join(dir, "bootstrap")
	if err := os.WriteFile(file, []byte(bootstrap), 0o600); err != nil {
		w.Fatal(err)
	}
	for i := range w.n {
		o := link.Defaults()
		o.ClusterName = fmt.Sprintf("member-%04d", i)
		o.BootstrapKubeconfig, o.HubKubeconfigDir = file, filepath.Join(dir, o.ClusterName)
		m := &member{name: o.ClusterName, cluster: memory.New("a"), options: o}
		w.start(m)
		w.members = append(w.members, m)
	}
	w.until("all members are available", func() (int, error) {
		var list clusterv1.ManagedClusterList
		err := w.seen.List(w.Context(), &list, client.UnsafeDisableDeepCopy)
		up := 0
		for _, c := range list.Items {
			if apimeta.IsStatusConditionTrue(c.Status.Conditions, clusterv1.ManagedClusterConditionAvailable) {
				up++
			}
		}
		return w.n - up, err
	})
}

func (w *fleetBench) create(objects ...client.Object) {
	w.Helper()
	for _, o := range objects {
		if err := w.hub.Create(w.Context(), o); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *fleetBench) place() {
	labels := map[string]string{"app": "web"}
	w.version = 1
	w.began = time.Now()
	w.create(
		&clusterv1beta2.ManagedClusterSetBinding{ObjectMeta: at("global"), Spec: clusterv1beta2.ManagedClusterSetBindingSpec{ClusterSet: "global"}},
		&clusterv1beta1.Placement{ObjectMeta: at("all")},
		&appsv1alpha1.FederatedDeployment{ObjectMeta: at("web"), Spec: appsv1alpha1.FederatedDeploymentSpec{
			Replicas: new(int32(2 * w.n)), Selector: metav1.LabelSelector{MatchLabels: labels},
			Topology: appsv1alpha1.Topology{PlacementRef: &appsv1alpha1.PlacementRef{Name: "all"}},
			Template: appsv1alpha1.SubsetTemplate{CloneSetTemplate: &kruisev1alpha1.CloneSetTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: kruisev1alpha1.CloneSetSpec{Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "registry.local/web:v1"}}},
				}},
			}},
		}},
	)
	w.applied()
}

func at(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "default", Name: name} }

func (w *fleetBench) change() {
	w.version++
	d := &appsv1alpha1.FederatedDeployment{}
	if err := w.hub.Get(w.Context(), client.ObjectKey{Namespace: "default", Name: "web"}, d); err != nil {
		w.Fatal(err)
	}
	before := d.DeepCopy()
	d.Spec.Template.CloneSetTemplate.Spec.Template.Spec.Containers[0].Image = w.image()
	w.began = time.Now()
	if err := w.hub.Patch(w.Context(), d, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
	w.applied()
}

func (w *fleetBench) image() string { return fmt.Sprintf("registry.local/web:v%d", w.version) }

// applied waits until 99 % of the works hold the present image and are applied as they are.
func (w *fleetBench) applied() {
	w.until("99 % have applied it", func() (int, error) {
		var list workv1.ManifestWorkList
		err := w.seen.List(w.Context(), &list, client.UnsafeDisableDeepCopy)
		done := 0
		for _, work := range list.Items {
			c := apimeta.FindStatusCondition(work.Status.Conditions, workv1.WorkApplied)
			if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != work.Generation {
				continue
			}
			if manifests := work.Spec.Workload.Manifests; strings.Contains(string(manifests[len(manifests)-1].Raw), `"`+w.image()+`"`) {
				done++
			}
		}
		return (w.n*99+99)/100 - done, err
	})
}

func (w *fleetBench) ready() {
	w.until("the status says so", func() (int, error) {
		d := &appsv1alpha1.FederatedDeployment{}
		err := w.hub.Get(w.Context(), client.ObjectKey{Namespace: "default", Name: "web"}, d)
		return 2*w.n - int(d.Status.UpdatedReadyReplicas), err
	})
}

// restart ends the hub as a crash would and waits until the new one has nothing left to write.
func (w *fleetBench) restart() {
	if err := w.fleet.Kill(w.Context(), "flotilla/hub"); err != nil {
		w.Fatal(err)
	}
	if err := w.fleet.Again(w.Context(), "flotilla/hub", nil); err != nil {
		w.Fatal(err)
	}
	last, since := w.requests(), time.Now()
	for time.Since(since) < 3*time.Second {
		w.pass(250 * time.Millisecond)
		now := w.requests()
		if hubWrites(last, now) > 0 {
			since = time.Now()
		}
		last = now
	}
}

// hubWrites is how often something was written that no agent writes.
func hubWrites(before, after map[string]int) (n int) {
	for what, count := range after {
		verb, resource, _ := strings.Cut(what, " ")
		if verb != "GET" && verb != "LIST" && verb != "WATCH" && !slices.Contains([]string{
			"leases", "managedclusters/status", "manifestworks/status", "events", "tokenreviews", "subjectaccessreviews"}, resource) {
			n += count - before[what]
		}
	}
	return n
}

// flap stops and starts agents until the returned function is called, and all run again.
func (w *fleetBench) flap(n int) (stop func()) {
	end := make(chan struct{})
	var running sync.WaitGroup
	for i, m := range w.members[:n] {
		running.Go(func() {
			for {
				select {
				case <-end:
					return
				case <-time.After(2*time.Second + time.Duration(i%7)*300*time.Millisecond):
					m.stop()
					w.start(m)
				}
			}
		})
	}
	return func() { close(end); running.Wait() }
}

func (w *fleetBench) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.Context().Done():
	}
}

// until waits until nothing is missing.
func (w *fleetBench) until(what string, missing func() (int, error)) {
	w.Helper()
	deadline := time.Now().Add(15 * time.Minute)
	for {
		n, err := missing()
		if err == nil && n <= 0 {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("waited for: %s; %d are missing, %v", what, n, err)
		}
		w.pass(200 * time.Millisecond)
	}
}

// phase does something and prints what it cost.
func (w *fleetBench) phase(name, what string, do func()) {
	w.Helper()
	before, cpu, pid, own, servers, began := w.requests(), w.hubCPU(), w.hubPID(), w.ownCPU(), w.serverCPU(), time.Now()
	do()
	took, own, servers, after := time.Since(began), w.ownCPU()-own, w.serverCPU()-servers, w.requests()
	reads, writes := 0, 0
	var lines []string
	for _, what := range slices.Sorted(maps.Keys(after)) {
		n := after[what] - before[what]
		if n == 0 {
			continue
		}
		if verb, _, _ := strings.Cut(what, " "); verb == "GET" || verb == "LIST" || verb == "WATCH" {
			reads += n
		} else {
			writes += n
		}
		if n*20 >= w.n {
			lines = append(lines, fmt.Sprintf("    %7d  %6.2f per member  %s", n, float64(n)/float64(w.n), what))
		}
	}
	hub := w.hubCPU()
	if w.hubPID() == pid {
		hub -= cpu
	}
	fmt.Printf("%s: %s: %.1f s; %.2f writes and %.2f reads per member, %.1f requests a second; hub %.2f CPU s, %d MiB now; its API server and etcd %.2f CPU s; members and this bench %.2f CPU s\n",
		name, what, took.Seconds(), float64(writes)/float64(w.n), float64(reads)/float64(w.n), float64(reads+writes)/took.Seconds(),
		hub.Seconds(), w.hubMemory()>>20, servers.Seconds(), own.Seconds())
	fmt.Println(strings.Join(lines, "\n"))
	w.ReportMetric(took.Seconds(), name+"-s")
	w.ReportMetric(float64(writes)/float64(w.n), name+"-writes/member")
}

var requestLine = regexp.MustCompile(`^apiserver_request_total\{.*resource="([a-z]*)".*subresource="([a-z/]*)".*verb="([A-Z]+)".*\} (\S+)`)

// requests counts what the hub's API server was asked, by verb and resource, by whomever.
func (w *fleetBench) requests() map[string]int {
	w.Helper()
	out, err := w.system.Kubectl(w.Context(), system.HubCluster, "get", "--raw", "/metrics")
	if err != nil {
		w.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(out) {
		if m := requestLine.FindStringSubmatch(line); m != nil && m[1] != "" {
			n, err := strconv.ParseFloat(m[4], 64)
			if err != nil {
				w.Fatal(err)
			}
			counts[m[3]+" "+strings.TrimSuffix(m[1]+"/"+m[2], "/")] += int(n)
		}
	}
	return counts
}

func (w *fleetBench) hubPID() int {
	w.Helper()
	return w.pid("flotilla/hub")
}

func (w *fleetBench) pid(process string) int {
	w.Helper()
	return pidOf(w, w.fleet, process)
}

// hubCPU is the processor time that the hub has used since it was started.
func (w *fleetBench) hubCPU() time.Duration {
	w.Helper()
	return cpuOf(w, w.hubPID())
}

// serverCPU is the processor time of what the hub runs on.
func (w *fleetBench) serverCPU() time.Duration {
	w.Helper()
	return cpuOf(w, w.pid(system.HubCluster+"/kube-apiserver")) + cpuOf(w, w.pid("etcd"))
}

// ownCPU is the processor time of this process, which holds the members.
func (w *fleetBench) ownCPU() time.Duration {
	w.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		w.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// hubMemory is the memory that the hub holds.
func (w *fleetBench) hubMemory() int {
	w.Helper()
	return memoryOf(w, w.hubPID(), held)
}
