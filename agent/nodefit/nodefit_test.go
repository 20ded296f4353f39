package nodefit

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func template(change ...func(*corev1.PodSpec)) *corev1.PodTemplateSpec {
	t := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "web:1"}}}}
	for _, c := range change {
		c(&t.Spec)
	}
	return t
}

func node(change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n0", Labels: map[string]string{"disk": "ssd", "size": "8"}}}
	for _, c := range change {
		c(n)
	}
	return n
}

func requiring(terms ...corev1.NodeSelectorTerm) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}
	}
}

func expression(key string, operator corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
}

func named(operator corev1.NodeSelectorOperator, name string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: nameField, Operator: operator, Values: []string{name}}}}
}

func TestIncludes(t *testing.T) { // WL-3.4, BJ-3
	for name, tc := range map[string]struct {
		spec func(*corev1.PodSpec)
		want bool
	}{
		"any node":                 {spec: func(*corev1.PodSpec) {}, want: true},
		"it is named":              {spec: func(s *corev1.PodSpec) { s.NodeName = "n0" }, want: true},
		"another is named":         {spec: func(s *corev1.PodSpec) { s.NodeName = "n1" }},
		"labels match":             {spec: func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "ssd"} }, want: true},
		"labels do not match":      {spec: func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "hdd"} }},
		"affinity in":              {spec: requiring(expression("disk", "In", "ssd", "nvme")), want: true},
		"affinity not in":          {spec: requiring(expression("disk", "NotIn", "ssd"))},
		"affinity greater":         {spec: requiring(expression("size", "Gt", "7")), want: true},
		"affinity less":            {spec: requiring(expression("size", "Lt", "8"))},
		"affinity by name":         {spec: requiring(named("In", "n0")), want: true},
		"affinity by others":       {spec: requiring(named("NotIn", "n0"))},
		"one term of two will do":  {spec: requiring(named("In", "n1"), named("In", "n0")), want: true},
		"an empty term is no node": {spec: requiring(corev1.NodeSelectorTerm{})},
		"no term is no node":       {spec: requiring()},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := Of(template(tc.spec))
			if err != nil {
				t.Fatal(err)
			}
			if got := w.Includes(node()); got != tc.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	for name, term := range map[string]corev1.NodeSelectorTerm{
		"an operator":    expression("disk", "Like", "ssd"),
		"a field":        {MatchFields: []corev1.NodeSelectorRequirement{{Key: "spec.id", Operator: "In", Values: []string{"n0"}}}},
		"several values": {MatchFields: []corev1.NodeSelectorRequirement{{Key: nameField, Operator: "In", Values: []string{"n0", "n1"}}}},
	} {
		if _, err := Of(template(requiring(term))); err == nil {
			t.Errorf("%s that cannot be read passes", name)
		}
	}
}

func TestTaints(t *testing.T) { // WL-3.4, BJ-3
	tainted := func(effects ...corev1.TaintEffect) *corev1.Node {
		return node(func(n *corev1.Node) {
			for _, e := range effects {
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "x", Effect: e})
			}
		})
	}
	all := []corev1.Toleration{{Key: "x", Operator: corev1.TolerationOpExists}}
	for name, tc := range map[string]struct {
		node        *corev1.Node
		tolerations []corev1.Toleration
		run, keep   bool
	}{
		"none":            {node: tainted(), run: true, keep: true},
		"not scheduled":   {node: tainted("NoSchedule"), keep: true},
		"not executed":    {node: tainted("NoExecute", "NoSchedule")},
		"rather not":      {node: tainted("PreferNoSchedule"), run: true, keep: true},
		"all tolerated":   {node: tainted("NoExecute", "NoSchedule"), tolerations: all, run: true, keep: true},
		"one of two only": {node: tainted("NoExecute", "NoSchedule"), tolerations: []corev1.Toleration{{Key: "x", Operator: "Exists", Effect: "NoExecute"}}, keep: true},
	} {
		if run, keep := Taints(tc.node, tc.tolerations); run != tc.run || keep != tc.keep {
			t.Errorf("%s: run %v, keep %v", name, run, keep)
		}
	}
}

func TestLacking(t *testing.T) { // BJ-3: what other pods use is not counted
	has := func(cpu, memory, pods string) *corev1.Node {
		return node(func(n *corev1.Node) {
			n.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse(memory)}
			if pods != "" {
				n.Status.Allocatable["pods"] = resource.MustParse(pods)
			}
		})
	}
	asks := func(s *corev1.PodSpec) {
		half := corev1.ResourceList{"cpu": resource.MustParse("500m"), "memory": resource.MustParse("64Mi")}
		s.Containers[0].Resources.Requests = half
		s.Containers = append(s.Containers, corev1.Container{Name: "other", Resources: corev1.ResourceRequirements{Requests: half}})
		s.InitContainers = []corev1.Container{{Name: "init", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"memory": resource.MustParse("1Gi")}}}}
	}
	for name, tc := range map[string]struct {
		node *corev1.Node
		spec func(*corev1.PodSpec)
		want corev1.ResourceName
	}{
		"nothing asked of a node that says nothing": {node: node(), spec: func(*corev1.PodSpec) {}},
		"just enough":                     {node: has("1", "1Gi", "1"), spec: asks},
		"too little for both containers":  {node: has("999m", "1Gi", "1"), spec: asks, want: "cpu"},
		"too little for what comes first": {node: has("1", "1023Mi", "1"), spec: asks, want: "memory"},
		"no room for a pod":               {node: has("1", "1Gi", "0"), spec: asks, want: "pods"},
		"nothing of what is asked":        {node: node(), spec: asks, want: "cpu"},
	} {
		if got := Lacking(tc.node, Asked(template(tc.spec))); got != tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTargetAndPin(t *testing.T) { // WL-3.4, BJ-4, BJ-6
	pod := &corev1.Pod{Spec: template(requiring(expression("disk", "In", "ssd"))).Spec}
	pod.Spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution = []corev1.PreferredSchedulingTerm{{Weight: 1}}
	if got := Target(pod); got != "" {
		t.Errorf("before: %q", got)
	}
	Pin(&pod.Spec, "n1")
	a := pod.Spec.Affinity.NodeAffinity
	if got := Target(pod); got != "n1" || len(a.PreferredDuringSchedulingIgnoredDuringExecution) != 1 ||
		len(a.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms) != 1 {
		t.Errorf("pinned: %q, %+v", got, a)
	}
	pod.Spec.NodeName = "n2"
	if got := Target(pod); got != "n2" {
		t.Errorf("bound: %q", got)
	}
}
