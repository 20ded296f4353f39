package placement

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/schedule"
)

// woken is a queue that remembers who was added.
type woken struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]
	mu    sync.Mutex
	names []string
}

func (w *woken) Add(r reconcile.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names = append(w.names, r.Name)
}

// since is who was added since it was asked last.
func (w *woken) since() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.names)
	all := strings.Join(w.names, " ")
	w.names = nil
	return all
}

func named(name string, change ...func(*clusterv1beta1.PlacementSpec)) *clusterv1beta1.Placement {
	p := &clusterv1beta1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	for _, c := range change {
		c(&p.Spec)
	}
	return p
}

func byClaim(s *clusterv1beta1.PlacementSpec) {
	s.Predicates = []clusterv1beta1.ClusterPredicate{{RequiredClusterSelector: clusterv1beta1.ClusterSelector{ClaimSelector: clusterv1beta1.ClusterClaimSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "gpu", Operator: "Exists"}}}}}}
}

func byScore(s *clusterv1beta1.PlacementSpec) {
	s.PrioritizerPolicy.Configurations = []clusterv1beta1.PrioritizerConfig{{Weight: 1, ScoreCoordinate: &clusterv1beta1.ScoreCoordinate{
		Type: "AddOn", AddOn: &clusterv1beta1.AddOnScore{ResourceName: "load", ScoreName: "cpu"}}}}
}

func ofSet(set string) func(*clusterv1beta1.PlacementSpec) {
	return func(s *clusterv1beta1.PlacementSpec) { s.ClusterSets = []string{set} }
}

// listening is a watcher with four placements in shop, where prod and dev are bound, and one in a namespace with nothing.
func listening(t *testing.T, funcs interceptor.Funcs) *watcher {
	t.Helper()
	dev := prod()
	dev.Name = "dev"
	stray := named("stray")
	stray.Namespace = "empty"
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithInterceptorFuncs(funcs).WithObjects(prod(), dev, binding("prod"), binding("dev"),
		named("all"), named("claims", ofSet("prod"), byClaim), named("scores", ofSet("dev"), byScore), named("dev", ofSet("dev")), stray).Build()
	return newWatcher(newView(), c, clock.RealClock{})
}

func labelled(c *clusterv1.ManagedCluster, set string) *clusterv1.ManagedCluster {
	c = c.DeepCopy()
	c.Labels = map[string]string{clusterv1beta2.ClusterSetLabel: set}
	return c
}

func claiming(c *clusterv1.ManagedCluster, value string) *clusterv1.ManagedCluster {
	c = c.DeepCopy()
	c.Status.ClusterClaims = []clusterv1.ManagedClusterClaim{{Name: "gpu", Value: value}}
	return c
}

func score(value int32, until time.Time) *clusterv1alpha1.AddOnPlacementScore {
	return &clusterv1alpha1.AddOnPlacementScore{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "load"}, Status: clusterv1alpha1.AddOnPlacementScoreStatus{
		ValidUntil: &metav1.Time{Time: until}, Scores: []clusterv1alpha1.AddOnPlacementScoreItem{{Name: "cpu", Value: value}}}}
}

// OCM-16.6: what happens wakes those whom it can concern, and nobody else.
func TestWhoIsWoken(t *testing.T) {
	east := cluster("east")
	beating := east.DeepCopy()
	beating.Status.Conditions = []metav1.Condition{{Type: "Seen", LastTransitionTime: metav1.NewTime(noon)}}
	later := beating.DeepCopy()
	later.Status.Conditions[0].LastTransitionTime = metav1.NewTime(noon.Add(time.Hour))
	respecified := prod()
	respecified.Generation = 2
	for name, tc := range map[string]struct {
		happens func(w *watcher, q queue)
		want    string
	}{
		"a cluster comes": {func(w *watcher, q queue) { w.clusters().Create(t.Context(), event.CreateEvent{Object: east}, q) }, "all claims"},
		"a cluster goes":  {func(w *watcher, q queue) { w.clusters().Delete(t.Context(), event.DeleteEvent{Object: east}, q) }, "all claims"},
		"a cluster of no set": {func(w *watcher, q queue) {
			w.clusters().Create(t.Context(), event.CreateEvent{Object: labelled(east, "lab")}, q)
		}, ""},
		"a cluster changes its set": {func(w *watcher, q queue) {
			w.clusters().Update(t.Context(), event.UpdateEvent{ObjectOld: east, ObjectNew: labelled(east, "dev")}, q)
		}, "all claims dev scores"},
		"a claim": {func(w *watcher, q queue) {
			w.clusters().Update(t.Context(), event.UpdateEvent{ObjectOld: east, ObjectNew: claiming(east, "1")}, q)
		}, "claims"},
		"a heartbeat": {func(w *watcher, q queue) {
			w.clusters().Update(t.Context(), event.UpdateEvent{ObjectOld: beating, ObjectNew: later}, q)
		}, ""},
		"a set": {func(w *watcher, q queue) {
			w.sets().Update(t.Context(), event.UpdateEvent{ObjectOld: prod(), ObjectNew: respecified}, q)
		}, "all claims"},
		"the status of a set": {func(w *watcher, q queue) {
			w.sets().Update(t.Context(), event.UpdateEvent{ObjectOld: prod(), ObjectNew: prod()}, q)
		}, ""},
		"a set goes": {func(w *watcher, q queue) { w.sets().Delete(t.Context(), event.DeleteEvent{Object: prod()}, q) }, "all claims"},
		"a binding": {func(w *watcher, q queue) {
			w.bindings().Delete(t.Context(), event.DeleteEvent{Object: binding("lab")}, q)
		}, "all claims dev scores"},
		"a score": {func(w *watcher, q queue) {
			w.scores().Create(t.Context(), event.CreateEvent{Object: score(1, noon)}, q)
		}, "scores"},
		"a score that moves": {func(w *watcher, q queue) {
			w.scores().Update(t.Context(), event.UpdateEvent{ObjectOld: score(1, time.Now().Add(time.Hour)), ObjectNew: score(2, time.Now().Add(time.Hour))}, q)
		}, "scores"},
		"a score that is renewed": {func(w *watcher, q queue) {
			w.scores().Update(t.Context(), event.UpdateEvent{ObjectOld: score(1, time.Now().Add(time.Hour)), ObjectNew: score(1, time.Now().Add(2*time.Hour))}, q)
		}, ""},
		"a score that was expired": {func(w *watcher, q queue) {
			w.scores().Update(t.Context(), event.UpdateEvent{ObjectOld: score(1, time.Now().Add(-time.Hour)), ObjectNew: score(1, time.Now().Add(time.Hour))}, q)
		}, "scores"},
		"its own decision": {func(w *watcher, q queue) {
			w.decisions().Delete(t.Context(), event.DeleteEvent{Object: &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: "dev-decision-1", Labels: map[string]string{clusterv1beta1.PlacementLabel: "dev"}}}}, q)
		}, "dev"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, q := listening(t, interceptor.Funcs{}), &woken{}
				if err := w.run(t.Context(), q); err != nil {
					t.Fatal(err)
				}
				tc.happens(w, q)
				<-time.After(2 * pace) // by the clock of the bubble
				if got := q.since(); got != tc.want {
					t.Errorf("woke %q, want %q", got, tc.want)
				}
			})
		})
	}
}

// A thousand events are one round, at once for the first and at the pace for those that keep coming.
func TestEventsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, q := listening(t, interceptor.Funcs{}), &woken{}
		if err := w.run(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		one := func() { w.clusters().Create(t.Context(), event.CreateEvent{Object: cluster("east")}, q) }
		for range 1000 {
			one()
		}
		<-time.After(gather + time.Millisecond)
		if got := q.since(); got != "all claims" {
			t.Errorf("woke %q", got)
		}
		one()
		<-time.After(pace - gather - 10*time.Millisecond)
		if got := q.since(); got != "" {
			t.Errorf("woke %q before its time", got)
		}
		<-time.After(2 * gather)
		if got := q.since(); got != "all claims" {
			t.Errorf("woke %q", got)
		}
	})
}

// What could not be found out is not forgotten.
func TestNewsThatCannotBeReadAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 2
		w, q := listening(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if failures--; failures >= 0 {
				return errors.New("timeout")
			}
			return c.List(ctx, l, opts...)
		}}), &woken{}
		if err := w.run(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		w.bindings().Create(t.Context(), event.CreateEvent{Object: binding("lab")}, q)
		w.scores().Create(t.Context(), event.CreateEvent{Object: score(1, noon)}, q)
		<-time.After(5 * pace)
		if got := q.since(); got != "all claims dev scores" {
			t.Errorf("woke %q", got)
		}
	})
}

// Our own writes to a placement's status start no round.
func TestEdited(t *testing.T) {
	before := placement()
	for name, tc := range map[string]struct {
		change func(*clusterv1beta1.Placement)
		want   bool
	}{
		"status":             {func(p *clusterv1beta1.Placement) { p.Status.NumberOfSelectedClusters = 3 }, false},
		"another annotation": {func(p *clusterv1beta1.Placement) { p.Annotations = map[string]string{"a": "b"} }, false},
		"spec":               {func(p *clusterv1beta1.Placement) { p.Generation++ }, true},
		"switched off": {func(p *clusterv1beta1.Placement) {
			p.Annotations = map[string]string{clusterv1beta1.PlacementDisableAnnotation: "true"}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			after := before.DeepCopy()
			tc.change(after)
			if got := edited().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tc.want {
				t.Error(got)
			}
		})
	}
}

func decision(name, of string, clusters string) *clusterv1beta1.PlacementDecision {
	return &clusterv1beta1.PlacementDecision{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{clusterv1beta1.PlacementLabel: of}},
		Status: clusterv1beta1.PlacementDecisionStatus{Decisions: deciding(clusters)}}
}

// OCM-16.5: Balance counts all decisions of the hub; what was handed out does not change under its reader.
func TestCounts(t *testing.T) {
	v := newView()
	key := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: name} }
	v.setDecision(decision("web-1", "web", "a b"))
	v.setDecision(decision("web-2", "web", "c"))
	v.setDecision(decision("api-1", "api", "a"))
	first := v.countsFor(key("api"))
	v.setDecision(decision("web-1", "web", "b"))
	v.dropDecision(key("web-2"))
	v.dropDecision(key("never seen"))
	if d := cmp.Diff(map[string]int{"a": 2, "b": 1, "c": 1}, first.All); d != "" || !slices.Equal(first.Own, []string{"a"}) {
		t.Error(d, first.Own)
	}
	second := v.countsFor(key("web"))
	if d := cmp.Diff(map[string]int{"a": 1, "b": 1}, second.All); d != "" || !slices.Equal(second.Own, []string{"b"}) {
		t.Error(d, second.Own)
	}
}

func TestTheViewFollowsClustersAndScores(t *testing.T) {
	w, q := listening(t, interceptor.Funcs{}), &woken{}
	w.clusters().Create(t.Context(), event.CreateEvent{Object: cluster("east")}, q)
	w.clusters().Create(t.Context(), event.CreateEvent{Object: cluster("west")}, q)
	before := w.view.fleet()
	w.clusters().Delete(t.Context(), event.DeleteEvent{Object: cluster("west")}, q)
	after := w.view.fleet()
	if before.Len() != 2 || after.Len() != 1 || after != w.view.fleet() {
		t.Error("a snapshot changed, or was made for nothing")
	}
	in := interestOf(byScore)
	w.scores().Create(t.Context(), event.CreateEvent{Object: score(1, noon)}, q)
	had := w.view.scoresFor(in)
	w.scores().Update(t.Context(), event.UpdateEvent{ObjectOld: score(1, noon), ObjectNew: score(2, noon)}, q)
	has := w.view.scoresFor(in)
	w.scores().Delete(t.Context(), event.DeleteEvent{Object: score(2, noon)}, q)
	if value := func(s *clusterv1alpha1.AddOnPlacementScore) int32 { return s.Status.Scores[0].Value }; value(had["load"]["east"]) != 1 || value(has["load"]["east"]) != 2 {
		t.Error("a snapshot changed, or did not follow")
	}
	if len(w.view.scoresFor(in)) != 0 || len(w.view.scoresFor(interestOf(byClaim))) != 0 {
		t.Error("scores that are gone, or that nobody uses")
	}
}

func interestOf(change func(*clusterv1beta1.PlacementSpec)) schedule.Interest {
	return schedule.InterestOf(&named("x", change).Spec)
}
