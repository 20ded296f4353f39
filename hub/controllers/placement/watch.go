package placement

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/schedule"
)

// One event of the fleet can concern thousands of placements, and they come in thousands too. So events are collected:
// the first waits gather for its like, and while they keep coming placements are woken no more often than every pace.
const (
	gather = 100 * time.Millisecond
	pace   = time.Second
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// news is what happened to the fleet since placements were woken last.
type news struct {
	sets   map[string]schedule.Facet // by name of the set
	labels []change                  // clusters whose sets are to be found
	scores map[string]bool           // by resource
	scopes map[string]bool           // namespaces whose bindings changed
}

// change is what is different about a cluster, with the labels that it had and has.
type change struct {
	labels []map[string]string
	facets schedule.Facet
}

// watcher keeps the view, and wakes the placements that an event concerns.
type watcher struct {
	view  *view
	hub   client.Reader
	clock clock.Clock

	mu     sync.Mutex
	news   news
	signal chan struct{}
}

func newWatcher(v *view, hub client.Reader, c clock.Clock) *watcher {
	return &watcher{view: v, hub: hub, clock: c, news: emptyNews(), signal: make(chan struct{}, 1)}
}

func emptyNews() news {
	return news{sets: map[string]schedule.Facet{}, scores: map[string]bool{}, scopes: map[string]bool{}}
}

// tell notes something and sees to it that placements are woken.
func (w *watcher) tell(note func(*news)) {
	w.mu.Lock()
	note(&w.news)
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default: // it is known that there are news
	}
}

func (w *watcher) take() news {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.news
	w.news = emptyNews()
	return taken
}

// run wakes placements until ctx ends.
func (w *watcher) run(ctx context.Context, q queue) error {
	go func() {
		for w.wait(ctx) {
			w.wake(ctx, q)
			if !w.pause(ctx, pace-gather) {
				return
			}
		}
	}()
	return nil
}

// wait is true when there are news, and has waited for more of them.
func (w *watcher) wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-w.signal:
		return w.pause(ctx, gather)
	}
}

func (w *watcher) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-w.clock.After(d):
		return true
	}
}

// wake adds the placements that the news concern. What cannot be read is tried again with the next news.
func (w *watcher) wake(ctx context.Context, q queue) {
	taken := w.take()
	concerned, err := w.concerned(ctx, taken)
	if err != nil {
		if ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "find the placements that a change concerns")
			w.tell(func(n *news) { n.add(taken) })
		}
		return
	}
	for _, request := range concerned {
		q.Add(request)
	}
}

func (n *news) add(other news) {
	for set, f := range other.sets {
		n.sets[set] |= f
	}
	n.labels = append(n.labels, other.labels...)
	maps.Copy(n.scores, other.scores)
	maps.Copy(n.scopes, other.scopes)
}

// concerned are the placements that have to be looked at again.
func (w *watcher) concerned(ctx context.Context, n news) ([]reconcile.Request, error) {
	var sets clusterv1beta2.ManagedClusterSetList
	var bindings clusterv1beta2.ManagedClusterSetBindingList
	var placements clusterv1beta1.PlacementList
	for _, list := range []client.ObjectList{&sets, &bindings, &placements} {
		if err := w.hub.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	n.spread(sets.Items)
	bound := map[string][]schedule.Set{} // by namespace, with the names only
	for i := range bindings.Items {
		b := &bindings.Items[i]
		bound[b.Namespace] = append(bound[b.Namespace], schedule.Set{Name: b.Spec.ClusterSet})
	}
	var all []reconcile.Request
	for i := range placements.Items {
		if p := &placements.Items[i]; n.concerns(p, bound[p.Namespace]) {
			all = append(all, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
		}
	}
	return all, nil
}

// spread says of each set what changed about its clusters.
func (n *news) spread(sets []clusterv1beta2.ManagedClusterSet) {
	if len(n.labels) == 0 {
		return
	}
	for i := range sets {
		set := schedule.SetOf(&sets[i])
		for _, c := range n.labels {
			for _, labels := range c.labels {
				if set.Has(labels) {
					n.sets[set.Name] |= c.facets
				}
			}
		}
	}
}

func (n *news) concerns(p *clusterv1beta1.Placement, bound []schedule.Set) bool {
	if n.scopes[p.Namespace] {
		return true
	}
	in := schedule.InterestOf(&p.Spec)
	for resource := range n.scores {
		if in.Uses(resource) {
			return true
		}
	}
	for _, set := range schedule.Eligible(bound, p.Spec.ClusterSets) {
		if n.sets[set.Name]&in.Facets != 0 {
			return true
		}
	}
	return false
}

// clusters keeps the fleet.
func (w *watcher) clusters() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) {
			if c, ok := e.Object.(*clusterv1.ManagedCluster); ok {
				w.view.setCluster(c)
				w.changed(schedule.Membership|schedule.Anything, c)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) {
			before, ok1 := e.ObjectOld.(*clusterv1.ManagedCluster)
			after, ok2 := e.ObjectNew.(*clusterv1.ManagedCluster)
			if !ok1 || !ok2 {
				return
			}
			if facets := schedule.Changed(before, after); facets != 0 {
				w.view.setCluster(after)
				w.changed(facets, before, after)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) {
			w.view.dropCluster(e.Object.GetName())
			if c, ok := e.Object.(*clusterv1.ManagedCluster); ok {
				w.changed(schedule.Membership|schedule.Anything, c)
			}
		},
	}
}

func (w *watcher) changed(facets schedule.Facet, versions ...*clusterv1.ManagedCluster) {
	c := change{facets: facets}
	for _, v := range versions {
		c.labels = append(c.labels, v.Labels)
	}
	w.tell(func(n *news) { n.labels = append(n.labels, c) })
}

// scores keeps the scores of add-ons. A renewal of values that did not change concerns nobody, unless they had expired.
func (w *watcher) scores() handler.EventHandler {
	set := func(o client.Object, score *clusterv1alpha1.AddOnPlacementScore) {
		w.view.setScore(o.GetName(), o.GetNamespace(), score)
	}
	matters := func(o client.Object) { w.tell(func(n *news) { n.scores[o.GetName()] = true }) }
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) {
			if s, ok := e.Object.(*clusterv1alpha1.AddOnPlacementScore); ok {
				set(s, s)
				matters(s)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) {
			before, ok1 := e.ObjectOld.(*clusterv1alpha1.AddOnPlacementScore)
			after, ok2 := e.ObjectNew.(*clusterv1alpha1.AddOnPlacementScore)
			if !ok1 || !ok2 {
				return
			}
			set(after, after)
			if w.differ(before, after) {
				matters(after)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) {
			set(e.Object, nil)
			matters(e.Object)
		},
	}
}

func (w *watcher) differ(before, after *clusterv1alpha1.AddOnPlacementScore) bool {
	expired := func(s *clusterv1alpha1.AddOnPlacementScore) bool {
		return s.Status.ValidUntil != nil && !s.Status.ValidUntil.After(w.clock.Now())
	}
	return !equality.Semantic.DeepEqual(before.Status.Scores, after.Status.Scores) || expired(before) != expired(after)
}

// sets concern the placements of the namespaces that they are bound in.
func (w *watcher) sets() handler.EventHandler {
	all := schedule.Membership | schedule.Claims | schedule.Allocatable | schedule.Anything
	touched := func(o client.Object) { w.tell(func(n *news) { n.sets[o.GetName()] |= all }) }
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) { touched(e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) {
			if respecified(e) {
				touched(e.ObjectNew)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) { touched(e.Object) },
	}
}

// bindings concern the placements of their namespace.
func (w *watcher) bindings() handler.EventHandler {
	touched := func(o client.Object) { w.tell(func(n *news) { n.scopes[o.GetNamespace()] = true }) }
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) { touched(e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) {
			if respecified(e) {
				touched(e.ObjectNew)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) { touched(e.Object) },
	}
}

// decisions keeps the counts of Balance, and wakes the placement whose decision it is: what somebody else made of it is
// put right. Decisions of other placements wake nobody. OCM-16.6
func (w *watcher) decisions() handler.EventHandler {
	wake := func(q queue, o client.Object) {
		for _, name := range placementNames(o) {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKey{Namespace: o.GetNamespace(), Name: name}})
		}
	}
	count := func(o client.Object) {
		if d, ok := o.(*clusterv1beta1.PlacementDecision); ok {
			w.view.setDecision(d)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) {
			count(e.Object)
			wake(q, e.Object)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			count(e.ObjectNew)
			wake(q, e.ObjectOld)
			wake(q, e.ObjectNew)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) {
			w.view.dropDecision(client.ObjectKeyFromObject(e.Object))
			wake(q, e.Object)
		},
	}
}

// respecified says whether more than the status changed.
func respecified(e event.UpdateEvent) bool {
	return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
		e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
}

// edited lets through what a user did to a placement, and nothing that we wrote into its status.
func edited() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		const off = clusterv1beta1.PlacementDisableAnnotation
		return respecified(e) || e.ObjectOld.GetAnnotations()[off] != e.ObjectNew.GetAnnotations()[off]
	}}
}
