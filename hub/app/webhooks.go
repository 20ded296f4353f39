package app

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/flotilla-project/flotilla/hub/webhooks"
	"github.com/flotilla-project/flotilla/hub/webhooks/manifestwork"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// NilExecutorValidating asks for a right also where a work names no executor, and so is applied as the agent (OCM-9.3).
const NilExecutorValidating featuregate.Feature = "NilExecutorValidating"

// PlacementDebugServer answers, beside the webhooks, how a Placement is decided (OCM-17.5). The hub then asks whose tokens
// are sent to it, for which the ClusterRole flotilla:hub:placement-debug has to be bound.
const PlacementDebugServer featuregate.Feature = "PlacementDebugServer"

// WebhookOptions are the flags of the hub's webhooks.
type WebhookOptions struct {
	// Server is where they are served.
	Server webhook.Options
	// ManifestLimit is how many bytes the manifests of a work may come to.
	ManifestLimit int
	// MassRemovalShare of all works, in percent, may go within ten minutes.
	MassRemovalShare int
}

func newWebhookOptions() WebhookOptions {
	return WebhookOptions{
		Server:        webhook.Options{Service: "flotilla-system/hub-webhook"},
		ManifestLimit: manifestwork.DefaultLimit, MassRemovalShare: 20,
	}
}

func (o *WebhookOptions) bind(flags *pflag.FlagSet) {
	o.Server.Bind(flags)
	flags.IntVar(&o.ManifestLimit, "manifestLimit", o.ManifestLimit, "bytes that the manifests of a work may come to")
	flags.IntVar(&o.MassRemovalShare, "mass-removal-share", o.MassRemovalShare,
		"percent of all works that may be removed within ten minutes before the hub asks for a confirmation; 100 never asks")
}

func (o *WebhookOptions) validate() []error {
	problems := o.Server.Validate()
	if o.ManifestLimit < 1 {
		problems = append(problems, fmt.Errorf("--manifestLimit=%d must be above 0", o.ManifestLimit))
	}
	if o.MassRemovalShare < 0 || o.MassRemovalShare > 100 {
		problems = append(problems, fmt.Errorf("--mass-removal-share=%d must be between 0 and 100", o.MassRemovalShare))
	}
	return problems
}

// braked says that too many removals at once wait for a second word.
func (o *WebhookOptions) braked() bool { return o.Server.Enabled() && o.MassRemovalShare < 100 }

// serveWebhooks serves them if a port was asked for.
func serveWebhooks(m ctrl.Manager, o *Options) error {
	if !o.Webhooks.Server.Enabled() {
		return nil
	}
	return webhooks.Register(m, webhooks.Options{
		Server:                o.Webhooks.Server,
		DefaultClusterSet:     o.gates.Enabled(DefaultClusterSet),
		NilExecutorValidating: o.gates.Enabled(NilExecutorValidating),
		ManifestLimit:         o.Webhooks.ManifestLimit,
		MassRemovalShare:      o.Webhooks.MassRemovalShare,
		DebugPlacements:       o.gates.Enabled(PlacementDebugServer),
	})
}
