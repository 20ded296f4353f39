package schedule

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

// Parts of a policy that can be to blame, as PlacementMisconfigured names them. OCM-17.3
const (
	pluginPredicate   = "Predicate"
	pluginToleration  = "TaintToleration"
	pluginPrioritizer = "Prioritizer"
	pluginGroup       = "DecisionStrategy"
	pluginName        = "Name"
)

// Built-in prioritizers. OCM-16.5
const (
	Balance                   = "Balance"
	Steady                    = "Steady"
	ResourceAllocatableCPU    = "ResourceAllocatableCPU"
	ResourceAllocatableMemory = "ResourceAllocatableMemory"
)

// defaultScoreRate is how often recorded scores may follow the real ones.
const defaultScoreRate = time.Minute

// policy is a PlacementSpec, checked and ready to run.
type policy struct {
	predicates  []predicate
	tolerations []clusterv1beta1.Toleration
	weighted    []weighted
	spread      []clusterv1beta1.SpreadConstraintsTerm
	groups      []groupRule
	perGroup    intstr.IntOrString
	byScore     bool
	scoreRate   time.Duration
	want        int
	warnings    []string
}

// predicate is one entry of the list that is ORed; what it holds is ANDed. OCM-16.3
type predicate struct {
	requirements []requirement
	programs     []*program
}

// requirement is one line of a selector, with what is said when it is not met.
type requirement struct {
	labels.Requirement
	ofClaim bool
	verdict *Verdict
}

// weighted is a prioritizer that takes part.
type weighted struct {
	name   string
	weight int32
	builtIn
	addOn *clusterv1beta1.AddOnScore
}

type builtIn string

// groupRule is one entry of decisionGroups.
type groupRule struct {
	name         string
	requirements []requirement
}

// compile checks a spec. What it finds wrong, only a change of the placement can help.
func compile(placement *clusterv1beta1.Placement) (*policy, *Problem) {
	if n := len(placement.Name); n > validation.LabelValueMaxLength { // OCM-17: its decisions carry it as a label
		return nil, misconfigured(pluginName, "the name has %d characters, decisions can be labelled with %d at most; make a placement with a shorter name",
			n, validation.LabelValueMaxLength)
	}
	spec := &placement.Spec
	p := &policy{
		tolerations: spec.Tolerations, spread: spec.SpreadPolicy.SpreadConstraints,
		perGroup:  spec.DecisionStrategy.GroupStrategy.ClustersPerDecisionGroup,
		byScore:   spec.SortBy == clusterv1beta1.PlacementSortByScore,
		scoreRate: scoreRate(spec.ScoreRateLimit), want: wanted(spec.NumberOfClusters),
	}
	for _, step := range []func(*clusterv1beta1.PlacementSpec) *Problem{p.readPredicates, p.readTolerations, p.readPrioritizers, p.readGroups} {
		if problem := step(spec); problem != nil {
			return nil, problem
		}
	}
	return p, nil
}

func misconfigured(plugin, format string, args ...any) *Problem {
	return &Problem{Plugin: plugin, Text: fmt.Sprintf(format, args...), Misconfigured: true}
}

func scoreRate(s string) time.Duration {
	if d, err := time.ParseDuration(s); err == nil {
		return d
	}
	return defaultScoreRate
}

func (p *policy) readPredicates(spec *clusterv1beta1.PlacementSpec) *Problem {
	for i, entry := range spec.Predicates {
		selector := entry.RequiredClusterSelector
		requirements, err := requirements(selector.LabelSelector, selector.ClaimSelector)
		if err != nil {
			return misconfigured(pluginPredicate, "predicate %d: %v", i, err)
		}
		one := predicate{requirements: requirements}
		for j, expression := range selector.CelSelector.CelExpressions {
			program, err := programOf(expression)
			if err != nil {
				return misconfigured(pluginPredicate, "predicate %d: CEL expression %d: %v", i, j, err)
			}
			one.programs = append(one.programs, program)
		}
		p.predicates = append(p.predicates, one)
	}
	return nil
}

// requirements are the lines of both selectors, labels first.
func requirements(byLabel metav1.LabelSelector, byClaim clusterv1beta1.ClusterClaimSelector) ([]requirement, error) {
	var all []requirement
	for _, s := range []struct {
		kind     string
		selector *metav1.LabelSelector
	}{{"label", &byLabel}, {"claim", &metav1.LabelSelector{MatchExpressions: byClaim.MatchExpressions}}} {
		parsed, err := metav1.LabelSelectorAsSelector(s.selector)
		if err != nil {
			return nil, fmt.Errorf("%s selector: %w", s.kind, err)
		}
		lines, _ := parsed.Requirements()
		for _, line := range lines {
			all = append(all, requirement{Requirement: line, ofClaim: s.kind == "claim",
				verdict: &Verdict{StagePredicate, fmt.Sprintf("%s %s is not met", s.kind, line.String())}})
		}
	}
	return all, nil
}

// readTolerations refuses what could be meant in two ways. OCM-16.4
func (p *policy) readTolerations(spec *clusterv1beta1.PlacementSpec) *Problem {
	for i, t := range spec.Tolerations {
		switch {
		case t.Operator != "" && t.Operator != clusterv1beta1.TolerationOpExists && t.Operator != clusterv1beta1.TolerationOpEqual:
			return misconfigured(pluginToleration, "toleration %d: operator %q is neither Exists nor Equal", i, t.Operator)
		case t.Key == "" && t.Operator != clusterv1beta1.TolerationOpExists:
			return misconfigured(pluginToleration, "toleration %d: an empty key needs operator Exists", i)
		case t.Operator == clusterv1beta1.TolerationOpExists && t.Value != "":
			return misconfigured(pluginToleration, "toleration %d: operator Exists takes no value, got %q", i, t.Value)
		}
	}
	return nil
}

// readPrioritizers starts from the defaults of the mode and lets the last entry for a coordinate win. OCM-16.5
func (p *policy) readPrioritizers(spec *clusterv1beta1.PlacementSpec) *Problem {
	if spec.PrioritizerPolicy.Mode != clusterv1beta1.PrioritizerPolicyModeExact {
		p.weigh(weighted{name: Balance, weight: 1, builtIn: Balance})
		p.weigh(weighted{name: Steady, weight: 1, builtIn: Steady})
	}
	for i, c := range spec.PrioritizerPolicy.Configurations {
		w, problem := prioritizer(i, c)
		if problem != nil {
			return problem
		}
		if w.builtIn == Steady && w.weight < 0 {
			p.warnings = append(p.warnings, fmt.Sprintf(
				"weight %d of Steady counts as 0: each decision would undo the one before", w.weight))
			w.weight = 0
		}
		p.weigh(w)
	}
	p.weighted = slices.DeleteFunc(p.weighted, func(w weighted) bool { return w.weight == 0 })
	return nil
}

func (p *policy) weigh(w weighted) {
	same := slices.IndexFunc(p.weighted, func(have weighted) bool { return have.name == w.name })
	if same >= 0 {
		p.weighted[same] = w
		return
	}
	p.weighted = append(p.weighted, w)
}

func prioritizer(i int, c clusterv1beta1.PrioritizerConfig) (weighted, *Problem) {
	coordinate := c.ScoreCoordinate
	switch {
	case coordinate == nil:
		return weighted{}, misconfigured(pluginPrioritizer, "configuration %d has no scoreCoordinate", i)
	case coordinate.Type == clusterv1beta1.ScoreCoordinateTypeAddOn && coordinate.AddOn == nil:
		return weighted{}, misconfigured(pluginPrioritizer, "configuration %d is of type AddOn and has no addOn", i)
	case coordinate.Type == clusterv1beta1.ScoreCoordinateTypeAddOn:
		return weighted{name: coordinate.AddOn.ResourceName + "/" + coordinate.AddOn.ScoreName, weight: c.Weight, addOn: coordinate.AddOn}, nil
	case coordinate.Type != clusterv1beta1.ScoreCoordinateTypeBuiltIn && coordinate.Type != "":
		return weighted{}, misconfigured(pluginPrioritizer, "configuration %d: type %q is neither BuiltIn nor AddOn", i, coordinate.Type)
	}
	switch coordinate.BuiltIn {
	case Balance, Steady, ResourceAllocatableCPU, ResourceAllocatableMemory:
		return weighted{name: coordinate.BuiltIn, weight: c.Weight, builtIn: builtIn(coordinate.BuiltIn)}, nil
	}
	return weighted{}, misconfigured(pluginPrioritizer, "configuration %d: no built-in prioritizer is called %q; there are %s, %s, %s and %s",
		i, coordinate.BuiltIn, Balance, Steady, ResourceAllocatableCPU, ResourceAllocatableMemory)
}

func (p *policy) readGroups(spec *clusterv1beta1.PlacementSpec) *Problem {
	for i, g := range spec.DecisionStrategy.GroupStrategy.DecisionGroups {
		requirements, err := requirements(g.ClusterSelector.LabelSelector, g.ClusterSelector.ClaimSelector)
		if err != nil {
			return misconfigured(pluginGroup, "decision group %d: %v", i, err)
		}
		p.groups = append(p.groups, groupRule{name: g.GroupName, requirements: requirements})
	}
	if _, err := groupLength(p.perGroup, 1); err != nil {
		return misconfigured(pluginGroup, "clustersPerDecisionGroup: %v", err)
	}
	return nil
}
