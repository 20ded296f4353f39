package app

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// NP-11.1: what the chart passes.
func TestAnInstallationOfOpenKruiseStarts(t *testing.T) {
	o := parse(t, "--enable-leader-election", "--metrics-addr=127.0.0.1:8080", "--health-probe-addr=:8000", "--logtostderr=true",
		"--leader-election-namespace=kruise-system", "--feature-gates=AllAlpha=true,AllBeta=true,EnableExternalCerts=false", "--sync-period=0",
		"--allow-privileged", "--enable-pprof=false", "--broadcastjob-workers=10", "--rate-limiter-max-delay=1m")
	if problems := o.Validate(); len(problems) != 0 {
		t.Error(problems)
	}
	if o.Manager.LeaderElectionNamespace != "kruise-system" || !o.gates.Enabled(ResourcesDeletionProtection) || o.gates.Enabled("EnableExternalCerts") {
		t.Errorf("%+v", o)
	}
}

// NP-10: a gate that does nothing says so.
func TestGatesThatDoNothingAreNamed(t *testing.T) {
	if got := parse(t).idle(); got != nil {
		t.Errorf("by default: %q", got)
	}
	got := parse(t, "--feature-gates=WorkloadSpread=false,SidecarTerminator=true,PodWebhook=false").idle()
	if d := cmp.Diff([]string{"SidecarTerminator", "WorkloadSpread"}, got); d != "" {
		t.Error(d)
	}
}
