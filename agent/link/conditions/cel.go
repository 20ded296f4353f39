package conditions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/utils/lru"
	workv1 "open-cluster-management.io/api/work/v1"
)

const (
	perCall      = 1_000_000 // OCM-13.1, in the units of CEL
	perManifest  = 10_000_000
	longestCall  = 5 * time.Second // the units do not count everything; a busy machine is no verdict
	mostPrograms = 256
)

var (
	errBudget   = errors.New("the condition rules of this manifest together cost more than 10000000 units")
	errInternal = errors.New("condition rules cannot be evaluated")
)

// budget is what the rules of one manifest may still cost.
type budget struct{ left uint64 }

// cel is the AND of a rule's expressions; it stops at the first that is false. OCM-13.1
func (e *Evaluator) cel(ctx context.Context, obj *unstructured.Unstructured, rule *workv1.ConditionRule, b *budget) metav1.Condition {
	if len(rule.CelExpressions) == 0 {
		return invalid("a CEL rule needs celExpressions")
	}
	result := true
	for _, text := range rule.CelExpressions {
		holds, err := e.test(ctx, text, map[string]any{"object": obj.Object}, b)
		if err != nil {
			return failed(err)
		}
		if !holds {
			result = false
			break
		}
	}
	return evaluated(result, e.message(ctx, obj, rule, result, b))
}

func failed(err error) metav1.Condition {
	if errors.Is(err, errInternal) {
		return metav1.Condition{Status: metav1.ConditionUnknown, Reason: InternalError, Message: err.Error()}
	}
	return metav1.Condition{Status: metav1.ConditionFalse, Reason: ExpressionError, Message: err.Error()}
}

func (e *Evaluator) test(ctx context.Context, text string, vars map[string]any, b *budget) (bool, error) {
	value, err := e.programs.run(ctx, text, vars, b)
	if err != nil {
		return false, fmt.Errorf("expression %q: %w", short(text), err)
	}
	holds, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("expression %q: result is %s, not bool", short(text), value.Type().TypeName())
	}
	return holds, nil
}

// message is what the expression says, else the text, else the default. An expression that fails is named behind
// it: the result stands without it.
func (e *Evaluator) message(ctx context.Context, obj *unstructured.Unstructured, rule *workv1.ConditionRule, result bool, b *budget) string {
	text := rule.Message
	if text == "" {
		text = defaultMessage(rule.Condition, result)
	}
	if rule.MessageExpression == "" {
		return text
	}
	value, err := e.programs.run(ctx, rule.MessageExpression, map[string]any{"object": obj.Object, "result": result}, b)
	if err != nil {
		return fmt.Sprintf("%s (messageExpression: %v)", text, err)
	}
	said, ok := value.Value().(string)
	switch {
	case !ok:
		return fmt.Sprintf("%s (messageExpression: result is %s, not string)", text, value.Type().TypeName())
	case strings.TrimSpace(said) == "":
		return text
	default:
		return said
	}
}

// programs are compiled expressions, those used last.
type programs struct {
	kept         *lru.Cache
	environments func() (environments, error)
	longest      time.Duration // of one call
}

// environments are what expressions may use: object, and for messages result besides.
type environments struct{ plain, messages *cel.Env }

// compiled is a program or why there is none, which is worth keeping as well.
type compiled struct {
	program cel.Program
	err     error
}

type programKey struct {
	text    string
	message bool
}

func newPrograms() *programs {
	return &programs{kept: lru.New(mostPrograms), environments: sync.OnceValues(newEnvironments), longest: longestCall}
}

// run evaluates text; a panic of the engine is an answer too.
func (p *programs) run(ctx context.Context, text string, vars map[string]any, b *budget) (value ref.Val, err error) {
	defer func() {
		if r := recover(); r != nil {
			value, err = nil, fmt.Errorf("%w: %v", errInternal, r)
		}
	}()
	if b.left == 0 {
		return nil, errBudget
	}
	_, message := vars["result"]
	program, err := p.get(programKey{text, message})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.longest)
	defer cancel()
	value, details, err := program.ContextEval(ctx, vars)
	b.spend(details)
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	return value, nil
}

func (b *budget) spend(details *cel.EvalDetails) {
	cost := uint64(1)
	if details != nil && details.ActualCost() != nil {
		cost = max(*details.ActualCost(), 1)
	}
	b.left -= min(cost, b.left)
}

func (p *programs) get(key programKey) (cel.Program, error) {
	if have, ok := p.kept.Get(key); ok {
		if c, ok := have.(compiled); ok {
			return c.program, c.err
		}
	}
	var c compiled
	c.program, c.err = p.compile(key)
	p.kept.Add(key, c)
	return c.program, c.err
}

func (p *programs) compile(key programKey) (cel.Program, error) {
	envs, err := p.environments()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errInternal, err)
	}
	env := envs.plain
	if key.message {
		env = envs.messages
	}
	tree, issues := env.Compile(key.text)
	if issues.Err() != nil {
		return nil, fmt.Errorf("compile: %w", issues.Err())
	}
	program, err := env.Program(tree, cel.CostLimit(perCall), cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	return program, nil
}

// newEnvironments extends the Kubernetes CEL library by our variables and helper.
func newEnvironments() (environments, error) {
	since := version.MajorMinor(1, 0)
	base, err := environment.MustBaseEnvSet(version.MajorMinor(1, 37)).Extend(environment.VersionedOptions{
		IntroducedVersion: since,
		EnvOptions:        []cel.EnvOption{cel.Variable("object", cel.DynType), hasConditions},
	})
	if err != nil {
		return environments{}, fmt.Errorf("prepare CEL: %w", err)
	}
	more, err := base.Extend(environment.VersionedOptions{
		IntroducedVersion: since, EnvOptions: []cel.EnvOption{cel.Variable("result", cel.BoolType)},
	})
	if err != nil {
		return environments{}, fmt.Errorf("prepare CEL for messages: %w", err)
	}
	return environments{plain: base.StoredExpressionsEnv(), messages: more.StoredExpressionsEnv()}, nil
}

// hasConditions(object.status) reports whether there are any conditions; so does hasConditions(object). An object
// that has no status yet has none: that is an answer and no error.
var hasConditions = cel.Function("hasConditions", cel.Overload("has_conditions_dyn", []*cel.Type{cel.DynType}, cel.BoolType,
	cel.OverloadIsNonStrict(),
	cel.UnaryBinding(func(v ref.Val) ref.Val {
		if types.IsError(v) && strings.Contains(fmt.Sprint(v), "no such key") {
			return types.False
		}
		if types.IsUnknownOrError(v) {
			return v
		}
		return types.Bool(conditionsIn(v) || conditionsIn(field(v, "status")))
	})))

func conditionsIn(v ref.Val) bool {
	list, ok := field(v, "conditions").(traits.Lister)
	if !ok {
		return false
	}
	size, ok := list.Size().(types.Int)
	return ok && size > 0
}

func field(v ref.Val, name string) ref.Val {
	m, ok := v.(traits.Mapper)
	if !ok {
		return nil
	}
	value, found := m.Find(types.String(name))
	if !found {
		return nil
	}
	return value
}
