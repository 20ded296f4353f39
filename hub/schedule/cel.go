package schedule

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/cel-go/cel"
	celast "github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/utils/lru"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
)

// Limits of CEL, in the units of cel-go: a million are about a tenth of a second.
const (
	costPerCall  = 100_000
	costBudget   = 10_000_000 // of one placement, over all clusters
	maxPrograms  = 256        // kept compiled, with what they said of each cluster
	maxCELReason = 200        // bytes of a runtime error that a reader sees
)

// celVariable is the cluster, whole. OCM-16.3
const celVariable = "managedCluster"

// scoresFunction gives the scores of an add-on for a cluster. OCM-16.3
const scoresFunction = "scores"

// programs are compiled expressions. Compiling costs a thousand evaluations, and placements are looked at often.
var programs = lru.New(maxPrograms)

// program is a compiled expression.
type program struct {
	source string
	run    cel.Program
	no     *Verdict
	scores bool // is a function of scores too, so its outcomes are not remembered
	memo   atomic.Pointer[memo]
}

// outcome is what an expression said of a cluster, and what finding out cost.
type outcome struct {
	unmet *Verdict
	cost  uint64
}

// memo are the outcomes for one fleet. An expression sees nothing but the cluster, which never changes.
type memo struct {
	fleet    *Fleet
	outcomes []atomic.Pointer[outcome]
}

// programOf compiles an expression, or finds it compiled.
func programOf(expression string) (*program, error) {
	if known, ok := programs.Get(expression); ok {
		return known.(*program), nil
	}
	env, err := celEnv()
	if err != nil {
		return nil, fmt.Errorf("set CEL up: %w", err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("%s is a %s, not a bool", expression, t)
	}
	run, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.CostLimit(costPerCall))
	if err != nil {
		return nil, err
	}
	ofScores := celast.MatchDescendants(celast.NavigateAST(ast.NativeRep()), celast.FunctionMatcher(scoresFunction))
	p := &program{source: expression, run: run, scores: len(ofScores) > 0, no: &Verdict{StagePredicate, fmt.Sprintf("CEL %s is not met", expression)}}
	programs.Add(expression, p)
	return p, nil
}

// outcome is what the expression says of a cluster. What it said before holds while the cluster is the same.
func (p *program) outcome(f *Fleet, at int32, scores Scores) outcome {
	if p.scores {
		return p.eval(f.clusters[at], scores)
	}
	known := &p.remembered(f).outcomes[at]
	if o := known.Load(); o != nil {
		return *o
	}
	o := p.eval(f.clusters[at], nil)
	known.Store(&o)
	return o
}

// remembered is the memo for a fleet. From the memo for another it takes over what is about clusters that both have.
func (p *program) remembered(f *Fleet) *memo {
	old := p.memo.Load()
	if old != nil && old.fleet == f {
		return old
	}
	m := &memo{fleet: f, outcomes: make([]atomic.Pointer[outcome], len(f.clusters))}
	if old != nil {
		m.take(old)
	}
	p.memo.Store(m)
	return m
}

// take walks both fleets, which are in the order of names.
func (m *memo) take(old *memo) {
	was := 0
	for i, c := range m.fleet.clusters {
		for was < len(old.fleet.clusters) && old.fleet.clusters[was].Name < c.Name {
			was++
		}
		if was < len(old.fleet.clusters) && old.fleet.clusters[was] == c {
			m.outcomes[i].Store(old.outcomes[was].Load())
		}
	}
}

func (p *program) eval(c *Cluster, scores Scores) outcome {
	whole, err := c.cel()
	if err != nil {
		return outcome{unmet: p.failed(err)}
	}
	out, details, err := p.run.Eval(map[string]any{celVariable: scored{whole, c.Name, scores}})
	var cost uint64
	if details != nil && details.ActualCost() != nil {
		cost = *details.ActualCost()
	}
	switch {
	case err != nil:
		return outcome{p.failed(err), cost}
	case out == types.True:
		return outcome{nil, cost}
	}
	return outcome{p.no, cost}
}

// failed is a runtime error: this cluster does not match. OCM-16.3
func (p *program) failed(err error) *Verdict {
	text := err.Error()
	if len(text) > maxCELReason {
		text = text[:maxCELReason] + "..."
	}
	return &Verdict{StagePredicate, fmt.Sprintf("CEL %s fails: %s", p.source, text)}
}

func costProblem(seen, all int) *Problem {
	return &Problem{Plugin: pluginPredicate, Text: fmt.Sprintf(
		"the CEL expressions are too costly: the budget of %d was spent after %d of %d clusters; put a label selector beside them, or make them simpler",
		costBudget, seen, all)}
}

// celEnv has what Kubernetes has everywhere (quantities, semantic versions, lists, sets, ...), and clusters.
var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	all := version.MajorMinor(1, 37)
	set, err := environment.MustBaseEnvSet(all).Extend(environment.VersionedOptions{IntroducedVersion: all, EnvOptions: []cel.EnvOption{
		cel.Variable(celVariable, cel.DynType),
		cel.Function(scoresFunction, cel.MemberOverload("managedCluster_scores_string",
			[]*cel.Type{cel.DynType, cel.StringType}, cel.ListType(cel.DynType), cel.BinaryBinding(scoresOf))),
		cel.Function("parseJSON",
			cel.MemberOverload("string_parseJSON", []*cel.Type{cel.StringType}, cel.DynType, cel.UnaryBinding(parseJSON)),
			cel.Overload("parseJSON_string", []*cel.Type{cel.StringType}, cel.DynType, cel.UnaryBinding(parseJSON))),
	}})
	if err != nil {
		return nil, err
	}
	return set.StoredExpressionsEnv(), nil
})

// celValue is a ManagedCluster as CEL sees it. It is shared between placements.
func celValue(c *clusterv1.ManagedCluster) (traits.Mapper, error) {
	plain, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c)
	if err != nil {
		return nil, fmt.Errorf("convert cluster %s: %w", c.Name, err)
	}
	return types.NewStringInterfaceMap(types.DefaultTypeAdapter, plain), nil
}

// scored is a cluster that knows its scores.
type scored struct {
	traits.Mapper
	name   string
	scores Scores
}

// scoresOf lists the entries of a cluster's AddOnPlacementScore; one that is not there has none.
func scoresOf(cluster, resource ref.Val) ref.Val {
	c, ok := cluster.(scored)
	name, named := resource.Value().(string)
	if !ok || !named {
		return types.NewErr("scores is a function of %s and takes a name", celVariable)
	}
	return types.DefaultTypeAdapter.NativeToValue(entries(c.scores[name][c.name]))
}

func entries(s *clusterv1alpha1.AddOnPlacementScore) []any {
	if s == nil {
		return []any{}
	}
	all := make([]any, 0, len(s.Status.Scores))
	for _, item := range s.Status.Scores {
		all = append(all, map[string]any{"name": item.Name, "value": int64(item.Value)})
	}
	return all
}

func parseJSON(text ref.Val) ref.Val {
	s, ok := text.Value().(string)
	if !ok {
		return types.MaybeNoSuchOverloadErr(text)
	}
	var value any
	if err := json.Unmarshal([]byte(s), &value); err != nil {
		return types.NewErr("parse JSON: %v", err)
	}
	return types.DefaultTypeAdapter.NativeToValue(value)
}
