package app

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"
)

// Gates of probes. // NP-10
const (
	// PodProbeMarkerGate probes pods for PodProbeMarkers.
	PodProbeMarkerGate featuregate.Feature = "PodProbeMarkerGate"
	// ProbeMarkersOnServerless hands their probes to providers of virtual nodes (PM-14).
	ProbeMarkersOnServerless featuregate.Feature = "EnablePodProbeMarkerOnServerless"
)

func probeGates() map[featuregate.Feature]featuregate.FeatureSpec {
	return map[featuregate.Feature]featuregate.FeatureSpec{PodProbeMarkerGate: beta(), ProbeMarkersOnServerless: alpha()}
}

// workerFlags are the flags for how many objects of a kind are reconciled at a time. // NP-11.1
var workerFlags = map[string]string{
	"advancedcronjob-workers": "AdvancedCronJob.apps.kruise.io",
	"broadcastjob-workers":    "BroadcastJob.apps.kruise.io",
	"crr-workers":             "ContainerRecreateRequest.apps.kruise.io",
	"imagepulljob-workers":    "ImagePullJob.apps.kruise.io",
	"nodeimage-workers":       "NodeImage.apps.kruise.io",
	"nodepodprobe-workers":    "NodePodProbe.apps.kruise.io",
	"podprobemarker-workers":  "PodProbeMarker.apps.kruise.io",
}

// KindWorkers is how many objects of a kind are reconciled at a time, by flag.
type KindWorkers map[string]*int

func newKindWorkers() KindWorkers {
	w := KindWorkers{}
	for name := range workerFlags {
		w[name] = new(3)
	}
	return w
}

func (w KindWorkers) bind(flags *pflag.FlagSet) {
	for name, n := range w {
		flags.IntVar(n, name, *n, fmt.Sprintf("objects reconciled at a time; --workers=%s=N wins", workerFlags[name]))
	}
}

func (w KindWorkers) validate() (problems []error) {
	for name, n := range w {
		if *n < 1 {
			problems = append(problems, fmt.Errorf("--%s=%d must be at least 1", name, *n))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return problems
}

// fill leaves alone what --workers says.
func (w KindWorkers) fill(workers map[string]int) {
	for name, n := range w {
		if _, set := workers[workerFlags[name]]; !set {
			workers[workerFlags[name]] = *n
		}
	}
}
