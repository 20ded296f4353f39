package daemonset

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-project/flotilla/agent/nodefit"
)

// placement is where pods of a template may be.
type placement struct {
	where       *nodefit.Where
	tolerations []corev1.Toleration
}

// placementOf reads a template. What cannot be read is an error: were it no match, all pods would be deleted. // WL-3.4
func placementOf(template *corev1.PodTemplateSpec) (*placement, error) {
	where, err := nodefit.Of(template)
	if err != nil {
		return nil, err
	}
	return &placement{where: where, tolerations: tolerationsOf(&template.Spec)}, nil
}

func labelsOf(node *corev1.Node) labels.Set { return node.Labels }

// decide says whether the node should get a pod, and whether one that is there may stay. // WL-3.4
func (p *placement) decide(node *corev1.Node) (run, keep bool) {
	if !p.where.Includes(node) {
		return false, false
	}
	return nodefit.Taints(node, p.tolerations)
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
