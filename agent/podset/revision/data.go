// Package revision keeps a set's pod templates as ControllerRevisions: what their data and names are, which of them the set
// asks for, and which are no longer needed.
//
// It owns the format of the data and the names (workloads.md 0.5) and promises that a set which OpenKruise or an older agent
// made keeps its revisions: new data has the bytes that Kubernetes 1.30 libraries write, and an existing revision that means
// the same is preferred over its bytes. Everything is pure: templates and revisions go in, a decision comes out.
package revision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	shared "github.com/flotilla-project/flotilla/pkg/revision"
)

// Wire names. // WL-0.5, WL-1.6
const (
	HashLabel           = shared.HashLabel
	ClaimHashAnnotation = "kruise.io/cloneset-volumeclaimtemplate-hash"
)

// Data is a template as a revision stores it: the bytes that libraries of Kubernetes 1.30 make of it, so a set that is taken
// over does not roll. // WL-0.5
func Data(template *corev1.PodTemplateSpec) ([]byte, error) {
	raw, err := json.Marshal(template)
	if err != nil {
		return nil, fmt.Errorf("encode template: %w", err)
	}
	var t map[string]any
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, fmt.Errorf("decode template: %w", err)
	}
	withCreationTime(t)
	t["$patch"] = "replace"
	data, err := json.Marshal(map[string]any{"spec": map[string]any{"template": t}})
	if err != nil {
		return nil, fmt.Errorf("encode revision: %w", err)
	}
	return data, nil
}

// withCreationTime adds the null times that libraries up to 1.30 write into the metadata of every template, and later ones
// leave out.
func withCreationTime(template map[string]any) {
	unset := func(o map[string]any) {
		metadata, ok := o["metadata"].(map[string]any)
		if !ok {
			metadata = map[string]any{}
			o["metadata"] = metadata
		}
		if _, ok := metadata["creationTimestamp"]; !ok {
			metadata["creationTimestamp"] = nil
		}
	}
	unset(template)
	spec, _ := template["spec"].(map[string]any)
	volumes, _ := spec["volumes"].([]any)
	for _, v := range volumes {
		volume, _ := v.(map[string]any)
		ephemeral, _ := volume["ephemeral"].(map[string]any)
		if claim, ok := ephemeral["volumeClaimTemplate"].(map[string]any); ok {
			unset(claim)
		}
	}
}

// Template is the pod template that a revision's data holds.
func Template(data []byte) (*corev1.PodTemplateSpec, error) {
	var stored struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, fmt.Errorf("decode revision: %w", err)
	}
	return &stored.Spec.Template, nil
}

// Equal says that two revisions hold the same template, whichever libraries wrote them. // WL-0.5
func Equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err := Template(a)
	if err != nil {
		return false
	}
	y, err := Template(b)
	return err == nil && equality.Semantic.DeepEqual(x, y)
}

// Short is the part of a revision name after its last dash: the hash. // WL-0.1
func Short(name string) string { return name[strings.LastIndex(name, "-")+1:] }

// Same says that a pod's label means the revision: it may hold the full name or the hash alone. // WL-1.5
func Same(label, name string) bool {
	return label != "" && (label == name || Short(label) == Short(name))
}

// ClaimHash tells apart claim templates; it is empty when there are none. // WL-1.6
func ClaimHash(templates []corev1.PersistentVolumeClaim) (string, error) {
	if len(templates) == 0 {
		return "", nil
	}
	type claim struct {
		Name string                           `json:"name"`
		Spec corev1.PersistentVolumeClaimSpec `json:"spec"`
	}
	claims := make([]claim, len(templates))
	for i, t := range templates {
		claims[i] = claim{t.Name, t.Spec}
	}
	slices.SortFunc(claims, func(a, b claim) int { return strings.Compare(a.Name, b.Name) })
	raw, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claim templates: %w", err)
	}
	h := fnv.New32a()
	h.Write(raw)
	return strconv.FormatUint(uint64(h.Sum32()), 10), nil
}
