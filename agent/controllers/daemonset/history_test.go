package daemonset

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// of is a stored revision of another image.
func of(image, hash string, number int64) *appsv1.ControllerRevision {
	r := stored(daemonSet(), hash, number)
	r.Data.Raw = []byte(strings.ReplaceAll(string(r.Data.Raw), "logs:1", image))
	return r
}

func names(revisions []*appsv1.ControllerRevision) []string {
	var all []string
	for _, r := range revisions {
		all = append(all, r.Name)
	}
	return all
}

func TestResolve(t *testing.T) { // WL-3.2
	unlabelled := of("logs:0", "old", 3)
	delete(unlabelled.Labels, hashLabel)
	for name, tc := range map[string]struct {
		existing   []*appsv1.ControllerRevision
		create     bool
		hash       string
		number     int64
		old, twins []string
		changes    []string
	}{
		"the first one":                 {create: true, hash: templateHash(&daemonSet().Spec.Template, nil), number: 1},
		"the one that is there":         {existing: []*appsv1.ControllerRevision{of("logs:1", "now", 4), of("logs:0", "old", 3)}, hash: "now", number: 4, old: []string{"logs-old"}},
		"a new one counts on":           {existing: []*appsv1.ControllerRevision{of("logs:0", "old", 3), of("logs:00", "older", 7)}, create: true, hash: templateHash(&daemonSet().Spec.Template, nil), number: 8, old: []string{"logs-old", "logs-older"}},
		"one that was old goes on":      {existing: []*appsv1.ControllerRevision{of("logs:1", "now", 2), of("logs:0", "old", 3)}, hash: "now", number: 4, old: []string{"logs-old"}, changes: []string{"logs-now"}},
		"of several the newest":         {existing: []*appsv1.ControllerRevision{of("logs:1", "now", 2), of("logs:1", "also", 3)}, hash: "also", number: 3, twins: []string{"logs-now"}},
		"a hash is the name if need be": {existing: []*appsv1.ControllerRevision{of("logs:1", "now", 4), unlabelled}, hash: "now", number: 4, old: []string{"logs-old"}, changes: []string{"logs-old"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := resolve(daemonSet(), tc.existing)
			if err != nil {
				t.Fatal(err)
			}
			if h.create != tc.create || h.hash != tc.hash || h.current.Revision != tc.number {
				t.Errorf("create %v, hash %s, number %d", h.create, h.hash, h.current.Revision)
			}
			var changed []string
			for _, c := range h.changes {
				changed = append(changed, c.want.Name)
			}
			for what, pair := range map[string][2][]string{"old": {tc.old, names(h.old)}, "twins": {tc.twins, names(h.twins)}, "changes": {tc.changes, changed}} {
				if !slices.Equal(pair[0], pair[1]) {
					t.Errorf("%s: %v, want %v", what, pair[1], pair[0])
				}
			}
		})
	}
	if unlabelled.Labels[hashLabel] != "" {
		t.Error("a revision of the cache was changed")
	}
}

func TestHashDependsOnTemplateAndCollisions(t *testing.T) { // WL-3.2
	a, b := daemonSet(), daemonSet(toImage("logs:2"))
	seen := map[string]bool{
		templateHash(&a.Spec.Template, nil): true, templateHash(&b.Spec.Template, nil): true,
		templateHash(&a.Spec.Template, new(int32(1))): true, templateHash(&a.Spec.Template, new(int32(2))): true,
	}
	if len(seen) != 4 || templateHash(&a.Spec.Template, nil) != templateHash(&daemonSet().Spec.Template, nil) {
		t.Errorf("hashes %v", seen)
	}
}

func TestHistoryLimitCountsWhatIsInUse(t *testing.T) { // WL-3.2
	h := history{old: []*appsv1.ControllerRevision{of("a", "a", 1), of("b", "b", 2), of("c", "c", 3), of("d", "d", 4)}}
	for limit, want := range map[int][]string{4: nil, 3: {"logs-b"}, 2: {"logs-b", "logs-c"}, 0: {"logs-b", "logs-c", "logs-d"}} {
		if d := cmp.Diff(want, names(h.surplus(limit, map[string]bool{"a": true}))); d != "" {
			t.Errorf("limit %d: %s", limit, d)
		}
	}
}

func TestHistoryIsTrimmed(t *testing.T) { // WL-3.3
	w := newWorld(t, 2, daemonSet(maxUnavailable("100%"), func(ds *kruise.DaemonSet) { ds.Spec.RevisionHistoryLimit = new(int32(1)) }))
	w.Settle()
	for _, image := range []string{"logs:2", "logs:3", "logs:4"} {
		w.change(toImage(image))
		w.Settle()
	}
	if n := len(w.Revisions()); n != 2 {
		t.Errorf("%d revisions, want the current one and one old", n)
	}
}

func TestGoingBackUsesTheOldRevision(t *testing.T) { // WL-3.2
	w := newWorld(t, 2, daemonSet(inPlaceIfPossible))
	w.Settle()
	first := w.daemonSet().Status.DaemonSetHash
	w.change(toImage("logs:2"))
	w.Settle()
	w.change(toImage("logs:1"))
	w.Settle()
	r := w.Revisions()
	if w.daemonSet().Status.DaemonSetHash != first || len(r) != 2 || r[1].Revision != 3 || r[1].Labels[hashLabel] != first {
		t.Errorf("hash %s, revisions %+v", w.daemonSet().Status.DaemonSetHash, r)
	}
}

func TestRevisionNameThatIsTaken(t *testing.T) { // WL-3.2
	ds := daemonSet()
	name := "logs-" + templateHash(&ds.Spec.Template, nil)
	foreign := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}}
	w := newWorld(t, 1, ds, foreign)
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Pods()); n != 0 {
		t.Errorf("%d pods before the revision has its name", n)
	}
	w.Settle()
	want := templateHash(&ds.Spec.Template, new(int32(1)))
	if s := w.daemonSet().Status; s.DaemonSetHash != want || s.CollisionCount == nil || *s.CollisionCount != 1 || w.Pods()[0].Labels[hashLabel] != want {
		t.Errorf("status %+v, labels %v", s, w.Pods()[0].Labels)
	}
}

func TestTwinsBecomeOne(t *testing.T) { // WL-3.2
	ds := daemonSet()
	pods := []*corev1.Pod{running(ds, "logs-a", "n0", "now"), running(ds, "logs-b", "n1", "also"), running(ds, "logs-c", "n2", "old")}
	w := newWorld(t, 3, ds, of("logs:1", "now", 2), of("logs:1", "also", 3), of("logs:0", "old", 1), pods[0], pods[1], pods[2])
	if _, err := w.Round(); err != nil {
		t.Fatal(err)
	}
	if len(w.Revisions()) != 2 || w.daemonSet().Status.DaemonSetHash != "also" {
		t.Errorf("revisions %v", w.Revisions())
	}
	if l := w.on("n0").Labels[hashLabel]; l != "also" {
		t.Errorf("the pod of the twin has hash %s", l)
	}
	w.Settle()
	if w.on("n0").Name != "logs-a" || w.on("n1").Name != "logs-b" || w.on("n2").Name == "logs-c" {
		t.Error("pods of twins were replaced, or the old one was not")
	}
}

func TestTemplateGenerationCountsAsUpdated(t *testing.T) { // WL-3.7
	ds := daemonSet(annotated("deprecated.daemonset.template.generation", "2"))
	pod := running(ds, "logs-a", "n0", "before")
	pod.Labels[templateGeneration] = "2"
	w := newWorld(t, 1, ds, pod)
	w.Settle()
	if w.Pods()[0].Name != "logs-a" || w.daemonSet().Status.UpdatedNumberScheduled != 1 {
		t.Errorf("status %+v", w.daemonSet().Status)
	}
}
