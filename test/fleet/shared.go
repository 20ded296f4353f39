package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/test/fleet/binaries"
	"github.com/flotilla-project/flotilla/test/fleet/testlevel"
)

// shared is the one fleet of a test binary. It is a variable because TestMain and
// the tests have nothing else in common.
var shared struct {
	sync.Mutex
	cfg    *Config
	fleet  *Fleet
	err    error
	failed bool
}

// Main runs a package's tests around one shared fleet: call it from TestMain, it
// does not return. The fleet starts when the first test asks for it with Shared and
// is gone after the last. Logs stay when a test failed.
func Main(m *testing.M, cfg Config) {
	if cfg.Log == nil {
		cfg.Log = os.Stderr
	}
	shared.cfg = &cfg
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.fleet == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if shared.failed {
		fmt.Fprintf(os.Stderr, "fleet logs: %s\n", filepath.Join(shared.fleet.dir, "log"))
	}
	return shared.fleet.halt(ctx, shared.failed)
}

// Shared returns the fleet of this test binary, starting it first if need be. It
// skips the test when its level is not on or the machine cannot run such a fleet.
func Shared(t testing.TB) *Fleet {
	t.Helper()
	if shared.cfg == nil {
		t.Fatal("fleet.Shared needs fleet.Main in this package's TestMain")
	}
	need(t, *shared.cfg)
	shared.Lock()
	defer shared.Unlock()
	if shared.fleet == nil && shared.err == nil {
		shared.fleet, shared.err = Start(context.WithoutCancel(t.Context()), *shared.cfg)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	f := shared.fleet
	t.Cleanup(func() {
		if t.Failed() {
			shared.Lock()
			shared.failed = true
			shared.Unlock()
			t.Log(f.tails(8))
		}
	})
	return f
}

// New starts a fleet for one test, skipping it as Shared does. The fleet is gone when
// the test ends; the end of each log is shown when it failed.
func New(t testing.TB, cfg Config) *Fleet {
	t.Helper()
	need(t, cfg)
	if cfg.Log == nil {
		cfg.Log = t.Output()
	}
	f, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.tails(8))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := f.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// need skips the test where cfg cannot or may not run. Real nodes are the e2e level.
func need(t testing.TB, cfg Config) {
	t.Helper()
	if cfg.hasReal() {
		testlevel.Need(t, testlevel.E2E)
		if why := RealNodesUnavailable(); why != "" {
			t.Skip(why)
		}
	} else {
		testlevel.Need(t, testlevel.Integration)
	}
	if why := binaries.Unavailable(cfg.programs()...); why != "" {
		t.Skipf("SKIP fleet: %s", why)
	}
}

// Namespace makes a namespace for one test and asks for its removal afterwards. A
// cluster of a control plane alone never finishes that; names do not repeat anyway.
func (f *Fleet) Namespace(t testing.TB, cluster string) string {
	t.Helper()
	r := f.Cluster(cluster)
	if r == nil {
		t.Fatalf("the fleet has no cluster %q", cluster)
	}
	client, err := r.Client()
	if err != nil {
		t.Fatal(err)
	}
	wanted := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), wanted, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create a namespace in %s: %v", cluster, err)
	}
	if err := r.namespaceReady(t.Context(), ns.Name); err != nil {
		t.Fatalf("wait for namespace %s in %s: %v", ns.Name, cluster, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		// A test may have stopped the API server for good.
		_ = client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{})
	})
	return ns.Name
}

// tails shows the end of every log of the fleet.
func (f *Fleet) tails(lines int) string {
	var out strings.Builder
	for _, path := range f.Logs() {
		fmt.Fprintf(&out, "%s ends with\n%s\n", path, LogTail(path, lines))
	}
	return out.String()
}
