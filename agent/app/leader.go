package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// tellLeader has a gauge say which replica acts, by the name that dashboards of OpenKruise know. // NP-14
func tellLeader(m ctrl.Manager, registry prometheus.Registerer) error {
	leads := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kruise_manager_is_leader", Help: "1 on the replica that acts"})
	if err := registry.Register(leads); err != nil {
		taken, ok := errors.AsType[prometheus.AlreadyRegisteredError](err)
		if !ok {
			return fmt.Errorf("register kruise_manager_is_leader: %w", err)
		}
		leads, _ = taken.ExistingCollector.(prometheus.Gauge)
	}
	return m.Add(leader{m.Elected(), leads})
}

// leader runs in every replica, and sees when this one is chosen. One that loses its lease ends.
type leader struct {
	elected <-chan struct{}
	leads   prometheus.Gauge
}

var _ manager.LeaderElectionRunnable = leader{}

// NeedLeaderElection lets it wait beside the replica that acts.
func (leader) NeedLeaderElection() bool { return false }

// Start waits for the choice.
func (l leader) Start(ctx context.Context) error {
	l.leads.Set(0)
	select {
	case <-l.elected:
		l.leads.Set(1)
	case <-ctx.Done():
	}
	return nil
}
