package statefulset

import (
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/flotilla-project/flotilla/agent/podset/predownload"
)

func TestImagesArePulledAheadOfAnUpdateInPlace(t *testing.T) { // WL-2.13
	w := newWorld(t, Options{PreDownload: true}, statefulSet(inPlaceIfPossible, replicas(5), parallel))
	if writes := w.settle(); count(writes, "create imagepulljob") != 0 {
		t.Fatalf("a set that updates nothing pulls ahead: %v", writes)
	}
	w.change(toImage("web:2"))
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

func TestImagesAreNotPulledAheadInVain(t *testing.T) { // WL-2.13
	onDelete := func(set *kruise.StatefulSet) {
		set.Spec.UpdateStrategy.Type, set.Spec.UpdateStrategy.RollingUpdate = appsv1.OnDeleteStatefulSetStrategyType, nil
	}
	for name, change := range map[string][]func(*kruise.StatefulSet){
		"on delete":          {inPlaceIfPossible, replicas(5), parallel, onDelete},
		"pods are recreated": {replicas(5), parallel},
		"three replicas":     {inPlaceIfPossible},
		"all at once":        {inPlaceIfPossible, replicas(5), parallel, maxUnavailable("5")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{PreDownload: true}, statefulSet(change...))
			w.settle()
			w.change(toImage("web:2"))
			if _, err := w.round(); err != nil {
				t.Fatal(err)
			}
			if writes := w.server.Writes(); count(writes, "create imagepulljob") != 0 || w.revisions()[1].Labels[predownload.IgnoredLabel] != "true" {
				t.Errorf("%v, labels %v", writes, w.revisions()[1].Labels)
			}
		})
	}
}
