// Package link is everything in the agent that talks to the hub.
//
// It joins the hub with a bootstrap kubeconfig, keeps the certificate fresh, renews the lease, tells what the
// cluster is, applies the ManifestWorks of the cluster's namespace and feeds their status back. On the hub it
// uses no right beyond OCM-3.6. On the member it owns the credential secret, four ClusterClaims,
// AppliedManifestWorks and what works put there.
//
// It promises that a hub that is gone, at start or later, costs nothing but the news: the agent does not end,
// nobody else in it waits, what runs keeps running, and nothing is ever removed because something was not seen.
package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/fence"
	"github.com/flotilla-project/flotilla/agent/link/inventory"
	"github.com/flotilla-project/flotilla/agent/link/register"
	"github.com/flotilla-project/flotilla/agent/link/work"
)

const (
	noticeBootstrap = 5 * time.Second  // how soon a bootstrap kubeconfig that appears is used
	firstRetry      = 2 * time.Second  // after a failed handshake
	longestRetry    = 10 * time.Minute // for a hub that says no
	guardPeriod     = 10 * time.Second
	longestRefusal  = time.Minute // of a certificate that should be good, before a new one is asked for
)

// Link is the runnable that connects one member to its hub.
type Link struct {
	options   Options
	scheme    *runtime.Scheme
	local     *localCluster
	registrar register.Registrar
	fence     *fence.Fence
	left      atomic.Pointer[string] // server of the hub that was left last
	served    atomic.Pointer[served] // nil: not known yet
}

// New prepares a link for the cluster of local. It calls nobody yet.
func New(local *rest.Config, o Options) (*Link, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	scheme := newScheme()
	cluster, err := newLocal(local, scheme, o)
	if err != nil {
		return nil, err
	}
	ca := local.CAData
	if len(ca) == 0 && local.CAFile != "" {
		if ca, err = os.ReadFile(local.CAFile); err != nil {
			return nil, fmt.Errorf("read CA of the local cluster: %w", err)
		}
	}
	l := &Link{options: o, scheme: scheme, local: cluster}
	if l.fence, err = l.newFence(local); err != nil {
		return nil, err
	}
	l.registrar = register.NewRegistrar(register.Registrar{
		Store:      register.Store{Local: cluster.client, Namespace: o.AgentNamespace, Name: o.HubKubeconfigSecret, Dir: o.HubKubeconfigDir},
		Identity:   register.Identity{Cluster: o.ClusterName, Agent: o.AgentName},
		Kubeconfig: o.hubs()[0],
		Expiration: o.CertExpirationSeconds,
		Cluster:    register.Cluster{URLs: o.ExternalServerURLs, CA: ca, Annotations: o.annotations()},
		Dial: func(ctx context.Context, boot register.Bootstrap) (client.WithWatch, error) {
			c, err := connect(ctx, boot.Config, scheme, o)
			if err != nil {
				return nil, err
			}
			return c.hub, nil
		},
	})
	return l, nil
}

// Run is New and Start in one.
func Run(ctx context.Context, local *rest.Config, o Options) error {
	l, err := New(local, o)
	if err != nil {
		return err
	}
	return l.Start(ctx)
}

// NeedLeaderElection says that two agents of one cluster must not both talk to the hub.
func (l *Link) NeedLeaderElection() bool { return true }

// Start joins and stays connected until ctx ends. It returns an error only for what no retry can help.
func (l *Link) Start(ctx context.Context) error {
	ctx = logf.IntoContext(ctx, logf.FromContext(ctx).WithName("link"))
	var background sync.WaitGroup
	background.Go(func() { l.local.run(ctx, inventoryPeriod(l.options)) })
	defer background.Wait()
	<-l.local.begun
	if l.options.worksOnly() {
		l.startWorks(ctx)
		return nil
	}
	background.Go(func() { l.fence.Run(ctx) })
	backoff := newBackoff()
	for ctx.Err() == nil {
		err := l.choose(ctx)
		var credentials register.Credentials
		if err == nil {
			credentials, err = l.credentials(ctx)
		}
		if err == nil {
			err = l.session(ctx, credentials)
			backoff = newBackoff()
		}
		l.pause(ctx, err, &backoff)
	}
	return nil
}

// newFence needs no hub: that is when it works.
func (l *Link) newFence(local *rest.Config) (*fence.Fence, error) {
	acting, err := work.Acting(local)
	if err != nil {
		return nil, err
	}
	return fence.New(fence.Options{
		Local: l.local.client, Records: l.local.cache, Namespace: l.options.AgentNamespace, Acting: acting,
		Ours: func(record *workv1.AppliedManifestWork) bool {
			s := l.served.Load()
			return s != nil && work.Ours(record, s.agentID, s.cluster)
		},
	}), nil
}

// served is who the agent is to the hub that it serves, reached or not.
type served struct{ agentID, cluster string }

// serve notes which hub is served: without an id of its own, the agent is named by it. OCM-2.1
func (l *Link) serve(hub register.Hub, holder register.Identity) {
	s := &served{agentID: l.options.AgentID, cluster: holder.Cluster}
	if s.agentID == "" {
		s.agentID = work.HubHash(hub.Server)
	}
	l.served.Store(s)
}

func newBackoff() wait.Backoff {
	return wait.Backoff{Duration: firstRetry, Factor: 2, Jitter: 0.3, Steps: 30, Cap: longestRetry}
}

func inventoryPeriod(o Options) time.Duration { return max(o.HealthCheckPeriod, time.Minute) }

// credentials uses what is stored, else goes through the handshake.
func (l *Link) credentials(ctx context.Context) (register.Credentials, error) {
	stored, why := l.registrar.Stored(ctx)
	if why == nil {
		return stored, nil
	}
	logf.FromContext(ctx).V(1).Info("Stored credentials not used", "why", why.Error())
	return l.registrar.Register(ctx)
}

// pause waits before the next try, as long as the kind of failure asks for.
func (l *Link) pause(ctx context.Context, err error, backoff *wait.Backoff) {
	log := logf.FromContext(ctx)
	delay := time.Second
	switch {
	case ctx.Err() != nil:
		return
	case errors.Is(err, register.ErrNoBootstrap):
		delay = noticeBootstrap
		log.V(1).Info("No hub to join yet", "cause", err.Error())
	case errors.Is(err, register.ErrMoved), errors.Is(err, errCredentials), errors.Is(err, errLeft):
		log.Info("Joining again", "why", err.Error())
	case err != nil:
		delay = backoff.Step()
		log.Error(err, "Not connected to the hub, will try again", "after", delay.Round(time.Second).String())
	}
	select {
	case <-ctx.Done():
	case <-time.After(delay):
	}
}

func (l *Link) inventoryOptions() inventory.Options {
	return inventory.Options{
		Period: l.options.HealthCheckPeriod, MostClaims: l.options.MaxCustomClaims, ReservedSuffixes: l.options.ReservedClaimSuffixes,
		WithoutClaims: l.options.WithoutClaims, Properties: l.options.ClusterProperties,
	}
}
