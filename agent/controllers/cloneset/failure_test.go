package cloneset

import (
	"errors"
	"strings"
	"testing"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

func TestHooks(t *testing.T) { // WL-1.12, WL-1.13
	hook := &pub.LifecycleHook{LabelsHandler: map[string]string{"drain": "yes"}}
	w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible, func(cs *kruise.CloneSet) {
		cs.Spec.Replicas = new(int32(1))
		cs.Spec.Lifecycle = &pub.Lifecycle{InPlaceUpdate: hook, PreDelete: hook}
		cs.Spec.Template.Labels["drain"] = "yes"
	}))
	state := func(want string) {
		t.Helper()
		if got := w.Pods()[0].Labels[pub.LifecycleStateKey]; got != want {
			t.Errorf("state is %s, want %s", got, want)
		}
	}
	drain := func(value string) {
		t.Helper()
		pod := w.Pods()[0]
		pod.Labels["drain"] = value
		if err := w.Server.Plain.Update(t.Context(), &pod); err != nil {
			t.Fatal(err)
		}
	}
	w.Settle()
	state("Normal")
	w.change(toImage("web:2"))
	w.Settle()
	state("PreparingUpdate")
	w.conditionIs(condition.Reconciling, "True", "hook")
	drain("no")
	w.Settle()
	state("Updated")
	drain("yes")
	w.Settle()
	state("Normal")
	w.change(func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(0)) })
	w.Settle()
	state("PreparingDelete")
	drain("no")
	w.Settle()
	if n := len(w.Pods()); n != 0 {
		t.Errorf("%d pods are left", n)
	}
}

func TestQuotaIsToldAndTriedAgain(t *testing.T) { // WL-1.15
	w := newWorld(t, Options{}, cloneSet())
	w.Server.Before = func(write string) error {
		if strings.HasPrefix(write, "create pod") {
			return apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New("exceeded quota: small"))
		}
		return nil
	}
	if _, err := w.Round(); err == nil {
		t.Error("a failure is not tried again")
	}
	w.conditionIs("FailedScale", "True", "exceeded quota: small")
	w.conditionIs(condition.Stalled, "True", "exceeded quota: small")
	w.Server.Writes()
	if _, err := w.Round(); err == nil {
		t.Error("a failure is not tried again")
	}
	if n := acttest.Count(w.Server.Writes(), "patch cloneset"); n != 0 {
		t.Error("the same failure is written again")
	}
	w.Server.Before = nil
	w.Settle()
	w.conditionIs("FailedScale", "", "")
	w.conditionIs(condition.Ready, "True", "")
}

func TestKilledAtEveryWrite(t *testing.T) { // no pod is updated twice, none is made twice
	run := func(t *testing.T, dieAt int) int {
		w := newWorld(t, Options{}, cloneSet(inPlaceIfPossible, withClaims, func(cs *kruise.CloneSet) { cs.Spec.Replicas = new(int32(2)) }))
		writes, dead := 0, false
		w.Server.Before = func(string) error {
			writes++
			if writes == dieAt {
				dead = true
			}
			if dead {
				return errors.New("killed")
			}
			return nil
		}
		survive := func() {
			for range 60 {
				_, err := w.Round()
				if err != nil && !dead {
					t.Fatal(err)
				}
				dead = false // another agent starts
				if ran := w.RunPods(); !ran && err == nil && len(w.Server.Writes()) == 0 {
					return
				}
			}
			t.Fatal("it never settles")
		}
		survive()
		w.change(toImage("web:2"))
		survive()
		if pods := w.Pods(); len(pods) != 2 || len(w.claims()) != 2 {
			t.Errorf("%d pods, claims %v", len(pods), w.claims())
		}
		for _, pod := range w.Pods() {
			if s := pod.Status.ContainerStatuses[0]; s.RestartCount != 1 || s.Image != "web:2" {
				t.Errorf("pod %s restarted %d times and runs %s", pod.Name, s.RestartCount, s.Image)
			}
		}
		return writes
	}
	total := run(t, -1)
	for dieAt := 1; dieAt <= total; dieAt++ {
		run(t, dieAt)
		if t.Failed() {
			t.Fatalf("when killed at write %d of %d", dieAt, total)
		}
	}
}

func TestDeletingCloneSetWritesNothing(t *testing.T) {
	w := newWorld(t, Options{}, cloneSet(func(cs *kruise.CloneSet) {
		cs.DeletionTimestamp, cs.Finalizers = &metav1.Time{Time: noon}, []string{"foregroundDeletion"}
	}))
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	if writes := w.Server.Writes(); len(writes) != 1 || writes[0] != "patch cloneset/status web" { // WL-1.3: its status is kept up
		t.Errorf("writes %v", writes)
	}
}
