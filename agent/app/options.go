// Package app wires the agent: options, feature gates and the list of controllers. It knows everyone and nobody knows it.
package app

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"

	"github.com/flotilla-project/flotilla/agent/controllers/statefulset"
	"github.com/flotilla-project/flotilla/agent/link"
	"github.com/flotilla-project/flotilla/pkg/cmd"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// Gates, with the names and defaults of WL-0.3 and OCM-2.6.
const (
	// CloneSetShortHash labels pods with the short hash of their revision only (WL-1.5).
	CloneSetShortHash featuregate.Feature = "CloneSetShortHash"
	// CloneSetPartitionRollback brings updated pods back when the partition is raised (WL-1.8).
	CloneSetPartitionRollback featuregate.Feature = "CloneSetPartitionRollback"
	// PreparingUpdateAsUpdate counts pods that prepare for their update as updated when scaling (WL-1.8).
	PreparingUpdateAsUpdate featuregate.Feature = "PreparingUpdateAsUpdate"
	// RecreateOnClaimChange recreates pods instead of updating them in place when the claim templates changed (WL-1.6).
	RecreateOnClaimChange featuregate.Feature = "RecreatePodWhenChangeVCTInCloneSetGate"
	// StatefulSetAutoDeletePVC keeps the owners of StatefulSets' claims as their retention policies say (WL-2.8).
	StatefulSetAutoDeletePVC featuregate.Feature = "StatefulSetAutoDeletePVC"
	// StatefulSetAutoResizePVC makes claims of StatefulSets as large as their templates (WL-2.9).
	StatefulSetAutoResizePVC featuregate.Feature = "StatefulSetAutoResizePVCGate"
	// StatefulSetStartOrdinal honours spec.ordinals.start of StatefulSets (WL-2.4).
	StatefulSetStartOrdinal featuregate.Feature = "StatefulSetStartOrdinal"
	// PodIndexLabel labels pods of StatefulSets with their ordinal (WL-2.4).
	PodIndexLabel featuregate.Feature = "PodIndexLabel"
	// RawFeedbackJSON feeds back objects and lists as JSON text (OCM-12.5).
	RawFeedbackJSON featuregate.Feature = "RawFeedbackJsonString"
	// ClusterClaim tells the hub the ClusterClaims of this cluster (OCM-5.2).
	ClusterClaim featuregate.Feature = "ClusterClaim"
	// MultipleHubs lets the agent choose among several hubs (OCM-6.2).
	MultipleHubs featuregate.Feature = "MultipleHubs"
	// ClusterProperty tells it the ClusterProperties of about.k8s.io too (OCM-5.2).
	ClusterProperty featuregate.Feature = "ClusterProperty"
)

// Options are the flags of the agent.
type Options struct {
	// Kubeconfig of the member cluster; empty is the pod's service account, or what kubectl uses.
	Kubeconfig string
	// Controllers to run: names, "*" for all, "-name" for all but one.
	Controllers []string
	// CloneSetWorkers is the number of CloneSets reconciled at a time (NP-11.1).
	CloneSetWorkers int
	// ExcludePreparingDelete leaves pods that wait for their preDelete hook out of what a CloneSet has (WL-1.8).
	ExcludePreparingDelete bool
	// DaemonSetWorkers is the number of DaemonSets reconciled at a time (WL-0.8).
	DaemonSetWorkers int
	// AssignPodsByScheduler pins pods of DaemonSets for the scheduler; otherwise they are bound at creation (WL-3.6).
	AssignPodsByScheduler bool
	// AssignJobPodsByScheduler pins pods of BroadcastJobs for the scheduler; otherwise they are bound at creation (BJ-6).
	AssignJobPodsByScheduler bool
	// StatefulSetWorkers is the number of StatefulSets reconciled at a time (WL-0.8).
	StatefulSetWorkers int
	// KindWorkers is how many objects of other kinds are reconciled at a time.
	KindWorkers KindWorkers
	// Images is what pulls images ahead.
	Images ImageOptions
	// Retry is how soon objects that failed are tried again (WL-0.8).
	Retry manager.Retry
	// Manager is what hub and agent share.
	Manager manager.Options
	// Link is what the agent needs to know of its hub.
	Link link.Options
	// Webhooks that are served.
	Webhooks WebhookOptions

	gates featuregate.MutableFeatureGate
}

// NewOptions are the defaults.
func NewOptions() (*Options, error) {
	gates := featuregate.NewFeatureGate()
	off := featuregate.FeatureSpec{Default: false, PreRelease: featuregate.Alpha}
	on := featuregate.FeatureSpec{Default: true, PreRelease: featuregate.Beta}
	err := gates.Add(map[featuregate.Feature]featuregate.FeatureSpec{
		CloneSetShortHash: off, CloneSetPartitionRollback: off, PreparingUpdateAsUpdate: off, RecreateOnClaimChange: off, RawFeedbackJSON: off,
		ClusterClaim: on, ClusterProperty: off, MultipleHubs: off,
		StatefulSetAutoDeletePVC: on, StatefulSetAutoResizePVC: off, StatefulSetStartOrdinal: off, PodIndexLabel: on,
	})
	err = errors.Join(err, gates.Add(webhookGates()), gates.Add(hanging()), gates.Add(probeGates()), accept(gates))
	// In a pod the name comes from a config map, which cannot be written into a flag when it may be absent.
	hub := link.Defaults()
	hub.ClusterName = os.Getenv("SPOKE_CLUSTER_NAME")
	return &Options{
		Controllers:              []string{"*"},
		CloneSetWorkers:          3,
		DaemonSetWorkers:         3,
		StatefulSetWorkers:       3,
		AssignPodsByScheduler:    true,
		AssignJobPodsByScheduler: true,
		Retry:                    manager.DefaultRetry(),
		KindWorkers:              newKindWorkers(),
		Images:                   newImageOptions(),
		Link:                     hub,
		Webhooks:                 newWebhookOptions(),
		gates:                    gates,
		Manager: manager.Options{
			MetricsAddr: "0", HealthProbeAddr: "0", LeaderElectionNamespace: "flotilla-system", LeaderElectionID: "flotilla-agent",
			QPS: 100, Burst: 200, CacheSyncTimeout: 2 * time.Minute,
		},
	}, err
}

// Bind adds the flags.
func (o *Options) Bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig of the member cluster; empty is the pod's service account, or what kubectl uses")
	flags.StringSliceVar(&o.Controllers, "controllers", o.Controllers, `controllers to run: names, "*" for all, "-name" for all but one`)
	flags.IntVar(&o.CloneSetWorkers, "cloneset-workers", o.CloneSetWorkers, "CloneSets reconciled at a time; --workers=CloneSet.apps.kruise.io=N wins")
	flags.BoolVar(&o.ExcludePreparingDelete, "cloneset-scaling-exclude-preparing-delete", o.ExcludePreparingDelete,
		"leave pods that wait for their preDelete hook out when CloneSets scale")
	flags.IntVar(&o.DaemonSetWorkers, "daemonset-workers", o.DaemonSetWorkers, "DaemonSets reconciled at a time; --workers=DaemonSet.apps.kruise.io=N wins")
	flags.BoolVar(&o.AssignPodsByScheduler, "assign-pods-by-scheduler", o.AssignPodsByScheduler,
		"let the scheduler put pods of DaemonSets on their nodes; otherwise they are bound at creation")
	flags.BoolVar(&o.AssignJobPodsByScheduler, "assign-bcj-pods-by-scheduler", o.AssignJobPodsByScheduler,
		"let the scheduler put pods of BroadcastJobs on their nodes; otherwise they are bound at creation")
	flags.IntVar(&o.StatefulSetWorkers, "statefulset-workers", o.StatefulSetWorkers, "StatefulSets reconciled at a time; --workers=StatefulSet.apps.kruise.io=N wins")
	o.KindWorkers.bind(flags)
	o.Images.bind(flags)
	o.gates.AddFlag(flags)
	o.Retry.Bind(flags)
	o.Manager.Bind(flags)
	o.Link.Bind(flags)
	o.Webhooks.bind(flags)
	bindAccepted(flags)
}

// Validate lists everything that is wrong.
func (o *Options) Validate() []error {
	_, problems := cmd.Choose(names(), o.Controllers)
	problems = slices.Concat(problems, o.Manager.Validate(), o.Retry.Validate(), o.Webhooks.validate(), o.KindWorkers.validate(), o.Images.validate())
	if len(o.Link.BootstrapKubeconfigs) > 0 && !o.gates.Enabled(MultipleHubs) {
		problems = append(problems, fmt.Errorf("--bootstrap-kubeconfigs: several hubs need --feature-gates=%s=true", MultipleHubs))
	}
	if err := o.Link.Validate(); err != nil {
		problems = append(problems, err)
	}
	if o.CloneSetWorkers < 1 {
		problems = append(problems, fmt.Errorf("--cloneset-workers=%d must be at least 1", o.CloneSetWorkers))
	}
	if o.DaemonSetWorkers < 1 {
		problems = append(problems, fmt.Errorf("--daemonset-workers=%d must be at least 1", o.DaemonSetWorkers))
	}
	if o.StatefulSetWorkers < 1 {
		problems = append(problems, fmt.Errorf("--statefulset-workers=%d must be at least 1", o.StatefulSetWorkers))
	}
	return problems
}

// statefulSets is what the gates say about StatefulSets.
func (o *Options) statefulSets() statefulset.Options {
	return statefulset.Options{
		AutoDeletePVC: o.gates.Enabled(StatefulSetAutoDeletePVC), AutoResizePVC: o.gates.Enabled(StatefulSetAutoResizePVC),
		StartOrdinal: o.gates.Enabled(StatefulSetStartOrdinal), PodIndexLabel: o.gates.Enabled(PodIndexLabel),
		PreparingUpdateAsUpdate: o.gates.Enabled(PreparingUpdateAsUpdate), InPlace: o.inPlace(), PreDownload: o.pullsAhead(true), Retry: o.Retry,
	}
}
