package podset_test

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset"
)

func TestEventsThatComeTogetherStartOneRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer q.ShutDown()
		h := podset.Gather(&handler.EnqueueRequestForObject{})
		pod := func(name string) *corev1.Pod {
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
		}
		for range 100 {
			h.Create(t.Context(), event.CreateEvent{Object: pod("web")}, q)
			h.Update(t.Context(), event.UpdateEvent{ObjectOld: pod("web"), ObjectNew: pod("web")}, q)
			h.Delete(t.Context(), event.DeleteEvent{Object: pod("web")}, q)
		}
		h.Generic(t.Context(), event.GenericEvent{Object: pod("other")}, q)
		if q.Len() != 0 {
			t.Error("a round starts before the events have settled")
		}
		<-time.After(time.Second) // of the bubble: no time passes
		synctest.Wait()
		seen := map[types.NamespacedName]bool{}
		for range 2 {
			r, _ := q.Get()
			seen[r.NamespacedName] = true
			q.Done(r)
		}
		if q.Len() != 0 || len(seen) != 2 {
			t.Errorf("%d more rounds than objects, seen %v", q.Len(), seen)
		}
	})
}
