package app

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/flotilla-project/flotilla/agent/webhooks"
	"github.com/flotilla-project/flotilla/agent/webhooks/protection"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Gates of webhooks, with the names and defaults of WL-0.3.
const (
	// PodWebhook changes pods at their creation (WL-0.9).
	PodWebhook featuregate.Feature = "PodWebhook"
	// KruisePodReadinessGate has the pods of everybody wait for KruisePodReady (WL-4.8).
	KruisePodReadinessGate featuregate.Feature = "KruisePodReadinessGate"
	// TemplateNoDefaults leaves templates of pods and claims as they were written (WL-0.9).
	TemplateNoDefaults featuregate.Feature = "TemplateNoDefaults"
	// ResourcesDeletionProtection refuses to delete what carries the label for it (NP-9).
	ResourcesDeletionProtection featuregate.Feature = "ResourcesDeletionProtection"
	// EnableExternalCerts takes the webhooks' certificate from a Secret that others write (NP-8, WH-8).
	EnableExternalCerts featuregate.Feature = "EnableExternalCerts"
)

func webhookGates() map[featuregate.Feature]featuregate.FeatureSpec {
	off := featuregate.FeatureSpec{Default: false, PreRelease: featuregate.Alpha}
	return map[featuregate.Feature]featuregate.FeatureSpec{
		PodWebhook: podWebhook(), KruisePodReadinessGate: off, TemplateNoDefaults: off, EnableExternalCerts: off,
		ResourcesDeletionProtection: {Default: false, PreRelease: featuregate.Beta},
	}
}

// WebhookOptions are the flags of the agent's webhooks.
type WebhookOptions struct {
	// Server is where they are served.
	Server webhook.Options
	// ProtectionLogPath is the folder of protection.log (NP-9).
	ProtectionLogPath string

	port string // what the environment says
}

// newWebhookOptions takes its defaults from the environment that installations of OpenKruise set. // NP-11.3
func newWebhookOptions() WebhookOptions {
	namespace := cmp.Or(os.Getenv("POD_NAMESPACE"), "open-cluster-management-agent")
	o := WebhookOptions{ProtectionLogPath: defaultLogPath, port: os.Getenv("WEBHOOK_PORT")}
	o.Server.Host = os.Getenv("WEBHOOK_HOST")
	o.Server.Service = namespace + "/" + cmp.Or(os.Getenv("SERVICE_NAME"), "kruise-webhook-service")
	if name := os.Getenv("SECRET_NAME"); name != "" {
		o.Server.Secret = namespace + "/" + name
	}
	if o.Server.Host != "" && o.port == "" {
		o.port = "9876" // NP-8 (WH-13)
	}
	if port, err := strconv.Atoi(o.port); err == nil {
		o.Server.Port = port
	}
	return o
}

func (o *WebhookOptions) bind(flags *pflag.FlagSet) {
	o.Server.Bind(flags)
	flags.StringVar(&o.ProtectionLogPath, "protection-log-path", o.ProtectionLogPath, "folder of protection.log, which holds refused deletions")
}

const defaultLogPath = "/log"

// guard is nil without its gate. A journal that was asked for and cannot be opened ends the agent; one where nobody chose
// its place, and nobody made that folder, is left out. // NP-9 (DP-2)
func (o *Options) guard() (*protection.Guard, error) {
	if !o.enabled(ResourcesDeletionProtection) {
		return nil, nil
	}
	journal, err := protection.OpenJournal(o.Webhooks.ProtectionLogPath)
	switch {
	case err == nil:
	case o.Webhooks.ProtectionLogPath == defaultLogPath && errors.Is(err, fs.ErrNotExist):
		ctrl.Log.Info("refused deletions are not written down", "reason", err.Error())
	default:
		return nil, err
	}
	return &protection.Guard{Definitions: o.enabled(DeletionProtectionForCRDCascading), Journal: journal}, nil
}

func (o *WebhookOptions) validate() []error {
	problems := o.Server.Validate()
	if _, err := strconv.Atoi(o.port); o.port != "" && err != nil {
		problems = append(problems, fmt.Errorf("environment variable WEBHOOK_PORT=%s must be a number", o.port))
	}
	return problems
}

// serveWebhooks serves them if a port was asked for.
func serveWebhooks(m ctrl.Manager, o *Options) error {
	if !o.Webhooks.Server.Enabled() {
		return nil
	}
	guard, err := o.guard()
	if err != nil {
		return err
	}
	pods, server := o.gates.Enabled(PodWebhook), o.Webhooks.Server
	server.Issued = o.gates.Enabled(EnableExternalCerts) && server.Secret != ""
	return webhooks.Register(m, webhooks.Options{
		Server:           server,
		TemplateDefaults: !o.gates.Enabled(TemplateNoDefaults),
		Pods:             pods,
		AllPods:          o.enabled(KruisePodReadinessGate),
		Protection:       guard,
		ImagePulls:       o.enabled(ImagePullJobGate),
		StatefulSets:     o.statefulSets(),
		Daemon:           o.gates.Enabled(KruiseDaemon),
		ProbeMarkers:     o.enabled(PodProbeMarkerGate),
		Serverless:       o.enabled(ProbeMarkersOnServerless),
	})
}
