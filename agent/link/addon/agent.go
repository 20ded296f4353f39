// Package addon is the agent's side of add-ons (OCM-19): credentials for their agents, and their health.
//
// On the hub it reads the ManagedClusterAddOns of the cluster's namespace and owns, in their status, the condition
// Available of those that are judged by a lease, ClusterCertificateRotated, TokenRefreshed, and which driver gives them
// credentials; it makes certificate requests. On this cluster it owns the secrets of add-ons, one Lease with the names of
// these secrets, and the lease of our own add-on flotilla-workload-manager; it reads the leases of the others.
//
// It promises: a key leaves this process for its secret only; a hub that does not serve add-ons costs one question every
// few minutes; a credential is taken away only when the hub, whose history is not in doubt, says that its add-on is gone
// or wants another; and a write only when something changed.
package addon

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/register"
)

// WorkloadManager is the add-on that stands for the agent's own workload controllers.
const WorkloadManager = "flotilla-workload-manager"

// Deps are what the agent works with.
type Deps struct {
	Hub    client.WithWatch // direct
	Local  client.Client    // direct
	Holder register.Identity
	// Serves asks the hub whether it serves a version of the add-on API.
	Serves func(ctx context.Context, version string) (bool, error)
	// Watch opens a cache of the own namespace, which tells failed of watches that fail.
	Watch func(failed func(error)) (cache.Cache, error)
	// Held says why nothing may be taken away now; empty: it may.
	Held func(ctx context.Context) (string, error)
	// Kubeconfig and TokenKubeconfig lead to the hub with a certificate or a token that lie beside them.
	Kubeconfig, TokenKubeconfig []byte
	// Namespace and Record are of the Lease that remembers secrets.
	Namespace, Record string
}

// Options are the flags that concern add-ons.
type Options struct {
	Driver       string        // --addon-kubeclient-registration-auth
	TokenSeconds int32         // --addon-token-expiration-seconds
	CertSeconds  int32         // --client-cert-expiration-seconds
	Workloads    bool          // our workload controllers run beside this
	Health       time.Duration // how often the lease of an add-on that is well is read
	Unwell       time.Duration // and of another
	Look         time.Duration // how often a secret is looked at
	Retry        time.Duration // how seldom at most a credential is asked for that is not given
	Discover     time.Duration // how often a hub without add-ons is asked whether it has them now
}

// complete fills in what is not said.
func (o Options) complete() Options {
	for value, fallback := range map[*time.Duration]time.Duration{
		&o.Health: 30 * time.Second, &o.Unwell: 10 * time.Second, &o.Look: 15 * time.Second, &o.Retry: 5 * time.Minute, &o.Discover: 5 * time.Minute,
	} {
		if *value == 0 {
			*value = fallback
		}
	}
	return o
}

// Agent looks after the add-ons of one cluster.
type Agent struct {
	Deps
	options Options
	vault   vault

	mu       sync.Mutex
	life     context.Context // of the keepers; nil while nothing is served
	seen     client.Reader   // the cache of what is served
	queue    workqueue.TypedRateLimitingInterface[string]
	keepers  map[types.NamespacedName]*keeper
	outcomes map[string]map[string]metav1.Condition // add-on, type: what keepers tell
	looked   map[string]verdict

	kind     schema.GroupVersionKind
	keepless bool // the hub does not keep the driver that is declared
}

// verdict is what was found of an add-on's health, and when.
type verdict struct {
	at        time.Time
	namespace string
	good      bool
	changes   time.Duration // from then on, by time alone
}

// New prepares an agent. It calls nobody yet.
func New(d Deps, o Options) *Agent {
	return &Agent{
		Deps: d, options: o.complete(), vault: vault{local: d.Local, ledger: &ledger{local: d.Local, namespace: d.Namespace, name: d.Record}},
		keepers: map[types.NamespacedName]*keeper{}, outcomes: map[string]map[string]metav1.Condition{}, looked: map[string]verdict{},
	}
}

// Run looks after add-ons until ctx ends. A hub that does not serve them is asked now and then.
func (a *Agent) Run(ctx context.Context) {
	for ctx.Err() == nil {
		served, err := a.discover(ctx)
		if err == nil && served != nil {
			err = a.serve(ctx, *served)
		}
		if err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).V(1).Info("Not looking after add-ons for now", "cause", err.Error())
		}
		select {
		case <-ctx.Done():
		case <-time.After(jittered(a.options.Discover)):
		}
	}
}

// told keeps what a keeper has to say until the status is written.
func (a *Agent) told(addOn string, c metav1.Condition) {
	a.mu.Lock()
	if a.outcomes[addOn] == nil {
		a.outcomes[addOn] = map[string]metav1.Condition{}
	}
	a.outcomes[addOn][c.Type] = c
	queue := a.queue
	a.mu.Unlock()
	if queue != nil {
		queue.Add(addOn)
	}
}

// work reconciles add-ons until the queue is shut.
func (a *Agent) work(ctx context.Context) {
	for {
		name, over := a.queue.Get()
		if over {
			return
		}
		a.round(ctx, name)
		a.queue.Done(name)
	}
}

func (a *Agent) round(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	again, err := a.reconcile(ctx, name)
	switch {
	case err != nil && ctx.Err() == nil:
		logf.FromContext(ctx).V(verbosity(err)).Info("Add-on not looked after, will try again", "addOn", name, "cause", err.Error())
		a.queue.AddRateLimited(name)
	case err != nil:
		a.queue.AddRateLimited(name)
	default:
		a.queue.Forget(name)
		if again > 0 {
			a.queue.AddAfter(name, again)
		}
	}
}

// reconcile is one add-on, in four steps.
func (a *Agent) reconcile(ctx context.Context, name string) (time.Duration, error) {
	seen, err := a.observe(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("observe: %w", err)
	}
	p := decide(name, seen, a.Holder, a.options, time.Now())
	again, err := a.act(ctx, name, seen, p)
	if err != nil {
		return 0, err
	}
	if again == 0 {
		again = p.again
	}
	return again, nil
}
