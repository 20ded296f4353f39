package work

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/yaml"
)

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

func raws(t *testing.T, texts ...string) []workv1.Manifest {
	t.Helper()
	var out []workv1.Manifest
	for _, text := range texts {
		data, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, workv1.Manifest{RawExtension: runtime.RawExtension{Raw: data}})
	}
	return out
}

func TestKindsAreAppliedInTheContractsOrder(t *testing.T) { // OCM-10.2
	var manifests []*manifest
	for i, kind := range []string{"", "CloneSet", "APIService", "Deployment", "Service", "ConfigMap", "ServiceAccount", "Role", "Namespace", "Job", "CustomResourceDefinition"} {
		manifests = append(manifests, &manifest{meta: workv1.ManifestResourceMeta{Kind: kind, Ordinal: int32(i)}})
	}
	var got []string
	for _, m := range inOrder(manifests) {
		got = append(got, m.meta.Kind)
	}
	want := []string{"Namespace", "CustomResourceDefinition", "Role", "ServiceAccount", "ConfigMap", "Service", "Deployment", "Job", "APIService", "CloneSet", ""}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if manifests[0].meta.Kind != "" {
		t.Error("the spec's order was lost")
	}
}

func TestTheFirstConfigThatSetsAFieldWins(t *testing.T) { // OCM-9.2
	id := func(namespace, name string) workv1.ResourceIdentifier {
		return workv1.ResourceIdentifier{Group: "apps", Resource: "deployments", Namespace: namespace, Name: name}
	}
	rules := []workv1.FeedbackRule{{Type: workv1.WellKnownStatusType}}
	apply, createOnly := &workv1.UpdateStrategy{Type: workv1.UpdateStrategyTypeServerSideApply}, &workv1.UpdateStrategy{Type: workv1.UpdateStrategyTypeCreateOnly}
	options := []workv1.ManifestConfigOption{
		{ResourceIdentifier: workv1.ResourceIdentifier{Resource: "deployments", Namespace: "*", Name: "*"}, UpdateStrategy: createOnly}, // other group
		{ResourceIdentifier: id("shop", "other"), UpdateStrategy: createOnly},
		{ResourceIdentifier: id("*", "w*b"), FeedbackRules: rules},
		{ResourceIdentifier: id("shop", "web"), UpdateStrategy: apply},
		{ResourceIdentifier: id("*", "*"), UpdateStrategy: createOnly},
	}
	web := workv1.ManifestResourceMeta{Group: "apps", Resource: "deployments", Namespace: "shop", Name: "web"}
	if d := cmp.Diff(config{strategy: *apply, feedback: rules}, configOf(options, web), cmp.AllowUnexported(config{})); d != "" {
		t.Error(d)
	}
	web.Group = "other"
	if got := configOf(options, web); got.strategy.Type != workv1.UpdateStrategyTypeUpdate || got.feedback != nil {
		t.Errorf("another group: %+v", got)
	}
}

func TestMatches(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"a", "a", true}, {"a", "b", false}, {"*", "", true}, {"*", "x", true}, {"w*", "web", true}, {"w*", "eb", false},
		{"*-a", "web-a", true}, {"*-a", "web-ab", false}, {"a*b*c", "a1b2c", true}, {"a*b*c", "a1c", false}, {"a*a", "a", false},
	} {
		if got := matches(tc.pattern, tc.s); got != tc.want {
			t.Errorf("%q %q: %v", tc.pattern, tc.s, got)
		}
	}
}

func TestOrphans(t *testing.T) { // OCM-15.3
	id := workv1.ResourceIdentifier{Resource: "namespaces", Name: "shop"}
	listed := &workv1.SelectivelyOrphan{OrphaningRules: []workv1.OrphaningRule{{Resource: "namespaces", Name: "shop"}}}
	for name, tc := range map[string]struct {
		option *workv1.DeleteOption
		want   bool
	}{
		"none":                  {nil, false},
		"foreground":            {&workv1.DeleteOption{PropagationPolicy: "Foreground"}, false},
		"orphan":                {&workv1.DeleteOption{PropagationPolicy: "Orphan"}, true},
		"selectively, listed":   {&workv1.DeleteOption{PropagationPolicy: "SelectivelyOrphan", SelectivelyOrphan: listed}, true},
		"selectively, nil list": {&workv1.DeleteOption{PropagationPolicy: "SelectivelyOrphan"}, false},
	} {
		if got := orphans(tc.option, id); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	id.Name = "shop2"
	if orphans(&workv1.DeleteOption{PropagationPolicy: "SelectivelyOrphan", SelectivelyOrphan: listed}, id) {
		t.Error("another name is orphaned")
	}
}

// find maps a few kinds.
func find(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	scope := meta.RESTScope(meta.RESTScopeNamespace)
	switch gvk.Kind {
	case "Namespace":
		scope = meta.RESTScopeRoot
	case "ConfigMap", "Deployment", "Secret":
	default:
		return nil, &meta.NoKindMatchError{GroupKind: gvk.GroupKind()}
	}
	return &meta.RESTMapping{Resource: gvk.GroupVersion().WithResource(strings.ToLower(gvk.Kind) + "s"), GroupVersionKind: gvk, Scope: scope}, nil
}

func TestManifestsAreReadOneByOne(t *testing.T) { // OCM-10
	work := &workv1.ManifestWork{}
	work.Spec.Workload.Manifests = append([]workv1.Manifest{{RawExtension: runtime.RawExtension{Raw: []byte(`{"password":"sesame"}`)}}}, raws(t,
		"{apiVersion: example.com/v2, kind: Gadget, metadata: {namespace: a, name: g}}",
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: lost}}",
		"{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, generateName: x-}}",
		"{apiVersion: v1, kind: List, items: []}",
		"{apiVersion: v1, kind: Namespace, metadata: {name: shop, namespace: silly}}",
		"{apiVersion: v1, kind: ConfigMap, metadata: {namespace: a, name: c, uid: u, creationTimestamp: null}}",
	)...)
	got := decode(work, find)
	wantMeta := []workv1.ManifestResourceMeta{
		{Ordinal: 0},
		{Ordinal: 1, Group: "example.com", Version: "v2", Kind: "Gadget", Namespace: "a", Name: "g"},
		{Ordinal: 2, Version: "v1", Kind: "ConfigMap", Name: "lost"},
		{Ordinal: 3, Version: "v1", Kind: "ConfigMap", Namespace: "a"},
		{Ordinal: 4, Version: "v1", Kind: "List"},
		{Ordinal: 5, Version: "v1", Kind: "Namespace", Resource: "namespaces", Name: "shop"},
		{Ordinal: 6, Version: "v1", Kind: "ConfigMap", Resource: "configmaps", Namespace: "a", Name: "c"},
	}
	for i, m := range got {
		if d := cmp.Diff(wantMeta[i], m.meta); d != "" {
			t.Error(d)
		}
		if broken := i < 5; (m.broken != nil) != broken || broken == (m.want != nil) {
			t.Errorf("manifest %d: %v", i, m.broken)
		}
	}
	if strings.Contains(got[0].broken.Error(), "sesame") {
		t.Errorf("the error quotes the manifest: %v", got[0].broken)
	}
	if d := cmp.Diff(map[string]any{"namespace": "a", "name": "c"}, got[6].want.Object["metadata"]); d != "" {
		t.Errorf("what only a server says is dropped: %s", d)
	}
}

func ours() *metav1.OwnerReference {
	return &metav1.OwnerReference{APIVersion: "work.open-cluster-management.io/v1", Kind: "AppliedManifestWork", Name: "h-web", UID: "u1"}
}

func TestMerge(t *testing.T) { // OCM-11.1
	live := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: a, uid: x, labels: {theirs: "1", old: "1"}, annotations: {keep: "1"}, finalizers: [f1],
	  ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: p1}]}, data: {a: "1", gone: "1"}, status: {s: 1}}`)
	want := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: a, labels: {ours: "2", old-: ""}, finalizers: [f2]}, data: {a: "2"}, status: {s: 2}}`)
	got := merge(live, want, ours(), false)
	expect := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: a, uid: x, labels: {theirs: "1", ours: "2"}, annotations: {keep: "1"}, finalizers: [f1, f2],
	  ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: p1}, {apiVersion: work.open-cluster-management.io/v1, kind: AppliedManifestWork, name: h-web, uid: u1}]},
	  data: {a: "2"}, status: {s: 1}}`)
	if d := cmp.Diff(expect.Object, got.Object); d != "" {
		t.Error(d)
	}
	if again := merge(got, want, ours(), false); !cmp.Equal(again.Object, got.Object) {
		t.Errorf("merging twice changes something: %s", cmp.Diff(got.Object, again.Object))
	}
}

func TestFreshDropsRemovalsAndOwnsUnlessOrphan(t *testing.T) {
	want := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, labels: {a: "1", b-: ""}}}`)
	got := fresh(want, ours(), false)
	if d := cmp.Diff(map[string]string{"a": "1"}, got.GetLabels()); d != "" || len(got.GetOwnerReferences()) != 1 {
		t.Errorf("%s %v", d, got.GetOwnerReferences())
	}
	if got := fresh(want, ours(), true); len(got.GetOwnerReferences()) != 0 {
		t.Error("an orphan is owned")
	}
}

func TestOwn(t *testing.T) { // OCM-15.2
	other := metav1.OwnerReference{APIVersion: ours().APIVersion, Kind: ours().Kind, Name: "h-more", UID: "u2"}
	earlier := *ours()
	earlier.UID = "u0"
	for name, tc := range map[string]struct {
		owners  []metav1.OwnerReference
		orphan  bool
		want    []metav1.OwnerReference
		changed bool
	}{
		"added beside another work's":            {[]metav1.OwnerReference{other}, false, []metav1.OwnerReference{other, *ours()}, true},
		"already there":                          {[]metav1.OwnerReference{*ours(), other}, false, []metav1.OwnerReference{*ours(), other}, false},
		"an earlier record of the name is gone":  {[]metav1.OwnerReference{earlier}, false, []metav1.OwnerReference{*ours()}, true},
		"taken away from an orphan":              {[]metav1.OwnerReference{*ours(), other}, true, []metav1.OwnerReference{other}, true},
		"an orphan of ours that never was owned": {[]metav1.OwnerReference{other}, true, []metav1.OwnerReference{other}, false},
	} {
		got, changed := own(tc.owners, ours(), tc.orphan)
		if d := cmp.Diff(tc.want, got); d != "" || changed != tc.changed {
			t.Errorf("%s: changed %v %s", name, changed, d)
		}
	}
}

func TestCovers(t *testing.T) {
	live := object(t, `{apiVersion: v1, kind: X, spec: {replicas: 2, list: [{a: 1, defaulted: x}], m: {k: v}}}`).Object["spec"]
	for text, want := range map[string]bool{
		`{replicas: 2}`:                    true,
		`{replicas: 3}`:                    false,
		`{list: [{a: 1}]}`:                 true,
		`{list: [{a: 2}]}`:                 false,
		`{list: [{a: 1}, {a: 1}]}`:         false,
		`{m: {k: v}, none: {}, empty: []}`: true,
		`{m: {other: v}}`:                  false,
		`{replicas: {a: b}}`:               false,
	} {
		if got := covers(live, object(t, "{apiVersion: v1, kind: X, spec: "+text+"}").Object["spec"]); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestStringDataIsComparedAsTheServerKeepsIt(t *testing.T) {
	got := required(object(t, `{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: eA==}, stringData: {b: z}}`))
	if d := cmp.Diff(map[string]any{"a": "eA==", "b": "eg=="}, got.Object["data"]); d != "" || got.Object["stringData"] != nil {
		t.Error(d, got.Object["stringData"])
	}
}

func TestServerSideOptions(t *testing.T) { // OCM-11.2
	for name, tc := range map[string]struct {
		config  *workv1.ServerSideApplyConfig
		manager string
		force   bool
		wrong   bool
	}{
		"none":          {nil, "work-agent", false, false},
		"forced":        {&workv1.ServerSideApplyConfig{Force: true}, "work-agent", true, false},
		"own manager":   {&workv1.ServerSideApplyConfig{FieldManager: "work-agent-web"}, "work-agent-web", false, false},
		"other manager": {&workv1.ServerSideApplyConfig{FieldManager: "kubectl"}, "", false, true},
	} {
		manager, force, err := serverSideOptions(tc.config)
		if manager != tc.manager || force != tc.force || (err != nil) != tc.wrong {
			t.Errorf("%s: %q %v %v", name, manager, force, err)
		}
	}
}

func TestASecretsRefusalShowsNoDetail(t *testing.T) {
	secret := &manifest{meta: workv1.ManifestResourceMeta{Kind: "Secret"}}
	err := guarded(secret, errors.New(`data[p]: Invalid value: "sesame"`))
	if strings.Contains(err.Error(), "sesame") {
		t.Error(err)
	}
	if guarded(secret, nil) != nil {
		t.Error("no error became one")
	}
	plain := errors.New("x")
	if got := guarded(&manifest{meta: workv1.ManifestResourceMeta{Kind: "ConfigMap"}}, plain); !errors.Is(got, plain) || got.Error() != "x" {
		t.Error(got)
	}
}

func TestHubHashIsOfTheServerLetterByLetter(t *testing.T) { // OCM-15.1
	if got := HubHash("https://hub:6443"); got != "9f63aa51ee73742847a1dd584c640c8b579dc14418ab416e3dd716fbe9362d31" {
		t.Error(got)
	}
	if HubHash("https://hub:6443") == HubHash("https://hub:6443/") {
		t.Error("a trailing slash makes another hub")
	}
	r := records{hash: HubHash("https://hub")}
	if work, ok := r.work(r.name("web")); !ok || work != "web" {
		t.Error(work, ok)
	}
	if _, ok := r.work(HubHash("https://other") + "-web"); ok {
		t.Error("another hub's record counts as ours")
	}
}
