package feedback

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/yaml"
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, generation: 3}
status:
  replicas: 4
  readyReplicas: 2
  paused: true
  ratio: 0.5
  nothing: null
  list: [1, 2]
  conditions:
  - {type: Reconciling, status: "True", message: 2 of 4 are up}
`

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

func number(name string, n int64) workv1.FeedbackValue {
	return workv1.FeedbackValue{Name: name, Value: workv1.FieldValue{Type: workv1.Integer, Integer: &n}}
}

func word(name, s string) workv1.FeedbackValue {
	return workv1.FeedbackValue{Name: name, Value: workv1.FieldValue{Type: workv1.String, String: &s}}
}

func raw(name, s string) workv1.FeedbackValue {
	return workv1.FeedbackValue{Name: name, Value: workv1.FieldValue{Type: workv1.JsonRaw, JsonRaw: &s}}
}

func at(pairs ...string) []workv1.FeedbackRule {
	rule := workv1.FeedbackRule{Type: workv1.JSONPathsType}
	for i := 0; i < len(pairs); i += 2 {
		rule.JsonPaths = append(rule.JsonPaths, workv1.JsonPath{Name: pairs[i], Path: pairs[i+1]})
	}
	return []workv1.FeedbackRule{rule}
}

func TestExtract(t *testing.T) { // OCM-12.5
	yes := true
	known := []workv1.FeedbackRule{{Type: workv1.WellKnownStatusType}}
	for name, tc := range map[string]struct {
		object string
		rules  []workv1.FeedbackRule
		limits Limits
		want   []workv1.FeedbackValue
		wrong  string
	}{
		"well-known of a Deployment, without what is not there": {deployment, known, Limits{}, []workv1.FeedbackValue{number("ReadyReplicas", 2), number("Replicas", 4)}, ""},
		"well-known of a Job": {
			"{apiVersion: batch/v1, kind: Job, status: {succeeded: 1, conditions: [{type: Complete, status: 'True'}]}}", known, Limits{},
			[]workv1.FeedbackValue{word("JobComplete", "True"), number("JobSucceeded", 1)}, "",
		},
		"well-known of a Pod": {
			"{apiVersion: v1, kind: Pod, status: {phase: Running, conditions: [{type: Ready, status: 'False'}]}}", known, Limits{},
			[]workv1.FeedbackValue{word("PodReady", "False"), word("PodPhase", "Running")}, "",
		},
		"well-known of another kind":    {"{apiVersion: v1, kind: ConfigMap}", known, Limits{}, nil, "ConfigMap has no well-known status"},
		"a unknown type of rule":        {deployment, []workv1.FeedbackRule{{Type: "X"}}, Limits{}, nil, `"X" is unknown`},
		"numbers, texts, truth":         {deployment, at("g", ".metadata.generation", "p", ".status.paused", "n", ".metadata.name"), Limits{}, []workv1.FeedbackValue{number("g", 3), {Name: "p", Value: workv1.FieldValue{Type: workv1.Boolean, Boolean: &yes}}, word("n", "web")}, ""},
		"a message picked by type":      {deployment, at("progress", `.status.conditions[?(@.type=="Reconciling")].message`, "message", `.status.conditions[?(@.type=="Stalled")].message`), Limits{}, []workv1.FeedbackValue{word("progress", "2 of 4 are up")}, ""},
		"missing and null are no value": {deployment, at("a", ".status.absent.deep", "b", ".status.nothing"), Limits{}, nil, ""},
		"what can be read is kept":      {deployment, at("r", ".status.ratio", "g", ".metadata.generation", "l", ".status.list"), Limits{}, []workv1.FeedbackValue{number("g", 3)}, "read l"},
		"first of several hits":         {deployment, at("l", ".status.list[*]"), Limits{}, []workv1.FeedbackValue{number("l", 1)}, ""},
		"several hits with the gate":    {deployment, at("l", ".status.list[*]"), Limits{RawJSON: true, MostRaw: 10}, []workv1.FeedbackValue{raw("l", "[1,2]")}, ""},
		"raw at the limit":              {deployment, at("l", ".status.list", "r", ".status.ratio"), Limits{RawJSON: true, MostRaw: 5}, []workv1.FeedbackValue{raw("l", "[1,2]"), raw("r", "0.5")}, ""},
		"raw above the limit":           {deployment, at("l", ".status.list"), Limits{RawJSON: true, MostRaw: 4}, nil, "5 bytes, the limit is 4"},
		"well-known of a DaemonSet": {
			"{apiVersion: apps/v1, kind: DaemonSet, status: {numberReady: 1, desiredNumberScheduled: 3, numberAvailable: 2}}", known, Limits{},
			[]workv1.FeedbackValue{number("NumberReady", 1), number("DesiredNumberScheduled", 3), number("NumberAvailable", 2)}, "",
		},
		"several rules":          {deployment, append(at("g", ".metadata.generation"), known[0]), Limits{}, []workv1.FeedbackValue{number("g", 3), number("ReadyReplicas", 2), number("Replicas", 4)}, ""},
		"a name twice":           {deployment, append(at("g", ".metadata.generation"), at("g", ".metadata.name")...), Limits{}, []workv1.FeedbackValue{number("g", 3)}, "value g is asked for twice"},
		"raw is written plainly": {"{apiVersion: v1, kind: X, a: {b: '<&>'}}", at("a", ".a"), Limits{RawJSON: true, MostRaw: 11}, []workv1.FeedbackValue{raw("a", `{"b":"<&>"}`)}, ""},
		"a path that is none":    {deployment, at("l", ".status[", "g", ".metadata.generation"), Limits{}, []workv1.FeedbackValue{number("g", 3)}, "read l"},
		"a secret is kept":       {"{apiVersion: v1, kind: Secret, data: {p: eA==}}", at("p", ".data.p"), Limits{}, nil, "not fed back"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Extract(object(t, tc.object), tc.rules, tc.limits)
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			if (err != nil) != (tc.wrong != "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("error %v, want %q", err, tc.wrong)
			}
		})
	}
}

func TestARuleForAnotherVersion(t *testing.T) { // OCM-12.5
	rules := at("g", ".metadata.generation")
	rules[0].JsonPaths[0].Version = "v1beta1"
	if _, err := Extract(object(t, deployment), rules, Limits{}); err == nil || !strings.Contains(err.Error(), `version is "v1"`) {
		t.Errorf("got %v", err)
	}
}

func FuzzNoPathTakesTheAgentDown(f *testing.F) {
	for _, seed := range []string{".status", ".status.list[5]", ".status.list[-1:]", "..", ".status.conditions[?(@.type)]", "}{", ".a['b", "[*]", `[?(@.x=="y"&&`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		values, _ := Extract(object(t, deployment), at("x", path), Limits{})
		if len(values) > 1 {
			t.Errorf("%d values of one path", len(values))
		}
	})
}
