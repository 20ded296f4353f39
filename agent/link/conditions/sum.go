package conditions

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

// Ruled reports whether a condition came of a rule, or is the sum of some that did.
func Ruled(c metav1.Condition) bool { return strings.HasPrefix(c.Reason, Prefix) }

// Prune drops what rules said of another generation; that is how removed rules disappear. OCM-13.2
func Prune(all []metav1.Condition, generation int64) []metav1.Condition {
	return slices.DeleteFunc(all, func(c metav1.Condition) bool { return Ruled(c) && c.ObservedGeneration != generation })
}

// Sum sets on a work's conditions what its manifests have by rule, name by name, and prunes the rest. OCM-13.2
func Sum(work []metav1.Condition, manifests []workv1.ManifestCondition, generation int64) []metav1.Condition {
	byName := map[string][]metav1.Condition{}
	var names []string
	for i := range manifests {
		for _, c := range manifests[i].Conditions {
			if !Ruled(c) {
				continue
			}
			if byName[c.Type] == nil {
				names = append(names, c.Type)
			}
			byName[c.Type] = append(byName[c.Type], c)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		meta.SetStatusCondition(&work, aggregate(name, byName[name], generation))
	}
	return Prune(work, generation)
}

// aggregate sums up one name over the manifests that have it; the others do not vote.
func aggregate(name string, votes []metav1.Condition, generation int64) metav1.Condition {
	out := metav1.Condition{
		Type: name, Reason: Aggregated, ObservedGeneration: generation, Status: outranking(name, votes),
		Message: fmt.Sprintf("Aggregated from %d manifest conditions", len(votes)),
	}
	if len(votes) == 1 {
		out.Message = votes[0].Message
	}
	return out
}

// outranking finds the first status in order that any vote has. One manifest in progress is progress; for anything
// else one that does not hold is enough.
func outranking(name string, votes []metav1.Condition) metav1.ConditionStatus {
	order := []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown, metav1.ConditionTrue}
	if name == Progressing {
		slices.Reverse(order)
	}
	for _, status := range order {
		if slices.ContainsFunc(votes, func(c metav1.Condition) bool { return c.Status == status }) {
			return status
		}
	}
	return metav1.ConditionUnknown
}
