package link

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestDefaultsAreValidAndTurnedOff(t *testing.T) {
	o := Defaults()
	if err := o.Validate(); err != nil || o.Enabled() {
		t.Errorf("%v, enabled %v", err, o.Enabled())
	}
}

func TestEverythingWrongIsReportedAtOnce(t *testing.T) { // OCM-2.5
	o := Defaults()
	o.ClusterName, o.AgentName, o.ExternalServerURLs = "kube-system", "a:b", []string{"http://east"}
	o.CertExpirationSeconds, o.HubKubeconfigDir, o.HubKubeconfigSecret = 60, "", "Not_a_name"
	o.HealthCheckPeriod, o.StatusSyncInterval, o.MaxCustomClaims = 0, time.Millisecond, -1
	err := o.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, flag := range []string{"spoke-cluster-name", "agent-name", "spoke-external-server-urls", "client-cert-expiration-seconds", "hub-kubeconfig-dir",
		"hub-kubeconfig-secret", "cluster-healthcheck-period", "status-sync-interval", "max-custom-cluster-claims"} {
		if !strings.Contains(err.Error(), "--"+flag) {
			t.Errorf("--%s is not complained about: %v", flag, err)
		}
	}
}

func TestFlagsHaveTheContractsNames(t *testing.T) { // OCM-2.5
	o := Defaults()
	f := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	o.Bind(f)
	err := f.Parse([]string{
		"--bootstrap-kubeconfig=/b", "--hub-kubeconfig-secret=s", "--hub-kubeconfig-dir=/d", "--spoke-cluster-name=east", "--agent-id=id",
		"--spoke-external-server-urls=https://east", "--cluster-healthcheck-period=30s", "--max-custom-cluster-claims=3",
		"--reserved-cluster-claim-suffixes=x.io", "--cluster-annotations=agent.open-cluster-management.io/a=b,other/c=d",
		"--client-cert-expiration-seconds=3600", "--status-sync-interval=60s", "--max-json-raw-length=10", "--max-feedback-watch=1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !o.Enabled() || o.ClusterName != "east" || o.MaxCustomClaims != 3 || o.StatusSyncInterval != time.Minute || o.Validate() != nil {
		t.Errorf("%+v", o)
	}
	if kept := o.annotations(); len(kept) != 1 || kept["agent.open-cluster-management.io/a"] != "b" {
		t.Errorf("annotations %v", kept)
	}
	older := Defaults()
	g := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	older.Bind(g)
	if err := g.Parse([]string{"--cluster-name=west"}); err != nil || older.ClusterName != "west" {
		t.Errorf("%q, %v", older.ClusterName, err)
	}
}
