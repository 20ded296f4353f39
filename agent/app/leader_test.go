package app

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func valueOf(t *testing.T, g prometheus.Gauge) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(g)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].Metric[0].GetGauge().GetValue()
}

// NP-14
func TestOneReplicaSaysThatItActs(t *testing.T) {
	elected := make(chan struct{})
	l := leader{elected, prometheus.NewGauge(prometheus.GaugeOpts{Name: "leads"})}
	l.leads.Set(7)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Start(ended); err != nil || valueOf(t, l.leads) != 0 {
		t.Errorf("a replica that waits says %v, %v", valueOf(t, l.leads), err)
	}
	close(elected)
	if err := l.Start(t.Context()); err != nil || valueOf(t, l.leads) != 1 {
		t.Errorf("the one that acts says %v, %v", valueOf(t, l.leads), err)
	}
	if l.NeedLeaderElection() {
		t.Error("it runs in the replica that acts only")
	}
}
