// Package inplace changes running pods: it says whether a template change fits into a running pod, how, and how far such a
// change has come.
//
// It owns the annotations that hold the update's state and grace period and condition InPlaceUpdateReady; their formats are
// those of workloads.md section 4, so a cluster that OpenKruise managed is taken over in the middle of an update. Everything
// is pure: a pod goes in, a decision or a changed copy comes out, and all state is in the pod, so whoever comes next goes on
// where the last one stopped. It promises that a pod is not called done while a container may still run its old image.
//
// Updates are pod changes in this order (WL-4.2), a write each:
//
//	Begin    status: InPlaceUpdateReady False, Ready recomputed; not for resources that change without a restart
//	Resized  resize: cpu and memory, when they change
//	Start    pod:    labels and images, or the spec to apply when the grace period is over; the state annotation
//	Open     status: InPlaceUpdateReady True, once every container is done
package inplace

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/flotilla-project/flotilla/agent/podset/containermeta"
	"github.com/flotilla-project/flotilla/agent/podset/defaults"
)

// Spec is what changes in a running pod to bring it to another revision. It is stored on the pod during a grace period, so
// its JSON is a wire format. // WL-4.1
type Spec struct {
	Revision              string                                 `json:"revision"`
	ContainerImages       map[string]string                      `json:"containerImages,omitempty"`
	ContainerRefMetadata  map[string]metav1.ObjectMeta           `json:"containerRefMetadata,omitempty"`
	ContainerResources    map[string]corev1.ResourceRequirements `json:"containerResources,omitempty"`
	MetaDataPatch         []byte                                 `json:"metaDataPatch,omitempty"`
	UpdateEnvFromMetadata bool                                   `json:"updateEnvFromMetadata,omitempty"`
	GraceSeconds          int32                                  `json:"graceSeconds,omitempty"`
}

// Gates are the feature gates that say what fits into a running pod. // WL-0.3
type Gates struct {
	// EnvFromMetadata restarts containers whose environment reads metadata that changes, which takes the node daemon: gate
	// InPlaceUpdateEnvFromMetadata. Without it they keep the environment they have.
	EnvFromMetadata bool
	// Resources changes cpu and memory: gate InPlaceWorkloadVerticalScaling.
	Resources bool
}

// NotPossible is why a pod cannot be brought to another template in place.
type NotPossible struct {
	Path string // within the template
	Why  string
}

// Error names the path and the reason.
func (e *NotPossible) Error() string {
	return fmt.Sprintf("template%s cannot change in place: %s", strings.ReplaceAll(e.Path, "/", "."), e.Why)
}

// Diff says what brings a pod made from one template to another one in place, or a *NotPossible. Templates are compared as
// this release writes them, so a default that another release left out is no difference. // WL-4.3
func Diff(from, to *corev1.PodTemplateSpec, revision string, gates Gates) (Spec, error) {
	spec := Spec{Revision: revision}
	before, err := tree(from)
	if err != nil {
		return spec, fmt.Errorf("encode the old template: %w", err)
	}
	after, err := tree(to)
	if err != nil {
		return spec, fmt.Errorf("encode the new template: %w", err)
	}
	metadata, plain := false, to.ObjectMeta.DeepCopy() // plain is what changes without a restart
	for _, c := range compare(nil, before, after) {
		switch {
		case c.path[0] != "metadata":
			if refused := spec.admit(c, from, gates); refused != nil {
				return Spec{}, refused
			}
		case gates.EnvFromMetadata && spec.refer(to, c):
			withhold(plain, &from.ObjectMeta, c.path)
		default:
			metadata = true
		}
	}
	if err := spec.fits(from, to); err != nil {
		return Spec{}, err
	}
	if metadata {
		if spec.MetaDataPatch, err = metadataPatch(&from.ObjectMeta, plain); err != nil {
			return Spec{}, err
		}
	}
	return spec, nil
}

// admit takes one difference below spec, or says why it does not fit into a running pod.
func (s *Spec) admit(c change, from *corev1.PodTemplateSpec, gates Gates) error {
	path := "/" + strings.Join(c.path, "/")
	var container string
	if len(c.path) > 3 && c.path[0] == "spec" && c.path[1] == "containers" {
		if i, err := strconv.Atoi(c.path[2]); err == nil && i < len(from.Spec.Containers) {
			container = from.Spec.Containers[i].Name // the old template's order // WL-4.12.3
		}
	}
	text, isText := c.to.(string)
	switch {
	case c.path[0] != "spec":
		return &NotPossible{path, "only images and metadata can"}
	case c.op != replaced:
		return &NotPossible{path, "a field was added or removed"}
	case container == "":
		return &NotPossible{path, "only images and metadata can"}
	case isText && len(c.path) == 4 && c.path[3] == "image":
		put(&s.ContainerImages, container, text)
	case isText && isResource(c.path):
		if !gates.Resources {
			return &NotPossible{path, "resources can with feature gate InPlaceWorkloadVerticalScaling only"}
		}
		return s.resize(container, c.path[4], corev1.ResourceName(c.path[5]), text, path)
	default:
		return &NotPossible{path, "only images and metadata can"}
	}
	return nil
}

// refer takes a label or annotation that was added or changed and that containers of the new template read into their
// environment: it reaches the pod with their batch, and they restart to see it. // WL-4.5
func (s *Spec) refer(to *corev1.PodTemplateSpec, c change) (found bool) {
	if len(c.path) != 3 || c.op == removed || c.path[1] != "labels" && c.path[1] != "annotations" {
		return false
	}
	value, _ := c.to.(string)
	isAnnotation := c.path[1] == "annotations"
	for i := range to.Spec.Containers {
		container := &to.Spec.Containers[i]
		if !slices.ContainsFunc(containermeta.Refs(container), func(r containermeta.Ref) bool {
			return r.Key == c.path[2] && r.Annotation == isAnnotation
		}) {
			continue
		}
		s.UpdateEnvFromMetadata = true
		meta := s.ContainerRefMetadata[container.Name]
		if isAnnotation {
			put(&meta.Annotations, c.path[2], value)
		} else {
			put(&meta.Labels, c.path[2], value)
		}
		put(&s.ContainerRefMetadata, container.Name, meta)
		found = true
	}
	return found
}

// withhold leaves a key of the new metadata as it was in the old. // WL-4.12.5
func withhold(plain, from *metav1.ObjectMeta, path []string) {
	now, was := plain.Labels, from.Labels
	if path[1] == "annotations" {
		now, was = plain.Annotations, from.Annotations
	}
	if value, had := was[path[2]]; had {
		now[path[2]] = value
		return
	}
	delete(now, path[2])
}

// metadataPatch also removes what the new template dropped. // WL-4.3
func metadataPatch(from, to *metav1.ObjectMeta) ([]byte, error) {
	before, err := json.Marshal(corev1.Pod{ObjectMeta: *from})
	if err != nil {
		return nil, fmt.Errorf("encode old metadata: %w", err)
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: *to})
	if err != nil {
		return nil, fmt.Errorf("encode new metadata: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare metadata: %w", err)
	}
	return patch, nil
}

type op int

const (
	replaced op = iota
	added
	removed
)

// change is one difference of two JSON trees.
type change struct {
	path []string
	op   op
	to   any
}

// compare lists differences the way JSON Patch would: objects by key, arrays of one length by position, and an array whose
// length changed as added or removed elements.
func compare(path []string, from, to any) []change {
	at := func(key string) []string { return append(slices.Clone(path), key) }
	switch a := from.(type) {
	case map[string]any:
		b, ok := to.(map[string]any)
		if !ok {
			break
		}
		var changes []change
		for key, value := range b {
			if old, had := a[key]; had {
				changes = append(changes, compare(at(key), old, value)...)
			} else {
				changes = append(changes, change{at(key), added, value})
			}
		}
		for key := range a {
			if _, still := b[key]; !still {
				changes = append(changes, change{at(key), removed, nil})
			}
		}
		slices.SortFunc(changes, func(x, y change) int { return slices.Compare(x.path, y.path) })
		return changes
	case []any:
		b, ok := to.([]any)
		switch {
		case !ok:
		case len(a) < len(b):
			return []change{{at("-"), added, b[len(a)]}}
		case len(a) > len(b):
			return []change{{at(strconv.Itoa(len(b))), removed, nil}}
		default:
			var changes []change
			for i := range a {
				changes = append(changes, compare(at(strconv.Itoa(i)), a[i], b[i])...)
			}
			return changes
		}
	}
	if reflect.DeepEqual(from, to) {
		return nil
	}
	return []change{{path, replaced, to}}
}

// tree is the template with what the API server or our webhook would have filled in: a default that one of two templates
// was stored without is no change.
func tree(template *corev1.PodTemplateSpec) (map[string]any, error) {
	filled := template.DeepCopy()
	defaults.Template(filled)
	raw, err := json.Marshal(filled)
	if err != nil {
		return nil, err
	}
	var t map[string]any
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, err
	}
	return t, nil
}
