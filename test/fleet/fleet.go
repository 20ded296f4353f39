// Package fleet runs real Kubernetes clusters on one machine without Docker: one
// etcd, and per cluster an API server, controller manager, scheduler and fake or
// real nodes. It owns the state folder of each fleet and everything named after
// it: processes, ports, network namespaces, cgroups. It promises that Stop and
// Down leave nothing of a fleet behind and touch nothing of anyone else's.
package fleet

import (
	"context"
	"errors"

	"k8s.io/client-go/rest"
)

// Fleet is a running fleet.
type Fleet struct {
	clusters map[string]*Running
}

// Running is a cluster of a running fleet.
type Running struct{ name string }

var errUnfinished = errors.New("fleet: not there yet")

// Start starts a fleet and returns when every cluster is ready.
func Start(context.Context, Config) (*Fleet, error) { return nil, errUnfinished }

// Open returns the fleet that an earlier process started in dir.
func Open(dir string) (*Fleet, error) { return nil, errUnfinished }

// Down stops whatever fleet lived in dir and removes all it left, also after a crash.
func Down(ctx context.Context, dir string) error { return errUnfinished }

// Cluster returns a cluster by name, nil when the fleet has none of that name.
func (f *Fleet) Cluster(name string) *Running { return f.clusters[name] }

// Stop stops the fleet and removes its folder.
func (f *Fleet) Stop(context.Context) error { return errUnfinished }

// Snapshot saves the etcd of all clusters to a file.
func (f *Fleet) Snapshot(ctx context.Context, path string) error { return errUnfinished }

// Name returns the cluster's name.
func (r *Running) Name() string { return r.name }

// RESTConfig returns a client config for the cluster's administrator.
func (r *Running) RESTConfig() *rest.Config { return nil }

// UserConfig returns a client config for any user, to test RBAC with.
func (r *Running) UserConfig(user string, groups ...string) (*rest.Config, error) {
	return nil, errUnfinished
}

// Kubeconfig returns the path of the administrator's kubeconfig.
func (r *Running) Kubeconfig() string { return "" }

// StopAPIServer kills the API server; the data stays.
func (r *Running) StopAPIServer(context.Context) error { return errUnfinished }

// StartAPIServer brings a stopped API server back on the same port and data.
func (r *Running) StartAPIServer(context.Context) error { return errUnfinished }

// Wipe deletes all the cluster's data, and only that, and restarts its API server.
func (r *Running) Wipe(context.Context) error { return errUnfinished }
