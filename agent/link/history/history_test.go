package history

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// world is a hub whose version the test sets, and a member that remembers it.
type world struct {
	*testing.T
	hub, local client.WithWatch
	version    int
	lists      int
	away       bool
	refuse     error // what writing the Lease answers
	changed    int
}

func newWorld(t *testing.T, works ...client.Object) *world {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clusterv1.Install, workv1.Install, eventsv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	cluster := &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "east", UID: "u", Annotations: map[string]string{"flotilla.dev/hub-history": "h1"}},
		Status:     clusterv1.ManagedClusterStatus{Conditions: []metav1.Condition{{Type: clusterv1.ManagedClusterConditionHubAccepted, Status: metav1.ConditionTrue}}},
	}
	w := &world{T: t, version: 400}
	hub := fake.NewClientBuilder().WithScheme(s).WithStatusSubresource(cluster).WithObjects(append(works, cluster)...).
		WithIndex(cluster, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).Build()
	w.hub = interceptor.NewClient(hub, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if w.lists++; w.away {
				return errors.New("hub is away")
			}
			err := c.List(ctx, l, opts...)
			l.SetResourceVersion(strconv.Itoa(w.version))
			return err
		},
	})
	refused := func() error { return w.refuse }
	w.local = interceptor.NewClient(fake.NewClientBuilder().WithScheme(s).Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return errors.Join(refused(), c.Create(ctx, o, opts...))
		},
	})
	return w
}

func (w *world) keeper() *Keeper {
	return &Keeper{
		Hub: w.hub, Cluster: "east", Memory: Store{Local: w.local, Namespace: "agent", Hash: "0123456789abcdef0123"},
		Changed: func() { w.changed++ },
	}
}

func (w *world) cluster() *clusterv1.ManagedCluster {
	w.Helper()
	var cluster clusterv1.ManagedCluster
	if err := w.hub.Get(w.Context(), client.ObjectKey{Name: "east"}, &cluster); err != nil {
		w.Fatal(err)
	}
	return &cluster
}

func (w *world) annotate(key, value string) {
	w.Helper()
	cluster := w.cluster()
	cluster.Annotations[key] = value
	if err := w.hub.Update(w.Context(), cluster); err != nil {
		w.Fatal(err)
	}
}

func (w *world) check(k *Keeper) Verdict {
	w.Helper()
	k.at = time.Time{}
	v, err := k.Check(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return v
}

func aWork(name string, generation int64) *workv1.ManifestWork {
	return &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: name, UID: types.UID(name), Generation: generation}}
}

func TestARestoredHubIsNoticedAlsoByARestartedAgent(t *testing.T) {
	w := newWorld(t, aWork("old", 3))
	if v := w.check(w.keeper()); v.Held != "" || w.changed != 0 {
		t.Fatalf("held at first sight: %q", v.Held)
	}
	w.version = 100
	k := w.keeper() // another process
	v := w.check(k)
	if v.Held == "" || w.changed != 1 {
		t.Fatalf("held %q, told %d times", v.Held, w.changed)
	}
	back, made := aWork("back", 1), aWork("new", 1)
	back.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour)) // deleted before the restore, which brought it back
	made.CreationTimestamp = metav1.NewTime(time.Now().Add(time.Second))
	again := back.DeepCopy()
	again.Generation = 2
	for _, step := range []struct {
		work *workv1.ManifestWork
		want bool
	}{
		{aWork("old", 3), false}, {aWork("old", 4), true}, {aWork("old", 3), false}, {made, true}, {back, false}, {again, true},
		{aWork("old", 1), false}, {aWork("old", 2), true}, // the restore was not over when it was noticed
	} {
		if v.News(step.work) != step.want {
			t.Errorf("work %s of generation %d: news %v", step.work.Name, step.work.Generation, !step.want)
		}
	}
	c := meta.FindStatusCondition(w.cluster().Status.Conditions, "HubHistoryChanged")
	if c == nil || c.Status != metav1.ConditionTrue || c.Message != v.Held {
		t.Errorf("condition %+v", c)
	}
	var events eventsv1.EventList
	if err := w.hub.List(t.Context(), &events); err != nil || len(events.Items) != 1 {
		t.Errorf("%d events, %v", len(events.Items), err)
	}
	w.version = 900 // time passes on the restored hub
	if v := w.check(w.keeper()); v.Held == "" {
		t.Error("the hold did not outlive its agent")
	}
	w.annotate("flotilla.dev/confirm-history", "h1")
	if v := w.check(k); v.Held != "" || !v.News(aWork("old", 3)) || w.changed != 2 {
		t.Errorf("confirmed, yet held: %q (%d)", v.Held, w.changed)
	}
	if c := meta.FindStatusCondition(w.cluster().Status.Conditions, "HubHistoryChanged"); c.Status != metav1.ConditionFalse {
		t.Errorf("condition %+v", c)
	}
}

func TestAHubThatNeverJumpedGetsNoCondition(t *testing.T) {
	w := newWorld(t)
	version := w.cluster().ResourceVersion
	k := w.keeper()
	w.check(k)
	w.version = 500
	w.check(k)
	if now := w.cluster().ResourceVersion; now != version {
		t.Error("the ManagedCluster was written")
	}
}

func TestAnotherIDHolds(t *testing.T) {
	w := newWorld(t)
	k := w.keeper()
	w.check(k)
	w.annotate("flotilla.dev/hub-history", "h2")
	if v := w.check(k); v.Held == "" {
		t.Error("not held")
	}
}

func TestAnAnswerCountsForAMoment(t *testing.T) {
	w := newWorld(t)
	k := w.keeper()
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			if _, err := k.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if w.lists != 1 {
			t.Errorf("asked %d times for a burst", w.lists)
		}
		<-time.After(lasting)
		_, _ = k.Check(t.Context())
		if w.lists != 2 {
			t.Errorf("asked %d times", w.lists)
		}
		k.Void()
		_, _ = k.Check(t.Context())
		if w.lists != 3 {
			t.Errorf("what is void still counts: asked %d times", w.lists)
		}
		k.Suspect("work old went back from generation 7 to 5")
		if v, _ := k.Check(t.Context()); v.Held == "" {
			t.Error("evidence was not weighed")
		}
	})
}

func TestNoAnswerIsNoVerdict(t *testing.T) {
	w := newWorld(t)
	w.away = true
	k := w.keeper()
	for range 5 {
		if _, err := k.Check(t.Context()); err == nil {
			t.Error("a hub that is away was believed")
		}
	}
	if w.lists != 1 {
		t.Errorf("asked %d times for a burst", w.lists)
	}
}

func TestAClusterThatIsGoneOnTheHubIsJudgedByVersions(t *testing.T) { // OCM-7.2
	w := newWorld(t)
	k := w.keeper()
	w.check(k)
	if err := w.hub.Delete(t.Context(), w.cluster()); err != nil {
		t.Fatal(err)
	}
	w.version = 500
	if v := w.check(k); v.Held != "" {
		t.Errorf("held: %s", v.Held)
	}
	w.version = 100
	if v := w.check(k); v.Held == "" {
		t.Error("a hub that went back was believed")
	}
}

func TestNothingGoesOnThatIsNotRemembered(t *testing.T) {
	w := newWorld(t)
	w.refuse = errors.New("the member's API server is away")
	if _, err := w.keeper().Check(t.Context()); err == nil {
		t.Error("went on without remembering")
	}
	w.refuse = apierrors.NewForbidden(schema.GroupResource{Resource: "leases"}, "x", errors.New("no"))
	if _, err := w.keeper().Check(t.Context()); err != nil {
		t.Errorf("an agent without the right to a Lease is stuck: %v", err)
	}
}

func TestStore(t *testing.T) {
	w := newWorld(t)
	s := w.keeper().Memory
	m := Memory{ID: "h", Version: "7", Held: "x", Stale: "y"}
	if err := s.Save(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(t.Context()); got != m || err != nil {
		t.Errorf("%+v %v", got, err)
	}
	other := s
	other.Hash = "fedcba9876543210"
	if got, err := other.Load(t.Context()); got != (Memory{}) || err != nil {
		t.Errorf("another hub's: %+v %v", got, err)
	}
}
