package broadcastjob

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BJ-7: a quota costs one batch.
func TestCreationIsSlowAtFirst(t *testing.T) {
	w := newWorld(t, 20, broadcastJob())
	w.server.Before = func(write string) error {
		if strings.HasPrefix(write, "create pod") && len(w.pods()) >= 1 {
			return apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("quota"))
		}
		return nil
	}
	if _, err := w.try(); err == nil {
		t.Error("nobody hears of it")
	}
	creates := 0
	for _, write := range w.server.Writes() {
		if strings.HasPrefix(write, "create pod") {
			creates++
		}
	}
	if creates > 3 { // 1, 2
		t.Errorf("%d tries", creates)
	}
	if got := w.job().Status.Active; int(got) != len(w.pods()) {
		t.Errorf("%d active of %d", got, len(w.pods()))
	}
}

// BJ-7, BJ-17: an answer that was lost is no failure, and no second pod on the node.
func TestALostAnswerMakesNoSecondPod(t *testing.T) {
	w := newWorld(t, 1, broadcastJob())
	pod := &corev1.Pod{}
	w.server.Before = func(write string) error {
		if !strings.HasPrefix(write, "create pod") {
			return nil
		}
		return apierrors.NewTimeoutError("slow", 1)
	}
	result, err := w.try()
	if err != nil || result.RequeueAfter != time.Second {
		t.Errorf("%v, %v", result, err)
	}
	w.expectEvents()
	// It was made all the same, and the cache does not show it yet: without its owner the index does not find it.
	p := &plan{job: w.job()}
	*pod = *p.newPod("n0")
	owners := pod.OwnerReferences
	pod.OwnerReferences = nil
	w.add(pod)
	pod.OwnerReferences = owners
	w.server.Before = func(write string) error {
		if strings.HasPrefix(write, "create pod") {
			return w.server.Plain.Update(context.Background(), pod)
		}
		return nil
	}
	w.round()
	if n := len(w.pods()); n != 1 {
		t.Errorf("%d pods", n)
	}
}

// A name that somebody else has is no obstacle.
func TestANameThatIsTaken(t *testing.T) {
	w := newWorld(t, 1, broadcastJob())
	p := &plan{job: w.job()}
	stranger := p.newPod("n0")
	stranger.OwnerReferences = nil
	w.add(stranger)
	w.round()
	if n := len(w.pods()); n != 2 {
		t.Errorf("%d pods", n)
	}
}

// BJ-12: a job has failed once its pods are gone, not before.
func TestAJobFailsOnceItsPodsAreGone(t *testing.T) {
	w := newWorld(t, 2, broadcastJob(deadline(60)))
	w.settle()
	w.clock.SetTime(noon.Add(time.Hour))
	w.server.Before = func(write string) error {
		if strings.HasPrefix(write, "delete pod") {
			return errors.New("away")
		}
		return nil
	}
	if _, err := w.try(); err == nil {
		t.Error("nobody hears of it")
	}
	w.expect("running 2/0/0 of 2", "Reconciling=Running")
	w.server.Before = nil
	w.settle()
	w.expect("failed 0/0/2 of 2", "Failed=Failed")
}

// A pod that was replaced by another of its name is not deleted in its place.
func TestOnlyThePodThatWasSeenIsDeleted(t *testing.T) {
	w := newWorld(t, 1, broadcastJob())
	w.settle()
	was := w.pods()[0]
	w.changeNode("n0", cordon)
	w.server.Before = func(write string) error {
		if !strings.HasPrefix(write, "delete pod") {
			return nil
		}
		w.must(w.server.Plain.Delete(context.Background(), was.DeepCopy()))
		return w.server.Plain.Create(context.Background(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: was.Name, Namespace: was.Namespace, UID: "another"}})
	}
	w.round()
	if all := w.pods(); len(all) != 1 || all[0].UID != "another" {
		t.Errorf("%+v", all)
	}
}
