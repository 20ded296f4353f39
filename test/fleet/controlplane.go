package fleet

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/go-multierror"
	"k8s.io/client-go/rest"
)

// Services need addresses though nothing routes them: no proxy runs on the nodes.
const (
	serviceCIDR = "172.29.0.0/16"
	serviceIP   = "172.29.0.1"
)

const controllerManagerName = "kube-controller-manager"

// apiServer is the API server's command line.
func (r *Running) apiServer(extra []string) component {
	f, p := r.fleet, r.pki()
	args := []string{
		f.programs["kube-apiserver"],
		"--etcd-servers=" + f.etcdEndpoint(),
		"--etcd-prefix=" + etcdPrefix(r.Name()),
		fmt.Sprintf("--secure-port=%d", r.port(portAPIServer)),
		"--cert-dir=" + r.dir,
		"--tls-cert-file=" + p.path("server.crt"), "--tls-private-key-file=" + p.path("server.key"),
		"--client-ca-file=" + p.path("ca.crt"),
		"--service-account-key-file=" + p.path("sa.key"),
		"--service-account-signing-key-file=" + p.path("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-bootstrap-token-auth=true",
		"--allow-privileged=true",
		"--kubelet-preferred-address-types=InternalIP",
		"--enable-aggregator-routing=true", // webhooks in pods are called at their endpoints: no proxy serves their service
		"--kubelet-client-certificate=" + p.path("admin.crt"), "--kubelet-client-key=" + p.path("admin.key"),
		// Nobody has to be kept fair here, and its start-up costs time.
		"--enable-priority-and-fairness=false",
		"--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000",
	}
	if f.state.Real {
		args = append(args, "--bind-address=0.0.0.0", "--advertise-address="+f.slot().gateway())
	} else {
		// A loopback address is no endpoint, so the server must not publish it as one.
		args = append(args, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none")
	}
	if r.state.ControlPlaneOnly {
		// No controller makes service accounts, so pods must do without.
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	return component{name: r.component("kube-apiserver"), args: append(args, extra...)}
}

// startControllers starts controller manager and scheduler and waits for both.
func (r *Running) startControllers(ctx context.Context, cfg Cluster) error {
	var group multierror.Group
	group.Go(func() error {
		return r.fleet.run(ctx, r.controllerManager(cfg.ControllerManagerArgs), r.healthy(portControllers))
	})
	group.Go(func() error { return r.fleet.run(ctx, r.scheduler(), r.healthy(portScheduler)) })
	group.Go(func() error { return r.furnish(ctx) })
	return group.Wait().ErrorOrNil()
}

func (r *Running) controllerManager(extra []string) component {
	p := r.pki()
	return component{name: r.component(controllerManagerName), args: append([]string{
		r.fleet.programs[controllerManagerName],
		"--kubeconfig=" + r.Kubeconfig(),
		"--cert-dir=" + r.dir,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", r.port(portControllers)),
		"--service-account-private-key-file=" + p.path("sa.key"),
		"--root-ca-file=" + p.path("ca.crt"),
		"--cluster-signing-cert-file=" + p.path("ca.crt"), "--cluster-signing-key-file=" + p.path("ca.key"),
		"--use-service-account-credentials=true",
		"--enable-hostpath-provisioner=true",
		// It is made if missing, and the default is a folder of the whole machine.
		"--flex-volume-plugin-dir=" + filepath.Join(r.dir, "volume-plugins"),
		"--leader-elect=false",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	}, extra...)}
}

func (r *Running) scheduler() component {
	return component{name: r.component("kube-scheduler"), args: []string{
		r.fleet.programs["kube-scheduler"],
		"--kubeconfig=" + r.Kubeconfig(),
		"--cert-dir=" + r.dir,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", r.port(portScheduler)),
		"--leader-elect=false",
		"--kube-api-qps=500", "--kube-api-burst=1000",
	}}
}

// healthy asks a component that serves with a certificate it made itself.
func (r *Running) healthy(what int) func(context.Context) error {
	host := fmt.Sprintf("https://127.0.0.1:%d", r.port(what))
	cfg := &rest.Config{Host: host, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	return func(ctx context.Context) error { return getOK(ctx, cfg, host+"/healthz") }
}
