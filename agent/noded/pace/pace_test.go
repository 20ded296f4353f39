package pace

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// ND-4
func TestRetriesDoubleUpToACap(t *testing.T) {
	r, one := Retry(), reconcile.Request{NamespacedName: types.NamespacedName{Name: "a"}}
	var waits []time.Duration
	for range 20 {
		waits = append(waits, r.When(one))
	}
	if waits[0] != 500*time.Millisecond || waits[1] != time.Second || waits[2] != 2*time.Second {
		t.Errorf("begins with %v", waits[:3])
	}
	if end := waits[19]; end < 50*time.Second || end > 55*time.Second || end != waits[18] {
		t.Errorf("ends with %v", waits[18:])
	}
}
