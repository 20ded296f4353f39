package work

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/fence"
)

// stops is a fence that says what a test wants.
type stops struct {
	down, away bool
	up         []string
}

func (s *stops) Away(string) bool { return s.away }
func (s *stops) Down(string) bool { return s.down }
func (s *stops) Up(record string) { s.up = append(s.up, record) }

const stoppedText = `{"at":"2026-01-01T12:00:00Z","replicas":{"apps/deployments/a/web":3}}`

func running(t *testing.T, replicas string) *unstructured.Unstructured {
	return object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: a, name: web, uid: d}, spec: {replicas: "+replicas+"}}")
}

func TestReplicasComeBackAsTheWorkHasThemNow(t *testing.T) {
	apply := workv1.UpdateStrategy{Type: workv1.UpdateStrategyTypeServerSideApply}
	for name, tc := range map[string]struct {
		live, manifest string
		strategy       workv1.UpdateStrategy
		want           int64
	}{
		"as the manifest says":                  {"0", "{replicas: 2}", apply, 2},
		"none, if the hub moved them elsewhere": {"0", "{replicas: 0}", apply, 0},
		"as before, if the manifest is silent":  {"0", "{}", apply, 3},
		"as before, if it is only created":      {"0", "{replicas: 2}", workv1.UpdateStrategy{Type: workv1.UpdateStrategyTypeCreateOnly}, 3},
		"as before, if fields are the member's": {"0", "{replicas: 2}", workv1.UpdateStrategy{
			Type: workv1.UpdateStrategyTypeServerSideApply, ServerSideApply: &workv1.ServerSideApplyConfig{IgnoreFields: []workv1.IgnoreField{{}}},
		}, 3},
		"as they are, if somebody was faster": {"1", "{replicas: 2}", apply, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newWork())
			b.ownRecord(t, func(r *workv1.AppliedManifestWork) {
				r.Annotations = map[string]string{fence.AnnotationStopped: stoppedText}
			})
			f := &stops{down: true}
			b.deps.Fence = f
			c := members(t, running(t, tc.live))
			m := &manifest{
				meta: workv1.ManifestResourceMeta{Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", Namespace: "a", Name: "web"},
				want: object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: a, name: web}, spec: "+tc.manifest+"}"), config: config{strategy: tc.strategy},
			}
			if err := b.standUp(t.Context(), c, b.record(t), []*manifest{m}); err != nil {
				t.Fatal(err)
			}
			live, err := c.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("a").Get(t.Context(), "web", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); got != tc.want {
				t.Errorf("%d replicas", got)
			}
			if fence.StoppedOf(b.record(t)) != nil || !cmp.Equal(f.up, []string{b.records.name("web")}) {
				t.Errorf("record %v, told %v", b.record(t).Annotations, f.up)
			}
		})
	}
}

func TestWhatIsStoppedIsAppliedOnlyAsTheHubHasItNow(t *testing.T) {
	work := newWork()
	b := newBench(t, work)
	f := &stops{down: true, away: true}
	b.deps.Fence = f
	pass := func() bool {
		may, after := b.passFence(t.Context(), work)
		if !may && after <= 0 {
			t.Error("never asked again")
		}
		return may
	}
	if pass() {
		t.Error("passes while the hub is not heard")
	}
	f.away = false
	if !pass() {
		t.Error("does not pass once the hub is heard")
	}
	newer := b.workThere(t)
	newer.Generation++
	if err := b.hub.Update(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if pass() {
		t.Error("passes with what the hub said before")
	}
	if err := b.hub.Patch(t.Context(), newer, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
		t.Fatal(err)
	}
	if err := b.hub.Delete(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if pass() {
		t.Error("passes though the hub has no such work any more")
	}
}

func TestAWorkIsAppliedAtOnceWhenItsHubIsBack(t *testing.T) {
	b := newBench(t, newWork())
	f := &stops{down: true}
	b.deps.Fence = f
	later := time.Now().Add(time.Hour)
	s := &state{nextApply: later}
	b.hasten(s, "web")
	if !s.nextApply.IsZero() {
		t.Error("waits for its turn")
	}
	s.nextApply = later
	b.hasten(s, "web")
	if !s.nextApply.Equal(later) {
		t.Error("a round that failed is not tried with back-off")
	}
	f.down = false
	b.hasten(s, "web")
	f.down = true
	b.hasten(s, "web")
	if !s.nextApply.IsZero() {
		t.Error("only the first return counts")
	}
}
