package webhook

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// overlay changes raw as before became after, and leaves everything else in it alone, also within the elements of lists.
func overlay(raw []byte, before, after runtime.Object) ([]byte, error) {
	var sent any
	if err := utiljson.Unmarshal(raw, &sent); err != nil {
		return nil, fmt.Errorf("decode what was sent: %w", err)
	}
	old, err := tree(before)
	if err != nil {
		return nil, err
	}
	filled, err := tree(after)
	if err != nil {
		return nil, err
	}
	return json.Marshal(laid(sent, old, filled))
}

func tree(of any) (out any, err error) {
	raw, err := json.Marshal(of)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if err := utiljson.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return out, nil
}

// laid is what was sent, changed as before became after.
func laid(sent, before, after any) any {
	if reflect.DeepEqual(before, after) {
		return sent
	}
	if s, b, a, ok := all[map[string]any](sent, before, after); ok {
		return laidObject(s, b, a)
	}
	if s, b, a, ok := all[[]any](sent, before, after); ok && len(s) == len(b) && len(b) == len(a) {
		out := make([]any, len(s))
		for i := range s {
			out[i] = laid(s[i], b[i], a[i])
		}
		return out
	}
	return after
}

func all[T any](x, y, z any) (a, b, c T, ok bool) {
	a, first := x.(T)
	b, second := y.(T)
	c, third := z.(T)
	return a, b, c, first && second && third
}

func laidObject(sent, before, after map[string]any) map[string]any {
	out := maps.Clone(sent)
	for key := range before {
		if _, stays := after[key]; !stays {
			delete(out, key)
		}
	}
	for key, value := range after {
		if was, there := sent[key]; there {
			out[key] = laid(was, before[key], value)
		} else if !reflect.DeepEqual(before[key], value) {
			out[key] = value
		}
	}
	return out
}
