// Package app wires the node daemon: options, the connection to the container runtime and the list of parts. It knows
// every part and none knows it.
//
// It reads this node's objects only, and its /healthz says whether they are being watched; a container runtime that is
// away makes it no less healthy.
package app

import (
	"context"
	"errors"
	"fmt"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-base/featuregate"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/noded/credentials"
	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/imagepull"
	"github.com/flotilla-project/flotilla/agent/noded/meta"
	"github.com/flotilla-project/flotilla/agent/noded/probe"
	"github.com/flotilla-project/flotilla/agent/noded/restart"
	"github.com/flotilla-project/flotilla/pkg/cmd"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// userAgent is what audit logs know the daemon by. // ND-1
const userAgent = "kruise-daemon"

// daemon is what the parts are made of.
type daemon struct {
	options  *Options
	runtimes cri.Runtimes
	// events records under the name of a component, with the node as its host.
	events func(component string) record.EventRecorder
}

// part is one line of the list.
type part struct {
	name string
	// gate switches it; empty is always on.
	gate featuregate.Feature
	// check is what /healthz calls the watch on what the part works for; empty is none. // ND-5
	check    string
	watches  client.Object
	register func(ctrl.Manager, *daemon) error
}

// parts is everything the daemon does. // ND-2
var parts = []part{
	{"imagepuller", "", "nodeImageInformerSynced", &kruisev1alpha1.NodeImage{}, registerImages},
	{"crr", "", "crrInformerSynced", &kruisev1alpha1.ContainerRecreateRequest{}, func(m ctrl.Manager, d *daemon) error {
		return restart.Register(m, restart.Options{Runtimes: d.runtimes, Events: d.events("kruise-daemon-crr")})
	}},
	{"podprobe", PodProbes, "nodePodProbeInformerSynced", &kruisev1alpha1.NodePodProbe{}, func(m ctrl.Manager, d *daemon) error {
		return probe.Register(m, probe.Options{Node: d.options.NodeName, Runtime: d.runtimes.First(), Events: d.events("kruise-daemon-podprobe")})
	}},
	{"containermeta", WatchingPods, "", nil, func(m ctrl.Manager, d *daemon) error {
		return meta.Register(m, meta.Options{Runtimes: d.runtimes, Killer: restart.NewKiller(d.events(meta.Component)), Envs: d.options.gates.on(EnvFromMetadata)})
	}},
}

func names() (all []string) {
	for _, p := range parts {
		all = append(all, p.name)
	}
	return all
}

// ours narrows every watch to what concerns this node, so that memory is bounded by the node. // ND-2
func ours(node string) map[client.Object]cache.ByObject {
	named := cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", node)}
	return map[client.Object]cache.ByObject{
		&kruisev1alpha1.NodeImage{}:    named,
		&kruisev1alpha1.NodePodProbe{}: named,
		&kruisev1alpha1.ContainerRecreateRequest{}: {Label: labels.SelectorFromSet(labels.Set{
			kruisev1alpha1.ContainerRecreateRequestNodeNameKey: node,
			kruisev1alpha1.ContainerRecreateRequestActiveKey:   "true",
		})},
		&corev1.Pod{}: {Field: fields.OneTermEqualSelector("spec.nodeName", node)},
	}
}

// Run is the daemon, until ctx ends.
func Run(ctx context.Context, o *Options) error {
	endpoints, err := cri.Detect(o.Sockets)
	if err != nil {
		return err
	}
	runtimes, err := cri.ConnectAll(ctx, endpoints, ctrl.Log)
	if err != nil {
		return err
	}
	cfg, err := manager.Config(o.Kubeconfig)
	if err != nil {
		return err
	}
	scheme, err := manager.Scheme(corev1.AddToScheme, kruisev1alpha1.AddToScheme)
	if err != nil {
		return err
	}
	o.Manager.Watch = ours(o.NodeName)
	m, err := manager.New(cfg, scheme, ctrl.Log, userAgent, o.Manager)
	if err != nil {
		return err
	}
	recorders, err := newRecorders(cfg, scheme, o.NodeName)
	if err != nil {
		return err
	}
	if err := errors.Join(m.Add(recorders), m.Add(slim())); err != nil {
		return err
	}
	if o.Profiling {
		if err := m.Add(profiler(o.ProfileAddr)); err != nil {
			return err
		}
	}
	if foreign := o.gates.foreign(); len(foreign) > 0 {
		ctrl.Log.Info("these feature gates are not the daemon's", "gates", foreign)
	}
	if err := register(m, &daemon{options: o, runtimes: runtimes, events: recorders.named}); err != nil {
		return err
	}
	return m.Start(ctx)
}

func registerImages(m ctrl.Manager, d *daemon) error {
	plugins, err := credentials.LoadPlugins(d.options.PluginConfig, d.options.PluginFolder, ctrl.Log)
	if err != nil {
		return err
	}
	return imagepull.Register(m, imagepull.Options{
		Node: d.options.NodeName, Runtime: d.runtimes.First(), Events: d.events(imagepull.Component),
		Keys: &credentials.Keys{Secrets: m.GetAPIReader(), Plugins: plugins, Log: ctrl.Log},
	})
}

// register adds the parts that were chosen, and what /healthz asks of them.
func register(m ctrl.Manager, d *daemon) error {
	chosen, _ := cmd.Choose(names(), d.options.Parts)
	var checks []check
	for _, p := range parts {
		if !chosen[p.name] || p.gate != "" && !d.options.gates.on(p.gate) {
			continue
		}
		if err := p.register(m, d); err != nil {
			return fmt.Errorf("register %s: %w", p.name, err)
		}
		if p.check != "" {
			checks = append(checks, watched(p.check, m.GetCache(), p.watches))
		}
	}
	return m.AddMetricsServerExtraHandler("/healthz", healthz(checks))
}
