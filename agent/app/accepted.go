package app

import (
	"slices"

	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"
)

// What installations of OpenKruise pass to their manager and we have no use for, or none yet. An unknown flag or gate ends a
// process before it starts, so these are taken; whoever switches such a gate on is told that nothing comes of it.

// acceptedFlags with what they default to there. // NP-11.1
var acceptedFlags = map[string]string{
	"allow-privileged": "true", "leader-election-resource-lock": "leases", "leader-election-lease-duration": "15s",
	"leader-election-renew-deadline": "10s", "leader-election-retry-period": "2s", "enable-pprof": "true", "pprof-addr": ":8090",
	"sync-period": "", "expectation-timeout": "5m", "disable-no-deepcopy": "false",
	"ws-enabled-versioned-status": "deployment,replicaset",
	"logtostderr":                 "true", "persistentpodstate-workers": "3",
	"podunavailablebudget-workers": "3", "resourcedistribution-workers": "3", "sidecarset-workers": "3", "sidecarterminator-workers": "3",
	"uniteddeployment-workers": "3", "workloadspread-workers": "3",
}

// bindAccepted adds those that nobody else has added. A flag may be given with or without a value, as one that is a bool may.
func bindAccepted(flags *pflag.FlagSet) {
	for name, value := range acceptedFlags {
		if flags.Lookup(name) != nil {
			continue
		}
		flags.String(name, value, "taken for the sake of installations that pass it; nothing comes of it")
		added := flags.Lookup(name)
		added.Hidden = true
		if value == "true" || value == "false" {
			added.NoOptDefVal = "true"
		}
	}
}

// acceptedGates are those of which nothing comes yet. // NP-10
var acceptedGates = map[featuregate.Feature]featuregate.FeatureSpec{
	"DaemonWatchingPod": beta(), "WorkloadSpread": beta(),
	"PodUnavailableBudgetDeleteGate": beta(), "PodUnavailableBudgetUpdateGate": alpha(),
	"SidecarSetPatchPodMetadataDefaultsAllowed": alpha(), "SidecarTerminator": alpha(),
	"ResourceDistributionGate": alpha(), "EnhancedLivenessProbe": alpha(),
	"ForceDeleteTimeoutExpectationGate": alpha(),
}

func beta() featuregate.FeatureSpec {
	return featuregate.FeatureSpec{Default: true, PreRelease: featuregate.Beta}
}

func alpha() featuregate.FeatureSpec {
	return featuregate.FeatureSpec{PreRelease: featuregate.Alpha}
}

// accept adds the gates that nobody else has added.
func accept(gates featuregate.MutableFeatureGate) error {
	known, more := gates.GetAll(), map[featuregate.Feature]featuregate.FeatureSpec{}
	for name, spec := range acceptedGates {
		if _, taken := known[name]; !taken {
			more[name] = spec
		}
	}
	return gates.Add(more)
}

// idle are the gates that were switched from their default, in vain.
func (o *Options) idle() (names []string) {
	for name, spec := range acceptedGates {
		if o.gates.Enabled(name) != spec.Default {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return names
}
