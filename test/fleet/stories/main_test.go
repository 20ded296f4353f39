// Package stories tells on real kubelets and containerd what users are promised. Each story is one test; they share a
// fleet of a hub and two members, and each has namespaces and FederatedDeployments of its own. Some are told side by side,
// and beside the shared fleet there are two others, one after the other: most of its time a story waits.
package stories

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisev1beta1 "github.com/openkruise/kruise-api/apps/v1beta1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/link"
	"github.com/flotilla-project/flotilla/test/fleet/system"
	"github.com/flotilla-project/flotilla/test/fleet/testlevel"
)

const (
	east = "east" // zones a and b
	west = "west" // zone c
	// self is hub and member in one, installed by the commands of the README, as pods.
	self = "self"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(klog.Background())
	flag.Parse()
	if err := flag.Set("test.parallel", "100"); err != nil { // peace and room say how many
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fleet.Main(m, fleet.Config{Name: "stories", Clusters: []fleet.Cluster{
		{Name: system.HubCluster},
		{Name: east, Kind: fleet.Real, Nodes: []fleet.Node{{Zone: "a", Region: "e"}, {Zone: "b", Region: "e"}}},
		{Name: west, Kind: fleet.Real, Nodes: []fleet.Node{{Zone: "c", Region: "w"}}},
		{Name: self, Kind: fleet.Real, Nodes: []fleet.Node{{Zone: "s", Region: "s"}}},
	}})
}

// installed is Flotilla on the shared fleet: the stories have it in common, like users of one company.
var installed struct {
	sync.Once
	system *system.System
	// wire is between west and the hub.
	wire *link.Link
	err  error
}

var (
	peace = newTurns()
	// room is for so many of them at a time, two cores being what they are.
	room = make(chan struct{}, 4)
	// aside is for one fleet beside the shared one.
	aside sync.Mutex
)

// world is what a story plays in.
type world struct {
	*testing.T
	*system.System
	wire *link.Link
	// wires lead from each member to the hub, on the light fleet.
	wires map[string]*link.Link
	hub   client.WithWatch
	east  client.WithWatch
	west  client.WithWatch
	ns    string
}

// begin gives a story its namespace and the shared fleet to itself, and skips it where real nodes cannot run.
func begin(t *testing.T) *world {
	t.Helper()
	testlevel.Need(t, testlevel.E2E)
	t.Parallel()
	peace.take()
	t.Cleanup(peace.give)
	return enter(t)
}

// beside is begin for a story that disturbs nobody.
func beside(t *testing.T) *world {
	t.Helper()
	testlevel.Need(t, testlevel.E2E)
	peace.announce() // before any story is told, so that the others know
	t.Cleanup(peace.leave)
	t.Parallel()
	peace.join()
	room <- struct{}{}
	t.Cleanup(func() { <-room })
	return enter(t)
}

func enter(t *testing.T) *world {
	t.Helper()
	f := fleet.Shared(t)
	installed.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		_, file, _, _ := runtime.Caller(0)
		hub := strings.TrimPrefix(f.Cluster(system.HubCluster).RESTConfig().Host, "https://")
		if installed.wire, installed.err = link.New(hub); installed.err != nil {
			return
		}
		installed.system, installed.err = system.Install(ctx, f, system.Options{
			Source: filepath.Join(filepath.Dir(file), "..", "..", ".."), Log: t.Output(), Leave: []string{self},
			HubVia: map[string]string{west: installed.wire.Address()},
		})
	})
	if installed.err != nil {
		t.Fatal(installed.err)
	}
	return &world{
		T: t, System: installed.system, wire: installed.wire, ns: f.Namespace(t, system.HubCluster),
		hub: connect(t, f, system.HubCluster), east: connect(t, f, east), west: connect(t, f, west),
	}
}

func connect(t *testing.T, f *fleet.Fleet, cluster string) client.WithWatch {
	t.Helper()
	scheme := k8sruntime.NewScheme()
	for _, add := range []func(*k8sruntime.Scheme) error{
		clientgoscheme.AddToScheme, kruisev1alpha1.AddToScheme, kruisev1beta1.AddToScheme, clusterv1.Install, workv1.Install, appsv1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.NewWithWatch(f.Cluster(cluster).RESTConfig(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// member is the client of a member.
func (w *world) member(name string) client.WithWatch {
	if name == east {
		return w.east
	}
	return w.west
}
