package fleet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"time"
)

// Kind says what the nodes of a cluster are.
type Kind string

const (
	// Fake nodes are played by kwok: no root, no containers, thousands fit.
	Fake Kind = "fake"
	// Real nodes are a kubelet and a containerd each, in a network namespace
	// of their own: root on Linux.
	Real Kind = "real"
)

// Config is a fleet to start.
type Config struct {
	// Dir is the state folder. All processes, ports, interfaces and cgroups of a
	// fleet derive from it, so two fleets with different folders never meet.
	// Empty: a folder below the temporary folder, removed by Stop.
	Dir string
	// Name shows in messages and kubeconfig contexts. Empty: the folder's name.
	Name string
	// Clusters share one etcd, a key prefix each.
	Clusters []Cluster
	// Log receives progress, one line each. Nil: nothing.
	Log io.Writer
	// Detach lets the processes outlive the one that started them.
	Detach bool
}

// Cluster is one cluster to start: an API server and, unless ControlPlaneOnly,
// a controller manager, a scheduler and nodes.
type Cluster struct {
	Name string
	// ControlPlaneOnly starts the API server alone, ready in a few seconds:
	// nothing is garbage collected, no namespace finishes terminating, and pods
	// need no service account.
	ControlPlaneOnly bool
	// Kind of the nodes. Empty: Fake.
	Kind  Kind
	Nodes []Node
	// PodDelay is how long a container on a fake node takes to start.
	PodDelay time.Duration
	// APIServerArgs and ControllerManagerArgs are added to the command lines.
	APIServerArgs         []string
	ControllerManagerArgs []string
}

// Node is one node to start.
type Node struct {
	// Name defaults to CLUSTER-nI, with I counted from 1.
	Name         string
	Zone, Region string
	// Labels are added to the zone, region and hostname labels.
	Labels map[string]string
	// CPU, Memory and Pods are a fake node's capacity; default 32, 256Gi, 250.
	CPU, Memory, Pods string
}

// maxClusters is what fits in a slot's ports.
const maxClusters = 22

// maxRealNodes is what fits in a slot's subnet.
const maxRealNodes = 200

var nameRE = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$`)

// Validate reports everything that is wrong with the config at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Clusters) == 0 {
		bad("clusters: at least one is needed")
	}
	if len(c.Clusters) > maxClusters {
		bad("clusters: %d are more than the %d that fit in one fleet", len(c.Clusters), maxClusters)
	}
	seen, real := map[string]bool{}, 0
	for _, cl := range c.Clusters {
		if !nameRE.MatchString(cl.Name) {
			bad("cluster %q: the name must be lower case letters, digits and dashes, 50 at most", cl.Name)
		}
		if seen[cl.Name] {
			bad("cluster %q: the name is taken", cl.Name)
		}
		seen[cl.Name] = true
		if cl.ControlPlaneOnly && len(cl.Nodes) > 0 {
			bad("cluster %q: a control plane alone has no nodes, %d are given", cl.Name, len(cl.Nodes))
		}
		if cl.kind() != Fake && cl.kind() != Real {
			bad("cluster %q: node kind %q is neither %q nor %q", cl.Name, cl.Kind, Fake, Real)
		}
		if cl.kind() == Real {
			real += len(cl.Nodes)
		}
		nodes := map[string]bool{}
		for _, n := range cl.named() {
			if !nameRE.MatchString(n.Name) {
				bad("cluster %q node %q: the name must be lower case letters, digits and dashes, 50 at most", cl.Name, n.Name)
			}
			if nodes[n.Name] {
				bad("cluster %q node %q: the name is taken", cl.Name, n.Name)
			}
			nodes[n.Name] = true
		}
	}
	if real > maxRealNodes {
		bad("nodes: %d real ones are more than the %d that fit in one fleet", real, maxRealNodes)
	}
	return errors.Join(errs...)
}

func (c Config) hasReal() bool {
	for _, cl := range c.Clusters {
		if cl.kind() == Real && len(cl.Nodes) > 0 {
			return true
		}
	}
	return false
}

func (c Cluster) kind() Kind {
	if c.Kind == "" {
		return Fake
	}
	return c.Kind
}

// named returns the nodes with every name filled in.
func (c Cluster) named() []Node {
	nodes := make([]Node, len(c.Nodes))
	for i, n := range c.Nodes {
		if n.Name == "" {
			n.Name = fmt.Sprintf("%s-n%d", c.Name, i+1)
		}
		nodes[i] = n
	}
	return nodes
}

// RealNodesUnavailable says why this machine cannot run real nodes; empty: it can.
func RealNodesUnavailable() string {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return "SKIP real nodes: needs root on Linux"
	}
	return ""
}
