// Package webhooks lists what the agent's admission and conversion webhooks are: path, rules, and what happens while nobody
// answers. It knows the packages below it and decides nothing itself.
package webhooks

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	controller "github.com/flotilla-project/flotilla/agent/controllers/statefulset"
	"github.com/flotilla-project/flotilla/agent/webhooks/cloneset"
	"github.com/flotilla-project/flotilla/agent/webhooks/containerrecreaterequest"
	"github.com/flotilla-project/flotilla/agent/webhooks/daemonset"
	"github.com/flotilla-project/flotilla/agent/webhooks/pod"
	"github.com/flotilla-project/flotilla/agent/webhooks/podprobemarker"
	"github.com/flotilla-project/flotilla/agent/webhooks/protection"
	"github.com/flotilla-project/flotilla/agent/webhooks/statefulset"
	"github.com/flotilla-project/flotilla/agent/webhooks/template"
	"github.com/flotilla-project/flotilla/pkg/webhook"
)

// Options are the few values that the agent's webhooks depend on. // WL-0.3
type Options struct {
	// Server is where they are served.
	Server webhook.Options
	// TemplateDefaults writes defaults into templates of pods and claims: off with gate TemplateNoDefaults.
	TemplateDefaults bool
	// Pods are changed at their creation: gate PodWebhook.
	Pods bool
	// AllPods wait for KruisePodReady: gate KruisePodReadinessGate.
	AllPods bool
	// Protection refuses to delete what carries the label for it; nil without gate ResourcesDeletionProtection.
	Protection *protection.Guard
	// Daemon has requests of those that need a node daemon judged: gate KruiseDaemon.
	Daemon bool
	// Serverless writes probes into pods for virtual nodes: gate EnablePodProbeMarkerOnServerless.
	Serverless bool
	// ProbeMarkers may be made: gate PodProbeMarkerGate.
	ProbeMarkers bool
	// ImagePulls may be asked for: gate ImagePullJobGate.
	ImagePulls bool
	// StatefulSets are the gates of their controller.
	StatefulSets controller.Options
}

// home is the namespace that we run in, which holds our service and our certificate.
func (o Options) home() string {
	namespace, _, _ := strings.Cut(o.Server.Service, "/")
	return namespace
}

// Register serves the webhooks in m, in every replica.
func Register(m ctrl.Manager, o Options) error {
	if o.Protection != nil {
		guard, err := o.Protection.Counted(metrics.Registry)
		if err != nil {
			return err
		}
		guard.API, o.Protection = m.GetAPIReader(), guard
	}
	judge, err := judgeOf(m, o.home())
	if err != nil {
		return err
	}
	sets := statefulset.Rules{
		Gates: o.StatefulSets, Templates: o.TemplateDefaults, Guard: o.Protection, Judge: judge, API: m.GetAPIReader(),
	}
	hooks := workloads(handlers{
		cloneSetDefaults:    cloneset.Defaulter(o.TemplateDefaults),
		cloneSets:           cloneset.Validator(m.GetAPIReader(), judge, o.Protection),
		statefulSetDefaults: sets.Defaulter(),
		statefulSets:        sets.Validator(),
		daemonSetDefaults:   daemonset.Defaulter(),
		daemonSets:          daemonset.Validator(judge),
	})
	hooks = append(hooks, images(o.Daemon, o.ImagePulls)...)
	hooks = append(hooks, jobs(judge, o.TemplateDefaults)...)
	if o.Pods {
		hooks = append(hooks, pods(pod.Handler(o.AllPods, o.markers(m)), o.AllPods || o.Serverless, o.home()))
	}
	hooks = append(hooks, probeMarkers(podprobemarker.Validator(o.ProbeMarkers)))
	if o.Daemon {
		hooks = append(hooks, recreateRequests(containerrecreaterequest.Handler(m.GetAPIReader())))
	}
	if o.Protection != nil {
		hooks = append(hooks, protected(o.Protection.Validator())...)
	}
	server, err := webhook.New(m.GetConfig(), o.Server, webhook.Set{Hooks: hooks, Conversions: conversions()})
	if err != nil {
		return fmt.Errorf("make webhook server: %w", err)
	}
	if err := m.Add(server); err != nil {
		return err
	}
	return m.AddReadyzCheck("webhook-ready", server.Ready) // NP-7
}

// markers are read from the cache: all pods wait for them.
func (o Options) markers(m ctrl.Manager) client.Reader {
	if !o.Serverless {
		return nil
	}
	return m.GetClient()
}

func conversions() []webhook.Conversion {
	return []webhook.Conversion{{Definition: statefulset.Definition, Path: "/convert", Handler: statefulset.Converter()}} // WL-0.9
}

// judgeOf has a client of its own: that of the manager would wait to read what a dry run never wrote.
func judgeOf(m ctrl.Manager, home string) (template.Judge, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	cfg := rest.CopyConfig(m.GetConfig())
	cfg.WarningHandler = rest.NoWarnings{} // they are about users' templates, who would not see them in our log
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return template.NewServer(c, home), nil
}
