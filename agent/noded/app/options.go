package app

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/pkg/cmd"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// Gates, with the names and defaults of section 10 of the platform clauses.
const (
	// PodProbes runs the probes of NodePodProbes (ND-2).
	PodProbes featuregate.Feature = "PodProbeMarkerGate"
	// WatchingPods reports the meta data of containers (ND-2, CM-1).
	WatchingPods featuregate.Feature = "DaemonWatchingPod"
	// EnvFromMetadata tells environments from the meta data of pods, and restarts containers for them (CM-5, CM-6).
	EnvFromMetadata featuregate.Feature = "InPlaceUpdateEnvFromMetadata"
)

// Options are the flags of the daemon. // NP-11.2
type Options struct {
	// Kubeconfig of the cluster; empty is the pod's service account.
	Kubeconfig string
	// NodeName is the node that it runs on.
	NodeName string
	// Parts to run: names, "*" for all, "-name" for all but one.
	Parts []string
	// Sockets of container runtimes.
	Sockets cri.Sockets
	// Profiling serves Go's profiler at ProfileAddr.
	Profiling   bool
	ProfileAddr string
	// PluginConfig and PluginFolder are where the kubelet's credential provider plugins are.
	PluginConfig, PluginFolder string
	// Manager is what all our binaries share.
	Manager manager.Options

	gates *gates
}

// NewOptions are the defaults.
func NewOptions() (*Options, error) {
	g, err := newGates()
	return &Options{
		NodeName:    os.Getenv("NODE_NAME"), // NP-11.3
		Parts:       []string{"*"},
		Sockets:     cri.Sockets{Folder: "/hostvarrun"},
		ProfileAddr: ":10222", PluginConfig: "/kruise/CredentialProviderPlugin.yaml", PluginFolder: "/kruise/plugins",
		// A kind that is defined late is waited for.
		Manager: manager.Options{MetricsAddr: ":10221", HealthProbeAddr: "0", QPS: 20, Burst: 40, CacheSyncTimeout: 24 * time.Hour},
		gates:   g,
	}, err
}

// Bind adds the flags.
func (o *Options) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "the cluster's API server; empty is the service account of the pod")
	flags.StringVar(&o.NodeName, "node-name", o.NodeName, "the node this runs on; empty is $NODE_NAME")
	flags.StringSliceVar(&o.Parts, "controllers", o.Parts, fmt.Sprintf(`parts to run, of %v; "*" is all, "-name" all but one`, names()))
	flags.StringVar(&o.Manager.MetricsAddr, "addr", o.Manager.MetricsAddr, `address of /metrics and /healthz; "0" serves none`)
	flags.Float32Var(&o.Manager.QPS, "rest-config-qps", o.Manager.QPS, "requests a second to the API server")
	flags.IntVar(&o.Manager.Burst, "rest-config-burst", o.Manager.Burst, "requests to the API server that may come at once")
	flags.BoolVar(&o.Profiling, "enable-pprof", o.Profiling, "serve Go's profiler, to everyone who reaches --pprof-addr")
	flags.StringVar(&o.ProfileAddr, "pprof-addr", o.ProfileAddr, "address of the profiler")
	flags.StringVar(&o.Sockets.Endpoint, "cri-socket", o.Sockets.Endpoint, "the container runtime's socket; empty looks in --runtime-dir")
	flags.StringVar(&o.Sockets.File, "socket-file", o.Sockets.File, "the container runtime's socket, below --runtime-dir")
	flags.StringVar(&o.Sockets.Folder, "runtime-dir", o.Sockets.Folder, "where the host's /var/run is mounted")
	flags.StringVar(&o.PluginConfig, "plugin-config-file", o.PluginConfig, "the kubelet's CredentialProviderConfig; one that is not there is fine")
	flags.StringVar(&o.PluginFolder, "plugin-bin-dir", o.PluginFolder, "where the plugins it names are")
	flags.Var(o.gates, "feature-gates", "switches, such as PodProbeMarkerGate=false; those of the manager are taken too")
	flags.Bool("logtostderr", true, "taken for the sake of installations that pass it; nothing comes of it")
	_ = flags.MarkHidden("logtostderr")
}

// Validate lists everything that is wrong.
func (o *Options) Validate() []error {
	_, problems := cmd.Choose(names(), o.Parts)
	if o.NodeName == "" {
		problems = append(problems, errors.New("--node-name or $NODE_NAME must name the node this runs on")) // ND-1
	}
	return append(problems, o.Manager.Validate()...)
}
