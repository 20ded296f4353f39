package workset

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"

	"github.com/flotilla-project/flotilla/hub/brake"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// Reasons that OCM's released API has no constant for.
const (
	// ReasonInvalidManifestWorkName: the label that ties works to the set cannot hold its name. OCM-18.5
	ReasonInvalidManifestWorkName = "InvalidManifestWorkName"
	// ReasonRemovalHeld: so many works are no longer selected that somebody has to confirm it.
	ReasonRemovalHeld = "RemovalHeld"
)

// shown is how many clusters a message names.
const shown = 5

type summary = workv1alpha1.ManifestWorkReplicaSetSummary

// Report writes summaries and conditions. OCM-18.3
func (*Steps) Report(obj *set, seen facts, p plan, acted error) {
	if !obj.DeletionTimestamp.IsZero() {
		reportLeaving(obj, seen, p, acted)
		return
	}
	if p.invalid != "" {
		put(obj, workv1alpha1.ManifestWorkReplicaSetConditionManifestworkApplied, false, ReasonInvalidManifestWorkName, p.invalid)
		return
	}
	obj.Status.Summary, obj.Status.PlacementsSummary = summary{}, make([]workv1alpha1.PlacementSummary, 0, len(p.refs))
	for _, r := range p.refs {
		part := summarize(r, acted == nil)
		obj.Status.Summary = sum(obj.Status.Summary, part)
		obj.Status.PlacementsSummary = append(obj.Status.PlacementsSummary, workv1alpha1.PlacementSummary{
			Name: r.name, Summary: part,
			AvailableDecisionGroups: fmt.Sprintf("%d (%d / %d clusters applied)", r.groups(), part.Total, len(r.selected)),
		})
	}
	reportPlacements(obj, p)
	reportRollout(obj, p)
	reportWorks(obj, p, acted)
}

func put(obj *set, kind string, holds bool, reason, message string) {
	condition.Set(&obj.Status.Conditions, kind, condition.Of(holds), reason, message, obj.Generation)
}

// reportLeaving says what a deleted set waits for.
func reportLeaving(obj *set, seen facts, p plan, acted error) {
	message := fmt.Sprintf("%d works are left; they go when their agents have removed what is in them", len(seen.works))
	if refused := refusals(acted); refused != "" {
		message = refused
	} else if p.done {
		return
	}
	put(obj, workv1alpha1.ManifestWorkReplicaSetConditionManifestworkApplied, false, workv1alpha1.ReasonNotAsExpected, message)
}

// summarize counts the works that carry the template, and those among them of which something is said. OCM-18.3
func summarize(r refPlan, started bool) summary {
	s := summary{Total: len(r.works), DesiredTotal: len(r.selected)}
	if !r.found {
		s.DesiredTotal = len(r.works)
	}
	if started {
		s.Total += len(r.rollout.Start)
	}
	for _, w := range r.works {
		s.Applied += is(w, workv1.WorkApplied)
		s.Available += is(w, workv1.WorkAvailable)
		s.Progressing += is(w, workv1.WorkProgressing)
		s.Degraded += is(w, workv1.WorkDegraded)
		if c := meta.FindStatusCondition(w.Status.Conditions, workv1.WorkApplied); c != nil && c.ObservedGeneration == w.Generation {
			s.Updated += is(w, workv1.WorkApplied)
		}
	}
	return s
}

// is counts a condition that is True and not of earlier content. A condition without a generation speaks of any.
func is(w *workv1.ManifestWork, kind string) int {
	c := meta.FindStatusCondition(w.Status.Conditions, kind)
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != 0 && c.ObservedGeneration != w.Generation {
		return 0
	}
	return 1
}

func sum(a, b summary) summary {
	return summary{
		Total: a.Total + b.Total, Progressing: a.Progressing + b.Progressing, Available: a.Available + b.Available,
		Degraded: a.Degraded + b.Degraded, Applied: a.Applied + b.Applied, DesiredTotal: a.DesiredTotal + b.DesiredTotal, Updated: a.Updated + b.Updated,
	}
}

// reportPlacements says whether every reference leads to clusters. The worst news wins.
func reportPlacements(obj *set, p plan) {
	const kind = workv1alpha1.ManifestWorkReplicaSetConditionPlacementVerified
	var missing, wrong, empty, held []string
	selected := 0
	for _, r := range p.refs {
		selected += len(r.selected)
		switch {
		case !r.found:
			missing = append(missing, fmt.Sprintf("placement %s does not exist; its %d works are left as they are", r.name, r.held))
		case r.wrong != nil:
			wrong = append(wrong, fmt.Sprintf("placement %s: %v", r.name, r.wrong))
		case r.decisions == 0:
			empty = append(empty, fmt.Sprintf("placement %s has no decision yet", r.name))
		case len(r.selected) == 0:
			empty = append(empty, fmt.Sprintf("placement %s selects no cluster", r.name))
		}
		if r.found && r.held > 0 {
			held = append(held, fmt.Sprintf("placement %s says that it selects %d clusters and its %d decisions hold %d; %d works stay until that agrees",
				r.name, r.announced, r.decisions, len(r.selected), r.held))
		}
	}
	text := func(lists ...[]string) (s string) {
		var all []string
		for _, list := range lists {
			all = append(all, list...)
		}
		return strings.Join(all, "; ")
	}
	switch {
	case len(missing) > 0:
		put(obj, kind, false, workv1alpha1.ReasonPlacementDecisionNotFound, text(missing, wrong, empty, held))
	case len(wrong) > 0:
		put(obj, kind, false, workv1alpha1.ReasonNotAsExpected, text(wrong, empty, held))
	case selected == 0:
		put(obj, kind, false, workv1alpha1.ReasonPlacementDecisionEmpty, text(empty, held))
	default:
		put(obj, kind, true, workv1alpha1.ReasonAsExpected, text(empty, held))
	}
}

// reportRollout says whether all selected clusters are through, or for whom the rollout waits. OCM-18.3
func reportRollout(obj *set, p plan) {
	const kind = workv1alpha1.ManifestWorkReplicaSetConditionPlacementRolledOut
	through, selected, complete := 0, 0, true
	var notes, warnings []string
	for _, r := range p.refs {
		through, selected = through+r.succeeded, selected+len(r.selected)
		complete = complete && r.found && r.wrong == nil && r.decisions > 0 && r.succeeded == len(r.selected)
		if note := waitsFor(r); note != "" {
			notes = append(notes, note)
		}
		for _, w := range r.rollout.Warnings {
			warnings = append(warnings, fmt.Sprintf("placement %s: %s", r.name, w))
		}
	}
	message := strings.Join(append(append([]string{fmt.Sprintf("%d of %d clusters are through", through, selected)}, notes...), warnings...), "; ")
	if complete {
		put(obj, kind, true, workv1alpha1.ReasonComplete, message)
		return
	}
	put(obj, kind, false, workv1alpha1.ReasonProgressing, message)
}

// waitsFor names the clusters that a rollout waits for, and what to do where waiting will not do.
func waitsFor(r refPlan) string {
	var parts []string
	part := func(format string, clusters []string) {
		if len(clusters) > 0 {
			parts = append(parts, fmt.Sprintf(format, named(clusters)))
		}
	}
	x := r.rollout
	part("in flight: %s", x.Busy)
	part("failed: %s", x.Failed)
	part("past the deadline: %s", x.TimedOut)
	part("not heard from: %s", x.Silent)
	part("being detached or removed, so that nothing is sent there: %s", r.closed)
	part("not heard from and not started, because no more failures are tolerated: %s", x.Postponed)
	if x.Stopped {
		parts = append(parts, fmt.Sprintf("stopped with %d clusters to go, because %d failed and %d are tolerated; repair them, change the template, or raise maxFailures",
			x.Waiting, x.Failures, x.MaxFailures))
	}
	if len(parts) == 0 {
		return ""
	}
	where := "placement " + r.name
	if x.Stage != "" {
		where += ", " + x.Stage
	}
	return where + ": " + strings.Join(parts, ", ")
}

func named(clusters []string) string {
	if more := len(clusters) - shown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(clusters[:shown], " "), more)
	}
	return strings.Join(clusters, " ")
}

// reportWorks sums up what the works say. OCM-18.3
func reportWorks(obj *set, p plan, acted error) {
	const kind = workv1alpha1.ManifestWorkReplicaSetConditionManifestworkApplied
	s := obj.Status.Summary
	told := fmt.Sprintf("%d of %d works are available, %d applied, %d progressing, %d degraded", s.Available, s.Total, s.Applied, s.Progressing, s.Degraded)
	switch refused := refusals(acted); {
	case p.braked != "":
		put(obj, kind, false, ReasonRemovalHeld, p.braked)
	case brake.Refused(acted) && p.confirm != "":
		put(obj, kind, false, ReasonRemovalHeld, refused+". To let all go that the placements no longer select, run: "+p.confirm)
	case refused != "":
		put(obj, kind, false, workv1alpha1.ReasonNotAsExpected, refused)
	case s.Total == 0:
		put(obj, kind, false, workv1alpha1.ReasonPlacementDecisionEmpty, "there is no work, because no cluster is selected or started")
	case s.Available == s.Total && s.Progressing == 0 && s.Degraded == 0:
		put(obj, kind, true, workv1alpha1.ReasonAsExpected, told)
	case s.Progressing > 0 && s.Degraded == 0:
		put(obj, kind, false, workv1alpha1.ReasonProcessing, told)
	default:
		put(obj, kind, false, workv1alpha1.ReasonNotAsExpected, told)
	}
}

// refusals are the writes that the API server will refuse again until somebody acts; what passes by itself is no news.
func refusals(err error) string {
	var failed *multierror.Error
	if !errors.As(err, &failed) {
		return ""
	}
	var all []string
	for _, e := range failed.Errors {
		if errors.As(e, &takenError{}) || apierrors.IsForbidden(e) || apierrors.IsInvalid(e) || apierrors.IsBadRequest(e) ||
			apierrors.IsNotFound(e) || apierrors.IsRequestEntityTooLargeError(e) {
			all = append(all, e.Error())
		}
	}
	slices.Sort(all)
	if more := len(all) - shown; more > 0 {
		all = append(all[:shown], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, "; ")
}
