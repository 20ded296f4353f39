package ignore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/itchyny/gojq"
	workv1 "open-cluster-management.io/api/work/v1"
)

const (
	longest   = time.Second // OCM-11.3
	mostPaths = 10_000
)

// find returns the paths in root that a rule's three lists lead to.
func find(ctx context.Context, f workv1.IgnoreField, root map[string]any) ([]path, error) {
	var out []path
	for _, text := range f.JSONPointers {
		p, err := pointer(text, root)
		if err != nil {
			return nil, fmt.Errorf("JSON pointer %q: %w", text, err)
		}
		out = append(out, p)
	}
	for _, text := range f.JSONPaths {
		query, err := translate(text)
		if err != nil {
			return nil, fmt.Errorf("JSON path %q: %w", text, err)
		}
		found, err := search(ctx, query, root)
		if err != nil {
			return nil, fmt.Errorf("JSON path %q: %w", text, err)
		}
		out = append(out, found...)
	}
	for _, text := range f.JQPathExpressions {
		found, err := search(ctx, text, root)
		if err != nil {
			return nil, fmt.Errorf("jq expression %q: %w", text, err)
		}
		out = append(out, found...)
	}
	for _, p := range out {
		if err := p.allowed(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// allowed refuses to leave out what says which object it is.
func (p path) allowed() error {
	parts := make([]string, 0, len(p))
	for _, e := range p {
		parts = append(parts, fmt.Sprint(e))
	}
	switch strings.Join(parts, "/") {
	case "":
		return errors.New("a path leads to the whole object")
	case "apiVersion", "kind", "metadata", "metadata/name", "metadata/namespace":
		return fmt.Errorf("%s cannot be ignored: it says which object is meant", strings.Join(parts, "."))
	}
	return nil
}

// pointer reads a JSON pointer (RFC 6901). Whether a part of it is an index depends on where it leads.
func pointer(text string, root any) (path, error) {
	if !strings.HasPrefix(text, "/") {
		return nil, errors.New("does not start with /")
	}
	var out path
	at := root
	for _, part := range strings.Split(text[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		var element any = part
		if list, ok := at.([]any); ok {
			index, err := strconv.Atoi(part)
			if err != nil {
				return nil, fmt.Errorf("%q is not an index of a list", part)
			}
			element = min(max(index, 0), len(list))
		}
		out = append(out, element)
		at, _ = step(at, element)
	}
	return out, nil
}

// search evaluates a jq path expression. It comes from outside: its time is limited, and it must not take the
// agent down.
func search(ctx context.Context, text string, root map[string]any) (found []path, err error) {
	defer func() {
		if r := recover(); r != nil {
			found, err = nil, fmt.Errorf("cannot be evaluated: %v", r)
		}
	}()
	if _, err := gojq.Parse(text); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	query, err := gojq.Parse("path(" + text + "\n)") // the line ends a comment
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	code, err := gojq.Compile(query)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	return collect(code.RunWithContext(ctx, plainNumbers(root)), root)
}

func collect(results gojq.Iter, root any) ([]path, error) {
	var out []path
	for {
		v, more := results.Next()
		if !more {
			return out, nil
		}
		if err, failed := v.(error); failed {
			return nil, fmt.Errorf("evaluate: %w", err)
		}
		elements, ok := v.([]any)
		if !ok {
			return nil, errors.New("evaluate: the result is no path")
		}
		out = append(out, expand(nil, elements, root)...)
		if len(out) > mostPaths {
			return nil, fmt.Errorf("leads to more than %d places", mostPaths)
		}
	}
}

// expand replaces slices of lists by the indexes in them, and indexes that count from the end.
func expand(head path, rest []any, at any) []path {
	if len(rest) == 0 {
		return []path{head}
	}
	list, _ := at.([]any)
	switch e := rest[0].(type) {
	case map[string]any:
		return expandSlice(head, e, rest[1:], list)
	case int:
		if e < 0 {
			e += len(list)
		}
		if e < 0 || e >= len(list) {
			return nil
		}
		return expand(append(head[:len(head):len(head)], e), rest[1:], list[e])
	default:
		next, _ := step(at, e)
		return expand(append(head[:len(head):len(head)], e), rest[1:], next)
	}
}

// expandSlice goes on in a part of a list, to all of it or to what rest counts from its start.
func expandSlice(head path, slice map[string]any, rest []any, list []any) []path {
	from := bound(slice["start"], 0, len(list))
	to := max(bound(slice["end"], len(list), len(list)), from)
	if len(rest) > 0 {
		var out []path
		for _, p := range expand(nil, rest, list[from:to]) {
			if i, ok := p[0].(int); ok {
				p[0] = from + i
				out = append(out, append(head[:len(head):len(head)], p...))
			}
		}
		return out
	}
	var out []path
	for i := from; i < to; i++ {
		out = append(out, append(head[:len(head):len(head)], i))
	}
	return out
}

func bound(v any, fallback, size int) int {
	n, ok := v.(int)
	if !ok {
		return fallback
	}
	if n < 0 {
		n += size
	}
	return min(max(n, 0), size)
}

// plainNumbers copies a value with the number types that the evaluator knows.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plainNumbers(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plainNumbers(e)
		}
		return out
	case int64:
		return int(v)
	default:
		return v
	}
}
