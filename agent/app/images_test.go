package app

import (
	"strings"
	"testing"
	"time"
)

func TestOptionsOfImages(t *testing.T) { // NP-11.1, WL-1.14
	o := parse(t)
	if o.Images.CreationDelay != 30*time.Second || *o.KindWorkers["nodeimage-workers"] != 3 || *o.KindWorkers["imagepulljob-workers"] != 3 || o.enabled(ImagePullJobGate) {
		t.Errorf("by default: %+v", o.Images)
	}
	if problems := parse(t, "--nodeimage-creation-delay=-1s").Validate(); len(problems) != 1 || !strings.Contains(problems[0].Error(), "--nodeimage-creation-delay=-1s") {
		t.Error(problems)
	}
	o.narrowSecrets()
	if len(o.Manager.Watch) != 1 {
		t.Error("the cache would keep the contents of all Secrets")
	}
}

func TestWhichUpdatesHaveTheirImagesPulledAhead(t *testing.T) { // WL-0.3, NP-10 (FG-1)
	for gates, want := range map[string][2]bool{
		"PreDownloadImageForInPlaceUpdate=true":                    {true, false},
		"PreDownloadImageForDaemonSetUpdate=true":                  {false, true},
		"ImagePullJobGate=true":                                    {false, false},
		"PreDownloadImageForInPlaceUpdate=true,KruiseDaemon=false": {false, false},
		"AllAlpha=true,EnableExternalCerts=false,AllBeta=true":     {true, true},
	} {
		o := parse(t, "--feature-gates="+gates)
		if o.pullsAhead(true) || o.pullsAhead(false) {
			t.Errorf("%s: where ImagePullJobs are not served", gates)
		}
		o.Images.pulls = true
		if got := [2]bool{o.pullsAhead(true), o.pullsAhead(false)}; got != want || o.enabled(ImagePullJobGate) == strings.Contains(gates, "KruiseDaemon=false") {
			t.Errorf("%s: %v, ImagePullJobGate %v", gates, got, o.enabled(ImagePullJobGate))
		}
		if got := o.statefulSets().PreDownload; got != want[0] {
			t.Errorf("%s: StatefulSets %v", gates, got)
		}
	}
}
