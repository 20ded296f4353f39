package condition

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSet(t *testing.T) {
	var conditions []metav1.Condition
	if !Set(&conditions, Ready, metav1.ConditionFalse, "Starting", "0 of 3 ready", 1) {
		t.Fatal("a new condition is a change")
	}
	long := time.Now().Add(-time.Hour)
	conditions[0].LastTransitionTime = metav1.NewTime(long)
	if Set(&conditions, Ready, metav1.ConditionFalse, "Starting", "0 of 3 ready", 1) {
		t.Error("the same condition again is no change")
	}
	if !Set(&conditions, Ready, metav1.ConditionFalse, "Starting", "1 of 3 ready", 1) {
		t.Error("another message is a change")
	}
	if got := conditions[0].LastTransitionTime.Time; !got.Equal(long) {
		t.Errorf("the transition time moved with the message: %v", got)
	}
	Set(&conditions, Ready, metav1.ConditionTrue, "AllReady", strings.Repeat("x", 40000), 2)
	if got := conditions[0].LastTransitionTime.Time; !got.After(long) {
		t.Error("the transition time stayed when the status changed")
	}
	if n := len(Find(conditions, Ready).Message); n != maxMessage {
		t.Errorf("a message of %d characters would be refused by the API server", n)
	}
	if !IsTrue(conditions, Ready) || IsTrue(conditions, Stalled) {
		t.Error("Ready is True and Stalled is absent, so not True")
	}
}

func TestOf(t *testing.T) {
	if Of(true) != metav1.ConditionTrue || Of(false) != metav1.ConditionFalse {
		t.Error("Of does not turn facts into conditions")
	}
}
