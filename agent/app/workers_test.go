package app

import "testing"

func TestWithoutADaemonNothingNeedsIt(t *testing.T) { // NP-10 (FG-1)
	for args, want := range map[string]bool{
		"--feature-gates=KruiseDaemon=true":        true,
		"--feature-gates=KruiseDaemon=false":       false,
		"--feature-gates=PodProbeMarkerGate=false": false,
	} {
		if got := parse(t, args).enabled(PodProbeMarkerGate); got != want {
			t.Errorf("%s: %v", args, got)
		}
	}
}

func TestWorkersOfAKind(t *testing.T) { // NP-11.1
	o := parse(t, "--crr-workers=7", "--nodepodprobe-workers=5")
	workers := map[string]int{"NodePodProbe.apps.kruise.io": 9}
	o.KindWorkers.fill(workers)
	if workers["ContainerRecreateRequest.apps.kruise.io"] != 7 || workers["NodePodProbe.apps.kruise.io"] != 9 || workers["PodProbeMarker.apps.kruise.io"] != 3 {
		t.Errorf("%v", workers)
	}
	if problems := parse(t, "--crr-workers=0", "--podprobemarker-workers=0").Validate(); len(problems) != 2 {
		t.Errorf("%v", problems)
	}
}
