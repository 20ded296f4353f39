// Package change says what of an object may not change: fields that are fixed once it was created, and all but images of a
// template whose pods are only ever updated in place. It is pure.
package change

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Fixed lists the fields of a spec that changed, other than those that may.
func Fixed(old, spec any, mayChange ...string) field.ErrorList {
	before, after, err := trees(old, spec)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("spec"), err)}
	}
	var all field.ErrorList
	for _, name := range names(before, after) {
		if !slices.Contains(mayChange, name) && !reflect.DeepEqual(before[name], after[name]) {
			all = append(all, field.Forbidden(field.NewPath("spec", name),
				"it is fixed; only "+strings.Join(mayChange, ", ")+" may change: make a new object to change anything else"))
		}
	}
	return all
}

// What a difference may be at where pods are only updated in place.
var (
	// Image is the image of a container and nothing else. // WL-1.2
	Image = regexp.MustCompile(`^/containers/\d+/image$`)
	// NearImage is also what merely begins like it. // WL-2.3
	NearImage = regexp.MustCompile(`/containers/\d+/image`)
)

// InPlaceOnly lists what of a template's spec changed and cannot change in a running pod.
func InPlaceOnly(old, spec *corev1.PodSpec, may *regexp.Regexp) field.ErrorList {
	at := field.NewPath("spec", "template", "spec")
	before, after, err := trees(old, spec)
	if err != nil {
		return field.ErrorList{field.InternalError(at, err)}
	}
	var all field.ErrorList
	for _, d := range differences("", before, after) {
		if d.replaced && may.MatchString(d.path) {
			continue
		}
		all = append(all, field.Forbidden(at, fmt.Sprintf("%s changed: with type InPlaceOnly only images of containers may", d.path)))
	}
	return all
}

func trees(old, spec any) (before, after map[string]any, err error) {
	if before, err = tree(old); err != nil {
		return nil, nil, err
	}
	after, err = tree(spec)
	return before, after, err
}

func tree(of any) (out map[string]any, err error) {
	raw, err := json.Marshal(of)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return out, nil
}

func names(a, b map[string]any) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// difference is one operation of a JSON patch.
type difference struct {
	path     string
	replaced bool
}

func differences(path string, a, b any) []difference {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	x, objects := a.(map[string]any)
	y, ok := b.(map[string]any)
	if objects && ok {
		return ofObjects(path, x, y)
	}
	l, lists := a.([]any)
	m, ok := b.([]any)
	if lists && ok && len(l) == len(m) {
		var all []difference
		for i := range l {
			all = append(all, differences(path+"/"+strconv.Itoa(i), l[i], m[i])...)
		}
		return all
	}
	return []difference{{path, a != nil && b != nil && !lists}}
}

func ofObjects(path string, x, y map[string]any) (all []difference) {
	for _, name := range names(x, y) {
		all = append(all, differences(path+"/"+name, x[name], y[name])...)
	}
	return all
}
