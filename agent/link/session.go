package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/heartbeat"
	"github.com/flotilla-project/flotilla/agent/link/history"
	"github.com/flotilla-project/flotilla/agent/link/inventory"
	"github.com/flotilla-project/flotilla/agent/link/namespaces"
	"github.com/flotilla-project/flotilla/agent/link/register"
	"github.com/flotilla-project/flotilla/agent/link/work"
)

// errCredentials ends a session whose credentials cannot be used any more.
var errCredentials = errors.New("the hub credentials cannot be used any more")

// session is connected life: from usable credentials until they are not, or ctx ends.
type session struct {
	link   *Link
	holder register.Identity
	hub    register.Hub
	conn   *connection
	seen   cache.Cache // own ManagedCluster and own works

	past *history.Keeper
	wake atomic.Pointer[func()] // tells works that the verdict on the hub's history changed

	beats          chan heartbeat.Beat
	accepted       *bell
	acceptedAddOns *bell

	began   time.Time
	renewed atomic.Pointer[time.Time] // start of the last renewal of the lease that succeeded
	welcome atomic.Bool               // the hub accepted us at some time of this session
	denied  atomic.Bool               // and took that back

	beating sync.Mutex
	wanted  heartbeat.Beat // what the ManagedCluster asks for
	pace    time.Duration  // what the fence asks for
}

func (l *Link) session(ctx context.Context, credentials register.Credentials) error {
	hub, err := credentials.Hub()
	if err != nil {
		return err
	}
	holder, err := credentials.Holder()
	if err != nil {
		return err
	}
	l.serve(hub, holder)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{link: l, began: time.Now(), holder: holder, hub: hub, beats: make(chan heartbeat.Beat, 1), accepted: newBell(), acceptedAddOns: newBell()}
	if s.conn, err = connect(ctx, hub.Config(l.options.HubKubeconfigDir), l.scheme, l.options); err != nil {
		return err
	}
	if s.seen, err = s.newCache(); err != nil {
		return err
	}
	s.past = s.newPast()
	logf.FromContext(ctx).Info("Connecting to the hub", "cluster", s.holder.Cluster, "server", hub.Server)
	return s.run(ctx)
}

// newCache sees no more of the hub than it may: its own ManagedCluster, its own namespace. OCM-20.2
func (s *session) newCache() (cache.Cache, error) {
	seen, err := cache.New(s.conn.config, cache.Options{
		HTTPClient: s.conn.http, Scheme: s.link.scheme, Mapper: hubMapper(),
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&clusterv1.ManagedCluster{}: {Field: fields.OneTermEqualSelector("metadata.name", s.holder.Cluster)},
			&workv1.ManifestWork{}:      {Namespaces: map[string]cache.Config{s.holder.Cluster: {}}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("prepare hub cache: %w", err)
	}
	return seen, nil
}

func (s *session) run(ctx context.Context) error {
	o := s.link.options
	group, ctx := errgroup.WithContext(ctx)
	quietly := func(f func(context.Context)) {
		group.Go(func() error { f(ctx); return nil })
	}
	group.Go(func() error { return s.seen.Start(ctx) })
	s.seen.WaitForCacheSync(ctx) // nothing is watched yet, so this is until it runs
	group.Go(func() error { return s.watchCluster(ctx) })
	group.Go(func() error { return s.guard(ctx) })
	quietly(func(ctx context.Context) {
		heartbeat.Run(ctx, s.conn.hub, s.holder.Cluster, s.beats, s.conn.gate.Await, s.tried)
	})
	quietly(s.keepPace)
	quietly(s.reporter().Run)
	quietly(s.rotator().Run)
	quietly(func(ctx context.Context) {
		cluster := s.link.registrar.Cluster
		cluster.Name = s.holder.Cluster
		cluster.Keep(ctx, s.conn.hub)
	})
	group.Go(func() error { return s.works(ctx, o) })
	group.Go(func() error { return s.addons(ctx) })
	return group.Wait()
}

// guard ends the session when the credentials are no good any more: by what is stored, or by what the hub says.
func (s *session) guard(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go wait.UntilWithContext(ctx, func(context.Context) {
		if s.conn.gate.Refused() > longestRefusal {
			if files, err := s.link.registrar.Store.Files(); err == nil {
				s.link.registrar.Refuse(files)
			}
			cancel(fmt.Errorf("%w: the hub refuses the certificate", errCredentials))
		}
	}, guardPeriod)
	go wait.UntilWithContext(ctx, func(context.Context) {
		if why := s.leave(time.Now()); why != "" {
			s.link.left.Store(&s.hub.Server)
			cancel(fmt.Errorf("%w: %s", errLeft, why))
		}
	}, time.Second)
	if why := s.link.registrar.Guard(ctx, guardPeriod); why != nil {
		return fmt.Errorf("%w: %w", errCredentials, why)
	}
	if cause := context.Cause(ctx); errors.Is(cause, errCredentials) || errors.Is(cause, errLeft) {
		return cause
	}
	return nil
}

// watchCluster passes on what the own ManagedCluster says.
func (s *session) watchCluster(ctx context.Context) error {
	informer, err := s.seen.GetInformer(ctx, &clusterv1.ManagedCluster{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch ManagedCluster: %w", err)
	}
	heard := func(obj any) {
		cluster, ok := obj.(*clusterv1.ManagedCluster)
		if !ok {
			return
		}
		beat := heartbeat.Of(cluster)
		s.beat(beat)
		s.denied.Store(s.welcome.Load() && !cluster.Spec.HubAcceptsClient)
		if beat.Accepted {
			s.welcome.Store(true)
			s.accepted.ring()
			s.acceptedAddOns.ring()
		}
		s.link.local.inventory.ring()
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    heard,
		UpdateFunc: func(_, new any) { heard(new) },
		DeleteFunc: func(any) { s.beat(heartbeat.Of(nil)) },
	})
	if err != nil {
		return fmt.Errorf("watch ManagedCluster: %w", err)
	}
	return nil
}

// beat leaves the latest beat for the heartbeat to find, as fast as the fence needs it.
func (s *session) beat(b heartbeat.Beat) {
	s.beating.Lock()
	defer s.beating.Unlock()
	s.wanted = b
	s.pass()
}

func (s *session) pass() {
	b := s.wanted
	if s.pace > 0 && b.Accepted {
		b.Period = min(b.Period, max(s.pace, time.Second))
	}
	select {
	case <-s.beats:
	default:
	}
	s.beats <- b
}

// keepPace follows the fence: a lease that is renewed more seldom than works want to step down says nothing.
func (s *session) keepPace(ctx context.Context) {
	wait.UntilWithContext(ctx, func(context.Context) {
		s.beating.Lock()
		defer s.beating.Unlock()
		if pace := s.link.fence.Pace(); pace != s.pace {
			s.pace = pace
			s.pass()
		}
	}, time.Second)
}

func (s *session) reporter() *inventory.Reporter {
	return &inventory.Reporter{
		Local: s.link.local.inventoryOf(), Hub: s.conn.hub, Seen: s.seen, Name: s.holder.Cluster,
		Options: s.link.inventoryOptions(), Changed: s.link.local.inventory.rings(),
		Namespaces: &namespaces.Keeper{Local: s.link.local.client, HubHash: work.HubHash(s.hub.Server)},
	}
}

func (s *session) rotator() register.Rotator {
	return register.Rotator{
		Registrar: s.link.registrar, Hub: s.conn.hub, Holder: s.holder,
		Changed: s.link.local.secret.rings(),
		Rotated: s.conn.dialer.CloseAll, // the next request dials with the new certificate
	}
}

// works applies once the cluster is accepted; before that the agent has no right to look.
func (s *session) works(ctx context.Context, o Options) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.accepted.rings():
	}
	agent, err := work.New(work.Deps{
		Hub: s.conn.hub, Works: s.seen, Online: s.conn.gate.Open, Cluster: s.holder.Cluster, HubServer: s.hub.Server,
		Local: s.link.local.client, Records: s.link.local.cache, LocalConfig: s.link.local.config,
		History: s.past, Fence: s.link.fence,
	}, o.workOptions())
	if err != nil {
		return err
	}
	wake := func() { agent.Wake(ctx) }
	s.wake.Store(&wake)
	s.link.fence.OnReturn(wake)
	return agent.Run(ctx)
}

// newPast remembers the hub's history, for works and add-ons.
func (s *session) newPast() *history.Keeper {
	return &history.Keeper{
		Hub: s.conn.hub, Cluster: s.holder.Cluster,
		Memory: history.Store{Local: s.link.local.client, Namespace: s.link.options.AgentNamespace, Hash: work.HubHash(s.hub.Server)},
		Changed: func() {
			if wake := s.wake.Load(); wake != nil {
				(*wake)()
			}
		},
	}
}
