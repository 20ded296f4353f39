// Package nodefit says whether a pod template can run on a node: by name, labels, affinity, taints and size. Kinds that run a
// pod on every node ask it, each with the tolerations and rules of its own. It is pure, reads nothing and owns nothing.
package nodefit

import (
	"fmt"
	"slices"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Where is which nodes a template asks for.
type Where struct {
	nodeName string
	simple   labels.Selector // nodeSelector
	terms    []term          // one of them has to match, if required
	required bool
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

// Of reads a template. What cannot be read is an error: were it no match, all pods would be deleted.
func Of(template *corev1.PodTemplateSpec) (*Where, error) {
	w := &Where{nodeName: template.Spec.NodeName, simple: labels.SelectorFromSet(template.Spec.NodeSelector)}
	affinity := template.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return w, nil
	}
	w.required = true
	for i, t := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if len(t.MatchExpressions)+len(t.MatchFields) == 0 {
			continue // an empty term matches nothing
		}
		read, err := readTerm(t)
		if err != nil {
			return nil, fmt.Errorf("read term %d of the required node affinity: %w", i, err)
		}
		w.terms = append(w.terms, read)
	}
	return w, nil
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
		if f.Key != nameField || !in && f.Operator != corev1.NodeSelectorOpNotIn || len(f.Values) != 1 {
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
	return t.labels.Matches(labels.Set(node.Labels))
}

// Includes says whether the template asks for the node: by name, node selector and required affinity.
func (w *Where) Includes(node *corev1.Node) bool {
	switch {
	case w.nodeName != "" && w.nodeName != node.Name:
		return false
	case !w.simple.Matches(labels.Set(node.Labels)):
		return false
	}
	return !w.required || slices.ContainsFunc(w.terms, func(t term) bool { return t.matches(node) })
}

// Taints says whether a node lets pods with these tolerations come, and whether it lets them stay.
func Taints(node *corev1.Node, tolerations []corev1.Toleration) (run, keep bool) {
	run, keep = true, true
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		if taint.Effect == corev1.TaintEffectPreferNoSchedule || Tolerates(tolerations, taint) {
			continue
		}
		run = false
		keep = keep && taint.Effect != corev1.TaintEffectNoExecute
	}
	return run, keep
}

// Tolerates says whether one of the tolerations is for the taint.
func Tolerates(tolerations []corev1.Toleration, taint *corev1.Taint) bool {
	return slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool { return t.ToleratesTaint(logr.Discard(), taint, false) })
}
