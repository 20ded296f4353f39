package work

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/flotilla-project/flotilla/agent/link/brake"
	"github.com/flotilla-project/flotilla/agent/link/history"
)

// ownRecord gives the bench's record the spec that this agent writes.
func (b *bench) ownRecord(t *testing.T, change func(*workv1.AppliedManifestWork)) {
	t.Helper()
	record := b.record(t)
	record.Spec = workv1.AppliedManifestWorkSpec{HubHash: b.records.hash, AgentID: b.options.AgentID, ManifestWorkName: "web"}
	if change != nil {
		change(record)
	}
	status := record.Status
	if err := b.local.Update(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	record.Status = status
	if err := b.local.Status().Update(t.Context(), record); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) record(t *testing.T) *workv1.AppliedManifestWork {
	t.Helper()
	record := &workv1.AppliedManifestWork{}
	if err := b.local.Get(t.Context(), client.ObjectKey{Name: b.records.name("web")}, record); err != nil {
		t.Fatal(err)
	}
	return record
}

func (b *bench) recordGone(t *testing.T) bool {
	t.Helper()
	err := b.local.Get(t.Context(), client.ObjectKey{Name: b.records.name("web")}, &workv1.AppliedManifestWork{})
	return apierrors.IsNotFound(err)
}

// house makes rounds at the given times after noon, and the rounds of the work that follow from them.
func (b *bench) house(t *testing.T, after ...time.Duration) {
	t.Helper()
	for _, d := range after {
		b.keeper.round(t.Context(), noon.Add(d))
		if s := b.keeper.known[b.records.name("web")]; s != nil && !s.aliveSince.IsZero() {
			s.aliveSince = s.aliveSince.Add(-time.Minute)
		}
		b.crowd.at = time.Time{}
		b.rounds(t, 1)
	}
}

func began(record *workv1.AppliedManifestWork) {
	record.Status.EvictionStartTime = &metav1.Time{Time: noon}
}

func TestAWorkThatVanishedIsEvictedAfterItsGrace(t *testing.T) { // OCM-15.6
	b := newBench(t, nil)
	b.answers = []brake.Answer{brake.Alive}
	b.ownRecord(t, nil)
	b.house(t, 0)
	if at := b.record(t).Status.EvictionStartTime; at == nil || !at.Time.Equal(noon) {
		t.Fatalf("evictionStartTime %v", at)
	}
	b.house(t, time.Minute, 59*time.Minute)
	if !b.there(t) {
		t.Fatal("evicted within its grace")
	}
	b.house(t, time.Hour)
	if !b.there(t) {
		t.Fatal("evicted on one answer alone")
	}
	b.house(t, time.Hour+time.Second, time.Hour+2*time.Second)
	b.rounds(t, 2)
	if b.there(t) || !b.recordGone(t) {
		t.Errorf("object there %v, record gone %v", b.there(t), b.recordGone(t))
	}
}

func TestAWorkThatComesBackStopsTheClock(t *testing.T) { // OCM-15.6
	b := newBench(t, newWork())
	b.ownRecord(t, func(r *workv1.AppliedManifestWork) {
		began(r)
		r.Annotations = map[string]string{annotationHeld: "too many"}
	})
	b.keeper.round(t.Context(), noon.Add(2*time.Hour))
	if r := b.record(t); r.Status.EvictionStartTime != nil || r.Annotations[annotationHeld] != "" || !r.DeletionTimestamp.IsZero() {
		t.Errorf("%v %v", r.Status, r.Annotations)
	}
}

func TestAnOutageBeginsTheGraceAnew(t *testing.T) { // OCM-15.6
	b := newBench(t, nil)
	b.answers = []brake.Answer{brake.Alive}
	b.ownRecord(t, began)
	b.house(t, 0, 50*time.Minute)
	b.online = false
	b.house(t, 55*time.Minute)
	b.online = true
	b.house(t, 61*time.Minute, 119*time.Minute)
	if !b.there(t) || b.asked != 0 {
		t.Fatalf("there %v, asked %d times", b.there(t), b.asked)
	}
	b.house(t, 121*time.Minute, 122*time.Minute, 123*time.Minute)
	if b.there(t) {
		t.Error("never evicted")
	}
}

func TestWhatTheHubRefusesToTellEvictsNothing(t *testing.T) { // OCM-15.6
	work := newWork()
	for name, answer := range map[string]error{
		"forbidden":        apierrors.NewForbidden(schema.GroupResource{Resource: "manifestworks"}, "web", errors.New("no")),
		"away":             errors.New("hub is away"),
		"it is there":      nil,
		"namespace is odd": errors.New("x"),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.answers = []brake.Answer{brake.Alive}
			b.ownRecord(t, began)
			b.deps.Hub = interceptor.NewClient(b.hub.(client.WithWatch), interceptor.Funcs{
				Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
					if w, ok := o.(*workv1.ManifestWork); ok {
						work.DeepCopyInto(w)
					}
					return answer
				},
			})
			b.house(t, 0, 2*time.Hour, 3*time.Hour, 4*time.Hour)
			if !b.there(t) || b.recordGone(t) {
				t.Error("evicted")
			}
		})
	}
}

// past is a history that says what a test wants.
type past struct {
	verdict  history.Verdict
	err      error
	suspects []string
}

func (p *past) Check(context.Context) (history.Verdict, error) { return p.verdict, p.err }
func (p *past) Last() history.Verdict                          { return p.verdict }
func (p *past) Void()                                          {}
func (p *past) Suspect(evidence string)                        { p.suspects = append(p.suspects, evidence) }

func TestADoubtfulHubEvictsNothing(t *testing.T) {
	for name, p := range map[string]*past{"held": {verdict: history.Verdict{Held: "restored"}}, "unknown": {err: errors.New("no answer")}} {
		b := newBench(t, nil)
		b.answers = []brake.Answer{brake.Alive}
		b.deps.History = p
		b.ownRecord(t, nil)
		b.house(t, 0, 2*time.Hour, 3*time.Hour, 4*time.Hour)
		if !b.there(t) || b.record(t).Status.EvictionStartTime == nil {
			t.Errorf("%s: there %v, %v", name, b.there(t), b.record(t).Status)
		}
		var events eventsv1.EventList
		if err := b.local.List(t.Context(), &events); err != nil || (len(events.Items) == 1) != (name == "held") {
			t.Errorf("%s: %d events, %v", name, len(events.Items), err)
		}
	}
}

func TestMoreWorksThanTheShareVanishingTogetherAreHeld(t *testing.T) { // OCM-21.3
	b := newBench(t, nil)
	b.answers = []brake.Answer{brake.Alive}
	b.ownRecord(t, began)
	for i := range 3 {
		other := b.record(t)
		other.Name, other.UID, other.ResourceVersion = b.records.name(fmt.Sprintf("w%d", i)), types.UID(fmt.Sprint(i)), ""
		if err := b.local.Create(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		began(other)
		if err := b.local.Status().Update(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}}
	if err := b.hub.Create(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	b.house(t, 0, 2*time.Hour, 3*time.Hour, 4*time.Hour)
	held := b.record(t).Annotations[annotationHeld]
	if !b.there(t) || !strings.Contains(held, "4 of 4 works") || b.record(t).Status.EvictionStartTime == nil {
		t.Fatalf("there %v, held %q", b.there(t), held)
	}
	var events eventsv1.EventList
	if err := b.hub.List(t.Context(), &events); err != nil || len(events.Items) != 1 || events.Items[0].Note == "" {
		t.Errorf("%d events on the hub, %v", len(events.Items), err)
	}
	cluster.Annotations = map[string]string{brake.ConfirmMass: "east"}
	if err := b.hub.Update(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	b.house(t, 5*time.Hour, 6*time.Hour, 7*time.Hour)
	if b.there(t) {
		t.Error("confirmed, and still there")
	}
}

func TestARecordOfAHubThatWasLeftGoesWithItsReferencesAlone(t *testing.T) { // OCM-15.6
	b := newBench(t, nil)
	b.answers = []brake.Answer{brake.Alive}
	record := b.record(t)
	old := record.DeepCopy()
	old.Name, old.ResourceVersion, old.UID = "oldhub-web", "", "old"
	old.Spec = workv1.AppliedManifestWorkSpec{HubHash: "oldhub", AgentID: b.options.AgentID, ManifestWorkName: "web"}
	old.Status.AppliedResources = record.Status.AppliedResources
	if err := b.local.Create(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	began(old)
	if err := b.local.Status().Update(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	place := b.member.Resource(configMaps).Namespace("a")
	live, err := place.Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	live.SetOwnerReferences(append(live.GetOwnerReferences(), *reference(old)))
	if _, err := place.Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.house(t, 0, time.Hour, 61*time.Minute, 62*time.Minute, 63*time.Minute)
	live, err = place.Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil || len(live.GetOwnerReferences()) != 1 || live.GetOwnerReferences()[0].UID != record.UID {
		t.Errorf("%v %v", live, err)
	}
	if err := b.local.Get(t.Context(), client.ObjectKeyFromObject(old), old); !apierrors.IsNotFound(err) {
		t.Errorf("the old record: %v", err)
	}
}

func TestRecordsOfAnotherClusterOnTheSameServerAreLeftAlone(t *testing.T) { // OCM-15.6
	b := newBench(t, nil)
	b.ownRecord(t, func(r *workv1.AppliedManifestWork) { r.Annotations = map[string]string{annotationCluster: "west"} })
	b.house(t, 0, 2*time.Hour)
	if r := b.record(t); r.Status.EvictionStartTime != nil || !b.there(t) {
		t.Errorf("%v", r.Status)
	}
}

func TestRecordsOfOtherAgentsAreLeftAlone(t *testing.T) { // OCM-15.6
	b := newBench(t, nil)
	b.ownRecord(t, func(r *workv1.AppliedManifestWork) { r.Spec.AgentID = "somebody" })
	b.house(t, 0, 2*time.Hour)
	if r := b.record(t); r.Status.EvictionStartTime != nil || !b.there(t) {
		t.Errorf("%v", r.Status)
	}
}
