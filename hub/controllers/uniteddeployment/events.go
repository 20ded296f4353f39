package uniteddeployment

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/federateddeployment"
)

// reasons are UnitedDeployment's own, space included (WL-5.11). What it has no word for keeps ours.
var reasons = map[string]string{
	federateddeployment.ReasonWorkWritten: "SuccessfulUpdateSubset",
	v1alpha1.ReasonAllocationFailed:       "Failed SpecifySubsetReplicas",
	v1alpha1.ReasonWorkRefused:            "FailedUpdateSubset",
}

// renamed records events in UnitedDeployment's words.
type renamed struct{ record.EventRecorder }

func reason(r string) string {
	if theirs, ok := reasons[r]; ok {
		return theirs
	}
	return r
}

// Event records one.
func (r renamed) Event(on runtime.Object, kind, why, message string) {
	r.EventRecorder.Event(on, kind, reason(why), message)
}

// Eventf records one.
func (r renamed) Eventf(on runtime.Object, kind, why, format string, args ...any) {
	r.EventRecorder.Eventf(on, kind, reason(why), format, args...)
}

// AnnotatedEventf records one.
func (r renamed) AnnotatedEventf(on runtime.Object, annotations map[string]string, kind, why, format string, args ...any) {
	r.EventRecorder.AnnotatedEventf(on, annotations, kind, reason(why), format, args...)
}
