package acceptance

import (
	"context"
	"testing"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestWhatWakesACluster(t *testing.T) {
	west := cluster(called("west"), wants)
	west.UID = "west-1"
	h := newHub(t, interceptor.Funcs{}, cluster(), west)
	find := ownerIn(h.Client)
	for name, tc := range map[string]struct {
		object client.Object
		want   string
	}{
		"an object of east":                        {workBinding("east"), "east"},
		"a shared role wakes one that is accepted": {sharedRoles()[0], "west"},
	} {
		got := find(context.Background(), tc.object)
		if len(got) != 1 || got[0].Name != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	lastWork().Create(context.Background(), event.CreateEvent{Object: work()}, q)
	if q.Len() != 0 {
		t.Error("a new work wakes nobody: it takes nothing and grants nothing")
	}
	lastWork().Delete(context.Background(), event.DeleteEvent{Object: work()}, q)
	if got, _ := q.Get(); got.Name != "east" {
		t.Errorf("%v", got)
	}
}
