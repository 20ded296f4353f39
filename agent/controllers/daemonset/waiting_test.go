package daemonset

import (
	"fmt"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/pernode"
	"github.com/flotilla-project/flotilla/pkg/event"
)

func waitsFor(updates int, culprits ...podset.Culprit) *plan {
	p := &plan{}
	p.steps = pernode.Plan{Message: "1 of 3 down"}
	p.steps.Waiting = podset.Waiting{Updates: updates, Culprits: culprits}
	return p
}

func TestWaitingIsSaidOnce(t *testing.T) {
	ds := func(generation int64) *kruise.DaemonSet {
		return &kruise.DaemonSet{ObjectMeta: metav1.ObjectMeta{UID: "ds", Generation: generation}}
	}
	pull := func(pod string) podset.Culprit { return podset.Culprit{Pod: pod, Blocked: "ImagePullBackOff"} }
	starting := podset.Culprit{Pod: "a"}
	w := newWaiting()
	for _, step := range []struct {
		what       string
		generation int64
		plan       *plan
		want       string // reason
	}{
		{"a pod that starts, and nobody waits for it", 1, waitsFor(0, starting), ""},
		{"a rollout that waits for one", 1, waitsFor(1, starting), reasonWaiting},
		{"the same, for another", 1, waitsFor(1, podset.Culprit{Pod: "b"}), ""},
		{"a pod that cannot start", 1, waitsFor(1, pull("a"), starting), reasonBlocked},
		{"the same again", 1, waitsFor(1, pull("a"), starting), ""},
		{"another beside it", 1, waitsFor(1, pull("a"), pull("b")), reasonBlocked},
		{"for another reason", 1, waitsFor(1, podset.Culprit{Pod: "a", Blocked: "CrashLoopBackOff"}), reasonBlocked},
		{"a hook", 1, waitsFor(0, podset.Culprit{Pod: "a", Hook: "preDelete"}), reasonBlocked},
		{"a new spec", 2, waitsFor(1, pull("a")), reasonBlocked},
		{"nothing", 2, &plan{}, ""},
		{"the end", 2, &plan{idle: true}, ""},
	} {
		got := w.news(ds(step.generation), step.plan)
		if len(got) > 1 || (len(got) == 0) != (step.want == "") || len(got) == 1 && (got[0].Reason != step.want || got[0].Message != "1 of 3 down") {
			t.Errorf("%s: %+v", step.what, got)
		}
	}
	if len(w.said) != 0 {
		t.Error("a set that has left is remembered")
	}
}

func TestWaitingIsNotSaidForEveryNode(t *testing.T) {
	w, ds := newWaiting(), &kruise.DaemonSet{}
	var said []event.Event
	for i := range 50 {
		said = append(said, w.news(ds, waitsFor(0, podset.Culprit{Pod: fmt.Sprint(i), Blocked: "ImagePullBackOff"}))...)
	}
	if len(said) != most {
		t.Errorf("%d events", len(said))
	}
}
