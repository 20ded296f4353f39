// Package conditions says what the condition rules of a work make of a live object, and sums up over a work.
//
// It is pure: no client, no clock of its own. What it promises: a rule costs no more than its budget, whatever it
// says; a rule that cannot be evaluated becomes a condition that says why and stops no other; and nothing of a
// Secret gets out. Compiled expressions are kept, as many as fit.
package conditions

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	workv1 "open-cluster-management.io/api/work/v1"
)

// Reasons of OCM-13 that the API module has no constant for. All but the last start alike, which is how the
// conditions of rules are told from others.
const (
	Prefix          = "ConditionRule"
	Evaluated       = "ConditionRuleEvaluated"
	Invalid         = "ConditionRuleInvalid"
	ExpressionError = "ConditionRuleExpressionError"
	InternalError   = "ConditionRuleInternalError"
	Aggregated      = "ConditionRulesAggregated"

	// Progressing is summed up in an order of its own.
	Progressing = "Progressing"
)

const longestMessage = 4 << 10 // a message of 32 kB would make the whole status invalid

// named is what the API accepts as the type of a condition; a status with another one would be refused as a whole.
var named = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$`)

// usable reports whether a rule may have the name: not what the agent itself reports on, or removes works by.
func usable(name string) bool {
	switch name {
	case workv1.ManifestApplied, workv1.ManifestAvailable, "StatusFeedbackSynced", workv1.WorkDeleting:
		return false
	}
	return len(name) <= 316 && named.MatchString(name)
}

// Evaluator evaluates rules. It may be used by many at once.
type Evaluator struct{ programs *programs }

// New prepares an evaluator; nothing is compiled before it is needed.
func New() *Evaluator { return &Evaluator{programs: newPrograms()} }

// Evaluate returns one condition per rule that has something to say of obj, without generation and time. OCM-13.1
func (e *Evaluator) Evaluate(ctx context.Context, obj *unstructured.Unstructured, rules []workv1.ConditionRule) []metav1.Condition {
	var out []metav1.Condition
	budget := &budget{left: perManifest}
	for i := range rules {
		if !usable(rules[i].Condition) {
			continue
		}
		if c, ok := e.one(ctx, obj, &rules[i], budget); ok {
			c.Type, c.Message = rules[i].Condition, short(c.Message)
			out = append(out, c)
		}
	}
	return out
}

func (e *Evaluator) one(ctx context.Context, obj *unstructured.Unstructured, rule *workv1.ConditionRule, b *budget) (metav1.Condition, bool) {
	if gvk := obj.GroupVersionKind(); gvk.Group == "" && gvk.Kind == "Secret" {
		return invalid("a Secret is not evaluated"), true // a message could carry what is in it
	}
	switch rule.Type {
	case workv1.WellKnownConditionsType:
		return wellKnown(obj, rule)
	case workv1.CelConditionExpressionsType:
		return e.cel(ctx, obj, rule, b), true
	default:
		return invalid(fmt.Sprintf("condition rule type %q is unknown", rule.Type)), true
	}
}

func invalid(message string) metav1.Condition {
	return metav1.Condition{Status: metav1.ConditionUnknown, Reason: Invalid, Message: message}
}

func evaluated(result bool, message string) metav1.Condition {
	c := metav1.Condition{Status: metav1.ConditionFalse, Reason: Evaluated, Message: message}
	if result {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// defaultMessage is said of a rule that brings none.
func defaultMessage(condition string, result bool) string {
	if result {
		return "Manifest is " + condition
	}
	return "Manifest is not " + condition
}

func short(message string) string {
	if len(message) <= longestMessage {
		return message
	}
	return strings.ToValidUTF8(message[:longestMessage], "") + "…"
}
