package work

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/brake"
	"github.com/flotilla-project/flotilla/agent/link/history"
)

func TestVet(t *testing.T) {
	old := &state{uid: "w1", applied: true, generation: 7}
	for name, tc := range map[string]struct {
		past       *past
		state      state
		generation int64
		offline    bool
		may        bool
		suspects   int
	}{
		"a new work":                                    {past: &past{}, generation: 7, may: true},
		"a changed work":                                {past: &past{}, state: *old, generation: 8, may: true},
		"a changed work without an answer":              {past: &past{err: errors.New("no answer")}, state: *old, generation: 8},
		"a changed work and no hub":                     {past: &past{}, state: *old, generation: 8, offline: true},
		"an unchanged work needs no answer":             {past: &past{err: errors.New("no answer")}, state: *old, generation: 7, may: true},
		"an unchanged work needs no hub":                {past: &past{}, state: *old, generation: 7, offline: true, may: true},
		"a work that went back is evidence":             {past: &past{}, state: *old, generation: 6, may: true, suspects: 1},
		"a restored hub's new work, unlisted before it": {past: &past{verdict: history.Verdict{Held: "restored"}}, generation: 7, may: true},
	} {
		t.Run(name, func(t *testing.T) {
			work := newWork()
			work.Generation = tc.generation
			b := newBench(t, work)
			b.deps.History, b.online = tc.past, !tc.offline
			may, after := b.vet(t.Context(), work, &tc.state)
			if may != tc.may || !may && after <= 0 || len(tc.past.suspects) != tc.suspects {
				t.Errorf("may %v, after %s, suspects %v", may, after, tc.past.suspects)
			}
			if tc.state.frozen != (tc.past.verdict.Held != "") {
				t.Error("removals of what left the work are not held along")
			}
		})
	}
}

func TestADeletedWorkOfADoubtfulHubIsHeld(t *testing.T) {
	b := newBench(t, deleted())
	b.answers = []brake.Answer{brake.Alive}
	p := &past{verdict: history.Verdict{Held: "restored"}}
	b.deps.History = p
	for range 3 {
		b.rounds(t, 1)
		b.age()
	}
	c := condition(t, b.workThere(t), "Deleting")
	if !b.there(t) || c.Status != metav1.ConditionFalse || c.Message != "restored" {
		t.Fatalf("there %v, %+v", b.there(t), c)
	}
	p.verdict = history.Verdict{} // confirmed
	for range 4 {
		b.rounds(t, 1)
		b.age()
	}
	if b.there(t) {
		t.Error("confirmed, and still there")
	}
}

func TestAClusterThatIsDetachedKeepsEverything(t *testing.T) {
	b := newBench(t, deleted())
	b.answers = []brake.Answer{brake.Alive}
	cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east", Annotations: map[string]string{"flotilla.dev/detach": "ann 2026-01-01T12:00:00Z old"}}}
	if err := b.hub.Create(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		b.rounds(t, 1)
		b.age()
	}
	if c := condition(t, b.workThere(t), "Deleting"); !b.there(t) || !strings.Contains(c.Message, "cluster east is being detached (ann 2026") {
		t.Errorf("there %v, %+v", b.there(t), c)
	}
}

func condition(t *testing.T, work *workv1.ManifestWork, kind string) metav1.Condition {
	t.Helper()
	for _, c := range work.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	t.Fatalf("no condition %s in %+v", kind, work.Status.Conditions)
	return metav1.Condition{}
}

func TestWorksDeletedTogetherAreHeldUntilEachIsConfirmed(t *testing.T) { // OCM-15.5
	b := newBench(t, newWork())
	b.answers = []brake.Answer{brake.Alive}
	b.ownRecord(t, nil)
	for _, name := range []string{"w1", "w2", "w3", "w4", "w5", "web"} {
		other := newWork()
		other.Name, other.UID = name, types.UID(name)
		if err := b.hub.Create(t.Context(), other); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
		if err := b.hub.Delete(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		b.rounds(t, 1)
		b.age()
		b.crowd.at = time.Time{}
	}
	if c := condition(t, b.workThere(t), "Deleting"); !b.there(t) || c.Reason != "HeldByBrake" || b.record(t).Annotations[annotationHeld] != c.Message {
		t.Fatalf("there %v, %+v", b.there(t), c)
	}
	b.crowd = crowd{} // a restart
	for _, name := range []string{"w1", "w2", "w3", "w4", "w5"} {
		if err := b.hub.Patch(t.Context(), &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: name}},
			client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		b.rounds(t, 1)
		b.age()
	}
	if !b.there(t) {
		t.Fatal("let go because the others are gone")
	}
	web := b.workThere(t)
	web.Annotations = map[string]string{brake.Confirm: "web"}
	if err := b.hub.Update(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.rounds(t, 1)
		b.age()
	}
	if b.there(t) {
		t.Error("confirmed, and still there")
	}
}

func TestWorksThatAreConfirmedAreNotCounted(t *testing.T) {
	b := newBench(t, newWork())
	b.answers = []brake.Answer{brake.Alive}
	b.ownRecord(t, nil)
	for i := range 8 { // an owner was deleted
		other := newWork()
		other.Name, other.UID = fmt.Sprint("w", i), types.UID(fmt.Sprint("w", i))
		other.Annotations = map[string]string{brake.Confirm: other.Name}
		if err := b.hub.Create(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if err := b.hub.Delete(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.hub.Delete(t.Context(), b.workThere(t)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		b.rounds(t, 1)
		b.age()
		b.crowd.at = time.Time{}
	}
	if b.there(t) {
		t.Error("held for works that somebody ordered away")
	}
}

func TestWorksThatComeAndGoInTurnAreNeverACrowd(t *testing.T) {
	b := newBench(t, newWork())
	b.answers = []brake.Answer{brake.Alive}
	b.ownRecord(t, nil)
	now := time.Now()
	for i := range 20 {
		at := now.Add(time.Duration(i-20) * time.Second)
		b.crowd.depart(brake.Departure{Name: fmt.Sprint("w", i), Born: at.Add(-time.Millisecond), At: at})
	}
	if err := b.hub.Delete(t.Context(), b.workThere(t)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		b.rounds(t, 1)
		b.age()
		b.crowd.at = time.Time{}
	}
	if b.there(t) {
		t.Error("held for works that were never there together")
	}
}

func TestWhatWasNeverThereHoldsNothingThatIsOrderedNow(t *testing.T) {
	c := &crowd{}
	c.see(map[string]bool{"mine": true})
	departures := map[string]brake.Departure{}
	for _, name := range []string{"mine", "left1", "left2", "left3"} {
		departures[name] = brake.Departure{Name: name, At: noon, Vanished: true}
	}
	got := c.count(5, departures, 25)
	if got["mine"].Count != 0 || got["left1"].Count != 4 {
		t.Errorf("%v", got)
	}
	c.see(map[string]bool{"left1": true, "left2": true})
	if got := c.count(5, departures, 25); got["mine"].Count != 3 || got["left3"].Count != 4 {
		t.Errorf("once seen: %v", got)
	}
}

func TestWhatLeftAWorkStaysWhileTheHubIsInDoubt(t *testing.T) {
	record := aRecord(listed("web", "1"), listed("old", "2"))
	kept := held(record, []*manifest{{meta: web(0)}}, nil, false)
	if !slices.Contains(kept, listed("old", "2")) {
		t.Errorf("keeps %v", kept)
	}
}

func TestARecordCarriesWhatHasToOutliveTheWork(t *testing.T) {
	work := newWork()
	work.Annotations = map[string]string{"apps.flotilla.dev/step-down-after": "5m0s", "other": "x"}
	work.Spec.Executor = &workv1.ManifestWorkExecutor{Subject: workv1.ManifestWorkExecutorSubject{
		Type: "ServiceAccount", ServiceAccount: &workv1.ManifestWorkSubjectServiceAccount{Namespace: "shop", Name: "deployer"},
	}}
	b := newBench(t, work)
	if _, err := b.records.ensure(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	record := b.record(t)
	if record.Annotations["apps.flotilla.dev/step-down-after"] != "5m0s" || record.Annotations["flotilla.dev/cluster"] != "east" || len(record.Annotations) != 3 {
		t.Errorf("%v", record.Annotations)
	}
	if e := executorOf(record); e == nil || e.Subject.ServiceAccount.Namespace != "shop" || e.Subject.ServiceAccount.Name != "deployer" {
		t.Errorf("%+v", e)
	}
	work.Annotations, work.Spec.Executor = nil, nil
	if _, err := b.records.ensure(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	if record := b.record(t); len(record.Annotations) != 1 || executorOf(record) != nil {
		t.Errorf("%v", record.Annotations)
	}
}
