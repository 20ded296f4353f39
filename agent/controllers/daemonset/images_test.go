package daemonset

import (
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
)

func TestImagesArePulledAheadOfAnUpdate(t *testing.T) { // WL-3.9
	// The annotation about updated pods has no effect.
	w := newWorld(t, 3, daemonSet(maxUnavailable("1"), annotated(kruise.ImagePreDownloadMinUpdatedReadyPods, "50")))
	w.restart(Options{PreDownload: true})
	if writes := w.Settle(); acttest.Count(writes, "create imagepulljob") != 0 {
		t.Fatalf("a set that updates nothing pulls ahead: %v", writes)
	}
	w.change(toImage("logs:2"))
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	update := w.Revisions()[1]
	first := w.Server.Writes()
	if acttest.Count(first, "create imagepulljob "+update.Name+"-main") != 1 || update.Labels[predownload.CreatedLabel] != "true" {
		t.Fatalf("%v, labels %v", first, update.Labels)
	}
	rest := w.Settle()
	if acttest.Count(rest, "create imagepulljob") != 0 || acttest.Count(rest, "delete imagepulljob") != 1 {
		t.Errorf("jobs until the update was done: %v", rest)
	}
}

func TestImagesAreNotPulledAheadWhenAllPodsChangeAtOnce(t *testing.T) { // WL-3.9
	w := newWorld(t, 3, daemonSet(maxUnavailable("100%")))
	w.restart(Options{PreDownload: true})
	w.Settle()
	w.change(toImage("logs:2"))
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	if writes := w.Server.Writes(); acttest.Count(writes, "create imagepulljob") != 0 || w.Revisions()[1].Labels[predownload.IgnoredLabel] != "true" {
		t.Errorf("%v, labels %v", writes, w.Revisions()[1].Labels)
	}
}

func TestOnDeletePullsAheadToo(t *testing.T) { // WL-3.9: without rollingUpdate there is nothing to look into
	onDelete := func(ds *kruise.DaemonSet) { ds.Spec.UpdateStrategy.Type = kruise.OnDeleteDaemonSetStrategyType }
	w := newWorld(t, 3, daemonSet(onDelete))
	w.restart(Options{PreDownload: true})
	w.Settle()
	w.change(toImage("logs:2"))
	if writes := w.Settle(); acttest.Count(writes, "create imagepulljob") != 1 {
		t.Errorf("%v", writes)
	}
}
