package work

import (
	"errors"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

func TestAWorkThatBeginsToFailIsAnEventOnce(t *testing.T) { // OCM-20.3
	work := ruledWork(t, "v")
	work.Spec.Executor = &workv1.ManifestWorkExecutor{} // names nobody
	b := newBench(t, work)
	events := func() []eventsv1.Event {
		var all eventsv1.EventList
		if err := b.hub.List(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		return all.Items
	}
	b.rounds(t, 1)
	got := events()
	if len(got) != 1 {
		t.Fatalf("%d events", len(got))
	}
	e := got[0]
	if e.Namespace != "east" || e.Reason != "AppliedManifestFailed" || e.ReportingController != "klusterlet-agent" || e.Regarding.Name != "web" ||
		e.Note != "1 of 1 manifests could not be applied; first manifest 0, ConfigMap a/c: the work's executor names no service account" {
		t.Errorf("%+v", e)
	}
	for range 2 {
		s := b.memory.of("web", "w1")
		s.nextApply, s.wrote = s.nextApply.AddDate(-1, 0, 0), s.wrote.AddDate(-1, 0, 0)
		b.rounds(t, 1)
	}
	if n := len(events()); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestAnEventHoldsNoMoreThanItMay(t *testing.T) {
	m := &manifest{meta: web(0), failed: errors.New(strings.Repeat("x", 5000))}
	if e := failedEvent(newWork(), []*manifest{m}); len(e.Note) != longestNote {
		t.Error(len(e.Note))
	}
}
