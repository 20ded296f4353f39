package federateddeployment

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/jsonpath"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

// WL-5.8: what a template becomes for subset a, with revision web-1, 4 replicas and partition 1.
var workloads = map[string]struct {
	template string
	subset   string // over name a
	want     string
}{
	"a CloneSet": {
		template: `
cloneSetTemplate:
  metadata: {labels: {app: web, team: x}, annotations: {note: hi}}
  spec:
    replicas: 99
    newField: kept
    template:
      metadata: {labels: {app: web}}
      spec: {containers: [{name: web, image: "web:v1"}]}`,
		want: `
apiVersion: apps.kruise.io/v1alpha1
kind: CloneSet
metadata:
  namespace: shop
  name: web-a
  labels: {app: web, team: x, apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}
  annotations: {note: hi, apps.kruise.io/subset-patch: ""}
spec:
  newField: kept
  replicas: 4
  selector: {matchLabels: {app: web, apps.kruise.io/subset-name: a}}
  updateStrategy: {partition: 1}
  template:
    metadata: {labels: {app: web, apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}}
    spec: {containers: [{name: web, image: "web:v1"}]}`,
	},
	"a native StatefulSet gets its strategy filled in": {
		template: `
statefulSetTemplate:
  spec: {serviceName: web, template: {spec: {containers: []}}}`,
		want: `
apiVersion: apps/v1
kind: StatefulSet
metadata:
  namespace: shop
  name: web-a
  labels: {app: web, apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}
  annotations: {apps.kruise.io/subset-patch: ""}
spec:
  serviceName: web
  replicas: 4
  selector: {matchLabels: {app: web, apps.kruise.io/subset-name: a}}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}
  template:
    metadata: {labels: {apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}}
    spec: {containers: []}`,
	},
	"an advanced StatefulSet keeps an empty strategy type": {
		template: `
advancedStatefulSetTemplate:
  spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 2}}, template: {spec: {}}}`,
		want: `
apiVersion: apps.kruise.io/v1beta1
kind: StatefulSet
metadata:
  namespace: shop
  name: web-a
  labels: {app: web, apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}
  annotations: {apps.kruise.io/subset-patch: ""}
spec:
  replicas: 4
  selector: {matchLabels: {app: web, apps.kruise.io/subset-name: a}}
  updateStrategy: {rollingUpdate: {maxUnavailable: 2, partition: 1}}
  template:
    metadata: {labels: {apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}}
    spec: {}`,
	},
	"a StatefulSet that is updated by deleting pods has no partition": {
		template: `
statefulSetTemplate:
  spec: {updateStrategy: {type: OnDelete}, template: {spec: {}}}`,
		want: `
apiVersion: apps/v1
kind: StatefulSet
metadata:
  namespace: shop
  name: web-a
  labels: {app: web, apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}
  annotations: {apps.kruise.io/subset-patch: ""}
spec:
  replicas: 4
  selector: {matchLabels: {app: web, apps.kruise.io/subset-name: a}}
  updateStrategy: {type: OnDelete}
  template:
    metadata: {labels: {apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}}
    spec: {}`,
	},
	"a Deployment knows no partition; zone, tolerations and patch, which comes last": {
		template: `
deploymentTemplate:
  spec:
    template:
      metadata: {labels: {app: web}}
      spec:
        affinity:
          nodeAffinity:
            requiredDuringSchedulingIgnoredDuringExecution:
              nodeSelectorTerms:
              - matchExpressions: [{key: disk, operator: Exists}]
              - matchFields: [{key: metadata.name, operator: In, values: [n1]}]
        tolerations: [{key: first, operator: Exists}]
        containers: [{name: web, image: "web:v1"}, {name: log, image: "log:v1"}]`,
		subset: `
nodeSelectorTerm: {matchExpressions: [{key: zone, operator: In, values: [a]}], matchFields: [{key: metadata.name, operator: In, values: [ignored]}]}
tolerations: [{key: second, operator: Equal, value: x, effect: NoSchedule}]
patch: {metadata: {labels: {apps.kruise.io/subset-name: patched}}, spec: {containers: [{name: web, image: "web:patched"}]}}`,
		want: `
apiVersion: apps/v1
kind: Deployment
metadata:
  namespace: shop
  name: web-a
  labels: {app: web, apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}
  annotations:
    apps.kruise.io/subset-patch: '{"metadata":{"labels":{"apps.kruise.io/subset-name":"patched"}},"spec":{"containers":[{"image":"web:patched","name":"web"}]}}'
spec:
  replicas: 4
  selector: {matchLabels: {app: web, apps.kruise.io/subset-name: a}}
  template:
    metadata: {labels: {app: web, apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: patched}}
    spec:
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions: [{key: disk, operator: Exists}, {key: zone, operator: In, values: [a]}]
            - matchFields: [{key: metadata.name, operator: In, values: [n1]}]
              matchExpressions: [{key: zone, operator: In, values: [a]}]
      tolerations: [{key: first, operator: Exists}, {key: second, operator: Equal, value: x, effect: NoSchedule}]
      containers: [{name: web, image: "web:patched"}, {name: log, image: "log:v1"}]`,
	},
	"a zone without any affinity in the template makes a term": {
		template: `
deploymentTemplate:
  spec: {template: {spec: {}}}`,
		subset: `nodeSelectorTerm: {matchExpressions: [{key: zone, operator: In, values: [a]}]}`,
		want: `
apiVersion: apps/v1
kind: Deployment
metadata:
  namespace: shop
  name: web-a
  labels: {app: web, apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}
  annotations: {apps.kruise.io/subset-patch: ""}
spec:
  replicas: 4
  selector: {matchLabels: {app: web, apps.kruise.io/subset-name: a}}
  template:
    metadata: {labels: {apps.kruise.io/controller-revision-hash: web-1, apps.kruise.io/subset-name: a}}
    spec:
      affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}}`,
	},
}

func TestWorkload(t *testing.T) {
	for name, tc := range workloads {
		t.Run(name, func(t *testing.T) {
			obj, template := web(), decoded(t, tc.template)
			obj.Spec.Topology.Subsets[0] = v1alpha1.Subset{}
			if err := yaml.Unmarshal([]byte(tc.subset), &obj.Spec.Topology.Subsets[0]); err != nil {
				t.Fatal(err)
			}
			obj.Spec.Topology.Subsets[0].Name = "a"
			kept := runtime.DeepCopyJSON(template)
			got, content, err := workload(obj, share{subset: obj.Spec.Topology.Subsets[0], template: template, revision: "web-1", replicas: 4, partition: 1})
			if err != nil {
				t.Fatal(err)
			}
			annotations := got["metadata"].(map[string]any)["annotations"].(map[string]any)
			if content == "" || annotations[v1alpha1.AnnotationContent] != content {
				t.Errorf("content %q is not on the object: %v", content, annotations)
			}
			delete(annotations, v1alpha1.AnnotationContent)
			if d := cmp.Diff(decoded(t, tc.want), got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(kept, template); d != "" {
				t.Errorf("the template was changed: %s", d)
			}
		})
	}
}

// Scaling and partitions leave the content as it is; everything else changes it.
func TestContent(t *testing.T) {
	content := func(s share, revision string, edits ...edit) string {
		obj := web(edits...)
		s = shareOf(obj, s)
		s.revision = revision
		_, content, err := workload(obj, s)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	first := content(share{replicas: 4}, "web-1")
	if content(share{replicas: 9, partition: 2}, "web-1") != first {
		t.Error("scaling changed the content")
	}
	for name, other := range map[string]string{
		"revision": content(share{}, "web-2"),
		"image":    content(share{}, "web-1", image("web:v2")),
		"patch": content(share{}, "web-1", subset(0, func(s *v1alpha1.Subset) {
			s.Patch = &runtime.RawExtension{Raw: []byte(`{"spec":{"priority":1}}`)}
		})),
	} {
		if other == first {
			t.Errorf("another %s is the same content", name)
		}
	}
}

func TestManifestWork(t *testing.T) {
	obj := web()
	work, _, err := manifestWork(obj, shareOf(obj, share{cluster: "east", replicas: 4}), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantLabels := map[string]string{
		"apps.flotilla.dev/federateddeployment": "web", "apps.flotilla.dev/federateddeployment-namespace": "shop",
		"apps.flotilla.dev/federateddeployment-uid": "web-uid", "apps.flotilla.dev/subset": "a",
	}
	if d := cmp.Diff(wantLabels, work.Labels); d != "" || work.Namespace != "east" || work.Name != "shop.web.a" {
		t.Errorf("%s/%s %s", work.Namespace, work.Name, d)
	}
	if string(work.Spec.Workload.Manifests[0].Raw) != `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}` {
		t.Errorf("namespace %s", work.Spec.Workload.Manifests[0].Raw)
	}
	// The namespace outlives the work: others may live in it.
	wantDelete := &workv1.DeleteOption{
		PropagationPolicy: "SelectivelyOrphan",
		SelectivelyOrphan: &workv1.SelectivelyOrphan{OrphaningRules: []workv1.OrphaningRule{{Resource: "namespaces", Name: "shop"}}},
	}
	if d := cmp.Diff(wantDelete, work.Spec.DeleteOption); d != "" {
		t.Error(d)
	}
	configs := work.Spec.ManifestConfigs
	if configs[0].UpdateStrategy.Type != "CreateOnly" || configs[1].UpdateStrategy.Type != "ServerSideApply" || !configs[1].UpdateStrategy.ServerSideApply.Force {
		t.Errorf("update strategies %+v %+v", configs[0].UpdateStrategy, configs[1].UpdateStrategy)
	}
	wantID := workv1.ResourceIdentifier{Group: "apps.kruise.io", Resource: "clonesets", Namespace: "shop", Name: "web-a"}
	if d := cmp.Diff(wantID, configs[1].ResourceIdentifier); d != "" {
		t.Error(d)
	}
	paths := map[string]string{}
	for _, p := range configs[1].FeedbackRules[0].JsonPaths {
		paths[p.Name] = p.Path
	}
	wantPaths := map[string]string{
		"content":    `.metadata.annotations.apps\.flotilla\.dev/content`,
		"generation": ".metadata.generation", "observedGeneration": ".status.observedGeneration", "replicas": ".status.replicas",
		"readyReplicas": ".status.readyReplicas", "availableReplicas": ".status.availableReplicas", "updatedReplicas": ".status.updatedReplicas",
		"updatedReadyReplicas": ".status.updatedReadyReplicas", "updatedAvailableReplicas": ".status.updatedAvailableReplicas",
		"currentRevision": ".status.currentRevision", "updateRevision": ".status.updateRevision",
		"stalled": `.status.conditions[?(@.type=="Stalled")].status`,
		"message": `.status.conditions[?(@.type=="Stalled")].message`, "progress": `.status.conditions[?(@.type=="Reconciling")].message`,
	}
	if d := cmp.Diff(wantPaths, paths); d != "" {
		t.Error(d)
	}
	if got := read(work); got.replicas != 4 || got.kind != "CloneSet" || got.name != "web-a" {
		t.Errorf("reads back as %+v", got)
	}
}

func TestAPatchThatDoesNotFitIsTheUsersToMend(t *testing.T) {
	obj := web(subset(0, func(s *v1alpha1.Subset) {
		s.Patch = &runtime.RawExtension{Raw: []byte(`{"spec":{"containers":{"name":"web"}}}`)}
	}))
	plan := decide(obj, blank(obj))
	if len(plan.problems) != 1 || plan.problems[0].reason != v1alpha1.ReasonInvalidSpec || len(plan.works) != 2 {
		t.Errorf("plan %s, problems %v", outline(plan), plan.problems)
	}
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := meaning(workv1.Manifest{RawExtension: runtime.RawExtension{Raw: data}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Agents evaluate the paths with the library that is used here, on objects that may have no status yet.
func TestFeedbackPathsCanBeEvaluated(t *testing.T) {
	object := decoded(t, `
metadata: {generation: 3, annotations: {apps.flotilla.dev/content: abc}}
status:
  observedGeneration: 3
  replicas: 4
  conditions: [{type: FailedScale, message: no}, {type: Stalled, status: "True", message: bad image}, {type: Reconciling, message: ""}]`)
	for _, k := range kinds {
		for _, p := range feedbackRule(k, true).JsonPaths {
			parsed := jsonpath.New(p.Name).AllowMissingKeys(true)
			if err := parsed.Parse("{" + p.Path + "}"); err != nil {
				t.Errorf("%s: %v", p.Path, err)
				continue
			}
			if _, err := parsed.FindResults(map[string]any{"metadata": map[string]any{"generation": int64(1)}}); err != nil {
				t.Errorf("%s without status: %v", p.Path, err)
			}
			results, err := parsed.FindResults(object)
			if err != nil {
				t.Errorf("%s: %v", p.Path, err)
			}
			want := map[string]string{valueContent: "abc", valueGeneration: "3", valueReplicas: "4", valueStalled: "True", valueMessage: "bad image"}[p.Name]
			if want != "" && (len(results) != 1 || len(results[0]) != 1 || fmt.Sprint(results[0][0].Interface()) != want) {
				t.Errorf("%s found %v, want %s", p.Path, results, want)
			}
		}
	}
}

// shareOf is of the first subset, and of the present template.
func shareOf(obj *v1alpha1.FederatedDeployment, s share) share {
	s.subset, s.template, s.revision = obj.Spec.Topology.Subsets[0], asWritten(obj), "web-1"
	return s
}
