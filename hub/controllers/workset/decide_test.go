package workset

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"

	"github.com/flotilla-project/flotilla/hub/rollout"
)

// does is a plan in short: what to make, change, relabel and delete, as cluster, placement or name.
type does struct {
	Create, Update, Relabel, Remove []string
	Recheck                         time.Duration
	Done                            bool
}

func inShort(p plan) does {
	d := does{Recheck: p.recheck, Done: p.done}
	for _, c := range p.create {
		d.Create = append(d.Create, c.want.Namespace+"/"+c.want.Labels[placementLabel])
	}
	for _, c := range p.update {
		d.Update = append(d.Update, c.live.Namespace+"/"+c.live.Labels[placementLabel])
	}
	for _, c := range p.relabel {
		d.Relabel = append(d.Relabel, c.live.Namespace)
	}
	for _, r := range p.remove {
		d.Remove = append(d.Remove, r.work.Namespace+"/"+r.work.Name)
	}
	return d
}

func gone(f facts, age time.Duration, uids ...types.UID) facts {
	f.leftAt = map[types.UID]time.Time{}
	for _, uid := range uids {
		f.leftAt[uid] = noon.Add(-age)
	}
	return f
}

func quiet(f facts, clusters ...string) facts {
	f.silent = map[string]bool{}
	for _, c := range clusters {
		f.silent[c] = true
	}
	return f
}

func announcing(n int, p placement) map[string]placement {
	p.announced = n
	return map[string]placement{"p": p}
}

var decisions = map[string]struct {
	set  *set
	seen facts
	want does
}{
	"a work for every selected cluster": { // OCM-18.2
		web(), seeing(only("east", "west")),
		does{Create: []string{"east/p", "west/p"}},
	},
	"what is right is not written": {
		web(), seeing(only("east"), workOf("east")), does{},
	},
	"a changed template is written into the works there are": {
		web(template2), seeing(only("east", "west"), workOf("east"), workOf("west")),
		does{Update: []string{"east/p", "west/p"}},
	},
	"two placements that select a cluster make two works": { // OCM-18.2
		web(placedBy("p", "q")), seeing(map[string]placement{"p": selecting("east"), "q": selecting("east")}, workOf("east")),
		does{Create: []string{"east/q"}},
	},
	"a placement named twice counts once": {
		web(placedBy("p", "p")), seeing(only("east")), does{Create: []string{"east/p"}},
	},
	"works of a placement no longer referred to go at once": { // OCM-18.2
		web(placedBy("q")), seeing(map[string]placement{"q": selecting()}, workOf("east")),
		does{Remove: []string{"east/web-x1"}},
	},
	"a cluster no longer selected loses its work, whatever the rollout does": { // OCM-18.5
		web(progressively(1, 0)), gone(seeing(only("east"), workOf("east"), workOf("west")), settle, "work-west"),
		does{Remove: []string{"west/web-x1"}},
	},
	"but not while it may only be moving between decisions": {
		web(), gone(seeing(only("east"), workOf("east"), workOf("west")), settle/4, "work-west"),
		does{Recheck: settle * 3 / 4},
	},
	"nor while the decisions hold fewer than the placement says": {
		web(), gone(seeing(announcing(2, selecting("east")), workOf("east"), workOf("west")), time.Hour, "work-west"),
		does{Recheck: recheckHeld},
	},
	"nor while there is no decision at all": {
		web(), gone(seeing(map[string]placement{"p": {}}, workOf("east")), time.Hour, "work-east"),
		does{Recheck: recheckHeld},
	},
	"an empty decision is an order": {
		web(), gone(seeing(only(), workOf("east")), settle, "work-east"),
		does{Remove: []string{"east/web-x1"}},
	},
	"a placement that is gone takes nothing away, and the next is served": { // OCM-18.5
		web(placedBy("p", "q"), template2), seeing(map[string]placement{"q": selecting("west")}, workOf("east")),
		does{Create: []string{"west/q"}},
	},
	"of two works for one cluster the younger goes": {
		web(), seeing(only("east"), workOf("east"), workOf("east", called("web-x2"))),
		does{Remove: []string{"east/web-x2"}},
	},
	"a work on its way out is replaced": {
		web(), seeing(only("east"), workOf("east", leaving)), does{Create: []string{"east/p"}},
	},
	"new labels of the set reach works that need no new content": {
		web(func(s *set) { s.Labels["tier"] = "front" }), seeing(only("east"), workOf("east")),
		does{Relabel: []string{"east"}},
	},
	"new labels and new content are one write": {
		web(template2, func(s *set) { s.Labels["tier"] = "front" }), seeing(only("east"), workOf("east")),
		does{Update: []string{"east/p"}},
	},
	"a rollout in steps": {
		web(progressively(1, 0), template2), seeing(only("a", "b", "c"), workOf("a"), workOf("b"), workOf("c")),
		does{Update: []string{"a/p"}},
	},
	"an interrupted rollout goes on where it was": {
		web(progressively(1, 0)), seeing(only("a", "b", "c", "d"), workOf("b", says("Applied", "Available")), workOf("a", says("Applied", "!Progressing"))),
		does{Create: []string{"c/p"}},
	},
	"without a rule that yields Progressing, applied and available is through": { // OCM-18.4
		web(progressively(1, 0)), seeing(only("a", "b"), workOf("a", says("Applied", "Available"))),
		does{Create: []string{"b/p"}},
	},
	"with such a rule it is not": { // OCM-18.4
		web(progressively(1, 0), reportsProgress), seeing(only("a", "b"), workOf("a", reportsProgressToo, says("Applied", "Available"))),
		does{},
	},
	"a silent cluster does not hold the rest while failures are tolerated": {
		web(progressively(1, 1)), quiet(seeing(only("a", "b", "c"), workOf("a")), "a"),
		does{Create: []string{"b/p"}},
	},
	"an impossible strategy writes nothing": {
		web(func(s *set) { s.Spec.PlacementRefs[0].RolloutStrategy.Type = "Waves" }), seeing(only("a")), does{},
	},
	"a name that no label can hold writes nothing": {
		web(func(s *set) { s.Name = strings.Repeat("x", 60) }), seeing(only("a")), does{},
	},
	"deleting deletes all works first": { // OCM-18.2
		web(deleted(workv1alpha1.Background)), seeing(nil, workOf("east"), workOf("west", of("q"))),
		does{Remove: []string{"east/web-x1", "west/web-x1"}},
	},
	"in the background the set goes when its works are on their way": {
		web(deleted(workv1alpha1.Background)), seeing(nil, workOf("east", leaving)), does{Done: true},
	},
	"in the foreground when they are gone": {
		web(deleted(workv1alpha1.Foreground)), seeing(nil, workOf("east", leaving)), does{},
	},
	"and then it goes": {web(deleted(workv1alpha1.Foreground)), seeing(nil), does{Done: true}},
}

func reportsProgress(s *set) {
	s.Spec.ManifestWorkTemplate.ManifestConfigs = []workv1.ManifestConfigOption{{
		ResourceIdentifier: workv1.ResourceIdentifier{Resource: "configmaps", Name: "c", Namespace: "default"},
		ConditionRules:     []workv1.ConditionRule{{Condition: "Progressing", Type: workv1.CelConditionExpressionsType, CelExpressions: []string{"false"}}},
	}}
}

func reportsProgressToo(w *workv1.ManifestWork) {
	s := web(reportsProgress)
	w.Spec = s.Spec.ManifestWorkTemplate
}

func TestDecide(t *testing.T) {
	for name, tc := range decisions {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, inShort(decide(tc.set, tc.seen, noon)), cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
		})
	}
}

// OCM-18.2: generateName, the labels of the set and the two that tell where the work belongs; annotations are not copied.
func TestAWorkIsMadeAsOthersExpectIt(t *testing.T) {
	s := web(func(s *set) { s.Annotations = map[string]string{"note": "mine"} })
	wanted := newTemplate(s)
	w := wanted.work("p", "east", nil)
	if w.Namespace != "east" || w.GenerateName != "web" || !strings.HasPrefix(w.Name, "web") || len(w.Annotations) != 0 {
		t.Errorf("%+v", w.ObjectMeta)
	}
	if d := cmp.Diff(map[string]string{"app": "web", setLabel: "team.web", placementLabel: "p"}, w.Labels); d != "" {
		t.Error(d)
	}
	names := []string{w.Name, wanted.work("q", "east", nil).Name, wanted.work("p", "east", []string{"old"}).Name}
	if again := wanted.work("p", "west", nil).Name; again != w.Name {
		t.Errorf("%s and %s: a second create must meet the first", w.Name, again)
	}
	if slices.Sort(names); len(slices.Compact(names)) != 3 {
		t.Errorf("%v: another placement or a predecessor on its way out needs another name", names)
	}
	if s.Labels[setLabel] != "" {
		t.Error("the set itself was labelled")
	}
}

func TestWorksAreComparedByMeaning(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*workv1.ManifestWork)
		same   bool
	}{
		"as it is": {func(*workv1.ManifestWork) {}, true},
		"another order of keys": {func(w *workv1.ManifestWork) {
			w.Spec.Workload.Manifests[0].Raw = []byte(`{"kind":"ConfigMap","data":{"version":"v1"},"metadata":{"namespace":"default","name":"c"},"apiVersion":"v1"}`)
		}, true},
		"what the schema fills in": {func(w *workv1.ManifestWork) {
			w.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: workv1.DeletePropagationPolicyTypeForeground}
		}, true},
		"another value": {func(w *workv1.ManifestWork) { w.Spec = manifest("v2") }, false},
		"one more manifest": {func(w *workv1.ManifestWork) {
			w.Spec.Workload.Manifests = append(w.Spec.Workload.Manifests, w.Spec.Workload.Manifests[0])
		}, false},
		"another delete option": {func(w *workv1.ManifestWork) {
			w.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: workv1.DeletePropagationPolicyTypeOrphan}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			wanted := newTemplate(web(func(s *set) { s.Spec.ManifestWorkTemplate.DeleteOption = &workv1.DeleteOption{} }))
			w := workOf("east", func(w *workv1.ManifestWork) { w.Spec.DeleteOption = &workv1.DeleteOption{} }, tc.change)
			if got := wanted.carriedBy(w); got != tc.same {
				t.Errorf("same: %v", got)
			}
		})
	}
}

func TestContentIsAsOldAsItsLastReplacement(t *testing.T) {
	wanted := newTemplate(web(template2))
	w := wanted.updated(workOf("east"), noon)
	if got := givenAt(w); !got.Equal(noon) {
		t.Errorf("%v", got)
	}
	if got := givenAt(workOf("east")); !got.Equal(noon.Add(-time.Hour)) {
		t.Errorf("%v", got)
	}
}

// OCM-18.5: "with dots" works here, because a namespace has none.
func TestTheLabelLeadsBackToItsSet(t *testing.T) {
	s := web(func(s *set) { s.Name = "web.v1.2" })
	w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{setLabel: labelOf(s)}}}
	if key, ok := setOf(w); !ok || key.Namespace != "team" || key.Name != "web.v1.2" {
		t.Errorf("%v", key)
	}
	if _, ok := setOf(&workv1.ManifestWork{}); ok {
		t.Error("a work without the label is nobody's")
	}
}

func TestDeparturesAreRememberedUntilTheyEnd(t *testing.T) {
	d := newDepartures()
	d.note("set", []types.UID{"a"}, noon)
	later := noon.Add(time.Minute)
	want := map[types.UID]time.Time{"a": noon, "b": later}
	if diff := cmp.Diff(want, d.note("set", []types.UID{"a", "b"}, later)); diff != "" {
		t.Error(diff)
	}
	d.note("set", nil, later)
	if got := d.note("set", []types.UID{"a"}, later)["a"]; !got.Equal(later) {
		t.Errorf("a was back and left again, but counts since %v", got)
	}
	d.forget("set")
	if len(d.bySet) != 0 {
		t.Errorf("%v", d.bySet)
	}
}

func BenchmarkDecide(b *testing.B) {
	s := web(progressively(50, 0), template2)
	p := placement{selected: map[string]rollout.Group{}, decisions: 10}
	var works []*workv1.ManifestWork
	for i := range 1000 {
		name := fmt.Sprintf("c%04d", i)
		p.selected[name] = rollout.Group{Index: int32(i / 100)}
		w := workOf(name, says("Applied", "Available"))
		if i%2 == 0 {
			w.Spec = manifest("v2")
		}
		works = append(works, w)
	}
	seen := seeing(map[string]placement{"p": p}, works...)
	b.ReportAllocs()
	for b.Loop() {
		decide(s, seen, noon)
	}
}
