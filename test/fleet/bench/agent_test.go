package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/system"
	"github.com/flotilla-project/flotilla/test/fleet/testlevel"
)

const (
	busyMember  = "east"
	manyObjects = 200
	manyWorks   = 2000
)

// BenchmarkAgent measures one agent, a process of its own with everything that it runs by default, between two real API
// servers: with nothing to do, with a work of 200 objects, and with 2,000 works beside it.
func BenchmarkAgent(b *testing.B) {
	testlevel.Need(b, testlevel.Bench)
	logf.SetLogger(logr.Discard())
	ctx := b.Context()
	f, err := fleet.Start(ctx, fleet.Config{Name: "agent", Log: os.Stderr, Clusters: []fleet.Cluster{{Name: system.HubCluster}, {Name: busyMember}}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := f.Stop(context.WithoutCancel(ctx)); err != nil {
			b.Error(err)
		}
	}()
	_, file, _, _ := runtime.Caller(0)
	s, err := system.Install(ctx, f, system.Options{Source: filepath.Join(filepath.Dir(file), "..", "..", ".."), Log: os.Stderr})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Accept(ctx, busyMember); err != nil {
		b.Fatal(err)
	}
	w := &fleetBench{B: b, n: 1, system: s, fleet: f, hub: connectHub(b, f)}
	w.seen = w.watch()
	for range b.N {
		w.holds("nothing", nil)
		w.holds(fmt.Sprintf("a work of %d objects", manyObjects), []*workv1.ManifestWork{workOf("wide", manyObjects)})
		var narrow []*workv1.ManifestWork
		for i := range manyWorks {
			narrow = append(narrow, workOf(fmt.Sprintf("narrow-%04d", i), 1))
		}
		w.holds(fmt.Sprintf("%d works beside it", manyWorks), narrow)
	}
}

// workOf is a work of that many ConfigMaps.
func workOf(name string, objects int) *workv1.ManifestWork {
	w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: busyMember, Name: name}}
	for i := range objects {
		raw := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"default","name":"%s-%d"},"data":{"key":"%0100d"}}`, name, i, i)
		w.Spec.Workload.Manifests = append(w.Spec.Workload.Manifests, workv1.Manifest{RawExtension: k8sruntime.RawExtension{Raw: []byte(raw)}})
	}
	return w
}

// holds gives works to the agent, waits until they are applied, and looks at the agent while nothing happens.
func (w *fleetBench) holds(what string, works []*workv1.ManifestWork) {
	w.Helper()
	pid, began := w.pid("flotilla/agent-"+busyMember), time.Now()
	cpu := cpuOf(w, pid)
	for _, work := range works {
		w.create(work)
	}
	w.until("all works are applied", func() (int, error) {
		var list workv1.ManifestWorkList
		err := w.seen.List(w.Context(), &list, client.InNamespace(busyMember), client.UnsafeDisableDeepCopy)
		missing := len(works)
		for i := range list.Items {
			if apimeta.IsStatusConditionTrue(list.Items[i].Status.Conditions, workv1.WorkAvailable) {
				missing--
			}
		}
		return missing, err
	})
	applied, spent := time.Since(began), cpuOf(w, pid)-cpu
	w.pass(5 * time.Second)
	cpu, requests := cpuOf(w, pid), w.requests()
	w.pass(idleWindow)
	idle := cpuOf(w, pid) - cpu
	fmt.Printf("agent with %s: applied in %.1f s with %.2f CPU s; then, in %s, %.0f thousandths of a core, %d requests to the hub by anybody, and %d MiB\n",
		what, applied.Seconds(), spent.Seconds(), idleWindow, 1000*idle.Seconds()/idleWindow.Seconds(), total(w.requests())-total(requests), memoryOf(w, pid, held)>>20)
}

func total(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}
