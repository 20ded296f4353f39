package brake

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	workv1 "open-cluster-management.io/api/work/v1"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

const (
	// ConfirmMass is the annotation on the ManagedCluster that lets all removals go on which were held because they
	// were so many at once. Its value must be the cluster's name.
	ConfirmMass = appsv1alpha1.AnnotationConfirmMassRemoval
	// Window is how close together departures must be to count as one.
	Window = 5 * time.Minute
	// fewest departures are never too many, however small the whole: of works that vanished without a word, which no
	// hub in order does, and of works that were deleted as it should be, which people and their tests do all day.
	fewest, fewestDeleted = 2, 5
)

// Departure is one work on its way out: deleted on the hub, or vanished from it.
type Departure struct {
	Name string
	// Born is when the work was made, At when it left.
	Born, At time.Time
	// Vanished without a word: no deletionTimestamp was ever seen.
	Vanished bool
	// Gone says that nothing of it is left, so that it is no longer among those that there are.
	Gone bool
}

// Crowd is how many works left together, of how many. The zero value is a work that left alone.
type Crowd struct{ Count, Total int }

// Limit is how many of total works may leave within one Window. A share of 100 percent or more is no limit. Works that
// were deleted may be a fifth more than those that vanished.
func Limit(total, share int, vanished bool) int {
	switch {
	case share >= 100:
		return total
	case vanished:
		return max(fewest, total*share/100)
	default:
		return max(fewestDeleted, total*min(100, share*6/5)/100)
	}
}

// Excused says that a work that was deleted counts for nobody, as far as it tells itself: somebody ordered just this, or
// nothing is lost, or it had finished and was to go then.
func Excused(work *workv1.ManifestWork) bool {
	option := work.Spec.DeleteOption
	switch {
	case Confirmed(work.Name, work):
		return true
	case option == nil:
		return false
	case option.PropagationPolicy == workv1.DeletePropagationPolicyTypeOrphan:
		return true
	default: // OCM-13.4
		return option.TTLSecondsAfterFinished != nil && meta.IsStatusConditionTrue(work.Status.Conditions, workv1.WorkComplete)
	}
}

// Crowds finds the departures that come so close together, and in such number, that somebody must have slipped. Each
// of them is told the size of the largest crowd around it. Total is how many works there are. Those that vanished are
// counted by themselves as well, because fewer of them are too many.
func Crowds(total int, departures []Departure, share int) map[string]Crowd {
	all := slices.SortedFunc(slices.Values(departures), func(a, b Departure) int { return a.At.Compare(b.At) })
	vanished := slices.DeleteFunc(slices.Clone(all), func(d Departure) bool { return !d.Vanished })
	out := map[string]Crowd{}
	for i := range vanished {
		tell(out, together(vanished[i:]), total, share, true)
	}
	for i := range all {
		tell(out, together(all[i:]), total, share, false)
	}
	return out
}

// together are those that left within one Window of the first and were there when that one left: what is made and deleted
// in turn never was much at a time.
func together(departures []Departure) (crowd []Departure) {
	first := departures[0]
	for _, d := range departures {
		if d.At.Sub(first.At) > Window {
			break
		}
		if !d.Born.After(first.At) {
			crowd = append(crowd, d)
		}
	}
	return crowd
}

// tell counts to those that there are the gone ones of the crowd itself: what came and went in turn was never part of
// a larger whole.
func tell(out map[string]Crowd, crowd []Departure, total, share int, vanished bool) {
	for _, d := range crowd {
		if d.Gone {
			total++
		}
	}
	if len(crowd) <= Limit(total, share, vanished) {
		return
	}
	for _, d := range crowd {
		if len(crowd) >= out[d.Name].Count {
			out[d.Name] = Crowd{Count: len(crowd), Total: total}
		}
	}
}

func crowded(f Facts) string {
	return fmt.Sprintf("%d of %d works of cluster %s were deleted or vanished within %s, which looks like a slip; %d objects left running; "+
		"to remove them annotate this work %s=%s, to remove those of all works annotate ManagedCluster %s %s=%s",
		f.Crowd.Count, f.Crowd.Total, f.Namespace, Window, f.Objects, Confirm, f.Work, f.Namespace, ConfirmMass, f.Namespace)
}
