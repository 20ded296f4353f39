package federateddeployment

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// kind is one of the kinds a subset's workload can be of.
type kind struct {
	template                       string // field of spec.template
	group, version, name, resource string
	status                         []string // status fields that are fed back
	conditions                     bool     // has the conditions Stalled and Reconciling
	partition                      func(spec map[string]any, partition int32) error
	pause                          []string // field that stops updates, if the kind has one
}

func (k kind) apiVersion() string { return k.group + "/" + k.version }

// kinds in the order in which a template is looked for (WL-5.1).
var kinds = []kind{
	{
		template: "statefulSetTemplate", group: "apps", version: "v1", name: "StatefulSet", resource: "statefulsets",
		status:    []string{valueObserved, valueReplicas, valueReady, valueAvailable, valueUpdated, valueCurrentRevision, valueUpdateRevision},
		partition: ordinals(true),
	},
	{
		template: "advancedStatefulSetTemplate", group: "apps.kruise.io", version: "v1beta1", name: "StatefulSet", resource: "statefulsets",
		status: []string{valueObserved, valueReplicas, valueReady, valueAvailable, valueUpdated, valueUpdatedReady, valueUpdatedAvailable,
			valueCurrentRevision, valueUpdateRevision},
		conditions: true, partition: ordinals(false), pause: []string{"updateStrategy", "rollingUpdate", "paused"},
	},
	{
		template: "cloneSetTemplate", group: "apps.kruise.io", version: "v1alpha1", name: "CloneSet", resource: "clonesets",
		status: []string{valueObserved, valueReplicas, valueReady, valueAvailable, valueUpdated, valueUpdatedReady, valueUpdatedAvailable,
			valueCurrentRevision, valueUpdateRevision},
		conditions: true, pause: []string{"updateStrategy", "paused"}, partition: func(spec map[string]any, partition int32) error {
			return unstructured.SetNestedField(spec, int64(partition), "updateStrategy", "partition")
		},
	},
	{
		template: "deploymentTemplate", group: "apps", version: "v1", name: "Deployment", resource: "deployments",
		status: []string{valueObserved, valueReplicas, valueReady, valueAvailable, valueUpdated},
		pause:  []string{"paused"},
	},
}

// ordinals sets the partition of a stateful kind unless its pods are updated by deleting them. Only the native kind gets
// its strategy type filled in.
func ordinals(fill bool) func(map[string]any, int32) error {
	return func(spec map[string]any, partition int32) error {
		strategy, _, err := unstructured.NestedString(spec, "updateStrategy", "type")
		if err != nil {
			return err
		}
		if strategy != "" && strategy != "RollingUpdate" {
			return nil
		}
		if fill {
			if err := unstructured.SetNestedField(spec, "RollingUpdate", "updateStrategy", "type"); err != nil {
				return err
			}
		}
		return unstructured.SetNestedField(spec, int64(partition), "updateStrategy", "rollingUpdate", "partition")
	}
}

// countable says that the workload can run two revisions, so many replicas of each.
func (k kind) countable(tmpl map[string]any) bool {
	strategy, _, _ := unstructured.NestedString(tmpl, "spec", "updateStrategy", "type")
	return k.partition != nil && strategy != "OnDelete"
}

// kindOf finds the template that is set.
func kindOf(template map[string]any) (kind, map[string]any, bool) {
	for _, k := range kinds {
		if t, ok := template[k.template].(map[string]any); ok {
			return k, t, true
		}
	}
	return kind{}, nil, false
}

// workload makes the object that a subset is on its member (WL-5.8), but for one thing: its name is `<name>-<subset>`
// instead of a random one, so that applying it twice makes one workload. The content is a hash of everything but
// replicas and partition; it is also on the object.
func workload(obj *v1alpha1.FederatedDeployment, s share) (object map[string]any, content string, err error) {
	k, tmpl, ok := kindOf(s.template)
	if !ok {
		return nil, "", fmt.Errorf("spec.template: holds no template")
	}
	subset := s.subset
	spec, err := subsetSpec(obj, tmpl, s.revision, subset)
	if err != nil {
		return nil, "", err
	}
	labels := stringsOf(tmpl, "metadata", "labels")
	maps.Copy(labels, obj.Spec.Selector.MatchLabels)
	labels[v1alpha1.LabelControllerRevision] = s.revision
	labels[v1alpha1.LabelSubsetName] = subset.Name
	annotations := stringsOf(tmpl, "metadata", "annotations")
	annotations[v1alpha1.AnnotationSubsetPatch] = ""
	if subset.Patch != nil {
		annotations[v1alpha1.AnnotationSubsetPatch] = string(subset.Patch.Raw)
	}
	if adaptive(obj) {
		annotations[v1alpha1.AnnotationRescheduleCritical] = strconv.Itoa(int(critical(obj).Seconds()))
	}
	if after := stepDown(obj); after != "" {
		annotations[v1alpha1.AnnotationStepDownAfter] = after
	}
	metadata := map[string]any{
		"namespace": obj.Namespace, "name": workloadName(obj.Name, subset.Name), "labels": anyOf(labels), "annotations": anyOf(annotations),
	}
	object = map[string]any{"apiVersion": k.apiVersion(), "kind": k.name, "metadata": metadata, "spec": spec}
	if content, err = hash(object); err != nil {
		return nil, "", err
	}
	annotations[v1alpha1.AnnotationContent] = content
	metadata["annotations"] = anyOf(annotations)
	spec["replicas"] = int64(s.replicas)
	if s.paused && k.pause != nil {
		if err := unstructured.SetNestedField(spec, true, k.pause...); err != nil {
			return nil, "", fmt.Errorf("spec.template.%s.spec: %w", k.template, err)
		}
	}
	if k.partition != nil {
		if err := k.partition(spec, s.partition); err != nil {
			return nil, "", fmt.Errorf("spec.template.%s.spec.updateStrategy: %w", k.template, err)
		}
	}
	return object, content, nil
}

func workloadName(name, subset string) string { return name + "-" + subset }

// subsetSpec is the workload's spec without what scaling and partitions change.
func subsetSpec(obj *v1alpha1.FederatedDeployment, tmpl map[string]any, revision string, subset v1alpha1.Subset) (map[string]any, error) {
	from, _ := tmpl["spec"].(map[string]any)
	spec := runtime.DeepCopyJSON(from)
	if spec == nil {
		spec = map[string]any{}
	}
	delete(spec, "replicas")
	selector := obj.Spec.Selector.DeepCopy()
	if selector.MatchLabels == nil {
		selector.MatchLabels = map[string]string{}
	}
	selector.MatchLabels[v1alpha1.LabelSubsetName] = subset.Name
	asked, err := runtime.DefaultUnstructuredConverter.ToUnstructured(selector)
	if err != nil {
		return nil, fmt.Errorf("spec.selector: %w", err)
	}
	spec["selector"] = asked
	pod, err := podTemplate(spec["template"], revision, subset)
	if err != nil {
		return nil, err
	}
	spec["template"] = pod
	return spec, nil
}

// podTemplate is the pod template of a subset: labels, affinity, tolerations, and the patch last, so that it can
// override all of them.
func podTemplate(from any, revision string, subset v1alpha1.Subset) (map[string]any, error) {
	pod, _ := from.(map[string]any)
	if pod == nil {
		pod = map[string]any{}
	}
	labels := stringsOf(pod, "metadata", "labels")
	labels[v1alpha1.LabelSubsetName] = subset.Name
	labels[v1alpha1.LabelControllerRevision] = revision
	if err := unstructured.SetNestedStringMap(pod, labels, "metadata", "labels"); err != nil {
		return nil, err
	}
	if err := requireNodes(pod, subset.NodeSelectorTerm); err != nil {
		return nil, err
	}
	if err := tolerate(pod, subset.Tolerations); err != nil {
		return nil, err
	}
	if subset.Patch == nil || len(subset.Patch.Raw) == 0 {
		return pod, nil
	}
	return patched(pod, subset.Patch.Raw)
}

// requireNodes adds the subset's expressions to every required term, which are alternatives of each other (WL-5.12, 12).
func requireNodes(pod map[string]any, term *corev1.NodeSelectorTerm) error {
	if term == nil || len(term.MatchExpressions) == 0 {
		return nil
	}
	path := []string{"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"}
	terms, _, err := unstructured.NestedSlice(pod, path...)
	if err != nil {
		return err
	}
	if len(terms) == 0 {
		terms = []any{map[string]any{}}
	}
	for _, t := range terms {
		t, ok := t.(map[string]any)
		if !ok {
			continue
		}
		expressions, _ := t["matchExpressions"].([]any)
		for i := range term.MatchExpressions {
			e, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&term.MatchExpressions[i])
			if err != nil {
				return err
			}
			expressions = append(expressions, e)
		}
		t["matchExpressions"] = expressions
	}
	return unstructured.SetNestedSlice(pod, terms, path...)
}

func tolerate(pod map[string]any, tolerations []corev1.Toleration) error {
	if len(tolerations) == 0 {
		return nil
	}
	all, _, err := unstructured.NestedSlice(pod, "spec", "tolerations")
	if err != nil {
		return err
	}
	for i := range tolerations {
		t, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&tolerations[i])
		if err != nil {
			return err
		}
		all = append(all, t)
	}
	return unstructured.SetNestedSlice(pod, all, "spec", "tolerations")
}

func patched(pod map[string]any, patch []byte) (map[string]any, error) {
	original, err := json.Marshal(pod)
	if err != nil {
		return nil, err
	}
	merged, err := strategicpatch.StrategicMergePatch(original, patch, corev1.PodTemplateSpec{})
	if err != nil {
		return nil, fmt.Errorf("merge patch: %w", err)
	}
	if err := utiljson.Unmarshal(merged, &corev1.PodTemplateSpec{}); err != nil {
		return nil, fmt.Errorf("the patched template is no pod template: %w", err)
	}
	var result map[string]any
	if err := utiljson.Unmarshal(merged, &result); err != nil {
		return nil, fmt.Errorf("decode patched template: %w", err)
	}
	return result, nil
}

// hash tells contents apart.
func hash(object any) (string, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return "", fmt.Errorf("encode workload: %w", err)
	}
	h := fnv.New64a()
	h.Write(data)
	return strconv.FormatUint(h.Sum64(), 36), nil
}

// stringsOf is a copy of a map of strings, never nil.
func stringsOf(object map[string]any, path ...string) map[string]string {
	m, _, _ := unstructured.NestedStringMap(object, path...) // decoding has found its type to be right
	if m == nil {
		m = map[string]string{}
	}
	return m
}

func anyOf(m map[string]string) map[string]any {
	result := make(map[string]any, len(m))
	for k, v := range m {
		result[k] = v
	}
	return result
}

// templateIn is the template that a revision holds. It is nil if there is none.
func templateIn(data []byte) map[string]any {
	var object map[string]any
	if err := utiljson.Unmarshal(data, &object); err != nil {
		return nil
	}
	template, _, _ := unstructured.NestedMap(object, "spec", "template")
	delete(template, "$patch")
	return template
}

// inForce says that works may be asked for that revision although the template is another.
func inForce(obj *v1alpha1.FederatedDeployment, revision string) bool {
	return obj.Status.Rollout != nil && obj.Status.Rollout.StableRevision == revision
}
