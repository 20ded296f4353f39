package daemonset

import (
	"fmt"
	"slices"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// placement is where pods of a template may be.
type placement struct {
	nodeName    string
	simple      labels.Selector // nodeSelector
	terms       []term          // one of them has to match, if required
	required    bool
	tolerations []corev1.Toleration
}

// term is a node selector term: all of it has to match.
type term struct {
	labels labels.Selector
	names  []nameIs
}

type nameIs struct {
	value string
	not   bool
}

// placementOf reads a template. What cannot be read is an error: were it no match, all pods would be deleted. // WL-3.4
func placementOf(template *corev1.PodTemplateSpec) (*placement, error) {
	p := &placement{
		nodeName: template.Spec.NodeName, simple: labels.SelectorFromSet(template.Spec.NodeSelector), tolerations: tolerationsOf(&template.Spec),
	}
	affinity := template.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return p, nil
	}
	p.required = true
	for i, t := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if len(t.MatchExpressions)+len(t.MatchFields) == 0 {
			continue // an empty term matches nothing
		}
		read, err := readTerm(t)
		if err != nil {
			return nil, fmt.Errorf("read term %d of the required node affinity: %w", i, err)
		}
		p.terms = append(p.terms, read)
	}
	return p, nil
}

var operators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
	corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
}

func readTerm(t corev1.NodeSelectorTerm) (term, error) {
	all := labels.NewSelector()
	for _, e := range t.MatchExpressions {
		r, err := labels.NewRequirement(e.Key, operators[e.Operator], e.Values)
		if err != nil {
			return term{}, fmt.Errorf("expression on %q: %w", e.Key, err)
		}
		all = all.Add(*r)
	}
	read := term{labels: all}
	for _, f := range t.MatchFields {
		in := f.Operator == corev1.NodeSelectorOpIn
		if f.Key != "metadata.name" || !in && f.Operator != corev1.NodeSelectorOpNotIn || len(f.Values) != 1 {
			return term{}, fmt.Errorf("field %q must be metadata.name, In or NotIn one value", f.Key)
		}
		read.names = append(read.names, nameIs{value: f.Values[0], not: !in})
	}
	return read, nil
}

func (t term) matches(node *corev1.Node) bool {
	for _, n := range t.names {
		if (n.value == node.Name) == n.not {
			return false
		}
	}
	return t.labels.Matches(labelsOf(node))
}

func labelsOf(node *corev1.Node) labels.Set { return node.Labels }

// decide says whether the node should get a pod, and whether one that is there may stay. // WL-3.4
func (p *placement) decide(node *corev1.Node) (run, keep bool) {
	switch {
	case p.nodeName != "" && p.nodeName != node.Name:
		return false, false
	case !p.simple.Matches(labelsOf(node)):
		return false, false
	case p.required && !slices.ContainsFunc(p.terms, func(t term) bool { return t.matches(node) }):
		return false, false
	}
	run, keep = true, true
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		if taint.Effect == corev1.TaintEffectPreferNoSchedule || p.tolerates(taint) {
			continue
		}
		run = false
		keep = keep && taint.Effect != corev1.TaintEffectNoExecute
	}
	return run, keep
}

func (p *placement) tolerates(taint *corev1.Taint) bool {
	return slices.ContainsFunc(p.tolerations, func(t corev1.Toleration) bool { return t.ToleratesTaint(logr.Discard(), taint, false) })
}

// tolerationsOf are the template's and those that every daemon pod has. // WL-3.4
func tolerationsOf(spec *corev1.PodSpec) []corev1.Toleration {
	standard := []corev1.Toleration{
		{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		{Key: corev1.TaintNodeDiskPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodePIDPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	}
	if spec.HostNetwork {
		standard = append(standard, corev1.Toleration{
			Key: corev1.TaintNodeNetworkUnavailable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule,
		})
	}
	all := slices.Clone(spec.Tolerations)
	for _, t := range standard {
		i := slices.IndexFunc(all, func(had corev1.Toleration) bool { return had.MatchToleration(&t) })
		if i < 0 {
			all = append(all, t)
			continue
		}
		all[i] = t // without a time after which it no longer holds
	}
	return all
}

// targetOf is the node that a pod runs on or is meant for. // WL-3.4
func targetOf(pod *corev1.Pod) string {
	if pod.Spec.NodeName != "" {
		return pod.Spec.NodeName
	}
	affinity := pod.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	for _, t := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range t.MatchFields {
			if f.Key == "metadata.name" && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}
