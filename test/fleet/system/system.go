// Package system puts Flotilla itself onto a fleet, as a user would: manifests by kubectl, hub and agents as processes
// under their real service accounts, members joined through the real handshake. It owns those processes; the demo, the
// stories and the benchmarks stand on it.
package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-project/flotilla/test/fleet"
	"github.com/flotilla-project/flotilla/test/fleet/binaries"
)

// HubCluster is the name of the cluster of a fleet that becomes the hub; all others become members.
const HubCluster = "hub"

// patience bounds every wait here. What is waited for takes seconds; the rest is for slow machines.
const patience = 2 * time.Minute

// Options say what to install.
type Options struct {
	// Source is the checkout to build from and to take the manifests of.
	Source string
	// Log receives a line for each step; nil drops them.
	Log io.Writer
	// AgentArgs and HubArgs are added to the command lines.
	AgentArgs, HubArgs []string
	// NodedArgs are added to the command lines of the node daemons, which run beside real nodes.
	NodedArgs []string
	// Leave are clusters to leave alone.
	Leave []string
	// HubVia is the address under which a member reaches the hub; empty is the hub's own.
	HubVia map[string]string
}

// System is Flotilla, running on a fleet.
type System struct {
	Fleet   *fleet.Fleet
	options Options
	kubectl string
}

// Install builds Flotilla, installs it on every cluster of the fleet and joins the members.
func Install(ctx context.Context, f *fleet.Fleet, o Options) (*System, error) {
	s, err := Open(ctx, f, o)
	if err != nil {
		return nil, err
	}
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	if err := s.installHub(ctx); err != nil {
		return nil, fmt.Errorf("install the hub: %w", err)
	}
	for _, member := range s.Members() {
		if err := s.installMember(ctx, member); err != nil {
			return nil, fmt.Errorf("install member %s: %w", member, err)
		}
	}
	for _, member := range s.Members() {
		if err := s.Accept(ctx, member); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// InstallAlone builds Flotilla and runs the agent on one cluster without any hub: a workload manager for that cluster.
func InstallAlone(ctx context.Context, f *fleet.Fleet, cluster string, o Options) (*System, error) {
	s, err := Open(ctx, f, o)
	if err != nil {
		return nil, err
	}
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	return s, s.installAgent(ctx, cluster)
}

// Open returns the handle of a system that an earlier Install put onto the fleet.
func Open(ctx context.Context, f *fleet.Fleet, o Options) (*System, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	kubectl, err := f.Program(ctx, "kubectl")
	return &System{Fleet: f, options: o, kubectl: kubectl}, err
}

// Members are the names of the member clusters, in the order of the fleet.
func (s *System) Members() (names []string) {
	for _, c := range s.Fleet.Clusters() {
		if c.Name() != HubCluster && !slices.Contains(s.options.Leave, c.Name()) {
			names = append(names, c.Name())
		}
	}
	return names
}

// Kubectl runs kubectl as administrator of a cluster and returns what it printed.
func (s *System) Kubectl(ctx context.Context, cluster string, args ...string) (string, error) {
	c := s.Fleet.Cluster(cluster)
	if c == nil {
		return "", fmt.Errorf("the fleet has no cluster %q", cluster)
	}
	return output(ctx, "", append([]string{s.kubectl, "--kubeconfig", c.Kubeconfig()}, args...)...)
}

// Apply applies a manifest to a cluster.
func (s *System) Apply(ctx context.Context, cluster, manifest string) error {
	c := s.Fleet.Cluster(cluster)
	_, err := output(ctx, manifest, s.kubectl, "--kubeconfig", c.Kubeconfig(), "apply", "-f", "-")
	return err
}

// CLI runs kubectl-flotilla against the hub.
func (s *System) CLI(ctx context.Context, args ...string) (string, error) {
	hub := s.Fleet.Cluster(HubCluster)
	return output(ctx, "", append([]string{s.binary("kubectl-flotilla"), "--kubeconfig", hub.Kubeconfig()}, args...)...)
}

// Accept lets a member in and waits until the hub hears from it.
func (s *System) Accept(ctx context.Context, member string) error {
	fmt.Fprintf(s.options.Log, "accepting %s\n", member)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("cluster %s did not join within %s", member, patience))
	defer cancel()
	if _, err := s.Kubectl(ctx, HubCluster, "wait", "--for=create", "managedcluster/"+member, "--timeout=60s"); err != nil {
		return fmt.Errorf("wait for %s to ask: %w", member, err)
	}
	if _, err := s.CLI(ctx, "accept", member, "--wait"); err != nil {
		return fmt.Errorf("accept %s: %w", member, err)
	}
	_, err := s.Kubectl(ctx, HubCluster, "wait", "--for=condition=ManagedClusterConditionAvailable", "managedcluster/"+member, "--timeout=90s")
	return err
}

// KillAgent ends a member's agent as a crash would; StartAgent starts it again.
func (s *System) KillAgent(ctx context.Context, member string) error {
	return s.Fleet.Kill(ctx, agentName(member))
}

// StartAgent starts a member's agent that was ended.
func (s *System) StartAgent(ctx context.Context, member string) error {
	return s.Fleet.Again(ctx, agentName(member), nil)
}

// KillHub ends the hub as a crash would; StartHub starts it again.
func (s *System) KillHub(ctx context.Context) error { return s.Fleet.Kill(ctx, hubName) }

// StartHub starts a hub that was ended.
func (s *System) StartHub(ctx context.Context) error { return s.Fleet.Again(ctx, hubName, nil) }

// HubCommand starts another hub, with the rights of the one that runs and none of its other flags.
func (s *System) HubCommand() []string {
	return []string{s.binary("hub"), "--kubeconfig", s.path(HubCluster, "hub.kubeconfig")}
}

// AgentCommand starts another agent on a member, with the rights of the one that runs and none of its other flags.
func (s *System) AgentCommand(member string) []string {
	return []string{s.binary("agent"), "--kubeconfig", s.path(member, "agent.kubeconfig")}
}

// HubTool runs one of the tools in the hub's program, backup or restore, on the etcd of the hub.
func (s *System) HubTool(ctx context.Context, args ...string) (string, error) {
	endpoint, prefix := s.Fleet.Cluster(HubCluster).Etcd()
	return output(ctx, "", append([]string{s.binary("hub")}, append(args, "--etcd-endpoints="+endpoint, "--prefix="+prefix)...)...)
}

const hubName = "flotilla/hub"

func agentName(member string) string { return "flotilla/agent-" + member }

func (s *System) path(parts ...string) string {
	return filepath.Join(append([]string{s.Fleet.Dir(), "flotilla"}, parts...)...)
}

func (s *System) binary(name string) string { return s.path("bin", name) }

// build compiles the binaries into the fleet's folder, and has images of those that run in pods.
func (s *System) build(ctx context.Context) error {
	fmt.Fprintln(s.options.Log, "building hub, agent, noded and kubectl-flotilla")
	err := binaries.OwnOf(ctx, s.options.Source, s.path("bin"), "hub/cmd/hub", "hub/cmd/kubectl-flotilla", "agent/cmd/agent", "agent/cmd/noded")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Fleet.Programs(), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"hub", "agent", "noded"} {
		image := filepath.Join(s.Fleet.Programs(), name)
		if err := os.Remove(image); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Link(s.binary(name), image); err != nil {
			return err
		}
	}
	return nil
}

func (s *System) installHub(ctx context.Context) error {
	fmt.Fprintln(s.options.Log, "installing the hub")
	if err := s.manifests(ctx, HubCluster, "deploy/hub/base"); err != nil {
		return err
	}
	kubeconfig, err := s.serviceAccount(ctx, HubCluster, "flotilla-system", "hub")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	args := append([]string{s.binary("hub"), "--kubeconfig", kubeconfig, "--webhook-host=127.0.0.1", "--webhook-port=" + port}, s.options.HubArgs...)
	return s.Fleet.Beside(ctx, hubName, args, nil)
}

// freePort is one that nobody listens on now. A hub or an agent serves its webhooks there, and again when it is started again.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a port for webhooks: %w", err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func (s *System) installMember(ctx context.Context, member string) error {
	ask := []string{"bootstrap"}
	if via := s.options.HubVia[member]; via != "" {
		ask = append(ask, "--server", "https://"+via)
	}
	bootstrap, err := s.CLI(ctx, ask...)
	if err != nil {
		return fmt.Errorf("make a bootstrap kubeconfig: %w", err)
	}
	return s.Join(ctx, member, bootstrap)
}

// Join installs an agent on a member and has it ask, with a bootstrap kubeconfig, the hub that this one leads to.
func (s *System) Join(ctx context.Context, member, bootstrap string) error {
	folder := s.path(member)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "bootstrap"), []byte(bootstrap), 0o600); err != nil {
		return err
	}
	return s.installAgent(ctx, member, "--spoke-cluster-name", member, "--bootstrap-kubeconfig", filepath.Join(folder, "bootstrap"),
		"--hub-kubeconfig-dir", filepath.Join(folder, "hub-kubeconfig"), "--status-sync-interval=2s")
}

func (s *System) installAgent(ctx context.Context, member string, args ...string) error {
	fmt.Fprintf(s.options.Log, "installing member %s\n", member)
	if err := s.manifests(ctx, member, "deploy/member/base"); err != nil {
		return err
	}
	kubeconfig, err := s.serviceAccount(ctx, member, "open-cluster-management-agent", "agent")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	args = slices.Concat([]string{s.binary("agent"), "--kubeconfig", kubeconfig, "--webhook-host=127.0.0.1", "--webhook-port=" + port,
		"--feature-gates=ImagePullJobGate=true"}, args, s.options.AgentArgs)
	if err := s.Fleet.Beside(ctx, agentName(member), args, nil); err != nil {
		return err
	}
	return s.installNodeds(ctx, member)
}

// manifests applies a kustomization of the checkout and waits until the kinds it brings are served.
func (s *System) manifests(ctx context.Context, cluster, folder string) error {
	folder = filepath.Join(s.options.Source, folder)
	// Admission rules that speak of kinds defined beside them are refused until those are served: once more then.
	_, first := s.Kubectl(ctx, cluster, "apply", "-k", folder)
	if _, err := s.Kubectl(ctx, cluster, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"); err != nil {
		return errors.Join(first, err)
	}
	if first == nil {
		return nil
	}
	_, err := s.Kubectl(ctx, cluster, "apply", "-k", folder)
	return err
}

// account is a service account, and what its token is for.
type account struct {
	namespace, name string
	// bound is what the token names besides; nil is nothing.
	bound *authenticationv1.BoundObjectReference
	// file is the name of its kubeconfig, server the address in it.
	file, server string
}

// serviceAccount writes a kubeconfig with a service account's token, so that processes outside have the rights of those inside.
func (s *System) serviceAccount(ctx context.Context, cluster, namespace, name string) (string, error) {
	host := s.Fleet.Cluster(cluster).RESTConfig().Host
	return s.tokenOf(ctx, cluster, account{namespace: namespace, name: name, file: name, server: host})
}

func (s *System) tokenOf(ctx context.Context, cluster string, a account) (string, error) {
	c := s.Fleet.Cluster(cluster)
	client, err := c.Client()
	if err != nil {
		return "", err
	}
	token, err := client.CoreV1().ServiceAccounts(a.namespace).CreateToken(ctx, a.name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(7 * 24 * 3600)), BoundObjectRef: a.bound},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("make a token of service account %s/%s: %w", a.namespace, a.name, err)
	}
	path := s.path(cluster, a.file+".kubeconfig")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{cluster: {Server: a.server, CertificateAuthorityData: c.RESTConfig().CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{a.name: {Token: token.Status.Token}},
		Contexts:       map[string]*clientcmdapi.Context{cluster: {Cluster: cluster, AuthInfo: a.name}},
		CurrentContext: cluster,
	}, path)
}

// output runs a program and returns what it printed; its complaints become the error.
func output(ctx context.Context, stdin string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, complaints strings.Builder
	c.Stdout, c.Stderr = &out, &complaints
	if stdin != "" {
		c.Stdin = strings.NewReader(stdin)
	}
	if err := c.Run(); err != nil {
		said := strings.TrimSpace(complaints.String())
		words := slices.DeleteFunc(slices.Clone(args[1:]), func(w string) bool { return strings.HasPrefix(w, "/") || w == "--kubeconfig" })
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(args[0]), strings.Join(words, " "), err, said)
	}
	return out.String(), nil
}

// HubCredentials is the kubeconfig that the hub issued to a member.
func (s *System) HubCredentials(member string) string {
	return s.path(member, "hub-kubeconfig", "kubeconfig")
}

// KubectlAs runs kubectl with any kubeconfig.
func (s *System) KubectlAs(ctx context.Context, kubeconfig string, args ...string) (string, error) {
	return output(ctx, aWork, append([]string{s.kubectl, "--kubeconfig", kubeconfig}, args...)...)
}

// aWork is what a member that oversteps would create for itself.
const aWork = `{"apiVersion":"work.open-cluster-management.io/v1","kind":"ManifestWork","metadata":{"name":"overstep"},
"spec":{"workload":{"manifests":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default"}}]}}}`

// Source is a file or folder of the checkout.
func (s *System) Source(path string) string { return filepath.Join(s.options.Source, path) }

// CLIAs runs kubectl-flotilla with any kubeconfig.
func (s *System) CLIAs(ctx context.Context, kubeconfig string, args ...string) (string, error) {
	return output(ctx, "", append([]string{s.binary("kubectl-flotilla"), "--kubeconfig", kubeconfig}, args...)...)
}
