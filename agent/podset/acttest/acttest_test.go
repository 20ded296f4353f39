package acttest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func pod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "mine"},
		Spec: corev1.PodSpec{
			Containers:     []corev1.Container{{Name: "main", Image: "web:1"}},
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: pub.InPlaceUpdateReady}},
		},
	}
}

func server(t *testing.T) *Server {
	t.Helper()
	s, err := New(pod())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatusEndpointTakesMetadata(t *testing.T) {
	s := server(t)
	patch := client.RawPatch(types.StrategicMergePatchType, []byte(`{"metadata":{"uid":"mine","labels":{"a":"b"}},"status":{"phase":"Running"}}`))
	if err := s.Status().Patch(t.Context(), pod(), patch); err != nil {
		t.Fatal(err)
	}
	var got corev1.Pod
	if err := s.Get(t.Context(), client.ObjectKeyFromObject(pod()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Labels["a"] != "b" || got.Status.Phase != corev1.PodRunning {
		t.Errorf("labels %v, phase %s", got.Labels, got.Status.Phase)
	}
	if d := cmp.Diff([]string{"patch pod/status web"}, s.Writes()); d != "" {
		t.Error(d)
	}
}

func TestAnotherUIDIsRefused(t *testing.T) {
	s := server(t)
	patch := client.RawPatch(types.StrategicMergePatchType, []byte(`{"metadata":{"uid":"other"}}`))
	if err := s.Patch(t.Context(), pod(), patch); !apierrors.IsInvalid(err) {
		t.Errorf("patch: %v", err)
	}
	if err := s.Delete(t.Context(), pod(), client.Preconditions{UID: new(types.UID("other"))}); !apierrors.IsConflict(err) {
		t.Errorf("delete: %v", err)
	}
}

func TestBeforeAnswersInPlaceOfTheServer(t *testing.T) {
	s := server(t)
	s.Before = func(string) error { return errors.New("no") }
	if err := s.Delete(t.Context(), pod()); err == nil {
		t.Error("the write went through")
	}
}

func TestRunWaitsForGatesAndCountsRestarts(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	p := pod()
	if !Run(p, now) || status(p, corev1.PodReady) != "False" {
		t.Errorf("with a closed gate: %+v", p.Status)
	}
	set(p, pub.InPlaceUpdateReady, corev1.ConditionTrue, now)
	if !Run(p, now) || status(p, corev1.PodReady) != "True" || Run(p, now.Add(time.Hour)) {
		t.Errorf("with an open gate: %+v", p.Status)
	}
	p.Spec.Containers[0].Image = "web:2"
	if !Run(p, now) || p.Status.ContainerStatuses[0].RestartCount != 1 || p.Status.ContainerStatuses[0].ImageID != "sha256:web:2" {
		t.Errorf("with another image: %+v", p.Status)
	}
}
