package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/register"
)

const startGrace = 10 * time.Second // OCM-6.2

// errLeft ends a session with one of several hubs, because another may serve us better.
var errLeft = errors.New("leaving this hub")

// choose settles which of several hubs is joined; with one there is no choice. OCM-6.2
func (l *Link) choose(ctx context.Context) error {
	hubs := l.options.hubs()
	if len(hubs) == 1 {
		return nil
	}
	stored := ""
	if have, err := l.registrar.Store.Load(ctx); err == nil {
		if hub, err := have.Hub(); err == nil {
			stored = hub.Server
		}
	}
	left := ""
	if server := l.left.Load(); server != nil {
		left = *server
	}
	kubeconfig, err := register.Choose(ctx, hubs, stored, left, l.welcome)
	if err != nil {
		return err
	}
	if kubeconfig != l.registrar.Kubeconfig {
		logf.FromContext(ctx).Info("Chose a hub", "bootstrapKubeconfig", kubeconfig)
	}
	l.registrar.Kubeconfig = kubeconfig
	return nil
}

// welcome says why a hub would not let us in.
func (l *Link) welcome(ctx context.Context, boot register.Bootstrap) error {
	ctx, cancel := context.WithTimeout(ctx, startGrace)
	defer cancel()
	conn, err := connect(ctx, boot.Config, l.scheme, l.options)
	if err != nil {
		return err
	}
	return register.MayBootstrap(ctx, conn.hub)
}

// leave says why one of several hubs should be left: it denied us, or the lease could not be renewed. OCM-6.2
func (s *session) leave(now time.Time) string {
	if len(s.link.options.hubs()) == 1 || now.Sub(s.began) < startGrace {
		return ""
	}
	if s.denied.Load() {
		return "it denied this cluster"
	}
	last := s.began
	if at := s.renewed.Load(); at != nil {
		last = *at
	}
	if limit := time.Duration(s.link.options.HubConnectionTimeout) * time.Second; now.Sub(last) > limit {
		return fmt.Sprintf("the lease was not renewed for %s", now.Sub(last).Round(time.Second))
	}
	return ""
}

// tried hears of every try to renew the lease.
func (s *session) tried(begun time.Time, err error) {
	s.link.fence.Tried(begun, err)
	if err == nil {
		s.renewed.Store(&begun)
	}
}
