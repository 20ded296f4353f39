package brake

import (
	"fmt"
	"slices"
	"time"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

const (
	// ConfirmMass is the annotation on the ManagedCluster that lets all removals go on which were held because they
	// were so many at once. Its value must be the cluster's name.
	ConfirmMass = appsv1alpha1.AnnotationConfirmMassRemoval
	// Window is how close together departures must be to count as one.
	Window = 5 * time.Minute
	// fewest departures are never too many, however small the whole.
	fewest = 2
)

// Departure is one work on its way out: deleted on the hub, or vanished from it.
type Departure struct {
	Name string
	At   time.Time
}

// Crowd is how many works left together, of how many. The zero value is a work that left alone.
type Crowd struct{ Count, Total int }

// Limit is how many of total works may leave within one Window. A share of 100 percent or more is no limit.
func Limit(total, share int) int {
	if share >= 100 {
		return total
	}
	return max(fewest, total*share/100)
}

// Crowds finds the departures that come so close together, and in such number, that somebody must have slipped. Each
// of them is told the size of the largest crowd around it.
func Crowds(total int, departures []Departure, share int) map[string]Crowd {
	all := slices.SortedFunc(slices.Values(departures), func(a, b Departure) int { return a.At.Compare(b.At) })
	limit, out := Limit(total, share), map[string]Crowd{}
	first, begin, end, largest := 0, 0, 0, 0 // of the window, and of the crowded windows that overlap
	tell := func() {
		for _, d := range all[begin:end] {
			out[d.Name] = Crowd{Count: largest, Total: total}
		}
	}
	for last := range all {
		for all[last].At.Sub(all[first].At) > Window {
			first++
		}
		count := last + 1 - first
		if count <= limit {
			continue
		}
		if first >= end {
			tell()
			begin, largest = first, 0
		}
		end, largest = last+1, max(largest, count)
	}
	tell()
	return out
}

func crowded(f Facts) string {
	return fmt.Sprintf("%d of %d works of cluster %s were deleted or vanished within %s, which looks like a slip; %d objects left running; "+
		"to remove them annotate this work %s=%s, to remove those of all works annotate ManagedCluster %s %s=%s",
		f.Crowd.Count, f.Crowd.Total, f.Namespace, Window, f.Objects, Confirm, f.Work, f.Namespace, ConfirmMass, f.Namespace)
}
