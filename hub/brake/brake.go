// Package brake keeps the hub from removing much of the fleet by mistake: a selector that matches too much, a script in
// a loop, a garbage collector that lost its owner. So many removals in so short a time stop and wait for a second word.
//
// It decides from facts that it is given and owns only the memory of recent removals. It reads and writes no API. It
// promises that a removal that was confirmed, or that loses nothing on the member, is never held; and that removals that
// are held stay held while somebody keeps asking for them, however slowly.
package brake

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

const (
	// Window is the short time in which removals are counted together.
	Window = 10 * time.Minute
	// Hold is how long a refused removal counts after it was last asked for: longer than a controller ever pauses
	// between two tries, so waiting is no way around the brake.
	Hold = 30 * time.Minute
	// Few removals are never many, however small the fleet.
	Few = 5
	// Namespace is where removals are confirmed for the whole fleet.
	Namespace = "flotilla-system"
)

// Facts are what a removal is judged by.
type Facts struct {
	// Work is the one to be removed.
	Work types.UID
	// Share of the works, in percent, that may go within Window; 100 switches the brake off.
	Share int
	// Total is the number of works of the fleet, those removed within Window included.
	Total int
	// Removed are the works that went, or are going, and when that began.
	Removed map[types.UID]time.Time
	// Held are the works whose removal was refused, and when last.
	Held map[types.UID]time.Time
	// HeldSince is when the first of them was refused. What went before it goes on counting as long as any is held.
	HeldSince time.Time
	// Excuse says why this removal needs no second word; empty when it does.
	Excuse string
	// ConfirmedUntil is until when removals are confirmed for the whole fleet.
	ConfirmedUntil time.Time
}

// Verdict is what becomes of a removal.
type Verdict struct {
	// Refused says that it has to wait.
	Refused bool
	// Counts says that it was let pass as one of few, and makes the next one less likely to.
	Counts bool
	// Wanted is how many works are gone or shall go, this one included; Limit is how many may.
	Wanted, Limit int
}

// Decide judges one removal.
func Decide(f Facts, now time.Time) Verdict {
	v := Verdict{Limit: max(Few, f.Total*f.Share/100)}
	if f.going(f.Work, now) || f.Share >= 100 || f.Excuse != "" || now.Before(f.ConfirmedUntil) {
		return v
	}
	v.Wanted = f.wanted(now)
	v.Refused = v.Wanted > v.Limit
	v.Counts = !v.Refused
	return v
}

// wanted counts each work once.
func (f Facts) wanted(now time.Time) int {
	n := 1
	for work := range f.Removed {
		if work != f.Work && f.going(work, now) {
			n++
		}
	}
	for work := range f.Held {
		if work != f.Work && f.held(work, now) && !f.going(work, now) {
			n++
		}
	}
	return n
}

// start is since when removals count together.
func (f Facts) start(now time.Time) time.Time {
	if !f.HeldSince.IsZero() && f.HeldSince.Before(now) {
		now = f.HeldSince
	}
	return now.Add(-Window)
}

func (f Facts) going(work types.UID, now time.Time) bool {
	at, ok := f.Removed[work]
	return ok && at.After(f.start(now))
}

func (f Facts) held(work types.UID, now time.Time) bool {
	at, ok := f.Held[work]
	return ok && now.Sub(at) < Hold
}

// Message tells whoever was refused what was counted and how to go on.
func (v Verdict) Message(namespace, name string, now time.Time) string {
	return fmt.Sprintf("%d works of the fleet were removed within %d minutes or are asked to be, and more than %d need a second word. "+
		"If ManifestWork %s/%s and its workloads shall go, run: kubectl annotate manifestwork -n %s %s %s=%s; "+
		"to let all removals pass for a while, run: kubectl annotate namespace %s --overwrite %s=%s",
		v.Wanted, Window/time.Minute, v.Limit, namespace, name, namespace, name, appsv1alpha1.AnnotationConfirmRemoval, name,
		Namespace, appsv1alpha1.AnnotationConfirmMassRemoval, now.Add(Hold).UTC().Format(time.RFC3339))
}

// Excuse says why the removal of a work needs no second word, as far as the work itself tells; empty when it does.
func Excuse(w *workv1.ManifestWork) string {
	option := cmp.Or(w.Spec.DeleteOption, &workv1.DeleteOption{})
	switch {
	case w.Annotations[appsv1alpha1.AnnotationConfirmRemoval] == w.Name && w.Name != "":
		return "it is confirmed"
	case option.PropagationPolicy == workv1.DeletePropagationPolicyTypeOrphan:
		return "it leaves everything running"
	case option.TTLSecondsAfterFinished != nil && meta.IsStatusConditionTrue(w.Status.Conditions, workv1.WorkComplete):
		return "it is finished and asked to go" // OCM-13.4
	}
	return ""
}

// Shrinks says that an update takes away more than half of what a work holds, which is as good as removing it.
func Shrinks(old, new *workv1.ManifestWork) bool {
	return 2*len(new.Spec.Workload.Manifests) < len(old.Spec.Workload.Manifests)
}

// ConfirmedUntil reads the annotation that confirms removals for the whole fleet; the zero time confirms nothing.
func ConfirmedUntil(annotations map[string]string) (time.Time, error) {
	value, ok := annotations[appsv1alpha1.AnnotationConfirmMassRemoval]
	if !ok {
		return time.Time{}, nil
	}
	until, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("annotation %s=%s of namespace %s is no time such as 2026-05-01T12:30:00Z", appsv1alpha1.AnnotationConfirmMassRemoval, value, Namespace)
	}
	return until, nil
}
