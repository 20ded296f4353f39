package app

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/component-base/featuregate"

	"github.com/flotilla-project/flotilla/agent/controllers/statefulset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/pkg/manager"

	"github.com/flotilla-project/flotilla/pkg/cmd"
)

func parse(t *testing.T, args ...string) *Options {
	t.Helper()
	o, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	o.Bind(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

// NP-11.1
func TestDefaultsAreValidAndListenNowhere(t *testing.T) {
	o := parse(t)
	if problems := o.Validate(); len(problems) != 0 {
		t.Error(problems)
	}
	if o.Manager.MetricsAddr != "0" || o.Manager.HealthProbeAddr != "0" {
		t.Errorf("listens on %s and %s without being asked", o.Manager.MetricsAddr, o.Manager.HealthProbeAddr)
	}
	if o.Link.Enabled() {
		t.Error("an agent that was told of no hub looks for one")
	}
}

func TestEverythingWrongIsReportedAtOnce(t *testing.T) {
	o := parse(t, "--controllers=no-such", "--cloneset-workers=0", "--statefulset-workers=0", "--daemonset-workers=0", "--spoke-cluster-name=Not_A_Name", "--bootstrap-kubeconfigs=a,b")
	var all []string
	for _, p := range o.Validate() {
		all = append(all, p.Error())
	}
	for _, flag := range []string{"--controllers", "--cloneset-workers", "--statefulset-workers", "--daemonset-workers", "--spoke-cluster-name", "--feature-gates=MultipleHubs=true"} {
		if !strings.Contains(strings.Join(all, "\n"), flag) {
			t.Errorf("%s is not among %q", flag, all)
		}
	}
}

// WL-0.3
func TestGatesOfStatefulSets(t *testing.T) {
	o, retry := inplace.Gates{EnvFromMetadata: true}, manager.DefaultRetry()
	if got := parse(t).statefulSets(); got != (statefulset.Options{Retry: retry, InPlace: o, AutoDeletePVC: true, PodIndexLabel: true}) {
		t.Errorf("by default %+v", got)
	}
	turned := parse(t, "--feature-gates=StatefulSetAutoDeletePVC=false,StatefulSetAutoResizePVCGate=true,StatefulSetStartOrdinal=true,PodIndexLabel=false,PreparingUpdateAsUpdate=true")
	if got := turned.statefulSets(); got != (statefulset.Options{Retry: retry, InPlace: o, AutoResizePVC: true, StartOrdinal: true, PreparingUpdateAsUpdate: true}) {
		t.Errorf("turned round %+v", got)
	}
}

// WL-0.3, OCM-2.6
func TestGatesHaveTheNamesAndDefaultsOfTheContract(t *testing.T) {
	for gate, want := range map[featuregate.Feature]bool{"CloneSetShortHash": false, "CloneSetPartitionRollback": false, "PreparingUpdateAsUpdate": false, "RecreatePodWhenChangeVCTInCloneSetGate": false, "RawFeedbackJsonString": false, "MultipleHubs": false} {
		if got := parse(t).gates.Enabled(gate); got != want {
			t.Errorf("%s is %v by default", gate, got)
		}
		if !parse(t, "--feature-gates="+string(gate)+"=true").gates.Enabled(gate) {
			t.Errorf("%s cannot be switched on", gate)
		}
	}
}

func TestTheSchemeBuilds(t *testing.T) {
	if _, err := Scheme(); err != nil {
		t.Error(err)
	}
}

func TestTheWorkloadManagerIsWhatRunsWorkloads(t *testing.T) { // OCM-19.6
	for args, want := range map[string]bool{"*": true, "cloneset": true, "link": false, "link,unschedulable": false} {
		chosen, _ := cmd.Choose(names(), parse(t, "--controllers="+args).Controllers)
		if got := runsWorkloads(chosen); got != want {
			t.Errorf("--controllers=%s: %v", args, got)
		}
	}
}
