package app

import (
	"testing"

	"k8s.io/component-base/featuregate"

	"github.com/flotilla-project/flotilla/agent/podset/inplace"
)

// WL-0.3, NP-10
func TestGatesHangOnOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		args string
		gate featuregate.Feature
		want bool
	}{
		"by default the node daemon is there":                     {"", InPlaceUpdateEnvFromMetadata, true},
		"without the node daemon nothing counts on it":            {"KruiseDaemon=false,InPlaceUpdateEnvFromMetadata=true", InPlaceUpdateEnvFromMetadata, false},
		"what it has no part in goes on":                          {"KruiseDaemon=false,InPlaceWorkloadVerticalScaling=true", InPlaceWorkloadVerticalScaling, true},
		"images are pulled by jobs":                               {"PreDownloadImageForInPlaceUpdate=true", ImagePullJobGate, true},
		"images of DaemonSets too":                                {"PreDownloadImageForDaemonSetUpdate=true", ImagePullJobGate, true},
		"there are no such jobs by default":                       {"", ImagePullJobGate, false},
		"there are none without the node daemon":                  {"KruiseDaemon=false,PreDownloadImageForInPlaceUpdate=true", ImagePullJobGate, false},
		"pods wait for nobody when they are left alone":           {"PodWebhook=false,KruisePodReadinessGate=true", KruisePodReadinessGate, false},
		"definitions are protected with everything else or not":   {"DeletionProtectionForCRDCascadingGate=true", DeletionProtectionForCRDCascading, false},
		"definitions are protected with everything else":          {"ResourcesDeletionProtection=true,DeletionProtectionForCRDCascadingGate=true", DeletionProtectionForCRDCascading, true},
		"a probe that two gates carry is off without the webhook": {"PodWebhook=false,EnhancedLivenessProbe=true", "EnhancedLivenessProbe", false},
		"a probe that two gates carry":                            {"EnhancedLivenessProbe=true", "EnhancedLivenessProbe", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parse(t, "--feature-gates="+tc.args).enabled(tc.gate); got != tc.want {
				t.Errorf("%s is %v", tc.gate, got)
			}
		})
	}
}

// WL-4.5, WL-4.6
func TestGatesOfRunningPods(t *testing.T) {
	if got := parse(t).inPlace(); got != (inplace.Gates{EnvFromMetadata: true}) {
		t.Errorf("by default %+v", got)
	}
	if got := parse(t, "--feature-gates=AllAlpha=true,AllBeta=true").inPlace(); got != (inplace.Gates{EnvFromMetadata: true, Resources: true}) {
		t.Errorf("with everything on %+v", got)
	}
}

// NP-10 (FG-1)
func TestKindsWithoutSidecarsLeavePodsAlone(t *testing.T) {
	for kinds, want := range map[string]bool{"": true, "CloneSet,SidecarSet": true, "CloneSet": false} {
		t.Setenv("CUSTOM_RESOURCE_ENABLE", kinds)
		if got := parse(t).gates.Enabled(PodWebhook); got != want {
			t.Errorf("%q: %v", kinds, got)
		}
	}
}
