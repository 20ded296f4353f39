// Package feedback reads the values that a work's feedback rules ask for out of a live object. It is pure: no
// client, no clock. Whatever a rule or an object holds, the values that can be read are returned and the rest
// becomes one error.
package feedback

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/jsonpath"
	workv1 "open-cluster-management.io/api/work/v1"
)

// Limits are what the agent allows besides numbers, texts and truth values.
type Limits struct {
	RawJSON bool // gate RawFeedbackJsonString
	MostRaw int  // --max-json-raw-length
}

// wellKnown lists the paths behind rule type WellKnownStatus. OCM-12.5
var wellKnown = map[string][]workv1.JsonPath{
	"apps/Deployment": {
		{Name: "ReadyReplicas", Path: ".status.readyReplicas"},
		{Name: "Replicas", Path: ".status.replicas"},
		{Name: "AvailableReplicas", Path: ".status.availableReplicas"},
	},
	"apps/DaemonSet": {
		{Name: "NumberReady", Path: ".status.numberReady"},
		{Name: "DesiredNumberScheduled", Path: ".status.desiredNumberScheduled"},
		{Name: "NumberAvailable", Path: ".status.numberAvailable"},
	},
	"batch/Job": {
		{Name: "JobComplete", Path: `.status.conditions[?(@.type=="Complete")].status`},
		{Name: "JobSucceeded", Path: ".status.succeeded"},
	},
	"/Pod": {
		{Name: "PodReady", Path: `.status.conditions[?(@.type=="Ready")].status`},
		{Name: "PodPhase", Path: ".status.phase"},
	},
}

// Extract evaluates rules on obj. Values come in the order of the rules. OCM-12.5
func Extract(obj *unstructured.Unstructured, rules []workv1.FeedbackRule, limits Limits) ([]workv1.FeedbackValue, error) {
	var values []workv1.FeedbackValue
	var wrong []error
	if gvk := obj.GroupVersionKind(); len(rules) > 0 && gvk.Group == "" && gvk.Kind == "Secret" {
		return nil, errors.New("a Secret is not fed back") // whoever may write works must not read the member's secrets
	}
	named := map[string]bool{}
	for _, rule := range rules {
		paths, err := pathsOf(obj, rule)
		if err != nil {
			wrong = append(wrong, err)
		}
		for _, p := range paths {
			if named[p.Name] { // two of a name would make the whole status invalid
				wrong = append(wrong, fmt.Errorf("value %s is asked for twice, the first rule counts", p.Name))
				continue
			}
			named[p.Name] = true
			value, err := limits.read(obj, p)
			switch {
			case err != nil:
				wrong = append(wrong, fmt.Errorf("read %s: %w", p.Name, err))
			case value != nil:
				values = append(values, workv1.FeedbackValue{Name: p.Name, Value: *value})
			}
		}
	}
	return values, errors.Join(wrong...)
}

func pathsOf(obj *unstructured.Unstructured, rule workv1.FeedbackRule) ([]workv1.JsonPath, error) {
	switch rule.Type {
	case workv1.JSONPathsType:
		return rule.JsonPaths, nil
	case workv1.WellKnownStatusType:
		gvk := obj.GroupVersionKind()
		paths, ok := wellKnown[gvk.Group+"/"+gvk.Kind]
		if !ok {
			return nil, fmt.Errorf("kind %s has no well-known status", gvk.Kind)
		}
		return paths, nil
	default:
		return nil, fmt.Errorf("feedback rule type %q is unknown", rule.Type)
	}
}

// read returns the value at a path, nil when there is none.
func (l Limits) read(obj *unstructured.Unstructured, p workv1.JsonPath) (_ *workv1.FieldValue, err error) {
	if have := obj.GroupVersionKind().Version; p.Version != "" && p.Version != have {
		return nil, fmt.Errorf("version is %q, the rule is for %q", have, p.Version)
	}
	hits, err := find(obj, p)
	if err != nil || len(hits) == 0 {
		return nil, err
	}
	if l.RawJSON && len(hits) > 1 {
		return l.raw(hits)
	}
	return l.value(hits[0])
}

// find evaluates a path that comes from outside; the evaluator must not be able to take the agent down.
func find(obj *unstructured.Unstructured, p workv1.JsonPath) (hits []any, err error) {
	defer func() {
		if r := recover(); r != nil {
			hits, err = nil, fmt.Errorf("path %q cannot be evaluated", p.Path)
		}
	}()
	parsed := jsonpath.New(p.Name).AllowMissingKeys(true)
	if err := parsed.Parse("{" + p.Path + "}"); err != nil {
		return nil, fmt.Errorf("parse path %q: %w", p.Path, err)
	}
	results, err := parsed.FindResults(obj.Object)
	if err != nil {
		return nil, fmt.Errorf("evaluate path %q: %w", p.Path, err)
	}
	for _, result := range results {
		for _, v := range result {
			if v.IsValid() && v.CanInterface() && !isNil(v) {
				hits = append(hits, v.Interface())
			}
		}
	}
	return hits, nil
}

func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Map, reflect.Slice:
		return v.IsNil()
	default:
		return false
	}
}

func (l Limits) value(hit any) (*workv1.FieldValue, error) {
	switch v := hit.(type) {
	case int64:
		return &workv1.FieldValue{Type: workv1.Integer, Integer: &v}, nil
	case string:
		return &workv1.FieldValue{Type: workv1.String, String: &v}, nil
	case bool:
		return &workv1.FieldValue{Type: workv1.Boolean, Boolean: &v}, nil
	}
	return l.raw(hit)
}

func (l Limits) raw(hit any) (*workv1.FieldValue, error) {
	if !l.RawJSON {
		return nil, errors.New("value is neither integer, string nor boolean")
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // it is no page, and every byte counts
	if err := encoder.Encode(hit); err != nil {
		return nil, fmt.Errorf("encode value: %w", err)
	}
	text := strings.TrimSuffix(out.String(), "\n")
	if len(text) > l.MostRaw {
		return nil, fmt.Errorf("value takes %d bytes, the limit is %d", len(text), l.MostRaw)
	}
	return &workv1.FieldValue{Type: workv1.JsonRaw, JsonRaw: &text}, nil
}
