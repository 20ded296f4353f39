package join

import (
	"slices"
	"testing"
)

// OCM-3.4: the list counts only while the gate is on.
func TestTheListAloneApprovesNobody(t *testing.T) {
	listed := []string{"system:bootstrap:abc123"}
	if got := (Options{AutoApprovedUsers: listed}).users(); len(got) != 0 {
		t.Errorf("approved without the gate: %v", got)
	}
	if got := (Options{AutoApproval: true, AutoApprovedUsers: listed}).users(); !slices.Equal(got, listed) {
		t.Errorf("%v", got)
	}
}
