package federateddeployment

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/allocate"
)

// maxNamed is the longest name that still leaves room for the hash of a revision in a label.
const maxNamed = validation.LabelValueMaxLength - len("-1234567890")

// Validate lists everything that is wrong with a spec and that can be told from the spec alone (WL-5.3). The schema
// refuses most of it at admission; what it cannot say, or a write past it, ends here.
func Validate(obj *v1alpha1.FederatedDeployment) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateNames(obj)
	errs = append(errs, validateTemplate(obj, spec)...)
	errs = append(errs, validateSubsets(obj, spec.Child("topology", "subsets"))...)
	errs = append(errs, validateNumbers(obj, spec)...)
	return append(errs, validatePartitions(obj, spec.Child("updateStrategy", "manualUpdate", "partitions"))...)
}

func validateNames(obj *v1alpha1.FederatedDeployment) field.ErrorList {
	var errs field.ErrorList
	if len(obj.Name) > maxNamed {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), obj.Name, fmt.Sprintf(
			"has %d characters, and revisions are named after it in a label of every pod; use at most %d", len(obj.Name), maxNamed)))
	}
	longest := maxNamed
	if obj.Spec.Template.DeploymentTemplate != nil {
		longest = validation.DNS1123LabelMaxLength
	}
	for i, s := range obj.Spec.Topology.Subsets {
		if name := workloadName(obj.Name, s.Name); len(name) > longest {
			errs = append(errs, field.Invalid(field.NewPath("spec", "topology", "subsets").Index(i).Child("name"), s.Name, fmt.Sprintf(
				"makes the workload %q, which has %d characters; use a shorter name, at most %d together with the %s's", name, len(name), longest, originOf(obj).gvk.Kind)))
		}
	}
	return errs
}

// templateFacts are what validation needs of any of the templates.
type templateFacts struct {
	path         *field.Path
	pod          corev1.PodTemplateSpec
	labels       map[string]string
	replicas     *int32
	partitioned  bool
	checksLabels bool // the selector must match the workload's labels too
}

func templatesOf(t v1alpha1.SubsetTemplate, path *field.Path) []templateFacts {
	var all []templateFacts
	if s := t.StatefulSetTemplate; s != nil {
		rolling := s.Spec.UpdateStrategy.RollingUpdate
		all = append(all, templateFacts{path.Child("statefulSetTemplate"), s.Spec.Template, s.Labels, s.Spec.Replicas,
			rolling != nil && rolling.Partition != nil && *rolling.Partition != 0, true})
	}
	if s := t.AdvancedStatefulSetTemplate; s != nil {
		rolling := s.Spec.UpdateStrategy.RollingUpdate
		all = append(all, templateFacts{path.Child("advancedStatefulSetTemplate"), s.Spec.Template, s.Labels, s.Spec.Replicas,
			rolling != nil && rolling.Partition != nil && *rolling.Partition != 0, true})
	}
	if s := t.CloneSetTemplate; s != nil {
		all = append(all, templateFacts{path: path.Child("cloneSetTemplate"), pod: s.Spec.Template, labels: s.Labels})
	}
	if s := t.DeploymentTemplate; s != nil {
		all = append(all, templateFacts{path.Child("deploymentTemplate"), s.Spec.Template, s.Labels, s.Spec.Replicas, false, true})
	}
	return all
}

func validateTemplate(obj *v1alpha1.FederatedDeployment, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	templates := templatesOf(obj.Spec.Template, spec.Child("template"))
	if len(templates) != 1 {
		return append(errs, field.Invalid(spec.Child("template"), fmt.Sprintf("%d templates", len(templates)),
			"set exactly one of cloneSetTemplate, advancedStatefulSetTemplate, statefulSetTemplate and deploymentTemplate"))
	}
	selector, err := metav1.LabelSelectorAsSelector(&obj.Spec.Selector)
	if err != nil {
		return append(errs, field.Invalid(spec.Child("selector"), text(obj.Spec.Selector), fmt.Sprintf("%v; correct it", err)))
	}
	if len(obj.Spec.Selector.MatchLabels) == 0 {
		errs = append(errs, field.Required(spec.Child("selector", "matchLabels"), "the pods of the subsets are found by it; give at least one label"))
	}
	t := templates[0]
	inside := t.path.Child("spec")
	podLabels := inside.Child("template", "metadata", "labels")
	errs = append(errs, metav1validation.ValidateLabels(t.pod.Labels, podLabels)...)
	errs = append(errs, metav1validation.ValidateLabels(t.labels, t.path.Child("metadata", "labels"))...)
	errs = append(errs, matched(selector, t.pod.Labels, podLabels)...)
	if len(t.pod.Spec.Containers) == 0 {
		errs = append(errs, field.Required(inside.Child("template", "spec", "containers"), "a pod needs at least one container; add one"))
	}
	if !t.checksLabels {
		return errs
	}
	errs = append(errs, matched(selector, t.labels, t.path.Child("metadata", "labels"))...)
	if t.replicas != nil {
		errs = append(errs, field.Invalid(inside.Child("replicas"), *t.replicas, "the subsets say how many; leave it out, and set spec.replicas"))
	}
	if t.partitioned {
		errs = append(errs, field.Forbidden(inside.Child("updateStrategy", "rollingUpdate", "partition"),
			"each subset has its own; leave it out, and set spec.updateStrategy.manualUpdate.partitions"))
	}
	return errs
}

// text shows a selector that has no short form, being none.
func text(selector any) string {
	data, err := json.Marshal(selector)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func matched(selector labels.Selector, there map[string]string, path *field.Path) field.ErrorList {
	if selector.Matches(labels.Set(there)) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, labels.Set(there).String(), fmt.Sprintf(
		"spec.selector %q does not match; add the labels that it asks for", selector.String()))}
}

func validateSubsets(obj *v1alpha1.FederatedDeployment, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch ref := obj.Spec.Topology.PlacementRef; {
	case ref != nil && len(obj.Spec.Topology.Subsets) > 0:
		errs = append(errs, field.Forbidden(path, "placementRef makes the subsets; remove one of the two"))
	case ref != nil && ref.Name == "":
		errs = append(errs, field.Required(field.NewPath("spec", "topology", "placementRef", "name"), "name a Placement of this namespace"))
	case ref != nil && obj.Spec.Replicas == nil:
		errs = append(errs, field.Required(field.NewPath("spec", "replicas"), "the clusters of a Placement share it; set it"))
	case ref == nil && len(obj.Spec.Topology.Subsets) == 0:
		errs = append(errs, field.Required(path, "somewhere the replicas must go; add a subset"))
	}
	names := map[string]bool{}
	for i, s := range obj.Spec.Topology.Subsets {
		at := path.Index(i)
		for _, why := range validation.IsDNS1123Label(s.Name) {
			errs = append(errs, field.Invalid(at.Child("name"), s.Name, why))
		}
		if names[s.Name] {
			errs = append(errs, field.Invalid(at.Child("name"), s.Name, "another subset has this name; rename one of them"))
		}
		names[s.Name] = true
		errs = append(errs, validateCluster(s, at)...)
		errs = append(errs, validateTerm(s.NodeSelectorTerm, at.Child("nodeSelectorTerm", "matchExpressions"))...)
		errs = append(errs, validateTolerations(s.Tolerations, at.Child("tolerations"))...)
		if s.Patch != nil {
			var patch map[string]any
			if err := json.Unmarshal(s.Patch.Raw, &patch); err != nil {
				errs = append(errs, field.Invalid(at.Child("patch"), string(s.Patch.Raw), fmt.Sprintf("%v; a patch is a JSON object like part of a pod template", err)))
			}
		}
	}
	return errs
}

func validateCluster(s v1alpha1.Subset, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Cluster != "" && s.ClusterSelector != nil {
		errs = append(errs, field.Invalid(at.Child("cluster"), s.Cluster, "clusterSelector is set too; name the cluster, or select it by labels"))
	}
	if s.ClusterSelector != nil {
		if _, err := metav1.LabelSelectorAsSelector(s.ClusterSelector); err != nil {
			errs = append(errs, field.Invalid(at.Child("clusterSelector"), text(s.ClusterSelector), fmt.Sprintf("%v; correct it", err)))
		}
	}
	return errs
}

func validateTerm(term *corev1.NodeSelectorTerm, at *field.Path) field.ErrorList {
	if term == nil {
		return nil
	}
	var errs field.ErrorList
	for i, e := range term.MatchExpressions {
		errs = append(errs, metav1validation.ValidateLabelName(e.Key, at.Index(i).Child("key"))...)
		values, want := len(e.Values), ""
		switch e.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
			if values == 0 {
				want = "give at least one value"
			}
		case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
			if values > 0 {
				want = "leave the values out"
			}
		case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
			if values != 1 {
				want = "give exactly one value"
			}
		default:
			want = "use In, NotIn, Exists, DoesNotExist, Gt or Lt"
		}
		if want != "" {
			errs = append(errs, field.Invalid(at.Index(i), fmt.Sprintf("%s with %d values", e.Operator, values), want))
		}
	}
	return errs
}

func validateTolerations(tolerations []corev1.Toleration, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, t := range tolerations {
		if t.Key != "" {
			errs = append(errs, metav1validation.ValidateLabelName(t.Key, at.Index(i).Child("key"))...)
		}
		if t.Key == "" && t.Operator != corev1.TolerationOpExists {
			errs = append(errs, field.Invalid(at.Index(i).Child("operator"), t.Operator, "a toleration without key needs operator Exists; use it, or give a key"))
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			errs = append(errs, field.Invalid(at.Index(i).Child("effect"), t.Effect, "tolerationSeconds goes with NoExecute; use that effect, or leave the seconds out"))
		}
	}
	return errs
}

// validateNumbers checks what each number says by itself. Whether they add up is for the allocator to say.
func validateNumbers(obj *v1alpha1.FederatedDeployment, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	total := allocate.None
	if r := obj.Spec.Replicas; r != nil {
		if total = *r; total < 0 {
			return append(errs, field.Invalid(spec.Child("replicas"), total, "is negative; use 0 or more"))
		}
	}
	var fixed, bounded, open bool
	for i, s := range obj.Spec.Topology.Subsets {
		at := spec.Child("topology", "subsets").Index(i)
		errs = append(errs, parses(total, s.Replicas, at.Child("replicas"))...)
		errs = append(errs, parses(total, s.MinReplicas, at.Child("minReplicas"))...)
		errs = append(errs, parses(total, s.MaxReplicas, at.Child("maxReplicas"))...)
		fixed = fixed || s.Replicas != nil
		bounded = bounded || s.MinReplicas != nil || s.MaxReplicas != nil
		open = open || s.MaxReplicas == nil
	}
	subsets := spec.Child("topology", "subsets")
	switch {
	case fixed && bounded:
		errs = append(errs, field.Forbidden(subsets, "replicas and minReplicas/maxReplicas cannot be mixed; use one way for all subsets"))
	case bounded && total == allocate.None:
		errs = append(errs, field.Required(spec.Child("replicas"), "minReplicas and maxReplicas need a total; set it"))
	case bounded && !open:
		errs = append(errs, field.Forbidden(subsets, "every subset has maxReplicas, so replicas beyond the sum could go nowhere; leave one without"))
	}
	return errs
}

func parses(total int32, v *intstr.IntOrString, at *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	if _, err := allocate.Parse(total, *v); err != nil {
		return field.ErrorList{{Type: field.ErrorTypeInvalid, Field: at.String(), BadValue: v.String(), Detail: err.Error()}}
	}
	return nil
}

func validatePartitions(obj *v1alpha1.FederatedDeployment, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if obj.Spec.UpdateStrategy.ManualUpdate == nil {
		return nil
	}
	partitions := obj.Spec.UpdateStrategy.ManualUpdate.Partitions
	for _, name := range slices.Sorted(maps.Keys(partitions)) {
		if !slices.ContainsFunc(obj.Spec.Topology.Subsets, func(s v1alpha1.Subset) bool { return s.Name == name }) {
			errs = append(errs, field.Invalid(at.Key(name), partitions[name], "is no subset of spec.topology.subsets; add the subset, or remove the partition"))
		}
		if partitions[name] < 0 {
			errs = append(errs, field.Invalid(at.Key(name), partitions[name], "is negative; use 0 or more"))
		}
	}
	return errs
}

// changeable are the fields of a stateful template's spec that may change.
var changeable = []string{"template", "updateStrategy", "replicas"}

// validateChange lists what the user changed since the revision that went out last and may not: members would refuse to
// change it in a StatefulSet that exists (WL-5.3).
func validateChange(obj *v1alpha1.FederatedDeployment, seen facts) field.ErrorList {
	i := slices.IndexFunc(seen.revisions, revisionNamed(obj.Status.UpdateRevision))
	if i < 0 {
		return nil
	}
	k, was, _ := kindOf(templateIn(seen.revisions[i].Data.Raw))
	if k.name != "StatefulSet" {
		return nil
	}
	is, same := seen.template[k.template].(map[string]any)
	if !same {
		return nil
	}
	before, _ := was["spec"].(map[string]any)
	after, _ := is["spec"].(map[string]any)
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(union(before, after))) {
		if !slices.Contains(changeable, name) && !reflect.DeepEqual(before[name], after[name]) {
			errs = append(errs, field.Forbidden(field.NewPath("spec", "template", k.template, "spec", name), fmt.Sprintf(
				"is immutable, only template and updateStrategy may change; change it back, or create a %s of another name", originOf(obj).gvk.Kind)))
		}
	}
	return errs
}

func union(a, b map[string]any) map[string]any {
	all := map[string]any{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// invalid turns what is wrong into problems.
func invalid(errs field.ErrorList) []problem {
	problems := make([]problem, len(errs))
	for i, err := range errs {
		problems[i] = problem{reason: v1alpha1.ReasonInvalidSpec, message: err.Error()}
	}
	return problems
}
