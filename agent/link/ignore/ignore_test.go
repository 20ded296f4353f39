package ignore

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/yaml"
)

const annotation = "open-cluster-management.io/config-spec-hash"

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return u
}

func owns(u *unstructured.Unstructured, manager string, op metav1.ManagedFieldsOperationType, fields string) {
	u.SetManagedFields(append(u.GetManagedFields(), metav1.ManagedFieldsEntry{
		Manager: manager, Operation: op, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}))
}

const web = `{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: a, name: web}, spec: {replicas: 2, paused: false,
template: {spec: {containers: [{name: main, image: "m:1"}, {name: side, image: "s:1", ports: [{containerPort: 80}]}]}}}}`

func pointers(texts ...string) workv1.IgnoreField {
	return workv1.IgnoreField{Condition: "OnSpokePresent", JSONPointers: texts}
}

func paths(texts ...string) workv1.IgnoreField {
	return workv1.IgnoreField{Condition: "OnSpokePresent", JSONPaths: texts}
}

func jq(texts ...string) workv1.IgnoreField {
	return workv1.IgnoreField{Condition: "OnSpokePresent", JQPathExpressions: texts}
}

// applied is the spec that a plan sends, as one line of YAML's flow style would read.
func applied(t *testing.T, plan Plan) map[string]any {
	t.Helper()
	spec, _, err := unstructured.NestedMap(plan.Apply.Object, "spec")
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func spec(t *testing.T, text string) map[string]any {
	t.Helper()
	return object(t, "{apiVersion: v1, kind: X, spec: "+text+"}").Object["spec"].(map[string]any)
}

func TestFieldsThatSomebodyElseOwnsAreLeftOut(t *testing.T) { // OCM-11.3
	const both = `template: {spec: {containers: [{name: main, image: "m:1"}, {name: side, image: "s:1", ports: [{containerPort: 80}]}]}}`
	const noSideImage = `{replicas: 2, paused: false, template: {spec: {containers: [{name: main, image: "m:1"}, {name: side, ports: [{containerPort: 80}]}]}}}`
	const noImages = `{replicas: 2, paused: false, template: {spec: {containers: [{name: main}, {name: side, ports: [{containerPort: 80}]}]}}}`
	for name, tc := range map[string]struct {
		field workv1.IgnoreField
		want  string
	}{
		"pointer":               {pointers("/spec/replicas"), `{paused: false, ` + both + `}`},
		"two pointers":          {pointers("/spec/replicas", "/spec/paused"), `{` + both + `}`},
		"pointer into a list":   {pointers("/spec/template/spec/containers/1/image"), noSideImage},
		"pointer with escapes":  {pointers("/metadata/labels/a~1b"), `{replicas: 2, paused: false, ` + both + `}`},
		"pointer to nothing":    {pointers("/spec/strategy/type"), `{replicas: 2, paused: false, ` + both + `}`},
		"pointer out of a list": {pointers("/spec/template/spec/containers/7"), `{replicas: 2, paused: false, ` + both + `}`},
		"path":                  {paths(".spec.replicas"), `{paused: false, ` + both + `}`},
		"path in braces":        {paths("{.spec.replicas}"), `{paused: false, ` + both + `}`},
		"path from the root":    {paths("$.spec.replicas"), `{paused: false, ` + both + `}`},
		"path with a wildcard":  {paths(".spec.template.spec.containers[*].image"), noImages},
		"path with a filter":    {paths(`.spec.template.spec.containers[?(@.name=="side")].image`), noSideImage},
		"path with exists":      {paths(`.spec.template.spec.containers[?(@.ports)].image`), noSideImage},
		"path with an index":    {paths(`.spec.template.spec.containers[1].image`), noSideImage},
		"path from the end":     {paths(`.spec.template.spec.containers[-1].image`), noSideImage},
		"path with a slice":     {paths(`.spec.template.spec.containers[0:2].image`), noImages},
		"path with a union":     {paths(`.spec['replicas','paused']`), `{` + both + `}`},
		"path, recursive":       {paths(`..image`), noImages},
		"path with a quote":     {paths(`.spec['replicas']`), `{paused: false, ` + both + `}`},
		"jq":                    {jq(".spec.replicas"), `{paused: false, ` + both + `}`},
		"jq, select":            {jq(`.spec.template.spec.containers[] | select(.name == "side") | .image`), noSideImage},
		"jq, several":           {jq(`.spec | .replicas, .paused`), `{` + both + `}`},
		"jq, slice":             {jq(`.spec.template.spec.containers[:2][].image`), noImages},
		"jq, comment":           {jq(".spec.replicas # the autoscaler's"), `{paused: false, ` + both + `}`},
		"whole elements":        {jq(`.spec.template.spec.containers[]`), `{replicas: 2, paused: false, template: {spec: {containers: []}}}`},
		"doubles":               {pointers("/spec/replicas", "/spec/replicas"), `{paused: false, ` + both + `}`},
		"no condition":          {workv1.IgnoreField{JSONPointers: []string{"/spec/replicas"}}, `{paused: false, ` + both + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			want, live := object(t, web), object(t, web)
			plan, err := Decide(t.Context(), []workv1.IgnoreField{tc.field}, want, live, "work-agent")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(spec(t, tc.want), applied(t, plan)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(object(t, web), want); d != "" {
				t.Errorf("the manifest was changed: %s", d)
			}
			if plan.Apply.GetAnnotations()[annotation] == "" || plan.Apply.GetResourceVersion() != "" {
				t.Errorf("%v", plan.Apply.Object["metadata"])
			}
		})
	}
}

// To leave out what only we own would have the server delete it, and a Deployment fall back to one replica.
func TestFieldsThatOnlyWeOwnKeepTheirLiveValue(t *testing.T) {
	live := object(t, strings.Replace(web, "replicas: 2", "replicas: 5", 1))
	live.SetResourceVersion("77")
	owns(live, "work-agent", "Apply", `{"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"side\"}":{".":{},"f:name":{},"f:image":{},"f:ports":{"k:{\"containerPort\":80}":{".":{},"f:containerPort":{}}}}}}}}}`)
	containers := live.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)
	containers[1].(map[string]any)["image"] = "s:2"
	containers[0], containers[1] = containers[1], containers[0] // the member's order is its own
	plan, err := Decide(t.Context(), []workv1.IgnoreField{pointers("/spec/replicas", "/spec/template/spec/containers/1/image", "/spec/template/spec/containers/0/image")}, object(t, web), live, "work-agent")
	if err != nil {
		t.Fatal(err)
	}
	want := spec(t, `{replicas: 5, paused: false, template: {spec: {containers: [{name: main}, {name: side, image: "s:2", ports: [{containerPort: 80}]}]}}}`)
	if d := cmp.Diff(want, applied(t, plan)); d != "" {
		t.Error(d)
	}
	if v := plan.Apply.GetResourceVersion(); v != "77" {
		t.Errorf("a live value is sent back without its version: %q", v)
	}

	owns(live, "hpa", "Update", `{"f:spec":{"f:replicas":{}}}`)
	plan, err = Decide(t.Context(), []workv1.IgnoreField{pointers("/spec/replicas")}, object(t, web), live, "work-agent")
	if err != nil {
		t.Fatal(err)
	}
	if _, there := applied(t, plan)["replicas"]; there || plan.Apply.GetResourceVersion() != "" {
		t.Error("shared with another owner, but sent back")
	}
}

func TestAFieldThatLeftTheManifestStaysToo(t *testing.T) {
	live := object(t, web)
	owns(live, "work-agent", "Apply", `{"f:spec":{"f:replicas":{},"f:paused":{}}}`)
	want := object(t, web)
	unstructured.RemoveNestedField(want.Object, "spec", "replicas")
	unstructured.RemoveNestedField(want.Object, "spec", "paused")
	plan, err := Decide(t.Context(), []workv1.IgnoreField{pointers("/spec/replicas")}, want, live, "work-agent")
	if err != nil {
		t.Fatal(err)
	}
	if got := applied(t, plan); got["replicas"] != int64(2) || got["paused"] != nil {
		t.Errorf("%v", got)
	}
}

func TestOnlyTheOwnedPartOfAMapIsKept(t *testing.T) {
	const text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: one}}"
	live := object(t, strings.Replace(text, "a: one", "a: edited, b: theirs", 1))
	owns(live, "work-agent", "Apply", `{"f:data":{".":{},"f:a":{}}}`)
	owns(live, "kubectl", "Update", `{"f:data":{"f:b":{}}}`)
	plan, err := Decide(t.Context(), []workv1.IgnoreField{pointers("/data")}, object(t, text), live, "work-agent")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"a": "edited"}, plan.Apply.Object["data"]); d != "" {
		t.Error(d)
	}
	live.SetManagedFields(nil)
	owns(live, "work-agent", "Apply", `{"f:data":{}}`) // as a whole
	plan, err = Decide(t.Context(), []workv1.IgnoreField{pointers("/data/a")}, object(t, text), live, "work-agent")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"a": "edited"}, plan.Apply.Object["data"]); d != "" {
		t.Error(d)
	}
}

func TestTheFirstCreationHasAllFields(t *testing.T) { // OCM-11.3
	plan, err := Decide(t.Context(), []workv1.IgnoreField{pointers("/spec/replicas")}, object(t, web), nil, "work-agent")
	if err != nil {
		t.Fatal(err)
	}
	if applied(t, plan)["replicas"] != int64(2) || len(plan.Apply.GetAnnotations()[annotation]) != 64 {
		t.Errorf("%v", plan.Apply)
	}
}

func TestOnSpokeChangeWaitsForTheHub(t *testing.T) { // OCM-11.3
	fields := []workv1.IgnoreField{{Condition: "OnSpokeChange", JSONPaths: []string{".spec.replicas"}}, pointers("/spec/paused")}
	first, err := Decide(t.Context(), fields, object(t, web), nil, "work-agent")
	if err != nil {
		t.Fatal(err)
	}
	live := object(t, strings.Replace(web, "replicas: 2", "replicas: 9", 1))
	live.SetAnnotations(map[string]string{annotation: first.Apply.GetAnnotations()[annotation]})
	for name, tc := range map[string]struct {
		manifest string
		skip     bool
	}{
		"unchanged":                       {web, true},
		"a field that stays once present": {strings.Replace(web, "paused: false", "paused: true", 1), true},
		"the field itself":                {strings.Replace(web, "replicas: 2", "replicas: 3", 1), false},
		"another field":                   {strings.Replace(web, "m:1", "m:2", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := Decide(t.Context(), fields, object(t, tc.manifest), live, "work-agent")
			if err != nil || plan.Skip != tc.skip {
				t.Fatalf("%v %v", plan.Skip, err)
			}
			if !tc.skip && applied(t, plan)["replicas"] == nil {
				t.Error("the hub changed the manifest, but the field is left out")
			}
		})
	}
}

func TestOnSpokePresentRepairsTheRest(t *testing.T) {
	fields := []workv1.IgnoreField{pointers("/spec/replicas")}
	first, err := Decide(t.Context(), fields, object(t, web), nil, "work-agent")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decide(t.Context(), fields, object(t, web), first.Apply, "work-agent")
	if err != nil || again.Skip {
		t.Errorf("%v %v", again.Skip, err)
	}
}

func TestABadPathIsAnErrorThatNamesIt(t *testing.T) { // OCM-11.3
	for name, tc := range map[string]struct {
		field workv1.IgnoreField
		want  string
	}{
		"pointer":         {pointers("spec/replicas"), `JSON pointer "spec/replicas"`},
		"pointer, index":  {pointers("/spec/template/spec/containers/x"), `"x" is not an index`},
		"path":            {paths(".spec.containers["), `JSON path ".spec.containers["`},
		"path, loop":      {paths("{range .spec}{.a}{end}"), "is not one path"},
		"jq":              {jq(".spec ||"), `jq expression ".spec ||"`},
		"jq, no path":     {jq(`"a" + "b"`), "evaluate"},
		"jq, function":    {jq(`nothing(.a)`), "compile"},
		"whole object":    {jq("."), "whole object"},
		"identity":        {pointers("/metadata/name"), "metadata.name cannot be ignored"},
		"too many":        {jq("range(1000000) as $i | .spec.replicas"), "more than 10000 places"},
		"condition":       {workv1.IgnoreField{Condition: "Never", JSONPointers: []string{"/spec"}}, `condition "Never"`},
		"change, pointer": {workv1.IgnoreField{Condition: "OnSpokeChange", JSONPointers: []string{"x"}}, `JSON pointer "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decide(t.Context(), []workv1.IgnoreField{tc.field}, object(t, web), object(t, web), "work-agent")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAnExpressionThatDoesNotEndIsStopped(t *testing.T) { // OCM-11.3
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Decide(ctx, []workv1.IgnoreField{jq("last(repeat(.spec))")}, object(t, web), nil, "work-agent")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	_, err = Decide(t.Context(), []workv1.IgnoreField{jq("last(repeat(.spec))")}, object(t, web), nil, "work-agent")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestWithoutFieldsNothingIsChanged(t *testing.T) {
	want := object(t, web)
	plan, err := Decide(t.Context(), nil, want, object(t, web), "work-agent")
	if err != nil || plan.Apply != want || plan.Apply.GetAnnotations() != nil {
		t.Errorf("%v %v", plan, err)
	}
}
