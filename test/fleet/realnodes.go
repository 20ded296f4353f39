package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/hashicorp/go-multierror"
	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// realNode is a node with all that follows from its number.
type realNode struct {
	Node
	cluster *Running
	number  int
	dir     string
}

func (r *Running) realNodes() []realNode {
	var all []realNode
	for i, n := range r.state.Nodes {
		number := r.state.FirstNode + i
		// The folder goes by the number, for sockets in it must have short paths.
		all = append(all, realNode{Node: n, cluster: r, number: number, dir: filepath.Join(r.fleet.dir, "nodes", fmt.Sprint(number))})
	}
	return all
}

func (n realNode) path(parts ...string) string {
	return filepath.Join(append([]string{n.dir}, parts...)...)
}

func (n realNode) ip() string      { return n.cluster.fleet.slot().nodeIP(n.number) }
func (n realNode) podCIDR() string { return n.cluster.fleet.slot().podCIDR(n.number) }
func (n realNode) netns() string   { return netnsName(n.cluster.fleet.state.ID, n.number) }
func (n realNode) veth() string    { return vethName(n.cluster.fleet.state.ID, n.number) }
func (n realNode) cgroup() string {
	return fmt.Sprintf("%s/n%d", cgroupName(n.cluster.fleet.state.ID), n.number)
}
func (n realNode) socket() string          { return n.path("containerd.sock") }
func (n realNode) name(what string) string { return n.cluster.component(n.Name + "/" + what) }

// inside prefixes a command so that it runs in the node's network. Unlike `ip netns
// exec` this leaves /sys alone, where the cgroups are.
func (n realNode) inside(args ...string) []string {
	nsenter, err := findTool("nsenter")
	if err != nil {
		nsenter = "/usr/bin/nsenter" // the start that follows says that it is not there
	}
	return append([]string{nsenter, "--net=/run/netns/" + n.netns()}, args...)
}

// startRealNodes starts all nodes at once.
func (r *Running) startRealNodes(ctx context.Context) error {
	var group multierror.Group
	for _, n := range r.realNodes() {
		group.Go(func() error {
			if err := n.start(ctx); err != nil {
				return fmt.Errorf("node %s: %w", n.Name, err)
			}
			return nil
		})
	}
	return group.Wait().ErrorOrNil()
}

func (n realNode) start(ctx context.Context) error {
	if err := errors.Join(n.connect(ctx), makeCgroup(n.cgroup())); err != nil {
		return err
	}
	if err := n.configure(); err != nil {
		return err
	}
	f := n.cluster.fleet
	containerd := component{name: n.name("containerd"), args: n.inside(f.programs["containerd"], "--config", n.path("containerd.toml"))}
	if err := f.run(ctx, containerd, n.containerdReady); err != nil {
		return err
	}
	kubelet := component{name: n.name("kubelet"), args: n.inside(
		f.programs["kubelet"],
		"--config="+n.path("kubelet.yaml"),
		"--kubeconfig="+n.path("kubeconfig"),
		"--hostname-override="+n.Name,
		"--node-ip="+n.ip(),
		"--root-dir="+n.path("kubelet"),
		"--cert-dir="+n.path("pki"),
		"--node-labels="+n.kubeletLabels(),
	)}
	// It is ready when its node is, which all nodes are waited for together.
	return f.run(ctx, kubelet, nil)
}

func (n realNode) containerdReady(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", n.socket())
	if err != nil {
		return err
	}
	return conn.Close()
}

// kubeletLabels leaves out what a kubelet sets by itself and may not be told.
func (n realNode) kubeletLabels() string {
	var labels []string
	for k, v := range n.labels() {
		if k != "kubernetes.io/os" && k != "kubernetes.io/arch" && k != "kubernetes.io/hostname" {
			labels = append(labels, k+"="+v)
		}
	}
	slices.Sort(labels)
	return strings.Join(labels, ",")
}

// StopNode kills a real node's kubelet; its containers keep running. StartNode
// brings it back.
func (r *Running) StopNode(ctx context.Context, node string) error {
	return r.fleet.stopProcess(ctx, r.component(node+"/kubelet"))
}

// StartNode starts the kubelet that StopNode killed and waits until the node is ready.
func (r *Running) StartNode(ctx context.Context, node string) error {
	if err := r.fleet.restartProcess(ctx, r.component(node+"/kubelet"), nil); err != nil {
		return err
	}
	return r.nodesReady(ctx)
}

// PauseNode makes a node silent, as a cut network would: no status, no lease. After
// the grace period of the controller manager the node is no longer ready.
func (r *Running) PauseNode(ctx context.Context, node string) error {
	return r.silence(ctx, node, syscall.SIGSTOP, "null")
}

// ResumeNode ends PauseNode.
func (r *Running) ResumeNode(ctx context.Context, node string) error {
	return r.silence(ctx, node, syscall.SIGCONT, `"fake"`)
}

func (r *Running) silence(ctx context.Context, node string, signal syscall.Signal, annotation string) error {
	if !slices.ContainsFunc(r.state.Nodes, func(n Node) bool { return n.Name == node }) {
		return fmt.Errorf("cluster %s has no node %s", r.Name(), node)
	}
	if r.state.Kind == Real {
		p, err := r.fleet.recorded(r.component(node + "/kubelet"))
		if err != nil {
			return err
		}
		if !p.alive(r.fleet.dir) {
			return fmt.Errorf("the kubelet of %s is not running", node)
		}
		return os.NewSyscallError("signal the kubelet", syscall.Kill(p.PID, signal))
	}
	client, err := r.Client()
	if err != nil {
		return err
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, fakeAnnotation, annotation)
	_, err = client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}
