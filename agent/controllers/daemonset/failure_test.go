package daemonset

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
)

var errDead = errors.New("the agent died")

// TestDyingAtAnyWriteCostsNothing kills the agent before each of its writes in turn, from the first pod to the end of an update.
func TestDyingAtAnyWriteCostsNothing(t *testing.T) {
	for name, strategy := range map[string]func(*kruise.DaemonSet){"recreate": maxUnavailable("1"), "in place": inPlaceIfPossible, "surge": maxSurge("2")} {
		t.Run(name, func(t *testing.T) {
			for at, writes := 1, 1; at <= writes; at++ {
				w := newWorld(t, 2, daemonSet(strategy))
				writes = 0
				w.Server.Before = func(string) error {
					if writes++; writes == at {
						return errDead
					}
					return nil
				}
				w.survive()
				w.change(toImage("logs:2"))
				w.survive()
				if d := cmp.Diff([]string{"n0=logs:2", "n1=logs:2"}, w.images()); d != "" {
					t.Errorf("dying at write %d: %s", at, d)
				}
				if len(w.Revisions()) != 2 || w.daemonSet().Status.ObservedGeneration != w.daemonSet().Generation {
					t.Errorf("dying at write %d: revisions %v, status %+v", at, w.Revisions(), w.daemonSet().Status)
				}
			}
		})
	}
}

// survive settles, and starts another agent whenever one dies.
func (w *world) survive() {
	w.Helper()
	for range 100 {
		_, err := w.Round()
		if err != nil && !strings.Contains(err.Error(), errDead.Error()) {
			w.Fatal(err)
		}
		if err != nil {
			w.restart(Options{})
		}
		ran, wrote := w.RunPods(), w.Server.Writes()
		for _, n := range []string{"n0", "n1"} {
			if c := acttest.Count(w.images(), n+"="); c > 2 || c > 1 && !w.surging() {
				w.Fatalf("%d pods on %s", c, n)
			}
		}
		if err == nil && !ran && len(wrote) == 0 {
			return
		}
	}
	w.Fatal("still writing after 100 rounds")
}

func (w *world) surging() bool {
	r := w.daemonSet().Spec.UpdateStrategy.RollingUpdate
	return r != nil && r.MaxSurge != nil
}

func TestAQuotaStopsPodsAndIsTold(t *testing.T) { // WL-0.8, WL-3.12.9
	w := newWorld(t, 8, daemonSet())
	w.Server.Before = func(write string) error {
		if strings.HasPrefix(write, "create pod ") {
			return apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("exceeded quota"))
		}
		return nil
	}
	if _, err := w.Round(); err == nil {
		t.Error("no error, so nobody tries again")
	}
	if n := acttest.Count(w.Server.Writes(), "create pod "); n != 1 {
		t.Errorf("%d tries", n)
	}
	if s := w.daemonSet().Status; s.DesiredNumberScheduled != 8 || s.NumberUnavailable != 8 || s.ObservedGeneration != 0 {
		t.Errorf("status %+v", s)
	}
	if got := w.Heard(); !slices.Equal(got, []string{"FailedCreate"}) {
		t.Errorf("events %v", got)
	}
}

func TestANamespaceOnItsWayOutIsNoFailure(t *testing.T) { // WL-3.6
	w := newWorld(t, 2, daemonSet())
	w.Server.Before = func(write string) error {
		if !strings.HasPrefix(write, "create pod ") {
			return nil
		}
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "it is being terminated",
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}},
		}}
	}
	if _, err := w.Round(); err != nil {
		t.Error(err)
	}
	if got := w.Heard(); len(got) != 0 {
		t.Errorf("events %v", got)
	}
}

func TestAPodThatChangedSinceIsLeftToTheNextRound(t *testing.T) {
	w := newWorld(t, 1, daemonSet())
	w.Settle()
	w.change(toImage("logs:2"))
	w.Server.Before = func(write string) error {
		if strings.HasPrefix(write, "delete pod ") {
			return apierrors.NewConflict(corev1.Resource("pods"), "logs", fmt.Errorf("it changed"))
		}
		return nil
	}
	if _, err := w.Round(); err != nil {
		t.Error(err)
	}
	w.Server.Before = nil
	w.Settle()
	if d := cmp.Diff([]string{"n0=logs:2"}, w.images()); d != "" {
		t.Error(d)
	}
}

func TestTheSameViewGivesTheSameNames(t *testing.T) {
	w := newWorld(t, 3, daemonSet())
	s := newSteps(w.Server, w.Server.Plain, w.Events, w.Clock, Options{})
	found, err := s.Observe(t.Context(), w.daemonSet())
	if err != nil {
		t.Fatal(err)
	}
	first, again := s.Decide(w.daemonSet(), found, noon), s.Decide(w.daemonSet(), found, noon)
	if d := cmp.Diff(first.names, again.names); d != "" || len(first.names) != 3 {
		t.Errorf("%v: %s", first.names, d)
	}
	changed := w.daemonSet()
	changed.ResourceVersion = "4711"
	for node, name := range s.Decide(changed, found, noon).names {
		if first.names[node] == name {
			t.Errorf("pod on %s has the name of one that may be gone: %s", node, name)
		}
	}
}
