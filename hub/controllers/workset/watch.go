package workset

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
)

// gather is how long the news of works is collected: a thousand agents that answer at once are looked at together.
const gather = 100 * time.Millisecond

// Keys of the indexes; each is known to its extractor and its lookup only.
const (
	bySet       = "workset.set"
	byPlacement = "workset.placement"
)

var indexes = []struct {
	of      client.Object
	key     string
	extract client.IndexerFunc
}{
	{&workv1.ManifestWork{}, bySet, func(o client.Object) []string {
		if owner := o.GetLabels()[workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey]; owner != "" {
			return []string{owner}
		}
		return nil
	}},
	{&set{}, byPlacement, func(o client.Object) (names []string) {
		if s, ok := o.(*set); ok {
			for _, ref := range s.Spec.PlacementRefs {
				names = append(names, ref.Name)
			}
		}
		return names
	}},
}

// labelOf is the value of the label that ties works to a set. OCM-18.5
func labelOf(s client.Object) string { return s.GetNamespace() + "." + s.GetName() }

// setOf reads that label. A namespace has no dots, so the first one ends it, whatever is in the name.
func setOf(work client.Object) (types.NamespacedName, bool) {
	namespace, name, ok := strings.Cut(work.GetLabels()[workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey], ".")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok
}

func placementOf(decision client.Object) string {
	return decision.GetLabels()[clusterv1beta1.PlacementLabel]
}

// wake finds the sets that a change concerns.
type wake struct{ hub client.Reader }

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// ofWork wakes the set of a work, unless nothing changed that a set looks at, such as feedback.
func (wake) ofWork() handler.EventHandler {
	enqueue := func(q queue, work client.Object) {
		if key, ok := setOf(work); ok {
			q.AddAfter(reconcile.Request{NamespacedName: key}, gather)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { enqueue(q, e.Object) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { enqueue(q, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			before, ok := e.ObjectOld.(*workv1.ManifestWork)
			after, okToo := e.ObjectNew.(*workv1.ManifestWork)
			if !ok || !okToo || sameToUs(before, after) {
				return
			}
			enqueue(q, before)
			enqueue(q, after)
		},
	}
}

func sameToUs(a, b *workv1.ManifestWork) bool {
	return a.Generation == b.Generation && a.DeletionTimestamp.IsZero() == b.DeletionTimestamp.IsZero() &&
		equality.Semantic.DeepEqual(a.Labels, b.Labels) && equality.Semantic.DeepEqual(a.Status.Conditions, b.Status.Conditions)
}

// ofPlacement wakes the sets that refer to a Placement.
func (w wake) ofPlacement(name func(client.Object) string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return w.sets(ctx, nil, client.InNamespace(o.GetNamespace()), client.MatchingFields{byPlacement: name(o)})
	})
}

// ofCluster wakes the sets that are rolling out: to the others it is all the same who is heard from.
func (w wake) ofCluster() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		return w.sets(ctx, func(s *set) bool {
			return !meta.IsStatusConditionTrue(s.Status.Conditions, workv1alpha1.ManifestWorkReplicaSetConditionPlacementRolledOut)
		})
	})
}

func (w wake) sets(ctx context.Context, choose func(*set) bool, by ...client.ListOption) (requests []reconcile.Request) {
	var found workv1alpha1.ManifestWorkReplicaSetList
	if err := w.hub.List(ctx, &found, append(by, client.UnsafeDisableDeepCopy)...); err != nil {
		log.FromContext(ctx).Error(err, "cannot tell which sets a change concerns")
	}
	for i := range found.Items {
		if choose == nil || choose(&found.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found.Items[i])})
		}
	}
	return requests
}

// setChanged leaves out what the controller itself writes.
func setChanged() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool { return !e.ObjectNew.GetDeletionTimestamp().IsZero() },
	})
}

// heardChanged lets pass clusters that fell silent or came back, or are let go or no longer. Heartbeats and capacity concern nobody.
func heardChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*clusterv1.ManagedCluster)
			after, okToo := e.ObjectNew.(*clusterv1.ManagedCluster)
			return ok && okToo && (silent(before) != silent(after) || detach.Ordered(before) != detach.Ordered(after))
		},
	}
}

// silent: there is word that a cluster is not available. Where there is no word at all it is not.
func silent(c *clusterv1.ManagedCluster) bool {
	return slices.ContainsFunc(c.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == clusterv1.ManagedClusterConditionAvailable && c.Status != metav1.ConditionTrue
	})
}
