package event

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
)

func is(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: reason + "."}
}

func TestTransitions(t *testing.T) {
	yes, no := metav1.ConditionTrue, metav1.ConditionFalse
	for name, tc := range map[string]struct {
		before, after []metav1.Condition
		want          []Event
	}{
		"nothing changed": {
			before: []metav1.Condition{is("Ready", yes, "AllReady")}, after: []metav1.Condition{is("Ready", yes, "AllReady")},
		},
		"a new condition that is not true is no news": {
			after: []metav1.Condition{is("Stalled", no, "Settled")},
		},
		"stalling warns": {
			before: []metav1.Condition{is("Stalled", no, "Settled")}, after: []metav1.Condition{is("Stalled", yes, "RolloutStuck")},
			want: []Event{Warning("RolloutStuck", "RolloutStuck.")},
		},
		"a rollout makes Ready False without a warning": {
			before: []metav1.Condition{is("Ready", yes, "AllReady")}, after: []metav1.Condition{is("Ready", no, "Progressing")},
			want: []Event{Normal("Progressing", "Progressing.")},
		},
		"losing readiness warns": {
			before: []metav1.Condition{is("Ready", yes, "AllReady")}, after: []metav1.Condition{is("Ready", no, "ClusterSilent")},
			want: []Event{Warning("ClusterSilent", "ClusterSilent.")},
		},
		"healing is news": {
			before: []metav1.Condition{is("Stalled", yes, "RolloutStuck")}, after: []metav1.Condition{is("Stalled", no, "Settled")},
			want: []Event{Normal("Settled", "no longer stalled")},
		},
		"waiting that ends is no news": {
			before: []metav1.Condition{is("Reconciling", yes, "Progressing")}, after: []metav1.Condition{is("Reconciling", no, "Settled")},
		},
		"one reason is told once, as the warning that it is": {
			before: []metav1.Condition{is("Ready", no, "Progressing")},
			after:  []metav1.Condition{is("Ready", no, "RolloutStuck"), is("Stalled", yes, "RolloutStuck")},
			want:   []Event{Warning("RolloutStuck", "RolloutStuck.")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, Transitions(tc.before, tc.after)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEmit(t *testing.T) {
	r := record.NewFakeRecorder(2)
	Emit(r, &corev1.Pod{}, Normal("Made", "made %d", 3), Warning("Broke", "it broke"))
	if got := <-r.Events; got != "Normal Made made 3" {
		t.Error(got)
	}
	if got := <-r.Events; got != "Warning Broke it broke" {
		t.Error(got)
	}
}
