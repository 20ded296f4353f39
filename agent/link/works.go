package link

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/heartbeat"
	"github.com/flotilla-project/flotilla/agent/link/register"
)

// worksOnly reports an agent that carries out works and leaves joining, heartbeat and inventory to another process:
// it was given a way into the hub for works, and none to join it. OCM-2.5
func (o Options) worksOnly() bool {
	return o.WorkloadSourceConfig != "" && o.BootstrapKubeconfig == "" && len(o.BootstrapKubeconfigs) == 0
}

// workSession is a session for works alone, with the kubeconfig that names their source.
func (l *Link) workSession(ctx context.Context) error {
	source, err := register.ReadBootstrap(l.options.WorkloadSourceConfig)
	if err != nil {
		return fmt.Errorf("use --workload-source-config: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{
		link: l, began: time.Now(), holder: register.Identity{Cluster: l.options.ClusterName}, hub: source.Hub,
		beats: make(chan heartbeat.Beat, 1), accepted: newBell(), acceptedAddOns: newBell(),
	}
	if s.conn, err = connect(ctx, source.Config, l.scheme, l.options); err != nil {
		return err
	}
	if s.seen, err = s.newCache(); err != nil {
		return err
	}
	s.past = s.newPast()
	logf.FromContext(ctx).Info("Carrying out works only", "cluster", s.holder.Cluster, "server", s.hub.Server)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.seen.Start(ctx) })
	s.seen.WaitForCacheSync(ctx) // nothing is watched yet, so this is until it runs
	s.accepted.ring()            // whether the hub accepts us is the other process's business
	group.Go(func() error { return s.works(ctx, l.options) })
	return group.Wait()
}

// startWorks is Start for works alone. Nothing steps down: who does not renew the lease cannot tell that it is not.
func (l *Link) startWorks(ctx context.Context) {
	backoff := newBackoff()
	for ctx.Err() == nil {
		l.pause(ctx, l.workSession(ctx), &backoff)
	}
}
