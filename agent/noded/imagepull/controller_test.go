package imagepull

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/cri/critest"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// rig is the controller on a fake API server, a round at a time.
type rig struct {
	*testing.T
	client client.Client
	steps  *steps
	loop   *loop.Loop[*kruisev1alpha1.NodeImage, facts, plan]
	writes int
	// away is what the API server says to writes.
	away error
}

func newRig(t *testing.T, r cri.Runtime, objs ...client.Object) *rig {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := kruisev1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	g := &rig{T: t}
	g.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objs...).WithStatusSubresource(&kruisev1alpha1.NodeImage{}).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if g.away != nil {
				return g.away
			}
			g.writes++
			return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
		}}).Build()
	g.steps = newSteps(g.client, Options{Node: "n1", Runtime: r, Keys: keyring{}, Events: record.NewFakeRecorder(100)})
	g.loop = &loop.Loop[*kruisev1alpha1.NodeImage, facts, plan]{Steps: g.steps, Client: g.client, New: func() *kruisev1alpha1.NodeImage { return &kruisev1alpha1.NodeImage{} }}
	return g
}

func (g *rig) round() (kruisev1alpha1.NodeImageStatus, reconcile.Result) {
	g.Helper()
	key := client.ObjectKey{Name: "n1"}
	result, err := g.steps.reconcile(g.Context(), g.loop, reconcile.Request{NamespacedName: key})
	if err != nil {
		g.Fatal(err)
	}
	var n kruisev1alpha1.NodeImage
	if err := client.IgnoreNotFound(g.client.Get(g.Context(), key, &n)); err != nil {
		g.Fatal(err)
	}
	return n.Status, result
}

// IM-1, IM-4: Pulling first, then what came of it, and no write in between or afterwards.
func TestAPullTakesTwoWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		r := &critest.Runtime{OnPull: func(context.Context, cri.Pull) error { <-proceed; return nil }}
		g := newRig(t, r, nodeImage(tag("1", 0)))
		if s, _ := g.round(); s.Pulling != 1 || s.ImageStatuses["nginx"].Tags[0].StartTime == nil {
			t.Errorf("%+v", s)
		}
		g.round()
		close(proceed)
		<-g.steps.wake
		if s, _ := g.round(); s.Succeeded != 1 || s.Desired != 1 || s.ImageStatuses["nginx"].Tags[0].ImageID == "" {
			t.Errorf("%+v", s)
		}
		for range 3 {
			g.round()
		}
		if g.writes != 2 || len(r.Pulls()) != 1 || len(g.steps.pool.tasks()) != 0 {
			t.Errorf("%d writes, %d pulls, %d tasks are kept", g.writes, len(r.Pulls()), len(g.steps.pool.tasks()))
		}
	})
}

// IM-14: a NodeImage whose spec changes all the time costs a write every two seconds.
func TestABusySpecDoesNotFloodTheAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &critest.Runtime{}, nodeImage(tag("1", 0)))
		g.round()
		for v := range int64(40) {
			var n kruisev1alpha1.NodeImage
			if err := g.client.Get(t.Context(), client.ObjectKey{Name: "n1"}, &n); err != nil {
				t.Fatal(err)
			}
			n.Spec.Images["nginx"] = kruisev1alpha1.ImageSpec{Tags: []kruisev1alpha1.ImageTagSpec{tag("1", v+1)}}
			if err := g.client.Update(t.Context(), &n); err != nil {
				t.Fatal(err)
			}
			g.round()
			synctest.Wait()
			wait(t.Context(), 100*time.Millisecond)
			if _, result := g.round(); g.writes == 5 && v > 10 && result.RequeueAfter == 0 {
				t.Fatal("what could not be written is forgotten")
			}
		}
		if g.writes > 7 {
			t.Errorf("%d writes in four seconds", g.writes)
		}
		wait(t.Context(), 10*time.Second)
		g.round()
		synctest.Wait()
		if s, _ := g.round(); s.Succeeded != 1 || s.ImageStatuses["nginx"].Tags[0].Version != 40 {
			t.Errorf("in the end %+v", s)
		}
	})
}

// What came of a pull waits for an API server that is away, and is not pulled again meanwhile.
func TestAResultIsKeptUntilItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &critest.Runtime{}
		g := newRig(t, r, nodeImage(tag("1", 0)))
		g.away = errors.New("connection refused")
		for range 10 {
			_, err := g.steps.reconcile(t.Context(), g.loop, reconcile.Request{NamespacedName: client.ObjectKey{Name: "n1"}})
			if err == nil && g.steps.writes.has(time.Now()) {
				t.Fatal("a write that failed is forgotten")
			}
			synctest.Wait()
			wait(t.Context(), time.Second)
		}
		g.away = nil
		wait(t.Context(), time.Minute)
		if s, _ := g.round(); s.Succeeded != 1 || len(r.Pulls()) != 1 {
			t.Errorf("%+v after %d pulls", s, len(r.Pulls()))
		}
	})
}

func TestANodeImageThatIsGonePullsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &critest.Runtime{OnPull: func(ctx context.Context, _ cri.Pull) error { <-ctx.Done(); return ctx.Err() }}
		n := nodeImage(tag("1", 0))
		g := newRig(t, r, n)
		g.round()
		if err := g.client.Delete(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		g.round()
		g.steps.pool.all.Wait()
		if len(g.steps.pool.tasks()) != 0 {
			t.Error("a pull goes on")
		}
	})
}
