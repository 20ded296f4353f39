package stories

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/system"
)

// home is one cluster of three real nodes whose agent has no hub: what the Set family does alone.
type home struct {
	fleet  *fleet.Fleet
	system *system.System
	// left is what OpenKruise left behind, made before there was an agent.
	left *leftovers
}

// slowToMiss is how long a node may be silent before its pods count as not ready.
const slowToMiss = "20s"

// Stories of CloneSets, StatefulSets and DaemonSets on real nodes. Those that disturb nobody are told side by side; those that
// take nodes, agent or API server away come afterwards, one by one.
func TestSetsKeepTheirWord(t *testing.T) {
	t.Parallel()
	aside.Lock()
	t.Cleanup(aside.Unlock)
	h := settleDown(t)
	t.Run("side by side", func(t *testing.T) {
		for name, tell := range map[string]func(*world){
			"an ordered StatefulSet keeps names, order and disks":       (*world).keepsNamesAndDisks,
			"a parallel StatefulSet waits for nobody":                   (*world).waitsForNobody,
			"a DaemonSet and its host port":                             (*world).handsOverThePort,
			"a DaemonSet follows its nodes":                             (*world).followsItsNodes,
			"a BroadcastJob runs on every node that comes":              (*world).runsOnEveryNode,
			"a CloneSet surges and shrinks":                             (*world).surgesAndShrinks,
			"what OpenKruise left is taken over without a restart":      h.takesOver,
			"an image of a CloneSet changes inside of the running pods": (*world).changesInside,
			"an environment changes with the label it comes from":       (*world).changesEnvironment,
			"cpu and memory change under running containers":            (*world).resizes,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tell(h.begin(t))
			})
		}
	})
	for _, story := range []struct {
		name string
		tell func(*world)
	}{
		{"agent and API server die while three kinds roll out", (*world).outlivesItsServers},
		{"nodes go away in the middle", (*world).missesItsNodes},
		{"a node is removed and comes back", (*world).losesANode},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(h.begin(t)) })
	}
}

// settleDown starts the fleet, has OpenKruise leave something on it, and installs the agent.
func settleDown(t *testing.T) *home {
	t.Helper()
	h := &home{fleet: fleet.New(t, fleet.Config{Name: "sets", Clusters: []fleet.Cluster{{
		Name: east, Kind: fleet.Real, Nodes: []fleet.Node{{Zone: "a"}, {Zone: "b"}, {Zone: "c"}},
		ControllerManagerArgs: []string{"--node-monitor-grace-period=" + slowToMiss, "--node-monitor-period=1s"},
	}}})}
	_, file, _, _ := runtime.Caller(0)
	options := system.Options{
		Source: filepath.Join(filepath.Dir(file), "..", "..", ".."), Log: t.Output(),
		AgentArgs: []string{"--feature-gates=InPlaceWorkloadVerticalScaling=true"},
	}
	before, err := system.Open(t.Context(), h.fleet, options)
	if err != nil {
		t.Fatal(err)
	}
	h.left = leaveBehind(t, h.fleet, before)
	if h.system, err = system.InstallAlone(t.Context(), h.fleet, east, options); err != nil {
		t.Fatal(err)
	}
	return h
}

// begin gives a story its namespace.
func (h *home) begin(t *testing.T) *world {
	t.Helper()
	return &world{T: t, System: h.system, ns: h.fleet.Namespace(t, east), east: connect(t, h.fleet, east)}
}

// killAgent ends the agent and starts it again.
func (w *world) killAgent() {
	w.Helper()
	if err := w.KillAgent(w.Context(), east); err != nil {
		w.Fatal(err)
	}
	if err := w.StartAgent(w.Context(), east); err != nil {
		w.Fatal(err)
	}
}

// home is the cluster of a story about sets.
func (w *world) home() *fleet.Running { return w.Fleet.Cluster(east) }

// afterwards does something when the story is over, whatever became of it.
func (w *world) afterwards(do func(context.Context) error) {
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := do(ctx); err != nil {
			w.Error(err)
		}
	})
}
