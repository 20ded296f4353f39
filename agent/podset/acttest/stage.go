package acttest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	shared "github.com/flotilla-project/flotilla/pkg/revision"
)

// Stage is one set with its controller, an API server in memory and a cluster that runs pods.
type Stage struct {
	*testing.T
	Server *Server
	Clock  *clocktesting.FakePassiveClock
	Events *record.FakeRecorder
	// Set names the set.
	Set types.NamespacedName
	// Loop is its controller.
	Loop reconcile.Reconciler
	// Good says which pods run; nil is all.
	Good func(*corev1.Pod) bool
	// Place is the scheduler, asked about pods without a node; nil is none.
	Place func(*corev1.Pod) string
}

// NewStage is a stage at a time, without a controller.
func NewStage(t *testing.T, set types.NamespacedName, now time.Time, objects ...client.Object) *Stage {
	t.Helper()
	server, err := New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	return &Stage{T: t, Server: server, Clock: clocktesting.NewFakePassiveClock(now), Events: record.NewFakeRecorder(1000), Set: set}
}

// Round reconciles once.
func (s *Stage) Round() (reconcile.Result, error) {
	return s.Loop.Reconcile(s.Context(), reconcile.Request{NamespacedName: s.Set})
}

// Settle reconciles, with the cluster at work, until nothing is written any more, and is what was written.
func (s *Stage) Settle() []string {
	s.Helper()
	var writes []string
	for range 60 {
		_, err := s.Round()
		s.Must(err)
		ran := s.RunPods()
		more := s.Server.Writes()
		writes = append(writes, more...)
		if len(more) == 0 && !ran {
			return writes
		}
	}
	s.Fatalf("still writing after 60 rounds: %v", writes[len(writes)-5:])
	return nil
}

// RunPods lets the cluster work, and tells whether it had anything to do.
func (s *Stage) RunPods() (ran bool) {
	s.Helper()
	for _, pod := range s.Pods() {
		if s.Place != nil && pod.Spec.NodeName == "" {
			pod.Spec.NodeName = s.Place(&pod)
			ran = true
			s.Must(s.Server.Plain.Update(context.Background(), &pod))
		}
		if (s.Good == nil || s.Good(&pod)) && Run(&pod, s.Clock.Now()) {
			ran = true
			s.Must(s.Server.Plain.Status().Update(context.Background(), &pod))
		}
	}
	return ran
}

// Must ends the test for an error.
func (s *Stage) Must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// Pods are all there are.
func (s *Stage) Pods() []corev1.Pod {
	s.Helper()
	var pods corev1.PodList
	s.Must(s.Server.Plain.List(context.Background(), &pods))
	return pods.Items
}

// Revisions are all there are, the oldest first.
func (s *Stage) Revisions() []appsv1.ControllerRevision {
	s.Helper()
	var revisions appsv1.ControllerRevisionList
	s.Must(s.Server.Plain.List(context.Background(), &revisions))
	return shared.Sorted(revisions.Items)
}

// Find reads an object of the set's namespace.
func (s *Stage) Find(name string, into client.Object) {
	s.Helper()
	s.Must(s.Server.Plain.Get(context.Background(), client.ObjectKey{Namespace: s.Set.Namespace, Name: name}, into))
}

// Heard are the reasons of the events so far, each once and in order of the alphabet, which are then forgotten.
func (s *Stage) Heard() []string {
	var all []string
	for {
		select {
		case e := <-s.Events.Events:
			all = append(all, strings.Fields(e)[1])
		default:
			slices.Sort(all)
			return slices.Compact(all)
		}
	}
}

// Count counts the writes that begin like this.
func Count(writes []string, prefix string) (n int) {
	for _, w := range writes {
		if strings.HasPrefix(w, prefix) {
			n++
		}
	}
	return n
}
