package ignore

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fieldTree is a set of fields as managedFields writes it; a leaf is owned as a whole.
type fieldTree map[string]fieldTree

// soleOwner returns the fields that manager applied and nobody else owns.
func soleOwner(entries []metav1.ManagedFieldsEntry, manager string) fieldTree {
	var ours fieldTree
	var others []fieldTree
	for _, e := range entries {
		var fields fieldTree
		if e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		if e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" {
			ours = fields
		} else {
			others = append(others, fields)
		}
	}
	for _, other := range others {
		ours.minus(other)
	}
	return ours
}

// minus takes away what other owns too, and what is empty after that.
func (t fieldTree) minus(other fieldTree) {
	for key, child := range t {
		theirs, shared := other[key]
		switch {
		case !shared:
		case len(child) == 0:
			delete(t, key)
		default:
			child.minus(theirs)
			if len(child) == 0 {
				delete(t, key)
			}
		}
	}
}

// value is what of the live value at p is owned by us alone; false when nothing is. The path leads through want,
// whose lists may be in another order than those of the live object.
func (t fieldTree) value(p path, want, live any) (any, bool) {
	if t == nil {
		return nil, false
	}
	for i, element := range p {
		if len(t) == 0 { // what lies deeper is owned with it
			return p[i:].get(live)
		}
		next, _ := step(want, element)
		switch e := element.(type) {
		case string:
			t = t["f:"+e]
			if t == nil {
				return nil, false
			}
			live, _ = step(live, e)
		case int:
			key, child := t.keyOf(next, e)
			list, _ := live.([]any)
			at := indexOf(list, key)
			if child == nil || at < 0 {
				return nil, false
			}
			t, live = child, list[at]
		}
		want = next
	}
	return t.part(live)
}

// keyOf finds how a list element is called in the tree.
func (t fieldTree) keyOf(element any, index int) (string, fieldTree) {
	for key, child := range t {
		if names(key, element, index) {
			return key, child
		}
	}
	return "", nil
}

func indexOf(list []any, key string) int {
	for i, element := range list {
		if names(key, element, i) {
			return i
		}
	}
	return -1
}

// names reports whether a key of managedFields means the element.
func names(key string, element any, index int) bool {
	kind, rest, _ := strings.Cut(key, ":")
	switch kind {
	case "i":
		return rest == strconv.Itoa(index)
	case "v":
		return same(json.RawMessage(rest), element)
	case "k":
		var keys map[string]json.RawMessage
		m, ok := element.(map[string]any)
		if !ok || json.Unmarshal([]byte(rest), &keys) != nil {
			return false
		}
		for k, v := range keys {
			if !same(v, m[k]) {
				return false
			}
		}
		return true
	}
	return false
}

func same(text json.RawMessage, value any) bool {
	data, err := json.Marshal(value)
	var compact bytes.Buffer
	return err == nil && json.Compact(&compact, text) == nil && bytes.Equal(compact.Bytes(), data)
}

// part cuts a live value down to the tree.
func (t fieldTree) part(live any) (any, bool) {
	if len(t) == 0 {
		return live, live != nil
	}
	switch v := live.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if child, ok := t["f:"+k]; ok {
				if kept, some := child.part(e); some {
					out[k] = kept
				}
			}
		}
		return out, true
	case []any:
		out := []any{}
		for i, e := range v {
			key, child := t.keyOf(e, i)
			if key == "" {
				continue
			}
			if kept, some := child.part(e); some {
				out = append(out, kept)
			}
		}
		return out, true
	default:
		return live, live != nil
	}
}
