package daemonset

import (
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"

	"github.com/flotilla-project/flotilla/agent/podset/predownload"
)

func TestImagesArePulledAheadOfAnUpdate(t *testing.T) { // WL-3.9
	// The annotation about updated pods has no effect.
	w := newWorld(t, 3, daemonSet(maxUnavailable("1"), annotated(kruise.ImagePreDownloadMinUpdatedReadyPods, "50")))
	w.restart(Options{PreDownload: true})
	if writes := w.settle(); count(writes, "create imagepulljob") != 0 {
		t.Fatalf("a set that updates nothing pulls ahead: %v", writes)
	}
	w.change(toImage("logs:2"))
	if _, err := w.round(); err != nil {
		t.Fatal(err)
	}
	update := w.revisions()[1]
	first := w.server.Writes()
	if count(first, "create imagepulljob "+update.Name+"-main") != 1 || update.Labels[predownload.CreatedLabel] != "true" {
		t.Fatalf("%v, labels %v", first, update.Labels)
	}
	rest := w.settle()
	if count(rest, "create imagepulljob") != 0 || count(rest, "delete imagepulljob") != 1 {
		t.Errorf("jobs until the update was done: %v", rest)
	}
}

func TestImagesAreNotPulledAheadWhenAllPodsChangeAtOnce(t *testing.T) { // WL-3.9
	w := newWorld(t, 3, daemonSet(maxUnavailable("100%")))
	w.restart(Options{PreDownload: true})
	w.settle()
	w.change(toImage("logs:2"))
	if _, err := w.round(); err != nil {
		t.Fatal(err)
	}
	if writes := w.server.Writes(); count(writes, "create imagepulljob") != 0 || w.revisions()[1].Labels[predownload.IgnoredLabel] != "true" {
		t.Errorf("%v, labels %v", writes, w.revisions()[1].Labels)
	}
}

func TestOnDeletePullsAheadToo(t *testing.T) { // WL-3.9: without rollingUpdate there is nothing to look into
	onDelete := func(ds *kruise.DaemonSet) { ds.Spec.UpdateStrategy.Type = kruise.OnDeleteDaemonSetStrategyType }
	w := newWorld(t, 3, daemonSet(onDelete))
	w.restart(Options{PreDownload: true})
	w.settle()
	w.change(toImage("logs:2"))
	if writes := w.settle(); count(writes, "create imagepulljob") != 1 {
		t.Errorf("%v", writes)
	}
}
