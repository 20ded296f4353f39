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
//	Begin  status: InPlaceUpdateReady False, Ready recomputed
//	Start  pod:    labels and images, or the spec to apply when the grace period is over; the state annotation
//	Open   status: InPlaceUpdateReady True, once every container is done
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
func Diff(from, to *corev1.PodTemplateSpec, revision string) (Spec, error) {
	spec := Spec{Revision: revision}
	before, err := tree(from)
	if err != nil {
		return spec, fmt.Errorf("encode the old template: %w", err)
	}
	after, err := tree(to)
	if err != nil {
		return spec, fmt.Errorf("encode the new template: %w", err)
	}
	metadata := false
	for _, c := range compare(nil, before, after) {
		if refused := spec.admit(c, from, to); refused != nil {
			return Spec{}, refused
		}
		metadata = metadata || c.path[0] == "metadata"
	}
	if metadata {
		if spec.MetaDataPatch, err = metadataPatch(from, to); err != nil {
			return Spec{}, err
		}
	}
	return spec, nil
}

// admit takes one difference into the spec, or says why it does not fit into a running pod.
func (s *Spec) admit(c change, from, to *corev1.PodTemplateSpec) error {
	path := "/" + strings.Join(c.path, "/")
	switch {
	case c.path[0] == "metadata":
		if user := envUser(to, c); user != "" {
			return &NotPossible{path, fmt.Sprintf("container %q reads it into its environment", user)}
		}
		return nil
	case c.path[0] != "spec":
		return &NotPossible{path, "only images and metadata can"}
	case c.op != replaced:
		return &NotPossible{path, "a field was added or removed"}
	case len(c.path) == 4 && c.path[1] == "containers" && c.path[3] == "image":
		i, err := strconv.Atoi(c.path[2])
		image, ok := c.to.(string)
		if err != nil || !ok || i >= len(from.Spec.Containers) {
			return &NotPossible{path, "it is no image"}
		}
		if s.ContainerImages == nil {
			s.ContainerImages = map[string]string{}
		}
		s.ContainerImages[from.Spec.Containers[i].Name] = image // the old template's order // WL-4.12.3
		return nil
	default:
		return &NotPossible{path, "only images and metadata can"}
	}
}

// envUser is the container of the new template whose environment reads the label or annotation that was added or changed:
// it has to be restarted to see the new value. // WL-4.5
func envUser(to *corev1.PodTemplateSpec, c change) string {
	if len(c.path) != 3 || c.op == removed || c.path[1] != "labels" && c.path[1] != "annotations" {
		return ""
	}
	ref := fmt.Sprintf("metadata.%s['%s']", c.path[1], c.path[2])
	reads := func(e corev1.EnvVar) bool {
		return e.Value == "" && e.Name != "SIDECARSET_VERSION" && e.Name != "SIDECARSET_VERSION_ALT" &&
			e.ValueFrom != nil && e.ValueFrom.FieldRef != nil && e.ValueFrom.FieldRef.FieldPath == ref
	}
	for _, container := range to.Spec.Containers {
		if slices.ContainsFunc(container.Env, reads) {
			return container.Name
		}
	}
	return ""
}

// metadataPatch also removes what the new template dropped. // WL-4.3
func metadataPatch(from, to *corev1.PodTemplateSpec) ([]byte, error) {
	before, err := json.Marshal(corev1.Pod{ObjectMeta: from.ObjectMeta})
	if err != nil {
		return nil, fmt.Errorf("encode old metadata: %w", err)
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: to.ObjectMeta})
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
