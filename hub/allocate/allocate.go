// Package allocate splits a number of replicas among subsets, as UnitedDeployment does (WL-5.4 and WL-5.5). It is pure:
// it owns, reads and writes nothing, and the same request always gets the same answer. An error means that the numbers
// of the request contradict each other; it names the field, its value and what to do about it.
package allocate

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// Request is what is to be split, and among whom.
type Request struct {
	// Replicas is spec.replicas. What its absence means is up to the allocator (WL-5.12, 4).
	Replicas *int32
	// Subsets in the order of the spec, which is their priority.
	Subsets []Subset
	// Adaptive lets the elastic allocator look at what runs and what cannot be scheduled.
	Adaptive bool
}

// Subset is one share as the spec wants it, with what is known of its workload.
type Subset struct {
	Name     string
	Replicas *intstr.IntOrString
	Min, Max *intstr.IntOrString

	// Exists is false until the workload has been made.
	Exists bool
	// Current is the spec.replicas that the existing workload has, 0 without one.
	Current int32
	// Running is the workload's status.replicas without the pods that have been pending for too long. Adaptive only.
	Running int32
	// Unschedulable is set while pods of the subset find no node. Adaptive only.
	Unschedulable bool
}

// Replicas splits the request and answers in the order of its subsets. The spec chooses the allocator: any minimum or
// maximum anywhere makes it the elastic one (WL-5.5).
func Replicas(r Request) ([]int32, error) {
	if r.elastic() {
		return Elastic(r)
	}
	return Specific(r)
}

func (r Request) elastic() bool {
	for _, s := range r.Subsets {
		if s.Min != nil || s.Max != nil {
			return true
		}
	}
	return false
}

// field is the path of a subset's field, as users and API servers write it.
func field(subset int, name string) string {
	return fmt.Sprintf("spec.topology.subsets[%d].%s", subset, name)
}

// quote shows a value as it stands in the spec.
func quote(v *intstr.IntOrString) string {
	if v.Type == intstr.String {
		return fmt.Sprintf("%q", v.StrVal)
	}
	return fmt.Sprint(v.IntVal)
}
