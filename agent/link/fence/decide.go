package fence

import (
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	workv1 "open-cluster-management.io/api/work/v1"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/stepdown"
)

const (
	// AnnotationStopped is on an AppliedManifestWork whose workloads were stopped; its value is a Stopped.
	AnnotationStopped = "apps.flotilla.dev/stepped-down"

	startGrace = 10 * time.Second // in which the hub of an agent that just started may answer
	shares     = 3                // renewals within the time after which to step down
)

// Contact is what is known of the hub.
type Contact struct {
	Last    time.Time // start of the last renewal of the lease that succeeded, by the monotonic clock
	Wall    time.Time // the same as the wall clock had it; zero: as Last
	Trouble bool      // the latest try failed
	Began   time.Time // start of this process
}

// Silence is for how long the hub was not heard. The monotonic clock decides, so that setting the clock stops nothing;
// but it stands still while a machine sleeps, so with a hub in trouble the longer of both counts.
func (c Contact) Silence(now time.Time) time.Duration {
	silence := now.Sub(c.Last)
	if c.Trouble && !c.Wall.IsZero() {
		silence = max(silence, now.Round(0).Sub(c.Wall))
	}
	return silence
}

// After is when the work of a record steps down, 0 for never. A value that cannot be read is never: stopping is the
// exception, and it has to be asked for properly.
func After(record *workv1.AppliedManifestWork) time.Duration {
	d, err := time.ParseDuration(record.Annotations[appsv1alpha1.AnnotationStepDownAfter])
	if err != nil || d <= 0 {
		return 0
	}
	return d
}

// Due says whether to step down now, and if not, in how long without a word from the hub.
func Due(after time.Duration, c Contact, now time.Time) (bool, time.Duration) {
	wait := max(after-c.Silence(now), min(startGrace, after)-now.Sub(c.Began))
	return wait <= 0, wait
}

// Stopped is what has to be known to restore the replicas.
type Stopped struct {
	At       metav1.Time      `json:"at"`
	Replicas map[string]int64 `json:"replicas,omitempty"` // before, by Key
}

// StoppedOf reads a record; nil is one that was not stopped.
func StoppedOf(record *workv1.AppliedManifestWork) *Stopped {
	text, ok := record.Annotations[AnnotationStopped]
	if !ok {
		return nil
	}
	s := &Stopped{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return &Stopped{} // stopped all the same
	}
	return s
}

// mark writes s on a record, in memory.
func (s *Stopped) mark(record *workv1.AppliedManifestWork) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode what was stopped: %w", err)
	}
	metav1.SetMetaDataAnnotation(&record.ObjectMeta, AnnotationStopped, string(text))
	return nil
}

// Key names an object among the replicas of a Stopped.
func Key(group, resource, namespace, name string) string {
	return group + "/" + resource + "/" + namespace + "/" + name
}

// stop returns the merge patch that leaves an object without replicas, and how many it had; nil if there is nothing
// to stop. reason says why something that runs goes on running.
func stop(live *unstructured.Unstructured, owner *workv1.AppliedManifestWork, uid string) (patch map[string]any, had int64, reason string) {
	had, found, err := unstructured.NestedInt64(live.Object, "spec", "replicas")
	if err != nil || !found || had == 0 || uid != "" && string(live.GetUID()) != uid || !owns(owner, live) {
		return nil, 0, ""
	}
	if refusal := stepdown.Refusal(live); refusal != "" { // the hub knows as well, and starts nothing elsewhere
		return nil, 0, refusal
	}
	spec := map[string]any{"replicas": int64(0)}
	if claims, _, _ := unstructured.NestedSlice(live.Object, "spec", "volumeClaimTemplates"); live.GetKind() == "StatefulSet" && len(claims) > 0 {
		keepClaims(live, spec)
	}
	return map[string]any{"spec": spec}, had, ""
}

// keepClaims makes a StatefulSet keep its volumes while it has no replicas.
func keepClaims(live *unstructured.Unstructured, spec map[string]any) {
	if scaled, _, _ := unstructured.NestedString(live.Object, "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled"); scaled == "Delete" {
		spec["persistentVolumeClaimRetentionPolicy"] = map[string]any{"whenScaled": "Retain"}
	}
}

func owns(record *workv1.AppliedManifestWork, live *unstructured.Unstructured) bool {
	for _, o := range live.GetOwnerReferences() {
		if o.UID == record.UID {
			return true
		}
	}
	return false
}
