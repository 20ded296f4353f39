package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// Reasons of PlacementSatisfied and PlacementMisconfigured. OCM-17.3
const (
	ReasonNoBindings    = "NoManagedClusterSetBindings"
	ReasonNoSet         = "NoIntersection"
	ReasonSetsEmpty     = "AllManagedClusterSetsEmpty"
	ReasonNotScheduled  = "NotAllDecisionsScheduled"
	ReasonNoMatch       = "NoManagedClusterMatched"
	ReasonScheduled     = "AllDecisionsScheduled"
	ReasonMisconfigured = "Misconfigured"
	ReasonConfigured    = "Succeedconfigured" // sic
)

// Conditions of our own, beside those of the contract.
const (
	// ConditionLeftOut is True while clusters of the placement's sets are not selected; its message says why, cluster by
	// cluster as far as there is room.
	ConditionLeftOut = "ClustersLeftOut"
	ReasonLeftOut    = "Refused"
	ReasonNoneLeft   = "NoneRefused"
	// ConditionWarned is True while decisions are made in spite of something.
	ConditionWarned = "SchedulingWarning"
	ReasonWarned    = "ScheduledWithWarning"
	ReasonNoWarning = "NoWarning"
)

// leftOutBytes is how long the message of ConditionLeftOut may get; it is the note of an event too, which ends at 1024.
const leftOutBytes = 1000

// Conditions are what the placement's status says about a result.
func (r *Result) Conditions() []metav1.Condition {
	all := []metav1.Condition{r.satisfied(), r.misconfigured()}
	if r.Problem != nil {
		return all // of what was left out nothing new is known
	}
	return append(all, r.leftOut(), r.warned())
}

// satisfied is the first that matches of the table. OCM-17.3
func (r *Result) satisfied() metav1.Condition {
	c := metav1.Condition{Type: clusterv1beta1.PlacementConditionSatisfied, Status: metav1.ConditionFalse}
	s := r.stand
	switch {
	case s.bound == 0:
		c.Reason, c.Message = ReasonNoBindings, "No valid ManagedClusterSetBindings found in placement namespace"
	case len(s.eligible) == 0:
		c.Reason, c.Message = ReasonNoSet, fmt.Sprintf("None of ManagedClusterSets [%s] is bound to placement namespace", strings.Join(s.sets, ","))
	case s.candidates == 0:
		c.Reason, c.Message = ReasonSetsEmpty, fmt.Sprintf("All ManagedClusterSets [%s] have no member ManagedCluster", strings.Join(s.eligible, ","))
	case r.Problem != nil:
		c.Reason, c.Message = ReasonNotScheduled, r.Problem.Error()
	case s.feasible == 0:
		c.Reason, c.Message = ReasonNoMatch, "No ManagedCluster matches any of the cluster predicate"
	case s.unscheduled == 0:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, ReasonScheduled, "All cluster decisions scheduled"
	default:
		c.Reason, c.Message = ReasonNotScheduled, fmt.Sprintf("%d cluster decisions unscheduled", s.unscheduled)
	}
	return c
}

func (r *Result) misconfigured() metav1.Condition {
	if r.Problem != nil && r.Problem.Misconfigured {
		return metav1.Condition{Type: clusterv1beta1.PlacementConditionMisconfigured, Status: metav1.ConditionTrue,
			Reason: ReasonMisconfigured, Message: r.Problem.Error()}
	}
	return metav1.Condition{Type: clusterv1beta1.PlacementConditionMisconfigured, Status: metav1.ConditionFalse,
		Reason: ReasonConfigured, Message: "Placement configurations check pass"}
}

// Error is "<plugin>:<text>". OCM-17.3
func (p *Problem) Error() string { return p.Plugin + ":" + p.Text }

func (r *Result) leftOut() metav1.Condition {
	if len(r.Left) == 0 {
		return metav1.Condition{Type: ConditionLeftOut, Status: metav1.ConditionFalse, Reason: ReasonNoneLeft,
			Message: "every cluster of the sets is selected"}
	}
	return metav1.Condition{Type: ConditionLeftOut, Status: metav1.ConditionTrue, Reason: ReasonLeftOut, Message: Summary(r.Left)}
}

func (r *Result) warned() metav1.Condition {
	if len(r.Warnings) == 0 {
		return metav1.Condition{Type: ConditionWarned, Status: metav1.ConditionFalse, Reason: ReasonNoWarning, Message: "no warnings"}
	}
	return metav1.Condition{Type: ConditionWarned, Status: metav1.ConditionTrue, Reason: ReasonWarned, Message: strings.Join(r.Warnings, "; ")}
}

// Summary tells why clusters were left out: each reason with its clusters, the rarest first, since a rule that leaves out
// most of the fleet is meant and the one cluster that is missing is what a reader looks for.
func Summary(left []Refusal) string {
	why := byReason(left)
	noun := "clusters"
	if len(left) == 1 {
		noun = "cluster"
	}
	text := fmt.Sprintf("%d %s left out", len(left), noun)
	separator := ": "
	for i, w := range why {
		line := separator + w.line()
		if len(text)+len(line) > leftOutBytes {
			return fmt.Sprintf("%s%sand %d more reasons", text, separator, len(why)-i)
		}
		text, separator = text+line, "; "
	}
	return text
}

// because is a reason with the clusters that it holds for.
type because struct {
	why      string
	clusters []string
}

func (b because) line() string {
	const told, long = 8, 300
	why := b.why
	if len(why) > long { // an expression of CEL may be a page
		why = why[:long] + "..."
	}
	if len(b.clusters) <= told {
		return strings.Join(b.clusters, ", ") + ": " + why
	}
	return fmt.Sprintf("%s and %d more: %s", strings.Join(b.clusters[:told], ", "), len(b.clusters)-told, why)
}

func byReason(left []Refusal) []because {
	at := map[string]int{}
	var all []because
	for _, r := range left {
		i, known := at[r.Why]
		if !known {
			i = len(all)
			at[r.Why] = i
			all = append(all, because{why: r.Why})
		}
		all[i].clusters = append(all[i].clusters, r.Cluster)
	}
	slices.SortStableFunc(all, func(a, b because) int { return cmp.Compare(len(a.clusters), len(b.clusters)) })
	return all
}
