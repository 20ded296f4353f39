package federateddeployment

import (
	"strings"
	"testing"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisev1beta1 "github.com/openkruise/kruise-api/apps/v1beta1"
	nativev1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// deployed makes the template a Deployment's.
func deployed(change func(*kruisev1alpha1.DeploymentTemplateSpec)) edit {
	return func(o *v1alpha1.FederatedDeployment) {
		pod := o.Spec.Template.CloneSetTemplate.Spec.Template
		o.Spec.Template = v1alpha1.SubsetTemplate{DeploymentTemplate: &kruisev1alpha1.DeploymentTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: nativev1.DeploymentSpec{Template: pod},
		}}
		change(o.Spec.Template.DeploymentTemplate)
	}
}

func bounds(low, high any) func(*v1alpha1.Subset) {
	number := func(v any) *intstr.IntOrString {
		switch v := v.(type) {
		case int:
			return new(intstr.FromInt(v))
		case string:
			return new(intstr.FromString(v))
		}
		return nil
	}
	return func(s *v1alpha1.Subset) { s.Replicas, s.MinReplicas, s.MaxReplicas = nil, number(low), number(high) }
}

// WL-5.3
var invalids = map[string]struct {
	obj  *v1alpha1.FederatedDeployment
	want string // empty: fine
}{
	"as in the book":    {obj: web()},
	"a Deployment":      {obj: web(deployed(func(*kruisev1alpha1.DeploymentTemplateSpec) {}))},
	"minima and maxima": {obj: web(subset(0, bounds("10%", 5)), subset(2, bounds(nil, nil)))},
	"no template":       {web(func(o *v1alpha1.FederatedDeployment) { o.Spec.Template.CloneSetTemplate = nil }), `spec.template: Invalid value: "0 templates": set exactly one of`},
	"two templates": {web(func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Template.StatefulSetTemplate = &kruisev1alpha1.StatefulSetTemplateSpec{}
	}), `spec.template: Invalid value: "2 templates": set exactly one of`},
	"pods the selector cannot find": {web(func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Template.CloneSetTemplate.Spec.Template.Labels = map[string]string{"app": "api"}
	}), `spec.template.cloneSetTemplate.spec.template.metadata.labels: Invalid value: "app=api": spec.selector "app=web" does not match; add the labels that it asks for`},
	"a label that is none": {web(func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Template.CloneSetTemplate.Spec.Template.Labels = map[string]string{"app": "web", "a b": "c"}
	}), `spec.template.cloneSetTemplate.spec.template.metadata.labels: Invalid value: "a b"`},
	"no containers": {web(func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Template.CloneSetTemplate.Spec.Template.Spec.Containers = nil
	}), "spec.template.cloneSetTemplate.spec.template.spec.containers: Required value: a pod needs at least one container; add one"},
	"an empty selector": {web(func(o *v1alpha1.FederatedDeployment) { o.Spec.Selector = metav1.LabelSelector{} }), "spec.selector.matchLabels: Required value"},
	"a selector that is none": {web(func(o *v1alpha1.FederatedDeployment) {
		o.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "x", Operator: "Near"}}
	}), `spec.selector: Invalid value: "{\"matchLabels\":{\"app\":\"web\"},\"matchExpressions\":[{\"key\":\"x\",\"operator\":\"Near\"}]}"`},
	"a Deployment whose labels the selector cannot find": {web(deployed(func(d *kruisev1alpha1.DeploymentTemplateSpec) { d.Labels = nil })), `spec.template.deploymentTemplate.metadata.labels: Invalid value: "": spec.selector "app=web" does not match`},
	"a Deployment with replicas":                         {web(deployed(func(d *kruisev1alpha1.DeploymentTemplateSpec) { d.Spec.Replicas = new(int32(3)) })), "spec.template.deploymentTemplate.spec.replicas: Invalid value: 3: the subsets say how many; leave it out, and set spec.replicas"},
	"a StatefulSet with a partition": {web(func(o *v1alpha1.FederatedDeployment) {
		pod := o.Spec.Template.CloneSetTemplate.Spec.Template
		o.Spec.Template = v1alpha1.SubsetTemplate{StatefulSetTemplate: &kruisev1alpha1.StatefulSetTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: nativev1.StatefulSetSpec{Template: pod, UpdateStrategy: nativev1.StatefulSetUpdateStrategy{
				RollingUpdate: &nativev1.RollingUpdateStatefulSetStrategy{Partition: new(int32(2))}}},
		}}
	}), "spec.template.statefulSetTemplate.spec.updateStrategy.rollingUpdate.partition: Forbidden: each subset has its own"},
	"an advanced StatefulSet with a partition": {web(func(o *v1alpha1.FederatedDeployment) {
		pod := o.Spec.Template.CloneSetTemplate.Spec.Template
		o.Spec.Template = v1alpha1.SubsetTemplate{AdvancedStatefulSetTemplate: &kruisev1alpha1.AdvancedStatefulSetTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: kruisev1beta1.StatefulSetSpec{Template: pod, UpdateStrategy: kruisev1beta1.StatefulSetUpdateStrategy{
				RollingUpdate: &kruisev1beta1.RollingUpdateStatefulSetStrategy{Partition: new(int32(2))}}},
		}}
	}), "spec.template.advancedStatefulSetTemplate.spec.updateStrategy.rollingUpdate.partition: Forbidden: each subset has its own"},
	"no subsets":                 {web(func(o *v1alpha1.FederatedDeployment) { o.Spec.Topology.Subsets = nil }), "spec.topology.subsets: Required value"},
	"a subset twice":             {web(subset(1, func(s *v1alpha1.Subset) { s.Name = "a" })), `spec.topology.subsets[1].name: Invalid value: "a": another subset has this name; rename one of them`},
	"a subset's name":            {web(subset(1, func(s *v1alpha1.Subset) { s.Name = "A_b" })), `spec.topology.subsets[1].name: Invalid value: "A_b"`},
	"a name too long for labels": {web(func(o *v1alpha1.FederatedDeployment) { o.Name = strings.Repeat("w", 53) }), `has 53 characters, and revisions are named after it in a label of every pod; use at most 52`},
	"a workload's name too long": {web(subset(1, func(s *v1alpha1.Subset) { s.Name = strings.Repeat("s", 60) })), `use a shorter name, at most 52 together with the FederatedDeployment's`},
	"a cluster twice over":       {web(subset(1, func(s *v1alpha1.Subset) { s.Cluster, s.ClusterSelector = "east", labelled("a", "b") })), `spec.topology.subsets[1].cluster: Invalid value: "east": clusterSelector is set too`},
	"a cluster selector": {web(subset(1, func(s *v1alpha1.Subset) {
		s.ClusterSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "In"}}}
	})), `spec.topology.subsets[1].clusterSelector: Invalid value`},
	"an operator":                {web(subset(0, func(s *v1alpha1.Subset) { s.NodeSelectorTerm.MatchExpressions[0].Operator = "Near" })), `spec.topology.subsets[0].nodeSelectorTerm.matchExpressions[0]: Invalid value: "Near with 1 values": use In, NotIn`},
	"In nothing":                 {web(subset(0, func(s *v1alpha1.Subset) { s.NodeSelectorTerm.MatchExpressions[0].Values = nil })), `give at least one value`},
	"a toleration of everything": {web(subset(0, func(s *v1alpha1.Subset) { s.Tolerations = []corev1.Toleration{{}} })), `spec.topology.subsets[0].tolerations[0].operator: Invalid value: "": a toleration without key needs operator Exists`},
	"seconds without NoExecute": {web(subset(0, func(s *v1alpha1.Subset) {
		s.Tolerations = []corev1.Toleration{{Key: "k", Effect: corev1.TaintEffectNoSchedule, TolerationSeconds: new(int64(3))}}
	})), `spec.topology.subsets[0].tolerations[0].effect: Invalid value: "NoSchedule": tolerationSeconds goes with NoExecute`},
	"a patch that is a list":        {web(subset(0, func(s *v1alpha1.Subset) { s.Patch = &runtime.RawExtension{Raw: []byte(`[]`)} })), `spec.topology.subsets[0].patch: Invalid value: "[]"`},
	"negative replicas":             {web(replicas(-1)), `spec.replicas: Invalid value: -1: is negative; use 0 or more`},
	"a percentage over 100":         {web(subset(2, func(s *v1alpha1.Subset) { s.Replicas = new(intstr.FromString("120%")) })), `spec.topology.subsets[2].replicas: Invalid value: "120%": "120%" is not between 0% and 100%`},
	"a percentage of no total":      {web(func(o *v1alpha1.FederatedDeployment) { o.Spec.Replicas = nil }), `spec.topology.subsets[2].replicas: Invalid value: "50%": "50%" is a percentage, and spec.replicas is not set; set spec.replicas or use a number`},
	"both ways at once":             {web(subset(0, bounds(1, nil))), "spec.topology.subsets: Forbidden: replicas and minReplicas/maxReplicas cannot be mixed; use one way for all subsets"},
	"bounds without a total":        {web(subset(0, bounds(1, nil)), subset(2, bounds(nil, nil)), func(o *v1alpha1.FederatedDeployment) { o.Spec.Replicas = nil }), "spec.replicas: Required value: minReplicas and maxReplicas need a total; set it"},
	"no room for the rest":          {web(subset(0, bounds(nil, 1)), subset(1, bounds(nil, 1)), subset(2, bounds(nil, 1))), "spec.topology.subsets: Forbidden: every subset has maxReplicas"},
	"a partition of nothing":        {web(partitioned("x", 1)), `spec.updateStrategy.manualUpdate.partitions[x]: Invalid value: 1: is no subset of spec.topology.subsets; add the subset, or remove the partition`},
	"a partition of less than none": {web(partitioned("a", -1)), `spec.updateStrategy.manualUpdate.partitions[a]: Invalid value: -1: is negative; use 0 or more`},
}

func TestValidate(t *testing.T) {
	for name, tc := range invalids {
		t.Run(name, func(t *testing.T) {
			errs := Validate(tc.obj)
			switch {
			case tc.want == "" && len(errs) > 0:
				t.Errorf("refused: %v", errs)
			case tc.want != "" && (len(errs) == 0 || !strings.Contains(errs.ToAggregate().Error(), tc.want)):
				t.Errorf("got %v, want %s", errs, tc.want)
			}
		})
	}
}

// What the schema lets through and the types cannot hold is named by path, and stops nobody else.
func TestDecode(t *testing.T) {
	for name, tc := range map[string]struct {
		set  []string
		to   any
		want string
	}{
		"fine":              {set: []string{"spec", "replicas"}, to: int64(3)},
		"text for a number": {set: []string{"spec", "template", "cloneSetTemplate", "spec", "replicas"}, to: "x", want: `spec.template.cloneSetTemplate.spec.replicas: Invalid value: "x"`},
		"a quantity that is none": {
			set:  []string{"spec", "template", "cloneSetTemplate", "spec", "template", "spec", "containers"},
			to:   []any{map[string]any{"name": "ok"}, map[string]any{"name": "web", "resources": map[string]any{"limits": map[string]any{"cpu": "lots"}}}},
			want: `spec.template.cloneSetTemplate.spec.template.spec.containers[1].resources.limits.cpu: Invalid value: "lots"`,
		},
		"a list for an object":      {set: []string{"spec", "template", "cloneSetTemplate", "spec"}, to: []any{}, want: `spec.template.cloneSetTemplate.spec: Invalid value: "list"`},
		"a status we did not write": {set: []string{"status"}, to: "hello", want: `spec: Invalid value: "object"`},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(web())
			if err != nil {
				t.Fatal(err)
			}
			u := &unstructured.Unstructured{Object: content}
			u.SetGroupVersionKind(gvk)
			if err := unstructured.SetNestedField(u.Object, tc.to, tc.set...); err != nil {
				t.Fatal(err)
			}
			obj, problem := decode(u, empty)
			if obj.Name != "web" || obj.UID != "web-uid" || obj.Generation != 1 {
				t.Errorf("lost its identity: %+v", obj.ObjectMeta)
			}
			switch {
			case tc.want == "" && problem != nil:
				t.Errorf("refused: %v", problem)
			case tc.want != "" && (problem == nil || !strings.HasPrefix(problem.Error(), tc.want) || !strings.Contains(problem.Error(), "correct it")):
				t.Errorf("got %v, want %s", problem, tc.want)
			}
		})
	}
}

// WL-5.3: of a StatefulSet's spec only template and updateStrategy may change.
func TestStatefulTemplatesAreImmutable(t *testing.T) {
	stateful := func(service, image string) *v1alpha1.FederatedDeployment {
		return web(func(o *v1alpha1.FederatedDeployment) {
			pod := *o.Spec.Template.CloneSetTemplate.Spec.Template.DeepCopy()
			pod.Spec.Containers[0].Image = image
			o.Spec.Template = v1alpha1.SubsetTemplate{StatefulSetTemplate: &kruisev1alpha1.StatefulSetTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: nativev1.StatefulSetSpec{ServiceName: service, Template: pod},
			}}
		})
	}
	was := stateful("web", "web:v1")
	seen := after(t, was, blank(was))
	for name, tc := range map[string]struct {
		obj  *v1alpha1.FederatedDeployment
		want string
	}{
		"another image":   {obj: stateful("web", "web:v2")},
		"another kind":    {obj: web()},
		"another service": {stateful("other", "web:v1"), "spec.template.statefulSetTemplate.spec.serviceName: Forbidden: is immutable, only template and updateStrategy may change; change it back, or create a FederatedDeployment of another name"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.obj.Status.UpdateRevision = seen.revisions[0].Name
			plan := decide(tc.obj, now(tc.obj, seen))
			got := ""
			for _, p := range plan.problems {
				got += p.message
			}
			if got != tc.want || (tc.want != "") != plan.empty() {
				t.Errorf("%q, plan %s", got, outline(plan))
			}
		})
	}
}
