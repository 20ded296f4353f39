package link

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/flotilla-project/flotilla/agent/link/register"
)

func TestDefaultsAreValidAndTurnedOff(t *testing.T) {
	o := Defaults()
	if err := o.Validate(); err != nil || o.Enabled() {
		t.Errorf("%v, enabled %v", err, o.Enabled())
	}
}

func TestEverythingWrongIsReportedAtOnce(t *testing.T) { // OCM-2.5, OCM-6.3
	o := Defaults()
	o.ClusterName, o.AgentName, o.ExternalServerURLs = "kube-system", "a:b", []string{"http://east"}
	o.CertExpirationSeconds, o.HubKubeconfigDir, o.HubKubeconfigSecret = 60, "", "Not_a_name"
	o.HealthCheckPeriod, o.StatusSyncInterval, o.MaxCustomClaims = 0, time.Millisecond, -1
	o.RegistrationAuth, o.AddOnRegistrationAuth, o.AddOnTokenSeconds, o.WorkloadSourceDriver = "awsirsa", "grpc", 599, "grpc"
	o.EvictionGrace, o.MassRemovalShare, o.HubConnectionTimeout, o.ResyncInterval = -1, 101, 0, 0
	o.BootstrapKubeconfigs = []string{"one"}
	err := o.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, flag := range []string{"spoke-cluster-name", "agent-name", "spoke-external-server-urls", "client-cert-expiration-seconds", "hub-kubeconfig-dir",
		"registration-auth", "addon-kubeclient-registration-auth", "addon-token-expiration-seconds", "workload-source-driver", "mass-removal-share",
		"appliedmanifestwork-eviction-grace-period", "hub-connection-timeout-seconds", "resync-interval", "bootstrap-kubeconfigs",
		"hub-kubeconfig-secret", "cluster-healthcheck-period", "status-sync-interval", "max-custom-cluster-claims"} {
		if !strings.Contains(err.Error(), "--"+flag) {
			t.Errorf("--%s is not complained about: %v", flag, err)
		}
	}
}

func TestDefaultsAreTheContracts(t *testing.T) { // OCM-2.5
	o := Defaults()
	if o.EvictionGrace != time.Hour || o.HubConnectionTimeout != 600 || o.RegistrationAuth != "csr" || o.AddOnRegistrationAuth != "csr" ||
		o.AddOnTokenSeconds != 31536000 || o.WorkloadSourceDriver != "kube" || o.StatusSyncInterval != 10*time.Second ||
		o.HealthCheckPeriod != time.Minute || o.MaxCustomClaims != 20 || o.MaxJSONRawLength != 1024 || o.MaxFeedbackWatch != 50 ||
		o.CertExpirationSeconds != 0 || o.HubKubeconfigSecret != "hub-kubeconfig-secret" || o.BootstrapKubeconfigSecret != "bootstrap-hub-kubeconfig" {
		t.Errorf("%+v", o)
	}
}

func TestAnAgentMayCarryOutWorksAlone(t *testing.T) { // OCM-2.5
	o := Defaults()
	o.WorkloadSourceConfig = "/hub"
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "--spoke-cluster-name") || !o.Enabled() || !o.worksOnly() {
		t.Errorf("enabled %v, works only %v: %v", o.Enabled(), o.worksOnly(), err)
	}
	o.ClusterName = "east"
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
	if o.BootstrapKubeconfig = "/bootstrap"; o.worksOnly() {
		t.Error("an agent that can join does")
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
		"--bootstrap-kubeconfig-secret=b", "--registration-auth=csr", "--addon-kubeclient-registration-auth=token", "--addon-token-expiration-seconds=600",
		"--hub-connection-timeout-seconds=60", "--appliedmanifestwork-eviction-grace-period=5s", "--workload-source-driver=kube",
		"--workload-source-config=/w", "--resync-interval=5m", "--mass-removal-share=50",
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

func TestFlagsReachTheAddOns(t *testing.T) { // OCM-2.5, OCM-19.4
	o := Defaults()
	o.AddOnRegistrationAuth, o.AddOnTokenSeconds, o.CertExpirationSeconds, o.Workloads = "token", 700, 3600, true
	got := o.addOnOptions()
	if got.Driver != "token" || got.TokenSeconds != 700 || got.CertSeconds != 3600 || !got.Workloads || got.Health != 30*time.Second || got.Discover != 5*time.Minute {
		t.Errorf("%+v", got)
	}
}

func TestAKubeconfigForOthersNamesNoFileOfOurs(t *testing.T) { // OCM-19.4
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte("ca"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := portable(register.Hub{Entry: "hub", CAFile: file}); got.CAFile != "" || string(got.CAData) != "ca" {
		t.Errorf("%+v", got)
	}
	if got := portable(register.Hub{CAFile: "/no/such"}); got.CAFile != "/no/such" {
		t.Errorf("a CA that cannot be read is left out: %+v", got)
	}
}
