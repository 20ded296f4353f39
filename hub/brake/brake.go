// Package brake keeps the hub from removing much of the fleet by mistake: a selector that matches too much, a script in
// a loop, a garbage collector that lost its owner. So many removals in so short a time stop and wait for a second word.
//
// It decides from facts that it is given and owns only the memory of recent removals. It reads and writes no API. It
// promises that a removal that was confirmed, or that loses nothing on the member, is never held; that works which were
// never there together never count together; and that removals that are held stay held while somebody keeps asking for
// them, however slowly.
package brake

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

const (
	// Window is the short time in which removals are counted together.
	Window = 10 * time.Minute
	// Hold is how long a refused removal counts after it was last asked for: longer than a controller ever pauses
	// between two tries, so waiting is no way around the brake.
	Hold = 30 * time.Minute
	// Few removals of works that stand for themselves are never many, however small the fleet: two small applications, one
	// after the other.
	Few = 10
	// FewOwned removals are never many of works that a living owner wants. Whoever means them to go tells the owner, and
	// what our controllers then delete is confirmed; so few others are ever asked for.
	FewOwned = 5
	// Namespace is where removals are confirmed for the whole fleet.
	Namespace = "flotilla-system"
)

// Facts are what a removal is judged by.
type Facts struct {
	// Work is the one to be removed, and Born when it was made.
	Work types.UID
	Born time.Time
	// Few may go however small the fleet.
	Few int
	// Share of the works, in percent, that may go within Window; 100 switches the brake off.
	Share int
	// Total is the number of works that there are, and Gone how many of Removed are not among them any more.
	Total, Gone int
	// Removed are the works that went, or are going, and when that began.
	Removed map[types.UID]Departure
	// Held are the works whose removal was refused, and when last.
	Held map[types.UID]Departure
	// HeldSince is when the first of them was refused. What went before it goes on counting as long as any is held.
	HeldSince time.Time
	// Excuse says why this removal needs no second word; empty when it does.
	Excuse string
	// ConfirmedUntil is until when removals are confirmed for the whole fleet.
	ConfirmedUntil time.Time
}

// Departure is when a work was made and when it was removed, or asked to be.
type Departure struct{ Born, At time.Time }

// Verdict is what becomes of a removal.
type Verdict struct {
	// Refused says that it has to wait.
	Refused bool
	// Counts says that it was let pass as one of few, and makes the next one less likely to.
	Counts bool
	// Wanted is how many works that were there together are gone or shall go, this one included; Limit is how many may.
	Wanted, Limit int
}

// Decide judges one removal.
func Decide(f Facts, now time.Time) Verdict {
	v := Verdict{Limit: f.limit(0)}
	if f.going(f.Work, now) || f.Share >= 100 || f.Excuse != "" || now.Before(f.ConfirmedUntil) {
		return v
	}
	v.Wanted = f.wanted(now)
	v.Limit = f.limit(v.Wanted - 1)
	v.Refused = v.Wanted > v.Limit
	v.Counts = !v.Refused
	return v
}

// limit is how many may go of the works there were when so many others left with this one. What came and went in turn was
// never part of a larger fleet.
func (f Facts) limit(others int) int {
	return max(f.Few, (f.Total+min(f.Gone, others))*f.Share/100)
}

// wanted counts each work once, and only those that were there together: what is made, used and removed over and over
// never was much at a time.
func (f Facts) wanted(now time.Time) int {
	leaving := []Departure{{Born: f.Born, At: now}}
	for work, d := range f.Removed {
		if work != f.Work && f.going(work, now) {
			leaving = append(leaving, d)
		}
	}
	for work, d := range f.Held {
		if work != f.Work && f.held(work, now) && !f.going(work, now) {
			leaving = append(leaving, Departure{Born: d.Born, At: now})
		}
	}
	return together(leaving, f.Born)
}

// together is how many of those that leave were there at one time, since then: those made before it, without those gone.
func together(leaving []Departure, since time.Time) (most int) {
	born, left := make([]time.Time, 0, len(leaving)), make([]time.Time, 0, len(leaving))
	for _, d := range leaving {
		born, left = append(born, d.Born), append(left, d.At)
	}
	slices.SortFunc(born, time.Time.Compare)
	slices.SortFunc(left, time.Time.Compare)
	made, gone := 0, 0
	for i, t := range left {
		for made < len(born) && !born[made].After(t) {
			made++
		}
		if i > 0 && left[i-1].Before(t) {
			gone = i
		}
		if !t.Before(since) {
			most = max(most, made-gone)
		}
	}
	return most
}

// start is since when removals count together.
func (f Facts) start(now time.Time) time.Time {
	if !f.HeldSince.IsZero() && f.HeldSince.Before(now) {
		now = f.HeldSince
	}
	return now.Add(-Window)
}

func (f Facts) going(work types.UID, now time.Time) bool {
	d, ok := f.Removed[work]
	return ok && d.At.After(f.start(now))
}

func (f Facts) held(work types.UID, now time.Time) bool {
	d, ok := f.Held[work]
	return ok && now.Sub(d.At) < Hold
}

// Message tells whoever was refused what was counted and how to go on.
func (v Verdict) Message(counted, namespace, name string, now time.Time) string {
	return fmt.Sprintf("%d works of %s were removed within %d minutes or are asked to be, and more than %d need a second word. "+
		"If ManifestWork %s/%s and its workloads shall go, run: kubectl annotate manifestwork -n %s %s %s=%s; "+
		"to let all removals pass for a while, run: kubectl annotate namespace %s --overwrite %s=%s",
		v.Wanted, counted, Window/time.Minute, v.Limit, namespace, name, namespace, name, appsv1alpha1.AnnotationConfirmRemoval, name,
		Namespace, appsv1alpha1.AnnotationConfirmMassRemoval, now.Add(Hold).UTC().Format(time.RFC3339))
}

// causeMany tells a refusal of the brake from others.
const causeMany metav1.CauseType = "TooManyRemovals"

// Refuse is the refusal, with that message.
func Refuse(w *workv1.ManifestWork, message string) error {
	err := apierrors.NewForbidden(workv1.Resource("manifestworks"), w.Name, errors.New(message))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: causeMany, Message: message}}
	return err
}

// Refused says that an error is, or holds, such a refusal. It survives the way through the API server.
func Refused(err error) bool { return apierrors.HasStatusCause(err, causeMany) }

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

// Shrinks says that an update takes away more than half of what a work holds, which is as good as removing it. Works of
// FederatedDeployments and UnitedDeployments stand for one workload; what travels with it may come and go.
func Shrinks(old, new *workv1.ManifestWork) bool {
	was, is := old.Spec.Workload.Manifests, new.Spec.Workload.Manifests
	if 2*len(is) >= len(was) {
		return false
	}
	return old.Labels[appsv1alpha1.LabelSubset] == "" || !holds(is, was)
}

// holds says that there were workloads, manifests that are not of the core group, and that all of them are there still.
func holds(is, was []workv1.Manifest) bool {
	there, were := workloads(is), workloads(was)
	for one := range were {
		if !there[one] {
			return false
		}
	}
	return len(were) > 0
}

type workload struct{ apiVersion, kind, namespace, name string }

func workloads(manifests []workv1.Manifest) map[workload]bool {
	all := map[workload]bool{}
	for _, m := range manifests {
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(m.Raw, &o); err == nil && o.APIVersion != "v1" {
			all[workload{o.APIVersion, o.Kind, o.Namespace, o.Name}] = true
		}
	}
	return all
}

// Owned says that a work is made for an object on the hub, which makes it again while it lives.
func Owned(w *workv1.ManifestWork) bool {
	for _, label := range []string{
		workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey,
		appsv1alpha1.LabelFederatedDeployment, appsv1alpha1.LabelUnitedDeployment,
	} {
		if w.Labels[label] != "" {
			return true
		}
	}
	return false
}

// ConfirmedUntil reads the annotation that confirms removals: on the namespace of the hub for the whole fleet, on an owner
// of works for its own. The zero time confirms nothing.
func ConfirmedUntil(annotations map[string]string) (time.Time, error) {
	value, ok := annotations[appsv1alpha1.AnnotationConfirmMassRemoval]
	if !ok {
		return time.Time{}, nil
	}
	until, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("annotation %s=%s is no time such as 2026-05-01T12:30:00Z", appsv1alpha1.AnnotationConfirmMassRemoval, value)
	}
	return until, nil
}
