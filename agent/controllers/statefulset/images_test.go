package statefulset

import (
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
)

func TestImagesArePulledAheadOfAnUpdateInPlace(t *testing.T) { // WL-2.13
	w := newWorld(t, Options{PreDownload: true}, statefulSet(inPlaceIfPossible, replicas(5), parallel))
	if writes := w.Settle(); acttest.Count(writes, "create imagepulljob") != 0 {
		t.Fatalf("a set that updates nothing pulls ahead: %v", writes)
	}
	w.change(toImage("web:2"))
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
			w.Settle()
			w.change(toImage("web:2"))
			if _, err := w.Round(); err != nil {
				t.Fatal(err)
			}
			if writes := w.Server.Writes(); acttest.Count(writes, "create imagepulljob") != 0 || w.Revisions()[1].Labels[predownload.IgnoredLabel] != "true" {
				t.Errorf("%v, labels %v", writes, w.Revisions()[1].Labels)
			}
		})
	}
}
