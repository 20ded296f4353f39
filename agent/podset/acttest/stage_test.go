package acttest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestAStageSettles(t *testing.T) {
	s := NewStage(t, types.NamespacedName{Namespace: "shop", Name: "web"}, time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC), pod())
	rounds := 0
	s.Loop = reconcile.Func(func(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
		rounds++
		if rounds > 1 {
			return reconcile.Result{}, nil
		}
		s.Events.Event(pod(), corev1.EventTypeNormal, "Labelled", "it has a label")
		labelled := &corev1.Pod{}
		s.Find(r.Name, labelled)
		before := labelled.DeepCopy()
		labelled.Labels = map[string]string{"a": "b"}
		return reconcile.Result{}, s.Server.Patch(ctx, labelled, client.MergeFrom(before))
	})
	s.Place = func(*corev1.Pod) string { return "n1" }
	if got := s.Settle(); Count(got, "patch pod") != 1 || Count(got, "delete") != 0 {
		t.Errorf("wrote %v", got)
	}
	p := s.Pods()[0]
	if p.Spec.NodeName != "n1" || p.Status.Phase != corev1.PodRunning || rounds != 2 || len(s.Revisions()) != 0 {
		t.Errorf("after %d rounds: %+v", rounds, p)
	}
	if d := cmp.Diff([]string{"Labelled"}, s.Heard()); d != "" {
		t.Error(d)
	}
	s.Good = func(*corev1.Pod) bool { return false }
	s.Clock.SetTime(s.Clock.Now().Add(time.Hour))
	if s.RunPods() {
		t.Error("a bad pod ran")
	}
}
