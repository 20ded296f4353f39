// Package fleet runs real Kubernetes clusters on one machine without Docker: one
// etcd, and per cluster an API server, controller manager, scheduler and fake or
// real nodes. It owns the state folder of each fleet and everything named after
// it: processes, ports, network namespaces, cgroups. It promises that Stop and
// Down leave nothing of a fleet behind and touch nothing of anyone else's.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/flotilla-project/flotilla/test/fleet/binaries"
)

// startTimeout bounds the wait for any one component. Generous, because test
// machines are slow and shared; the culprit's exit ends the wait at once.
const startTimeout = 3 * time.Minute

// Fleet is a running fleet.
type Fleet struct {
	dir      string
	log      io.Writer
	programs binaries.Set
	clusters map[string]*Running

	// state is what does not change while the fleet runs. Processes are read from the
	// file, for another process may have the fleet open too.
	state *state
	mu    sync.Mutex
}

// Start starts a fleet and returns when every cluster is ready. What an earlier
// fleet left in the folder is cleaned up first; when starting fails, so is what was
// started, but the logs stay.
func Start(ctx context.Context, cfg Config) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("check the fleet's config: %w", err)
	}
	if cfg.hasReal() {
		if why := RealNodesUnavailable(); why != "" {
			return nil, errors.New(why)
		}
	}
	dir, err := prepareDir(ctx, cfg.Dir)
	if err != nil {
		return nil, err
	}
	f := &Fleet{dir: dir, log: cfg.Log}
	if f.log == nil {
		f.log = io.Discard
	}
	if f.programs, err = binaries.Ensure(ctx, f.log, cfg.programs()...); err != nil {
		return nil, err
	}
	if err := f.claim(ctx, cfg); err != nil {
		return nil, err
	}
	if err := f.start(ctx, cfg); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("start fleet %s: %w", f.state.Name, err), f.halt(stop, true))
	}
	return f, nil
}

// Open returns the fleet that an earlier process started in dir.
func Open(dir string) (*Fleet, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s, err := loadState(dir)
	if err != nil {
		return nil, err
	}
	f := &Fleet{dir: dir, log: io.Discard, state: s}
	f.handles()
	for _, r := range f.clusters {
		if err := r.load(); err != nil {
			return nil, fmt.Errorf("open fleet %s: %w", s.Name, err)
		}
	}
	return f, nil
}

// Dir is the state folder; logs are in its folder `log`.
func (f *Fleet) Dir() string { return f.dir }

// Name is the fleet's name.
func (f *Fleet) Name() string { return f.state.Name }

// Cluster returns a cluster by name, nil when the fleet has none of that name.
func (f *Fleet) Cluster(name string) *Running { return f.clusters[name] }

// Clusters returns all clusters in the order of the config.
func (f *Fleet) Clusters() []*Running {
	var all []*Running
	for _, c := range f.state.Clusters {
		all = append(all, f.clusters[c.Name])
	}
	return all
}

// Program returns the path of a program of the fleet, such as kubectl, building it
// if the cache does not have it.
func (f *Fleet) Program(ctx context.Context, name string) (string, error) {
	set, err := binaries.Ensure(ctx, f.log, name)
	return set[name], err
}

// Stop stops the fleet and removes all there is of it, its folder too.
func (f *Fleet) Stop(ctx context.Context) error { return f.halt(ctx, false) }

// programs lists what the config needs built, and nothing more.
func (c Config) programs() []string {
	names := []string{"etcd", "kube-apiserver"}
	for _, cl := range c.Clusters {
		if !cl.ControlPlaneOnly {
			names = append(names, "kube-controller-manager", "kube-scheduler")
		}
		if len(cl.Nodes) == 0 {
			continue
		}
		if cl.kind() == Fake {
			names = append(names, "kwok")
		} else {
			names = append(names, "kubelet", "containerd", "containerd-shim-runc-v2")
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// prepareDir returns an absolute, empty state folder.
func prepareDir(ctx context.Context, dir string) (string, error) {
	if dir == "" {
		return temporaryDir(ctx)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := isFleetDir(dir); err != nil {
		return "", err
	}
	if err := Down(ctx, dir); err != nil {
		return "", fmt.Errorf("clean up the earlier fleet: %w", err)
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// claim takes a slot and writes the first state.
func (f *Fleet) claim(ctx context.Context, cfg Config) error {
	s := &state{ID: fleetID(f.dir), Name: cfg.Name, Detached: cfg.Detach, Owner: self(), Real: cfg.hasReal(), Processes: map[string]process{}}
	if s.Name == "" {
		s.Name = filepath.Base(f.dir)
	}
	next := 1
	for i, c := range cfg.Clusters {
		s.Clusters = append(s.Clusters, clusterState{
			Name: c.Name, Index: i, ControlPlaneOnly: c.ControlPlaneOnly, Kind: c.kind(), Nodes: c.named(), FirstNode: next,
		})
		if c.kind() == Real {
			next += len(c.Nodes)
		}
	}
	f.state = s
	f.handles()
	return claimSlot(ctx, slotDir(), f.dir, func(free slot) error {
		s.Slot = int(free)
		return s.save(f.dir)
	})
}

func (f *Fleet) handles() {
	f.clusters = map[string]*Running{}
	for _, c := range f.state.Clusters {
		f.clusters[c.Name] = &Running{fleet: f, state: c, dir: filepath.Join(f.dir, "clusters", c.Name)}
	}
}

func (f *Fleet) start(ctx context.Context, cfg Config) error {
	began := time.Now()
	if f.state.Real {
		if err := f.prepareHost(ctx); err != nil {
			return err
		}
	}
	if err := f.startEtcd(ctx); err != nil {
		return err
	}
	var group multierror.Group
	for _, c := range cfg.Clusters {
		group.Go(func() error {
			if err := f.clusters[c.Name].start(ctx, c); err != nil {
				return fmt.Errorf("cluster %s: %w", c.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait().ErrorOrNil(); err != nil {
		return err
	}
	fmt.Fprintf(f.log, "fleet %s is ready after %.1fs\n", f.state.Name, time.Since(began).Seconds())
	return nil
}

// component is a process to run: its name in the state and what to start.
type component struct {
	name string
	args []string
	env  []string
}

func (f *Fleet) logPath(name string) string {
	return filepath.Join(f.dir, "log", filepath.FromSlash(name)+".log")
}

// run starts a component, records it and waits until ready says nil.
func (f *Fleet) run(ctx context.Context, c component, ready func(context.Context) error) error {
	p, err := launch(c.args, c.env, f.logPath(c.name), f.state.Detached)
	if err != nil {
		return err
	}
	if err := f.update(ctx, func(s *state) {
		s.Processes[c.name] = p
		if !slices.Contains(s.Started, c.name) {
			s.Started = append(s.Started, c.name)
		}
	}); err != nil {
		return errors.Join(err, p.kill(ctx, f.dir))
	}
	if ready == nil {
		return nil
	}
	return f.waitReady(ctx, c.name, p, ready)
}

// waitReady gives up early when the process is gone, and shows the end of its log.
func (f *Fleet) waitReady(ctx context.Context, name string, p process, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()
	var exited error
	err := poll(ctx, 50*time.Millisecond, func() error {
		if !p.alive(f.dir) {
			exited = errors.New("it exited")
			return nil
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return ready(try)
	})
	if err := errors.Join(err, exited); err != nil {
		return fmt.Errorf("wait for %s: %w; its log %s ends with\n%s", name, err, p.Log, LogTail(p.Log, 15))
	}
	return nil
}

// update changes the state on disk.
func (f *Fleet) update(ctx context.Context, change func(*state)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	unlock, err := lockFile(ctx, filepath.Join(f.dir, ".lock"))
	if err != nil {
		return fmt.Errorf("record what was started: %w", err)
	}
	defer unlock()
	s, err := loadState(f.dir)
	if err != nil {
		return err
	}
	change(s)
	return s.save(f.dir)
}

// recorded returns a process by name, as any process that has the fleet open left it.
func (f *Fleet) recorded(name string) (process, error) {
	s, err := loadState(f.dir)
	if err != nil {
		return process{}, err
	}
	p, ok := s.Processes[name]
	if !ok {
		return process{}, fmt.Errorf("the fleet has no process %s", name)
	}
	return p, nil
}

// stopProcess kills a component; its record stays, so that it can be restarted.
func (f *Fleet) stopProcess(ctx context.Context, name string) error {
	p, err := f.recorded(name)
	if err != nil {
		return err
	}
	return p.kill(ctx, f.dir)
}

// restartProcess starts a stopped component as it was; one that runs stays as it is.
func (f *Fleet) restartProcess(ctx context.Context, name string, ready func(context.Context) error) error {
	p, err := f.recorded(name)
	if err != nil {
		return err
	}
	if p.alive(f.dir) {
		return nil
	}
	return f.run(ctx, component{name: name, args: p.Args}, ready)
}

func (f *Fleet) slot() slot { return slot(f.state.Slot) }
