package fleet

import (
	"context"
	"fmt"
	"slices"
)

// Real reports whether the cluster's nodes run real containers.
func (r *Running) Real() bool { return r.state.Kind == Real }

// realNode finds a node by name.
func (r *Running) realNode(node string) (realNode, error) {
	all := r.realNodes()
	i := slices.IndexFunc(all, func(n realNode) bool { return n.Name == node })
	if i < 0 || !r.Real() {
		return realNode{}, fmt.Errorf("cluster %s has no real node %s", r.Name(), node)
	}
	return all[i], nil
}

// RuntimeSocket is the socket of a real node's containerd.
func (r *Running) RuntimeSocket(node string) (string, error) {
	n, err := r.realNode(node)
	return n.socket(), err
}

// Inside prefixes a command so that it runs in the network of a real node, as a program of the host's network does there.
func (r *Running) Inside(node string, args ...string) ([]string, error) {
	n, err := r.realNode(node)
	if err != nil {
		return nil, err
	}
	return n.inside(args...), nil
}

// KillRuntime ends a real node's containerd as a crash would; containers go on running. StartRuntime brings it back.
func (r *Running) KillRuntime(ctx context.Context, node string) error {
	return r.fleet.stopProcess(ctx, r.component(node+"/containerd"))
}

// StartRuntime starts the containerd that KillRuntime ended.
func (r *Running) StartRuntime(ctx context.Context, node string) error {
	n, err := r.realNode(node)
	if err != nil {
		return err
	}
	return r.fleet.restartProcess(ctx, n.name("containerd"), n.containerdReady)
}
