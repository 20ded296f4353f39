// Package manager is the one constructor of a controller-runtime manager. It owns the choices that hub and agent
// share: a cache that keeps no managed fields, a client that reads its own writes, workers by kind, time limits, and
// endpoints that are off unless asked for.
package manager

import (
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// reconcileTimeout ends a round that waits for the cache to show its own write, which otherwise waits for ever.
const reconcileTimeout = time.Minute

// Options are the flags of a manager that hub and agent have in common.
type Options struct {
	// MetricsAddr serves /metrics; "0" serves none.
	MetricsAddr string
	// HealthProbeAddr serves /healthz and /readyz; "0" serves none.
	HealthProbeAddr string
	// LeaderElection lets only one of several replicas act.
	LeaderElection bool
	// LeaderElectionNamespace holds the Lease.
	LeaderElectionNamespace string
	// LeaderElectionID names the Lease.
	LeaderElectionID string
	// Namespace limits the cache to one namespace; empty is all.
	Namespace string
	// QPS and Burst limit requests to the API server.
	QPS   float32
	Burst int
	// Workers is the number of objects of a kind reconciled at a time, by "Kind.group".
	Workers map[string]int
	// Watch narrows what the cache holds of a kind; no flag sets it.
	Watch map[client.Object]cache.ByObject
	// CacheSyncTimeout is how long a controller waits for its first lists.
	CacheSyncTimeout time.Duration
}

// Bind adds the flags, with the options' present values as defaults.
func (o *Options) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.MetricsAddr, "metrics-addr", o.MetricsAddr, `address of /metrics, such as ":8080"; "0" serves none`)
	flags.StringVar(&o.HealthProbeAddr, "health-probe-addr", o.HealthProbeAddr, `address of /healthz and /readyz; "0" serves none`)
	flags.BoolVar(&o.LeaderElection, "enable-leader-election", o.LeaderElection, "act only while holding the lease, for more than one replica")
	flags.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", o.LeaderElectionNamespace, "namespace of the lease")
	flags.StringVar(&o.LeaderElectionID, "leader-election-id", o.LeaderElectionID, "name of the lease")
	flags.StringVar(&o.Namespace, "namespace", o.Namespace, "look at this namespace only; empty is all")
	flags.Float32Var(&o.QPS, "rest-config-qps", o.QPS, "requests a second to the API server")
	flags.IntVar(&o.Burst, "rest-config-burst", o.Burst, "requests to the API server that may come at once")
	flags.StringToIntVar(&o.Workers, "workers", o.Workers, "objects of a kind reconciled at a time, such as CloneSet.apps.kruise.io=10")
	flags.DurationVar(&o.CacheSyncTimeout, "controller-cache-sync-timeout", o.CacheSyncTimeout, "how long a controller waits for its first lists")
}

// Validate lists everything that is wrong.
func (o *Options) Validate() (problems []error) {
	if o.LeaderElection && (o.LeaderElectionNamespace == "" || o.LeaderElectionID == "") {
		problems = append(problems, fmt.Errorf("--enable-leader-election needs --leader-election-namespace and --leader-election-id"))
	}
	if o.QPS <= 0 || o.Burst < 1 {
		problems = append(problems, fmt.Errorf("--rest-config-qps=%v and --rest-config-burst=%d must be above 0", o.QPS, o.Burst))
	}
	for kind, n := range o.Workers {
		if n < 1 {
			problems = append(problems, fmt.Errorf("--workers=%s=%d must be at least 1", kind, n))
		}
	}
	return problems
}

// New makes a manager for the cluster behind cfg, which is not changed.
func New(cfg *rest.Config, scheme *runtime.Scheme, log logr.Logger, userAgent string, o Options) (ctrl.Manager, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst, cfg.UserAgent = o.QPS, o.Burst, userAgent
	cached := cache.Options{DefaultTransform: cache.TransformStripManagedFields(), ByObject: o.Watch}
	if o.Namespace != "" {
		cached.DefaultNamespaces = map[string]cache.Config{o.Namespace: {}}
	}
	m, err := ctrl.NewManager(cfg, manager.Options{
		Scheme: scheme,
		Logger: log,
		Cache:  cached,
		// Budgets stay honest between two reconciles because a list waits for the writes before it.
		Client:                        client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)}},
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddr},
		HealthProbeBindAddress:        o.HealthProbeAddr,
		LeaderElection:                o.LeaderElection,
		LeaderElectionNamespace:       o.LeaderElectionNamespace,
		LeaderElectionID:              o.LeaderElectionID,
		LeaderElectionReleaseOnCancel: true,
		Controller: config.Controller{
			GroupKindConcurrency:  o.Workers,
			CacheSyncTimeout:      o.CacheSyncTimeout,
			ReconciliationTimeout: reconcileTimeout,
			EnableWarmup:          new(true),
			SkipNameValidation:    new(true), // one process may run several managers, tests do
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	if err := m.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return m, m.AddReadyzCheck("ping", healthz.Ping)
}
