package app

import (
	"context"
	"fmt"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisev1beta1 "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/flotilla-project/flotilla/agent/controllers/advancedcronjob"
	"github.com/flotilla-project/flotilla/agent/controllers/broadcastjob"
	"github.com/flotilla-project/flotilla/agent/controllers/cloneset"
	"github.com/flotilla-project/flotilla/agent/controllers/containerlaunchpriority"
	"github.com/flotilla-project/flotilla/agent/controllers/containerrecreaterequest"
	"github.com/flotilla-project/flotilla/agent/controllers/daemonset"
	"github.com/flotilla-project/flotilla/agent/controllers/ephemeraljob"
	"github.com/flotilla-project/flotilla/agent/controllers/nodepodprobe"
	"github.com/flotilla-project/flotilla/agent/controllers/podprobemarker"
	"github.com/flotilla-project/flotilla/agent/controllers/podreadiness"
	"github.com/flotilla-project/flotilla/agent/controllers/statefulset"
	"github.com/flotilla-project/flotilla/agent/controllers/unschedulable"
	"github.com/flotilla-project/flotilla/agent/link"
	"github.com/flotilla-project/flotilla/pkg/cmd"
	"github.com/flotilla-project/flotilla/pkg/index"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// controllers is everything the agent does: the link to the hub, then one line for each kind it runs.
var controllers = []struct {
	name     string
	register func(ctrl.Manager, *rest.Config, *Options) error
}{
	{"link", registerLink},
	{"cloneset", func(m ctrl.Manager, _ *rest.Config, o *Options) error {
		return cloneset.Register(m, cloneset.Options{
			ShortHash:               o.gates.Enabled(CloneSetShortHash),
			PartitionRollback:       o.gates.Enabled(CloneSetPartitionRollback),
			PreparingUpdateAsUpdate: o.gates.Enabled(PreparingUpdateAsUpdate),
			RecreateOnClaimChange:   o.gates.Enabled(RecreateOnClaimChange),
			ExcludePreparingDelete:  o.ExcludePreparingDelete,
			InPlace:                 o.inPlace(),
			PreDownload:             o.pullsAhead(true),
			FilterEvents:            o.enabled(CloneSetEventHandlerOptimization),
			Retry:                   o.Retry,
		})
	}},
	{"daemonset", func(m ctrl.Manager, _ *rest.Config, o *Options) error {
		return daemonset.Register(m, daemonset.Options{BindPods: !o.AssignPodsByScheduler, InPlace: o.inPlace(), PreDownload: o.pullsAhead(false), Retry: o.Retry})
	}},
	{"statefulset", func(m ctrl.Manager, _ *rest.Config, o *Options) error {
		return statefulset.Register(m, o.statefulSets())
	}},
	{"broadcastjob", where("BroadcastJob", func(m ctrl.Manager, _ *rest.Config, o *Options) error {
		return broadcastjob.Register(m, broadcastjob.Options{BindPods: !o.AssignJobPodsByScheduler, Retry: o.Retry})
	})},
	{"advancedcronjob", where("AdvancedCronJob", func(m ctrl.Manager, _ *rest.Config, _ *Options) error { return advancedcronjob.Register(m) })},
	{"ephemeraljob", where("EphemeralJob", func(m ctrl.Manager, _ *rest.Config, _ *Options) error { return ephemeraljob.Register(m) })},
	{"nodeimage", registerNodeImages},
	{"imagepulljob", registerImagePulls},
	{"imagelistpulljob", registerImageLists},
	{"containerrecreaterequest", where("ContainerRecreateRequest", func(m ctrl.Manager, _ *rest.Config, o *Options) error {
		if !o.enabled(KruiseDaemon) {
			return nil
		}
		return containerrecreaterequest.Register(m)
	})},
	{"podprobemarker", where("PodProbeMarker", func(m ctrl.Manager, _ *rest.Config, o *Options) error {
		if !o.enabled(PodProbeMarkerGate) {
			return nil
		}
		if o.enabled(ProbeMarkersOnServerless) {
			if err := podprobemarker.RegisterServerless(m, o.Retry); err != nil {
				return err
			}
		}
		return podprobemarker.Register(m, o.Retry)
	})},
	{"nodepodprobe", where("NodePodProbe", func(m ctrl.Manager, _ *rest.Config, o *Options) error {
		if !o.enabled(PodProbeMarkerGate) {
			return nil
		}
		return nodepodprobe.Register(m, o.Retry)
	})},
	{"containerlaunchpriority", func(m ctrl.Manager, _ *rest.Config, _ *Options) error { return containerlaunchpriority.Register(m) }},
	{"podreadiness", func(m ctrl.Manager, _ *rest.Config, _ *Options) error { return podreadiness.Register(m) }},
	{"unschedulable", func(m ctrl.Manager, _ *rest.Config, _ *Options) error { return unschedulable.Register(m) }},
}

// where leaves a controller out where the cluster does not know its kind. // NP-7 (MG-2)
func where(kind string, register func(ctrl.Manager, *rest.Config, *Options) error) func(ctrl.Manager, *rest.Config, *Options) error {
	return func(m ctrl.Manager, cfg *rest.Config, o *Options) error {
		if there, err := served(m, kind); err != nil || !there {
			return err
		}
		return register(m, cfg, o)
	}
}

// registerLink does nothing for an agent that has no hub: it runs its own cluster all the same.
func registerLink(m ctrl.Manager, cfg *rest.Config, o *Options) error {
	if !o.Link.Enabled() {
		m.GetLogger().Info("no --bootstrap-kubeconfig given, running for this cluster alone")
		return nil
	}
	o.Link.RawFeedbackJSON = o.gates.Enabled(RawFeedbackJSON)
	o.Link.WithoutClaims, o.Link.ClusterProperties = !o.gates.Enabled(ClusterClaim), o.gates.Enabled(ClusterProperty)
	l, err := link.New(cfg, o.Link)
	if err != nil {
		return err
	}
	return m.Add(l)
}

// runsWorkloads reports whether this process runs kinds of workloads, which is what the add-on flotilla-workload-manager
// says of it.
func runsWorkloads(chosen map[string]bool) bool {
	for name, on := range chosen {
		if on && name != "link" && name != "unschedulable" {
			return true
		}
	}
	return false
}

func names() (all []string) {
	for _, c := range controllers {
		all = append(all, c.name)
	}
	return all
}

// Scheme knows every kind that the agent's controllers read or write.
func Scheme() (*runtime.Scheme, error) {
	return manager.Scheme(clientgoscheme.AddToScheme, kruisev1alpha1.AddToScheme, kruisev1beta1.AddToScheme)
}

// Run is the agent, until ctx ends.
func Run(ctx context.Context, o *Options) error {
	cfg, err := manager.Config(o.Kubeconfig)
	if err != nil {
		return err
	}
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	if o.Manager.Workers == nil {
		o.Manager.Workers = map[string]int{}
	}
	if _, set := o.Manager.Workers["CloneSet.apps.kruise.io"]; !set {
		o.Manager.Workers["CloneSet.apps.kruise.io"] = o.CloneSetWorkers
	}
	if _, set := o.Manager.Workers["DaemonSet.apps.kruise.io"]; !set {
		o.Manager.Workers["DaemonSet.apps.kruise.io"] = o.DaemonSetWorkers
	}
	if _, set := o.Manager.Workers["StatefulSet.apps.kruise.io"]; !set {
		o.Manager.Workers["StatefulSet.apps.kruise.io"] = o.StatefulSetWorkers
	}
	o.KindWorkers.fill(o.Manager.Workers)
	o.narrowSecrets()
	m, err := manager.New(cfg, scheme, ctrl.Log, "flotilla-agent", o.Manager)
	if err != nil {
		return err
	}
	err = index.ByOwner(ctx, m.GetFieldIndexer(), &corev1.Pod{}, &corev1.PersistentVolumeClaim{}, &appsv1.ControllerRevision{})
	if err != nil {
		return err
	}
	if err := o.prepareImages(ctx, m); err != nil {
		return err
	}
	if idle := o.idle(); len(idle) > 0 {
		ctrl.Log.Info("nothing comes of these feature gates", "gates", idle)
	}
	chosen, _ := cmd.Choose(names(), o.Controllers)
	o.Link.Workloads = runsWorkloads(chosen)
	for _, c := range controllers {
		if !chosen[c.name] {
			continue
		}
		if err := c.register(m, cfg, o); err != nil {
			return fmt.Errorf("register controller %s: %w", c.name, err)
		}
	}
	if err := tellLeader(m, metrics.Registry); err != nil {
		return err
	}
	if err := serveWebhooks(m, o); err != nil {
		return fmt.Errorf("serve webhooks: %w", err)
	}
	return m.Start(ctx)
}
