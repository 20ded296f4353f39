package app

import (
	"os"
	"slices"
	"strings"

	"k8s.io/component-base/featuregate"

	"github.com/flotilla-project/flotilla/agent/podset/inplace"
)

// Gates that hang on others, with the names and defaults of WL-0.3.
const (
	// KruiseDaemon says that node daemons run; without it nothing counts on them.
	KruiseDaemon featuregate.Feature = "KruiseDaemon"
	// InPlaceUpdateEnvFromMetadata restarts containers for metadata that they read into their environment (WL-4.5).
	InPlaceUpdateEnvFromMetadata featuregate.Feature = "InPlaceUpdateEnvFromMetadata"
	// InPlaceWorkloadVerticalScaling changes cpu and memory of running pods (WL-4.6).
	InPlaceWorkloadVerticalScaling featuregate.Feature = "InPlaceWorkloadVerticalScaling"
	// CloneSetEventHandlerOptimization looks at CloneSets for fewer changes of their pods (WL-1.16).
	CloneSetEventHandlerOptimization featuregate.Feature = "CloneSetEventHandlerOptimization"
	// ImagePullJobGate pulls images ahead.
	ImagePullJobGate featuregate.Feature = "ImagePullJobGate"
	// PreDownloadImageForInPlaceUpdate does so for updates of CloneSets and StatefulSets (WL-1.14).
	PreDownloadImageForInPlaceUpdate featuregate.Feature = "PreDownloadImageForInPlaceUpdate"
	// PreDownloadImageForDaemonSetUpdate does so for updates of DaemonSets (WL-3.9).
	PreDownloadImageForDaemonSetUpdate featuregate.Feature = "PreDownloadImageForDaemonSetUpdate"
	// DeletionProtectionForCRDCascading looks for objects of a definition before it may go (NP-9).
	DeletionProtectionForCRDCascading featuregate.Feature = "DeletionProtectionForCRDCascadingGate"
)

// hanging are gates of which more comes than taking them, beside those that stand alone.
func hanging() map[featuregate.Feature]featuregate.FeatureSpec {
	return map[featuregate.Feature]featuregate.FeatureSpec{
		KruiseDaemon: beta(), InPlaceUpdateEnvFromMetadata: beta(), InPlaceWorkloadVerticalScaling: alpha(),
		CloneSetEventHandlerOptimization: alpha(), DeletionProtectionForCRDCascading: alpha(),
		ImagePullJobGate: alpha(), PreDownloadImageForInPlaceUpdate: alpha(), PreDownloadImageForDaemonSetUpdate: alpha(),
	}
}

// needs are the gates without which another is off. // WL-0.3, NP-10 (FG-1)
var needs = map[featuregate.Feature]featuregate.Feature{
	KruisePodReadinessGate: PodWebhook, "PodUnavailableBudgetDeleteGate": PodWebhook, "PodUnavailableBudgetUpdateGate": PodWebhook,
	"WorkloadSpread": PodWebhook, "SidecarSetPatchPodMetadataDefaultsAllowed": PodWebhook, "EnablePodProbeMarkerOnServerless": PodWebhook,
	PreDownloadImageForInPlaceUpdate: KruiseDaemon, PreDownloadImageForDaemonSetUpdate: KruiseDaemon, "DaemonWatchingPod": KruiseDaemon,
	InPlaceUpdateEnvFromMetadata: KruiseDaemon, "PodProbeMarkerGate": KruiseDaemon, "SidecarTerminator": KruiseDaemon,
	ImagePullJobGate: KruiseDaemon, "EnhancedLivenessProbe": KruiseDaemon,
	DeletionProtectionForCRDCascading: ResourcesDeletionProtection,
}

// enabled is what a gate comes to when those it hangs on are heard. // NP-10 (FG-1)
func (o *Options) enabled(gate featuregate.Feature) bool {
	if parent, hangs := needs[gate]; hangs && !o.gates.Enabled(parent) {
		return false
	}
	switch gate {
	case "EnhancedLivenessProbe":
		return o.gates.Enabled(gate) && o.gates.Enabled(PodWebhook)
	case ImagePullJobGate: // either of the two is no use without it
		return o.gates.Enabled(gate) || o.gates.Enabled(PreDownloadImageForInPlaceUpdate) || o.gates.Enabled(PreDownloadImageForDaemonSetUpdate)
	}
	return o.gates.Enabled(gate)
}

// inPlace is what the gates say about updates of running pods.
func (o *Options) inPlace() inplace.Gates {
	return inplace.Gates{EnvFromMetadata: o.enabled(InPlaceUpdateEnvFromMetadata), Resources: o.enabled(InPlaceWorkloadVerticalScaling)}
}

// podWebhook is the default of its gate: whoever lists the kinds to run without SidecarSets wants no pods changed. // FG-1
func podWebhook() featuregate.FeatureSpec {
	spec := beta()
	if kinds := os.Getenv("CUSTOM_RESOURCE_ENABLE"); kinds != "" && !slices.Contains(strings.Split(kinds, ","), "SidecarSet") {
		spec.Default = false
	}
	return spec
}
