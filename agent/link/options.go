package link

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/flotilla-project/flotilla/agent/link/work"
)

const (
	annotationPrefix = "agent.open-cluster-management.io"
	shortestCert     = 3600 // seconds
	longestAgentName = 63
	shortestToken    = 600 // seconds
	driverCSR        = "csr"
)

// Options say how this agent reaches its hub and what it tells. Flag names are those of OCM-2.5.
type Options struct {
	BootstrapKubeconfig string
	// BootstrapKubeconfigs are those of several hubs, of which one is served at a time (gate MultipleHubs).
	BootstrapKubeconfigs      []string
	BootstrapKubeconfigSecret string
	HubConnectionTimeout      int32 // seconds
	RegistrationAuth          string
	AddOnRegistrationAuth     string
	AddOnTokenSeconds         int32
	WorkloadSourceDriver      string
	WorkloadSourceConfig      string
	HubKubeconfigDir          string
	HubKubeconfigSecret       string
	AgentNamespace            string // of the credential secret, on the local cluster
	ClusterName               string
	AgentName                 string
	AgentID                   string
	ExternalServerURLs        []string
	ClusterAnnotations        map[string]string
	CertExpirationSeconds     int32
	HealthCheckPeriod         time.Duration
	MaxCustomClaims           int
	ReservedClaimSuffixes     []string
	StatusSyncInterval        time.Duration
	EvictionGrace             time.Duration
	MassRemovalShare          int
	ResyncInterval            time.Duration
	MaxJSONRawLength          int32
	MaxFeedbackWatch          int
	RawFeedbackJSON           bool // feature gate RawFeedbackJsonString; the app sets it
	WithoutClaims             bool // feature gate ClusterClaim is off; the app sets it
	ClusterProperties         bool // feature gate ClusterProperty; the app sets it
	Workloads                 bool // workload controllers run in this process; the app sets it
	WorkConcurrency           int
	HubQPS                    float32
	HubBurst                  int
}

// Defaults are the options of an agent that was told nothing.
func Defaults() Options {
	return Options{
		HubKubeconfigDir: "/spoke/hub-kubeconfig", HubKubeconfigSecret: "hub-kubeconfig-secret",
		AgentNamespace: "open-cluster-management-agent", HealthCheckPeriod: time.Minute, MaxCustomClaims: 20,
		StatusSyncInterval: 10 * time.Second, MaxJSONRawLength: 1024, MaxFeedbackWatch: 50, WorkConcurrency: 5,
		BootstrapKubeconfigSecret: "bootstrap-hub-kubeconfig", HubConnectionTimeout: 600, RegistrationAuth: driverCSR,
		AddOnRegistrationAuth: driverCSR, AddOnTokenSeconds: 31536000, WorkloadSourceDriver: "kube",
		HubQPS: 50, HubBurst: 100, EvictionGrace: time.Hour, MassRemovalShare: 25, ResyncInterval: 4 * time.Minute,
	}
}

// Bind registers the flags; what o holds is their default.
func (o *Options) Bind(f *pflag.FlagSet) {
	f.StringVar(&o.BootstrapKubeconfig, "bootstrap-kubeconfig", o.BootstrapKubeconfig, "kubeconfig to join a hub with; empty: run for this cluster alone")
	f.StringSliceVar(&o.BootstrapKubeconfigs, "bootstrap-kubeconfigs", o.BootstrapKubeconfigs, "kubeconfigs of two or more hubs, of which the first that lets us in is joined (gate MultipleHubs)")
	f.StringVar(&o.BootstrapKubeconfigSecret, "bootstrap-kubeconfig-secret", o.BootstrapKubeconfigSecret, "secret that the bootstrap kubeconfig is mounted from; the file is what is read, again whenever it changes")
	f.Int32Var(&o.HubConnectionTimeout, "hub-connection-timeout-seconds", o.HubConnectionTimeout, "with several hubs: leave one whose lease could not be renewed for so long")
	f.StringVar(&o.RegistrationAuth, "registration-auth", o.RegistrationAuth, "how to authenticate with the hub; csr is the only way this agent knows")
	f.StringVar(&o.AddOnRegistrationAuth, "addon-kubeclient-registration-auth", o.AddOnRegistrationAuth, "how add-ons authenticate with the hub: csr or token")
	f.Int32Var(&o.AddOnTokenSeconds, "addon-token-expiration-seconds", o.AddOnTokenSeconds, "wanted life of an add-on's token, at least 600")
	f.StringVar(&o.WorkloadSourceDriver, "workload-source-driver", o.WorkloadSourceDriver, "where works come from; kube, the hub's API server, is the only source this agent knows")
	f.StringVar(&o.WorkloadSourceConfig, "workload-source-config", o.WorkloadSourceConfig, "kubeconfig of the hub for an agent that only carries out works, without joining; otherwise kube needs none")
	f.StringVar(&o.HubKubeconfigDir, "hub-kubeconfig-dir", o.HubKubeconfigDir, "folder for the credentials that the hub issued")
	f.StringVar(&o.HubKubeconfigSecret, "hub-kubeconfig-secret", o.HubKubeconfigSecret, "secret on this cluster for the same")
	f.StringVar(&o.AgentNamespace, "agent-namespace", o.AgentNamespace, "namespace of that secret")
	f.StringVar(&o.ClusterName, "spoke-cluster-name", o.ClusterName, "name of this cluster on the hub; empty: the stored one, else a random one")
	f.StringVar(&o.ClusterName, "cluster-name", o.ClusterName, "older name of --spoke-cluster-name")
	f.StringVar(&o.AgentName, "agent-name", o.AgentName, "name of this agent instance; empty: the stored one, else a random one")
	f.StringVar(&o.AgentID, "agent-id", o.AgentID, "id of this installation, which owns what it applies; empty: the hub's hash")
	f.StringSliceVar(&o.ExternalServerURLs, "spoke-external-server-urls", o.ExternalServerURLs, "https URLs under which others reach this cluster")
	f.StringToStringVar(&o.ClusterAnnotations, "cluster-annotations", o.ClusterAnnotations, "annotations for the ManagedCluster; only keys that start with "+annotationPrefix+" are kept")
	f.Int32Var(&o.CertExpirationSeconds, "client-cert-expiration-seconds", o.CertExpirationSeconds, "wanted life of the client certificate; 0 leaves it to the signer, else at least 3600")
	f.DurationVar(&o.HealthCheckPeriod, "cluster-healthcheck-period", o.HealthCheckPeriod, "how often the local API server is looked at")
	f.IntVar(&o.MaxCustomClaims, "max-custom-cluster-claims", o.MaxCustomClaims, "how many custom ClusterClaims are reported")
	f.StringSliceVar(&o.ReservedClaimSuffixes, "reserved-cluster-claim-suffixes", o.ReservedClaimSuffixes, "suffixes of claim names that are reported beyond that limit")
	f.DurationVar(&o.StatusSyncInterval, "status-sync-interval", o.StatusSyncInterval, "how often the status of applied objects is looked at")
	f.DurationVar(&o.EvictionGrace, "appliedmanifestwork-eviction-grace-period", o.EvictionGrace, "how long what was applied outlives a work that is not on the hub any more; 100 years and more is for ever")
	f.IntVar(&o.MassRemovalShare, "mass-removal-share", o.MassRemovalShare, "how many percent of the works may vanish from the hub within 5 minutes before their removal waits for a confirmation; a fifth more may be deleted; 100 is any")
	f.DurationVar(&o.ResyncInterval, "resync-interval", o.ResyncInterval, "shortest time between two rounds of applying a work that does not change; the longest is half as long again")
	f.Int32Var(&o.MaxJSONRawLength, "max-json-raw-length", o.MaxJSONRawLength, "longest JSON value fed back, in bytes")
	f.IntVar(&o.MaxFeedbackWatch, "max-feedback-watch", o.MaxFeedbackWatch, "how many kinds are watched for feedback; further ones are polled")
	_ = f.MarkDeprecated("cluster-name", "use --spoke-cluster-name")
}

// Enabled reports whether there is a hub to talk to, now or once the bootstrap kubeconfig appears.
func (o Options) Enabled() bool {
	return o.BootstrapKubeconfig != "" || len(o.BootstrapKubeconfigs) > 0 || o.WorkloadSourceConfig != ""
}

// hubs are the bootstrap kubeconfigs to choose from.
func (o Options) hubs() []string {
	if len(o.BootstrapKubeconfigs) > 0 {
		return o.BootstrapKubeconfigs
	}
	return []string{o.BootstrapKubeconfig}
}

// validateDrivers refuses what this agent cannot do, rather than doing something else. OCM-2.5, OCM-6.3
func (o Options) validateDrivers(complain func(format string, args ...any)) {
	if o.RegistrationAuth != driverCSR {
		complain("--registration-auth %q: this agent only knows csr", o.RegistrationAuth)
	}
	if o.AddOnRegistrationAuth != driverCSR && o.AddOnRegistrationAuth != "token" {
		complain("--addon-kubeclient-registration-auth %q: must be csr or token", o.AddOnRegistrationAuth)
	}
	if o.AddOnTokenSeconds < shortestToken {
		complain("--addon-token-expiration-seconds %d: must be at least %d", o.AddOnTokenSeconds, shortestToken)
	}
	if o.WorkloadSourceDriver != "kube" {
		complain("--workload-source-driver %q: this agent only knows kube", o.WorkloadSourceDriver)
	}
	if o.worksOnly() && o.ClusterName == "" {
		complain("--spoke-cluster-name: must be given with --workload-source-config alone")
	}
	if len(o.BootstrapKubeconfigs) == 1 {
		complain("--bootstrap-kubeconfigs: name two or more, or use --bootstrap-kubeconfig")
	}
	if len(o.BootstrapKubeconfigs) > 0 && o.BootstrapKubeconfig != "" {
		complain("--bootstrap-kubeconfigs: cannot be given together with --bootstrap-kubeconfig")
	}
	if o.HubConnectionTimeout < 1 {
		complain("--hub-connection-timeout-seconds %d: must be at least 1", o.HubConnectionTimeout)
	}
}

// Validate reports everything that is wrong with the options.
func (o Options) Validate() error {
	var wrong []error
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if o.ClusterName != "" {
		for _, msg := range validation.IsDNS1123Label(o.ClusterName) {
			complain("--spoke-cluster-name %q: %s", o.ClusterName, msg)
		}
		if systemName(o.ClusterName) {
			complain("--spoke-cluster-name %q: a cluster cannot be called like a system namespace", o.ClusterName)
		}
	}
	if strings.ContainsAny(o.AgentName, ": \t\n") || len(o.AgentName) > longestAgentName {
		complain("--agent-name %q: at most %d characters, no colon, no space", o.AgentName, longestAgentName)
	}
	for _, raw := range o.ExternalServerURLs {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "https" || u.Host == "" {
			complain("--spoke-external-server-urls %q: must be an https URL", raw)
		}
	}
	if o.CertExpirationSeconds != 0 && o.CertExpirationSeconds < shortestCert {
		complain("--client-cert-expiration-seconds %d: must be 0 or at least %d", o.CertExpirationSeconds, shortestCert)
	}
	if o.HubKubeconfigDir == "" {
		complain("--hub-kubeconfig-dir: must name a folder")
	}
	o.validateDrivers(complain)
	for flag, name := range map[string]string{
		"hub-kubeconfig-secret": o.HubKubeconfigSecret, "agent-namespace": o.AgentNamespace, "bootstrap-kubeconfig-secret": o.BootstrapKubeconfigSecret,
	} {
		for _, msg := range validation.IsDNS1123Subdomain(name) {
			complain("--%s %q: %s", flag, name, msg)
		}
	}
	if o.HealthCheckPeriod < time.Second {
		complain("--cluster-healthcheck-period %s: must be at least 1s", o.HealthCheckPeriod)
	}
	if o.StatusSyncInterval < time.Second {
		complain("--status-sync-interval %s: must be at least 1s", o.StatusSyncInterval)
	}
	if o.EvictionGrace < 0 {
		complain("--appliedmanifestwork-eviction-grace-period %s: must not be negative", o.EvictionGrace)
	}
	if o.MassRemovalShare < 0 || o.MassRemovalShare > 100 {
		complain("--mass-removal-share %d: must be between 0 and 100", o.MassRemovalShare)
	}
	if o.ResyncInterval < time.Second {
		complain("--resync-interval %s: must be at least 1s", o.ResyncInterval)
	}
	for flag, n := range map[string]int{
		"max-custom-cluster-claims": o.MaxCustomClaims, "max-json-raw-length": int(o.MaxJSONRawLength), "max-feedback-watch": o.MaxFeedbackWatch,
	} {
		if n < 0 {
			complain("--%s %d: must not be negative", flag, n)
		}
	}
	return errors.Join(wrong...)
}

func systemName(name string) bool {
	return name == "default" || name == "flotilla-system" || strings.HasPrefix(name, "kube-") || strings.HasPrefix(name, "open-cluster-management")
}

// annotations keeps what may be put on a ManagedCluster. OCM-2.5
func (o Options) annotations() map[string]string {
	out := map[string]string{}
	for k, v := range o.ClusterAnnotations {
		if strings.HasPrefix(k, annotationPrefix) {
			out[k] = v
		}
	}
	return out
}

func (o Options) workOptions() work.Options {
	return work.Options{
		AgentID: o.AgentID, StatusInterval: o.StatusSyncInterval, MostWatches: o.MaxFeedbackWatch,
		MostRawJSON: int(o.MaxJSONRawLength), RawJSON: o.RawFeedbackJSON, Workers: o.WorkConcurrency,
		EvictionGrace: o.EvictionGrace, MassRemovalShare: o.MassRemovalShare, ResyncInterval: o.ResyncInterval,
	}
}
