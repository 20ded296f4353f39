package work

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/agent/link/conditions"
	"github.com/flotilla-project/flotilla/agent/link/feedback"
)

// Condition types and reasons of OCM-12.1 and 12.2 that the API module has no constant for.
const (
	statusFeedbackSynced = "StatusFeedbackSynced"

	reasonManifestAvailable   = "ResourceAvailable"
	reasonManifestUnavailable = "ResourceNotAvailable"
	reasonFetchFailed         = "FetchingResourceFailed"
	reasonIncompleteMeta      = "IncompleteResourceMeta"
	reasonFeedbackSynced      = "StatusFeedbackSynced"
	reasonFeedbackFailed      = "StatusFeedbackSyncFailed"
	reasonNoFeedback          = "NoStatusFeedbackSynced"

	reasonWorkApplied     = "AppliedManifestWorkComplete"
	reasonWorkFailed      = "AppliedManifestWorkFailed"
	reasonWorkAvailable   = "ResourcesAvailable"
	reasonWorkUnavailable = "ResourcesNotAvailable"
	reasonWorkUnknown     = "ResourcesStatusUnknown"
	reasonWorkDeleting    = "WorkDeleting"
)

// report writes what a round found out into work's status, in memory. The manifests are in spec order.
func report(work *workv1.ManifestWork, manifests []*manifest, limits feedback.Limits, now time.Time) { // OCM-12.1
	before := work.Status.ResourceStatus.Manifests
	after := make([]workv1.ManifestCondition, 0, len(manifests))
	for _, m := range manifests {
		entry := previous(before, m.meta)
		entry.ResourceMeta = m.meta
		reportApplied(&entry, m, work.Generation)
		if m.same {
			after = append(after, entry)
			continue
		}
		reportAvailable(&entry, m, work.Generation)
		reportFeedback(&entry, m, limits, work.Generation, now)
		reportRules(&entry, m, work.Generation)
		after = append(after, entry)
	}
	work.Status.ResourceStatus.Manifests = after
	summarize(work, after)
}

// previous finds what was said of a manifest before: at the same place, else at any. OCM-12.3
func previous(entries []workv1.ManifestCondition, id workv1.ManifestResourceMeta) workv1.ManifestCondition {
	moved := -1
	for i := range entries {
		have := entries[i].ResourceMeta
		if have == id {
			return *entries[i].DeepCopy()
		}
		have.Ordinal = id.Ordinal
		if have == id && moved < 0 {
			moved = i
		}
	}
	if moved >= 0 {
		return *entries[moved].DeepCopy()
	}
	return workv1.ManifestCondition{}
}

func reportApplied(entry *workv1.ManifestCondition, m *manifest, generation int64) {
	if !m.applied {
		return
	}
	c := metav1.Condition{
		Type: workv1.ManifestApplied, Status: metav1.ConditionTrue, ObservedGeneration: generation,
		Reason: workv1.AppliedManifestComplete, Message: "Apply manifest complete",
	}
	switch {
	case errors.Is(m.failed, errIgnoreFields):
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, workv1.AppliedManifestSSAIgnoreFieldError, m.failed.Error()
	case m.failed != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, workv1.AppliedManifestFailed, "Failed to apply manifest: "+m.failed.Error()
	}
	meta.SetStatusCondition(&entry.Conditions, c)
}

func reportAvailable(entry *workv1.ManifestCondition, m *manifest, generation int64) {
	c := metav1.Condition{Type: workv1.ManifestAvailable, ObservedGeneration: generation}
	switch {
	case m.meta.Resource == "" || m.meta.Name == "" || m.meta.Version == "":
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, reasonIncompleteMeta, "Resource meta is incomplete"
	case m.unread != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, reasonFetchFailed, "Failed to fetch resource: "+m.unread.Error()
	case m.live == nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonManifestUnavailable, "Resource is not available"
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, reasonManifestAvailable, "Resource is available"
	}
	meta.SetStatusCondition(&entry.Conditions, c)
}

// reportFeedback leaves old values alone while the object cannot be read. OCM-12.4, OCM-12.5
func reportFeedback(entry *workv1.ManifestCondition, m *manifest, limits feedback.Limits, generation int64, now time.Time) {
	if m.live == nil {
		return
	}
	c := metav1.Condition{Type: statusFeedbackSynced, Status: metav1.ConditionTrue, Reason: reasonNoFeedback, ObservedGeneration: generation}
	values, err := feedback.Extract(m.live, m.config.feedback, limits)
	switch {
	case err != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonFeedbackFailed, guarded(m, err).Error()
	case len(m.config.feedback) > 0:
		c.Reason = reasonFeedbackSynced
	}
	meta.SetStatusCondition(&entry.Conditions, c)
	if !equality.Semantic.DeepEqual(entry.StatusFeedbacks.Values, values) {
		entry.StatusFeedbacks.Values = values
		// Readers take a newer time for fresher values, also when the status is what it was.
		meta.FindStatusCondition(entry.Conditions, statusFeedbackSynced).LastTransitionTime = metav1.NewTime(now)
	}
}

// reportRules sets what rules say of the object and drops what they said of an earlier generation. While the object
// cannot be read the old answers stay; and a manifest that has completed stays so when its object is cleared away,
// or it would run again. OCM-12.4, OCM-13.2
func reportRules(entry *workv1.ManifestCondition, m *manifest, generation int64) {
	for _, c := range m.ruled {
		c.ObservedGeneration = generation
		meta.SetStatusCondition(&entry.Conditions, c)
	}
	if c := meta.FindStatusCondition(entry.Conditions, workv1.ManifestComplete); c != nil && m.done && m.live == nil {
		c.ObservedGeneration = generation
	}
	entry.Conditions = conditions.Prune(entry.Conditions, generation)
}

// summarize derives the work's own conditions. OCM-12.2
func summarize(work *workv1.ManifestWork, entries []workv1.ManifestCondition) {
	if c, ok := sumApplied(entries); ok {
		c.ObservedGeneration = work.Generation
		meta.SetStatusCondition(&work.Status.Conditions, c)
	}
	c := sumAvailable(entries)
	c.ObservedGeneration = work.Generation
	meta.SetStatusCondition(&work.Status.Conditions, c)
	work.Status.Conditions = conditions.Sum(work.Status.Conditions, entries, work.Generation)
}

// sumApplied counts only manifests that have the condition; with none the old value stays.
func sumApplied(entries []workv1.ManifestCondition) (metav1.Condition, bool) {
	out := metav1.Condition{Type: workv1.WorkApplied, Status: metav1.ConditionTrue, Reason: reasonWorkApplied, Message: "Apply manifest work complete"}
	seen := false
	for i := range entries {
		c := meta.FindStatusCondition(entries[i].Conditions, workv1.ManifestApplied)
		if c == nil {
			continue
		}
		seen = true
		if c.Status != metav1.ConditionTrue {
			out.Status, out.Reason, out.Message = metav1.ConditionFalse, reasonWorkFailed, "Failed to apply manifest work"
		}
	}
	return out, seen
}

// sumAvailable lets False outrank Unknown, and Unknown outrank True.
func sumAvailable(entries []workv1.ManifestCondition) metav1.Condition {
	total, unavailable, unknown := len(entries), 0, 0
	for i := range entries {
		c := meta.FindStatusCondition(entries[i].Conditions, workv1.ManifestAvailable)
		switch {
		case c != nil && c.Status == metav1.ConditionFalse:
			unavailable++
		case c == nil || c.Status != metav1.ConditionTrue:
			unknown++
		}
	}
	out := metav1.Condition{Type: workv1.WorkAvailable, Status: metav1.ConditionTrue, Reason: reasonWorkAvailable, Message: "All resources are available"}
	switch {
	case unavailable > 0:
		out.Status, out.Reason = metav1.ConditionFalse, reasonWorkUnavailable
		out.Message = fmt.Sprintf("%d of %d resources are not available", unavailable, total)
	case total == 0 || unknown == total:
		out.Status, out.Reason, out.Message = metav1.ConditionUnknown, reasonWorkUnknown, "No resource could be read"
	case unknown > 0:
		out.Status, out.Reason = metav1.ConditionUnknown, reasonWorkUnknown
		out.Message = fmt.Sprintf("%d of %d resources have unknown status", unknown, total)
	}
	return out
}

// calm says whether a failure is written down and left for the next periodic round. OCM-10.4
func calm(err error) bool {
	_, denied := errors.AsType[*notAllowed](err)
	_, named := errors.AsType[*badName](err)
	return err == nil || denied || named || errors.Is(err, errIgnoreFields) || apierrors.IsConflict(err) && !outrun(err)
}

func forbidden(err error) bool { return apierrors.IsForbidden(err) }
