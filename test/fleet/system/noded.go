package system

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/test/fleet"
)

// nodedNamespace and nodedAccount are whose rights the node daemon has.
const (
	nodedNamespace = "open-cluster-management-agent"
	nodedAccount   = "noded"
)

func nodedName(cluster, node string) string { return "flotilla/noded-" + cluster + "-" + node }

// installNodeds runs the node daemon beside each real node of a cluster: in the node's network, at its containerd, and
// with a token that names the node, as that of a pod there does.
func (s *System) installNodeds(ctx context.Context, cluster string) error {
	c := s.Fleet.Cluster(cluster)
	if !c.Real() {
		return nil
	}
	for _, node := range c.Nodes() {
		if err := s.installNoded(ctx, c, node.Name); err != nil {
			return fmt.Errorf("run the node daemon of %s: %w", node.Name, err)
		}
	}
	return nil
}

func (s *System) installNoded(ctx context.Context, c *fleet.Running, node string) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	n, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ofNode := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: node, UID: n.UID}
	kubeconfig, err := s.tokenOf(ctx, c.Name(), account{namespace: nodedNamespace, name: nodedAccount, bound: ofNode, file: "noded-" + node, server: c.InsideURL()})
	if err != nil {
		return err
	}
	socket, err := c.RuntimeSocket(node)
	if err != nil {
		return err
	}
	args, err := c.Inside(node, append([]string{s.binary("noded"), "--kubeconfig", kubeconfig, "--node-name", node, "--cri-socket", socket}, s.options.NodedArgs...)...)
	if err != nil {
		return err
	}
	return s.Fleet.Beside(ctx, nodedName(c.Name(), node), args, nil)
}

// NodedKubeconfig is what the daemon of a node asks the API server with, from the host's network.
func (s *System) NodedKubeconfig(cluster, node string) string {
	return s.path(cluster, "noded-"+node+".kubeconfig")
}

// KillNoded ends the daemon of a node as a crash would; StartNoded starts it again.
func (s *System) KillNoded(ctx context.Context, cluster, node string) error {
	return s.Fleet.Kill(ctx, nodedName(cluster, node))
}

// StartNoded starts the daemon of a node that was ended.
func (s *System) StartNoded(ctx context.Context, cluster, node string) error {
	return s.Fleet.Again(ctx, nodedName(cluster, node), nil)
}
