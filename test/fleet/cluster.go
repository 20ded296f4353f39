package fleet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Running is a cluster of a running fleet.
type Running struct {
	fleet *Fleet
	state clusterState
	dir   string
	rest  *rest.Config // never changed; callers get copies
}

// Name returns the cluster's name.
func (r *Running) Name() string { return r.state.Name }

// Nodes returns the cluster's nodes with their names.
func (r *Running) Nodes() []Node { return slices.Clone(r.state.Nodes) }

// start brings the cluster up and waits until it can take work.
func (r *Running) start(ctx context.Context, cfg Cluster) error {
	if err := r.pki().create(r.Name(), r.addresses()...); err != nil {
		return err
	}
	if err := r.writeKubeconfig(); err != nil {
		return err
	}
	if err := r.load(); err != nil {
		return err
	}
	began := time.Now()
	if err := r.fleet.run(ctx, r.apiServer(cfg.APIServerArgs), r.apiServerReady); err != nil {
		return err
	}
	if !r.state.ControlPlaneOnly {
		if err := r.startControllers(ctx, cfg); err != nil {
			return err
		}
	}
	fmt.Fprintf(r.fleet.log, "cluster %s: control plane ready after %.1fs\n", r.Name(), time.Since(began).Seconds())
	if len(r.state.Nodes) == 0 {
		return nil
	}
	if err := r.startNodes(ctx, cfg); err != nil {
		return err
	}
	fmt.Fprintf(r.fleet.log, "cluster %s: %d %s nodes ready after %.1fs\n", r.Name(), len(r.state.Nodes), r.state.Kind, time.Since(began).Seconds())
	return nil
}

func (r *Running) startNodes(ctx context.Context, cfg Cluster) error {
	if r.state.Kind == Real {
		if err := r.startRealNodes(ctx); err != nil {
			return err
		}
	} else if err := r.startFakeNodes(ctx, cfg.PodDelay); err != nil {
		return err
	}
	return r.nodesReady(ctx)
}

// addresses are where nodes reach the API server beside 127.0.0.1.
func (r *Running) addresses() []string {
	addresses := []string{serviceIP}
	if r.fleet.state.Real {
		addresses = append(addresses, r.fleet.slot().gateway())
	}
	return addresses
}

func (r *Running) pki() pki { return pki(filepath.Join(r.dir, "pki")) }

func (r *Running) port(what int) int {
	return r.fleet.slot().clusterPort(r.state.Index, what)
}

// component prefixes a component's name with the cluster's.
func (r *Running) component(name string) string { return r.Name() + "/" + name }

// InsideURL is the API server's address as real nodes and their pods reach it.
func (r *Running) InsideURL() string {
	return "https://" + net.JoinHostPort(r.fleet.slot().gateway(), strconv.Itoa(r.port(portAPIServer)))
}

// Etcd returns where the cluster keeps its data: the endpoint, which all clusters share, and the prefix of its keys.
func (r *Running) Etcd() (endpoint, prefix string) {
	return r.fleet.etcdEndpoint(), etcdPrefix(r.Name())
}

// Client returns a client with the administrator's rights.
func (r *Running) Client() (kubernetes.Interface, error) {
	return kubernetes.NewForConfig(r.rest)
}

func (r *Running) apiServerReady(ctx context.Context) error {
	return getOK(ctx, r.rest, r.rest.Host+"/readyz")
}

// getOK asks a URL and wants 200.
func getOK(ctx context.Context, cfg *rest.Config, url string) error {
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// StopAPIServer kills the API server; the data stays.
func (r *Running) StopAPIServer(ctx context.Context) error {
	return r.fleet.stopProcess(ctx, r.component("kube-apiserver"))
}

// StartAPIServer brings a stopped API server back on the same port and data, and
// waits until it is ready.
func (r *Running) StartAPIServer(ctx context.Context) error {
	return r.fleet.restartProcess(ctx, r.component("kube-apiserver"), r.apiServerReady)
}

// Wipe deletes all the cluster's data, and only that, as if it had just been made.
// Real nodes register only once, so a cluster that has some cannot be wiped.
func (r *Running) Wipe(ctx context.Context) error {
	if r.state.Kind == Real && len(r.state.Nodes) > 0 {
		return fmt.Errorf("wipe cluster %s: its real nodes would not register again", r.Name())
	}
	if err := r.Empty(ctx); err != nil {
		return fmt.Errorf("wipe cluster %s: %w", r.Name(), err)
	}
	if r.state.ControlPlaneOnly {
		return nil
	}
	if err := r.furnish(ctx); err != nil {
		return fmt.Errorf("wipe cluster %s: %w", r.Name(), err)
	}
	if len(r.state.Nodes) == 0 {
		return nil
	}
	if err := r.createFakeNodes(ctx); err != nil {
		return fmt.Errorf("wipe cluster %s: %w", r.Name(), err)
	}
	return r.nodesReady(ctx)
}

// Empty deletes all the cluster's data, and only that, and leaves it so: an API server that has lost its etcd.
func (r *Running) Empty(ctx context.Context) error {
	if err := r.StopAPIServer(ctx); err != nil {
		return err
	}
	if err := r.fleet.wipe(ctx, r.Name()); err != nil {
		return err
	}
	return r.StartAPIServer(ctx)
}

// StopControllers kills the controller manager.
func (r *Running) StopControllers(ctx context.Context) error {
	return r.fleet.stopProcess(ctx, r.component(controllerManagerName))
}

// RestartControllers starts the controller manager anew, with args instead of those that the fleet was started with.
func (r *Running) RestartControllers(ctx context.Context, args ...string) error {
	if err := r.StopControllers(ctx); err != nil {
		return err
	}
	return r.fleet.run(ctx, r.controllerManager(args), r.healthy(portControllers))
}

// furnish makes what a user expects in a new cluster: a default storage class and,
// by the controllers, the default service account.
func (r *Running) furnish(ctx context.Context) error {
	client, err := r.Client()
	if err != nil {
		return err
	}
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "standard", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "kubernetes.io/host-path",
	}
	if _, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the default storage class: %w", err)
	}
	return r.namespaceReady(ctx, metav1.NamespaceDefault)
}

// namespaceReady waits until pods can be created in a namespace: until the controllers
// have made its default service account.
func (r *Running) namespaceReady(ctx context.Context, namespace string) error {
	if r.state.ControlPlaneOnly {
		return nil
	}
	client, err := r.Client()
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("no default service account after %s", startTimeout))
	defer cancel()
	return poll(wait, 20*time.Millisecond, func() error {
		_, err := client.CoreV1().ServiceAccounts(namespace).Get(wait, "default", metav1.GetOptions{})
		return err
	})
}

// nodesReady waits until every node is there and ready.
func (r *Running) nodesReady(ctx context.Context) error {
	client, err := r.Client()
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("nodes not ready after %s", startTimeout))
	defer cancel()
	err = poll(wait, 100*time.Millisecond, func() error {
		nodes, err := client.CoreV1().Nodes().List(wait, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		return missingNodes(r.state.Nodes, nodes.Items)
	})
	if err != nil {
		return fmt.Errorf("wait for nodes: %w\n%s", err, r.nodeLogs())
	}
	return nil
}

func missingNodes(want []Node, have []corev1.Node) error {
	ready := map[string]bool{}
	for _, n := range have {
		ready[n.Name] = slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
	}
	for _, n := range want {
		if isReady, there := ready[n.Name]; !there {
			return fmt.Errorf("node %s has not registered", n.Name)
		} else if !isReady {
			return fmt.Errorf("node %s is not ready", n.Name)
		}
	}
	return nil
}

// nodeLogs shows the end of each log that concerns nodes.
func (r *Running) nodeLogs() string {
	var out string
	for _, path := range logFiles(filepath.Join(r.fleet.dir, "log", r.Name())) {
		if base := filepath.Base(path); base == "kwok.log" || base == "kubelet.log" || base == "containerd.log" {
			out += path + " ends with\n" + LogTail(path, 10) + "\n"
		}
	}
	return out
}
