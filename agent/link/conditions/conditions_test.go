package conditions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/yaml"
)

func object(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return u
}

func celRule(condition string, expressions ...string) workv1.ConditionRule {
	return workv1.ConditionRule{Condition: condition, Type: workv1.CelConditionExpressionsType, CelExpressions: expressions}
}

func known(condition string) workv1.ConditionRule {
	return workv1.ConditionRule{Condition: condition, Type: workv1.WellKnownConditionsType}
}

const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3},
status: {readyReplicas: 2, conditions: [{type: Available, status: "True"}]}}`

func job(condition string) string {
	return `{apiVersion: batch/v1, kind: Job, metadata: {name: j}, status: {conditions: [{type: Suspended, status: "False"}, {type: ` + condition + `, status: "True"}]}}`
}

func pod(phase string) string {
	return "{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {phase: " + phase + "}}"
}

func TestWhatARuleSaysOfAnObject(t *testing.T) { // OCM-13.1
	message := func(r workv1.ConditionRule, text, expression string) workv1.ConditionRule {
		r.Message, r.MessageExpression = text, expression
		return r
	}
	for name, tc := range map[string]struct {
		object string
		rule   workv1.ConditionRule
		want   string // status, reason, start of the message; empty: says nothing
	}{
		"holds":              {deployment, celRule("Ready", "object.status.readyReplicas >= 2"), "True ConditionRuleEvaluated Manifest is Ready"},
		"does not hold":      {deployment, celRule("Ready", "object.status.readyReplicas == object.spec.replicas"), "False ConditionRuleEvaluated Manifest is not Ready"},
		"all have to hold":   {deployment, celRule("Ready", "true", "object.spec.replicas > 5"), "False ConditionRuleEvaluated Manifest is not Ready"},
		"the first false":    {deployment, celRule("Ready", "false", "object.nothing.here"), "False ConditionRuleEvaluated Manifest is not Ready"},
		"own text":           {deployment, message(celRule("Ready", "true"), "all up", ""), "True ConditionRuleEvaluated all up"},
		"own expression":     {deployment, message(celRule("Ready", "false"), "text", `string(object.status.readyReplicas) + " ready: " + string(result)`), "False ConditionRuleEvaluated 2 ready: false"},
		"empty expression":   {deployment, message(celRule("Ready", "true"), "text", `""`), "True ConditionRuleEvaluated text"},
		"bad expression":     {deployment, message(celRule("Ready", "true"), "text", `object.gone`), "True ConditionRuleEvaluated text (messageExpression: evaluate: no such key: gone"},
		"no text expression": {deployment, message(celRule("Ready", "true"), "text", `1`), "True ConditionRuleEvaluated text (messageExpression: result is int, not string"},

		"helper":                {deployment, celRule("Ready", "hasConditions(object.status)"), "True ConditionRuleEvaluated"},
		"helper, whole object":  {deployment, celRule("Ready", "hasConditions(object)"), "True ConditionRuleEvaluated"},
		"helper, none":          {pod("Running"), celRule("Ready", "hasConditions(object.status)"), "False ConditionRuleEvaluated"},
		"helper, no status":     {"{apiVersion: v1, kind: Pod}", celRule("Ready", "hasConditions(object.status) && object.status.x"), "False ConditionRuleEvaluated"},
		"helper, other failure": {deployment, celRule("Ready", "hasConditions(object.spec[0/0])"), "False ConditionRuleExpressionError"},
		"library, quantity":     {deployment, celRule("Ready", `quantity("1Gi").isGreaterThan(quantity("1Mi"))`), "True ConditionRuleEvaluated"},
		"library, lists":        {deployment, celRule("Ready", `object.status.conditions.exists(c, c.type == "Available" && c.status == "True") && [1, 2].isSorted()`), "True ConditionRuleEvaluated"},
		"library, optional":     {deployment, celRule("Ready", `object.?status.?nothing.orValue(7) == 7`), "True ConditionRuleEvaluated"},

		"does not compile":    {deployment, celRule("Ready", "object.("), `False ConditionRuleExpressionError expression "object.(": compile:`},
		"unknown variable":    {deployment, celRule("Ready", "result"), `False ConditionRuleExpressionError expression "result": compile:`},
		"fails":               {deployment, celRule("Ready", "object.status.gone == 1"), `False ConditionRuleExpressionError expression "object.status.gone == 1": evaluate: no such key`},
		"no truth value":      {deployment, celRule("Ready", "object.spec.replicas"), `False ConditionRuleExpressionError expression "object.spec.replicas": result is int, not bool`},
		"no expression":       {deployment, celRule("Ready"), "Unknown ConditionRuleInvalid a CEL rule needs celExpressions"},
		"costs too much":      {deployment, celRule("Ready", dear), "False ConditionRuleExpressionError expression"},
		"unknown type":        {deployment, workv1.ConditionRule{Condition: "Ready", Type: "Guess"}, `Unknown ConditionRuleInvalid condition rule type "Guess" is unknown`},
		"secret":              {"{apiVersion: v1, kind: Secret, data: {a: c2VzYW1l}}", message(celRule("Ready", "true"), "", "object.data.a"), "Unknown ConditionRuleInvalid a Secret is not evaluated"},
		"no name":             {deployment, celRule("", "true"), ""},
		"a name with a space": {deployment, celRule("not valid", "true"), ""},
		"the agent's name":    {deployment, celRule("Applied", "false"), ""},

		"job runs":           {"{apiVersion: batch/v1, kind: Job, metadata: {name: j}}", known("Complete"), "False ConditionRuleEvaluated Job is not finished"},
		"job done":           {job("Complete"), known("Complete"), "True ConditionRuleEvaluated Job is finished"},
		"job failed":         {job("Failed"), known("Complete"), "True ConditionRuleEvaluated Job is finished"},
		"job, own text":      {job("Failed"), message(known("Complete"), "over", ""), "True ConditionRuleEvaluated over"},
		"pod runs":           {pod("Running"), known("Complete"), "False ConditionRuleEvaluated Pod is in phase Running"},
		"pod done":           {pod("Succeeded"), known("Complete"), "True ConditionRuleEvaluated Pod is in phase Succeeded"},
		"pod failed":         {pod("Failed"), known("Complete"), "True ConditionRuleEvaluated Pod is in phase Failed"},
		"not well known":     {deployment, known("Complete"), ""},
		"other condition":    {job("Complete"), known("Progressing"), ""},
		"job of other group": {"{apiVersion: example.com/v1, kind: Job}", known("Complete"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := New().Evaluate(t.Context(), object(t, tc.object), []workv1.ConditionRule{tc.rule})
			if tc.want == "" {
				if len(got) != 0 {
					t.Errorf("%v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Type != tc.rule.Condition {
				t.Fatalf("%v", got)
			}
			if said := fmt.Sprint(got[0].Status, " ", got[0].Reason, " ", got[0].Message); !strings.HasPrefix(said, tc.want) {
				t.Errorf("%s", said)
			}
		})
	}
}

// dear is cheap to write and takes more steps than one call may.
const dear = `[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d,
[0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, true))))))`

func TestTheRulesOfAManifestShareABudget(t *testing.T) { // OCM-13.1
	var rules []workv1.ConditionRule
	for i := range 12 {
		rules = append(rules, celRule(fmt.Sprintf("C%d", i), dear))
	}
	e := New()
	e.programs.longest = time.Hour // the machine may be busy
	got := e.Evaluate(t.Context(), object(t, deployment), append(rules, celRule("Last", "true")))
	if len(got) != 13 {
		t.Fatalf("%d conditions", len(got))
	}
	for i, c := range got {
		if c.Status != metav1.ConditionFalse || c.Reason != ExpressionError {
			t.Errorf("%d: %v", i, c)
		}
		if spent := strings.Contains(c.Message, "10000000 units"); spent != (i >= 10) {
			t.Errorf("%d: %s", i, c.Message)
		}
	}
}

func TestOneBadRuleStopsNoOther(t *testing.T) {
	got := New().Evaluate(t.Context(), object(t, deployment), []workv1.ConditionRule{celRule("Bad", "("), celRule("Good", "true")})
	if len(got) != 2 || got[0].Status != metav1.ConditionFalse || got[1].Status != metav1.ConditionTrue {
		t.Errorf("%v", got)
	}
}

func TestAnEngineThatIsBrokenIsNoVerdict(t *testing.T) {
	for name, broken := range map[string]func() (environments, error){
		"fails":  func() (environments, error) { return environments{}, errors.New("no memory") },
		"panics": func() (environments, error) { panic("deep inside") }, //nolint:forbidigo // that is the case
	} {
		t.Run(name, func(t *testing.T) {
			e := New()
			e.programs.environments = broken
			got := e.Evaluate(t.Context(), object(t, deployment), []workv1.ConditionRule{celRule("Ready", "true")})
			if len(got) != 1 || got[0].Status != metav1.ConditionUnknown || got[0].Reason != InternalError {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestAnExpressionEndsWithTheRound(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := New().Evaluate(ctx, object(t, deployment), []workv1.ConditionRule{celRule("Ready", dear)})
	if len(got) != 1 || got[0].Reason != ExpressionError || !strings.Contains(got[0].Message, "interrupted") {
		t.Errorf("%v", got)
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	rule := celRule("Ready", "true")
	rule.Message = strings.Repeat("ä", longestMessage)
	got := New().Evaluate(t.Context(), object(t, deployment), []workv1.ConditionRule{rule})
	if len(got) != 1 || len(got[0].Message) > longestMessage+3 {
		t.Error(len(got[0].Message))
	}
}

func TestCompiledExpressionsAreKeptAndBounded(t *testing.T) {
	e := New()
	for i := range mostPrograms + 20 {
		e.Evaluate(t.Context(), object(t, deployment), []workv1.ConditionRule{celRule("Ready", fmt.Sprintf("%d == %d", i, i))})
	}
	if n := e.programs.kept.Len(); n != mostPrograms {
		t.Errorf("%d kept", n)
	}
	p, err := e.programs.get(programKey{text: "1 == 2"})
	again, failed := e.programs.get(programKey{text: "1 == 2"})
	if err != nil || failed != nil || p != again {
		t.Error("compiled twice")
	}
}

func condition(name string, status metav1.ConditionStatus, reason string, generation int64) metav1.Condition {
	return metav1.Condition{Type: name, Status: status, Reason: reason, ObservedGeneration: generation, Message: "own"}
}

func entries(votes ...metav1.ConditionStatus) func(name string) []workv1.ManifestCondition {
	return func(name string) []workv1.ManifestCondition {
		out := []workv1.ManifestCondition{{}} // one that does not vote
		for _, v := range votes {
			out = append(out, workv1.ManifestCondition{Conditions: []metav1.Condition{
				condition("Applied", "True", "AppliedManifestComplete", 7), condition(name, v, Evaluated, 7),
			}})
		}
		return out
	}
}

func TestSum(t *testing.T) { // OCM-13.2
	const yes, no, unknown = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	for name, tc := range map[string]struct {
		condition string
		votes     []metav1.ConditionStatus
		want      metav1.ConditionStatus
		message   string
	}{
		"one":                       {"Complete", []metav1.ConditionStatus{yes}, yes, "own"},
		"all true":                  {"Complete", []metav1.ConditionStatus{yes, yes}, yes, "Aggregated from 2 manifest conditions"},
		"one unknown":               {"Complete", []metav1.ConditionStatus{yes, unknown}, unknown, "Aggregated from 2 manifest conditions"},
		"false outranks unknown":    {"Complete", []metav1.ConditionStatus{yes, unknown, no}, no, "Aggregated from 3 manifest conditions"},
		"progressing, one true":     {"Progressing", []metav1.ConditionStatus{no, unknown, yes}, yes, "Aggregated from 3 manifest conditions"},
		"progressing, one unknown":  {"Progressing", []metav1.ConditionStatus{no, unknown}, unknown, "Aggregated from 2 manifest conditions"},
		"progressing, none":         {"Progressing", []metav1.ConditionStatus{no, no}, no, "Aggregated from 2 manifest conditions"},
		"degraded is like the rest": {"Degraded", []metav1.ConditionStatus{yes, no}, no, "Aggregated from 2 manifest conditions"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Sum(nil, entries(tc.votes...)(tc.condition), 7)
			want := []metav1.Condition{{Type: tc.condition, Status: tc.want, Reason: Aggregated, Message: tc.message, ObservedGeneration: 7}}
			if d := cmp.Diff(want, got, cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhatRulesSaidOfAnEarlierGenerationGoes(t *testing.T) { // OCM-13.2
	work := []metav1.Condition{
		condition("Applied", "True", "AppliedManifestWorkComplete", 6),
		condition("Removed", "True", Aggregated, 6), condition("Current", "True", Aggregated, 7),
	}
	names := func(all []metav1.Condition) (out []string) {
		for _, c := range all {
			out = append(out, c.Type)
		}
		slices.Sort(out)
		return out
	}
	if d := cmp.Diff([]string{"Applied", "Complete", "Current"}, names(Sum(slices.Clone(work), entries("True")("Complete"), 7))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"Applied"}, names(Prune(slices.Clone(work), 8))); d != "" {
		t.Error(d)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	e, obj := New(), object(b, deployment)
	rules := []workv1.ConditionRule{celRule("Ready", "hasConditions(object.status) && object.status.readyReplicas == object.spec.replicas")}
	b.ReportAllocs()
	for b.Loop() {
		e.Evaluate(b.Context(), obj, rules)
	}
}
