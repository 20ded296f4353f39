package cloneset

import (
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
)

func replicas(n int32) func(*kruise.CloneSet) {
	return func(cs *kruise.CloneSet) { cs.Spec.Replicas = &n }
}

func TestImagesArePulledAheadOfAnUpdateInPlace(t *testing.T) { // WL-1.14
	oneByOne := func(cs *kruise.CloneSet) { cs.Spec.UpdateStrategy.MaxUnavailable = new(intstr.FromInt32(1)) }
	w := newWorld(t, Options{PreDownload: true}, cloneSet(inPlaceIfPossible, replicas(5), oneByOne))
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

func TestImagesAreNotPulledAheadInVain(t *testing.T) { // WL-1.14
	for name, tc := range map[string]struct {
		change []func(*kruise.CloneSet)
		ignore bool
	}{
		"pods are recreated": {change: []func(*kruise.CloneSet){replicas(5)}, ignore: true},
		"three replicas":     {change: []func(*kruise.CloneSet){inPlaceIfPossible}, ignore: true},
		"all at once":        {change: []func(*kruise.CloneSet){inPlaceIfPossible, replicas(5), allAtOnce}, ignore: true},
		"not yet enough ready": {change: []func(*kruise.CloneSet){inPlaceIfPossible, replicas(5), func(cs *kruise.CloneSet) {
			cs.Annotations = map[string]string{kruise.ImagePreDownloadMinUpdatedReadyPods: "1"}
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{PreDownload: true}, cloneSet(tc.change...))
			w.Settle()
			w.change(toImage("web:2"))
			if _, err := w.Round(); err != nil {
				t.Fatal(err)
			}
			_, ignored := w.Revisions()[1].Labels[predownload.IgnoredLabel]
			if writes := w.Server.Writes(); acttest.Count(writes, "create imagepulljob") != 0 || ignored != tc.ignore {
				t.Errorf("ignored is %v: %v", ignored, writes)
			}
		})
	}
	t.Run("the gate is off", func(t *testing.T) {
		w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible, replicas(5)))
		w.Settle()
		w.change(toImage("web:2"))
		if writes := w.Settle(); acttest.Count(writes, "create imagepulljob") != 0 {
			t.Errorf("%v", writes)
		}
	})
}
