package detach

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/loop"
)

// world is a hub and a stock agent, which removes the objects of a deleted work unless it let go of them before.
type world struct {
	client.Client
	t       *testing.T
	clock   *clocktesting.FakePassiveClock
	owned   map[string]bool // objects that a work still holds, by work
	killed  []string
	answers bool
	writes  int
	listing error
}

const hubsOwn = "cluster.open-cluster-management.io/api-resource-cleanup"

func newWorld(t *testing.T, state change, names ...string) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clusterv1.Install, workv1.Install, corev1.AddToScheme, rbacv1.AddToScheme, eventsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(noon), owned: map[string]bool{}, answers: true}
	objects := []client.Object{
		cluster(unordered, state, func(c *clusterv1.ManagedCluster) { c.Finalizers = []string{hubsOwn} }),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "east"}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "open-cluster-management:managedcluster:east:work", Finalizers: []string{agentsOwn}}},
		&workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "west", Name: "other", Finalizers: []string{agentsOwn}}},
	}
	for _, name := range names {
		one := work(name + ":taken")
		one.Generation = 1
		objects = append(objects, &one)
		w.owned[name] = true
	}
	w.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&clusterv1.ManagedCluster{}, &workv1.ManifestWork{}).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			w.writes++
			if err := c.Patch(ctx, o, p, opts...); err != nil {
				return err
			}
			changed, isWork := o.(*workv1.ManifestWork)
			if !isWork || !isOrphaned(changed.Spec.DeleteOption) || changed.Generation > 1 {
				return nil
			}
			changed.Generation++ // an API server counts changes of the spec
			return c.Update(ctx, changed)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			w.writes++
			return c.Delete(ctx, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if w.listing != nil {
				return w.listing
			}
			return c.List(ctx, l, opts...)
		},
	}).Build()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) round() error {
	l := &loop.Loop[*clusterv1.ManagedCluster, facts, plan]{Steps: &Steps{Hub: w.Client, Live: w.Client}, Client: w.Client, Clock: w.clock,
		New: func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} }}
	_, err := l.Reconcile(context.Background(), reconcile.Request{NamespacedName: client.ObjectKey{Name: "east"}})
	return err
}

// member is what the agent does meanwhile, if it runs and may.
func (w *world) member() {
	err := w.Get(context.Background(), client.ObjectKey{Namespace: "east", Name: "open-cluster-management:managedcluster:east:work"}, &rbacv1.RoleBinding{})
	if !w.answers || err != nil {
		return
	}
	for _, one := range w.works() {
		switch {
		case !staying(one):
			if w.owned[one.Name] {
				w.killed = append(w.killed, one.Name)
			}
			one.Finalizers = nil
			w.must(w.Update(context.Background(), &one))
		case isOrphaned(one.Spec.DeleteOption):
			w.owned[one.Name] = false
			one.Status.Conditions[0].ObservedGeneration = one.Generation
			w.must(w.Status().Update(context.Background(), &one))
		}
	}
}

func (w *world) works() []workv1.ManifestWork {
	var all workv1.ManifestWorkList
	listing := w.listing
	w.listing = nil
	w.must(w.List(context.Background(), &all, client.InNamespace("east")))
	w.listing = listing
	return all.Items
}

func (w *world) cluster() *clusterv1.ManagedCluster {
	c := &clusterv1.ManagedCluster{}
	err := w.Get(context.Background(), client.ObjectKey{Name: "east"}, c)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return c
}

func (w *world) change(change change) {
	c := w.cluster()
	change(c)
	w.must(w.Update(context.Background(), c))
}

func (w *world) order() {
	w.change(func(c *clusterv1.ManagedCluster) { c.Annotations = map[string]string{"flotilla.dev/detach": ordered} })
}

// until runs hub and member until done, or fails.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	for range 20 {
		if done() {
			return
		}
		w.must(w.round())
		w.member()
		c := w.cluster()
		if c != nil && !c.DeletionTimestamp.IsZero() && len(w.works()) == 0 && slices.Contains(c.Finalizers, hubsOwn) {
			w.change(func(c *clusterv1.ManagedCluster) { // the acceptance controller
				c.Finalizers = slices.DeleteFunc(c.Finalizers, func(f string) bool { return f == hubsOwn })
			})
		}
		w.clock.SetTime(w.clock.Now().Add(recheck))
	}
	w.t.Fatalf("it is never %s: %+v", what, w.cluster())
}

func (w *world) released() bool {
	return meta.IsStatusConditionTrue(w.cluster().Status.Conditions, ConditionReleased)
}

// gone ends a story: what ran goes on running, and it is written down who did it.
func (w *world) gone() {
	w.t.Helper()
	w.until("gone", func() bool { return w.cluster() == nil })
	if len(w.killed) > 0 || len(w.works()) > 0 {
		w.t.Errorf("stopped %v, left %v", w.killed, w.works())
	}
	home := &corev1.Namespace{}
	w.must(w.Get(context.Background(), client.ObjectKey{Name: "east"}, home))
	if home.Annotations["flotilla.dev/detached"] != ordered || home.Annotations["flotilla.dev/detach"] != "" {
		w.t.Errorf("%v", home.Annotations)
	}
	var events eventsv1.EventList
	w.must(w.List(context.Background(), &events, client.InNamespace("east")))
	var told []string
	for _, e := range events.Items {
		told = append(told, e.Reason)
		if !strings.Contains(e.Note, "alice") {
			w.t.Errorf("nobody did it: %s", e.Note)
		}
	}
	if slices.Sort(told); !slices.Equal(told, []string{EventDetached, EventDetaching}) {
		w.t.Errorf("%v", told)
	}
	w.must(w.Get(context.Background(), client.ObjectKey{Namespace: "west", Name: "other"}, &workv1.ManifestWork{}))
}

// OCM-7.2: detach leaves everything running.
func TestALiveClusterLetsGoOfEverything(t *testing.T) {
	w := newWorld(t, alive, "a", "b")
	w.must(w.round())
	if w.writes != 0 {
		t.Error("wrote without an order")
	}
	w.order()
	w.until("released", w.released)
	for _, one := range w.works() {
		if w.owned[one.Name] || !staying(one) || one.Annotations["flotilla.dev/confirm-removal"] != one.Name {
			t.Errorf("%s: owned %v, %+v", one.Name, w.owned[one.Name], one.ObjectMeta)
		}
	}
	writes := w.writes
	for range 3 {
		w.must(w.round())
	}
	if w.writes != writes || w.cluster() == nil {
		t.Errorf("%d writes while whoever ordered it has yet to delete the cluster", w.writes-writes)
	}
	w.must(w.Delete(t.Context(), w.cluster()))
	w.gone()
}

// Somebody deletes first and wonders then.
func TestAClusterThatHangsInDeletionCanStillBeDetached(t *testing.T) {
	w := newWorld(t, alive, "a")
	w.must(w.Delete(t.Context(), w.cluster()))
	w.must(w.round())
	w.order()
	w.until("gone", func() bool { return w.cluster() == nil })
	home := &corev1.Namespace{}
	w.must(w.Get(t.Context(), client.ObjectKey{Name: "east"}, home))
	if len(w.killed) > 0 || home.Annotations["flotilla.dev/detached"] != ordered {
		t.Errorf("stopped %v, recorded %v", w.killed, home.Annotations)
	}
}

// OCM-21.3: forced detach of an unreachable cluster, with an audit record.
func TestADeadClusterGoesWithoutItsAgentAndTheAgentSeesNothingOfIt(t *testing.T) {
	w := newWorld(t, silent, "a", "b")
	w.answers = false
	w.order()
	w.until("released", w.released)
	w.must(w.Delete(t.Context(), w.cluster()))
	w.until("without rights", func() bool {
		if len(w.works()) < 2 {
			t.Fatal("works went while the agent could still see it")
		}
		key := client.ObjectKey{Namespace: "east", Name: "open-cluster-management:managedcluster:east:work"}
		return apierrors.IsNotFound(w.Get(t.Context(), key, &rbacv1.RoleBinding{}))
	})
	w.answers = true // back from the dead, too late
	w.gone()
	if !w.owned["a"] || !w.owned["b"] {
		t.Error("who let go of them?")
	}
}

// It falls silent in the middle of it.
func TestAClusterThatDiesWhileItLetsGo(t *testing.T) {
	w := newWorld(t, alive, "a", "b")
	w.order()
	w.until("released", w.released)
	w.answers = false
	w.must(w.Delete(t.Context(), w.cluster()))
	for range 3 {
		w.must(w.round())
	}
	if len(w.works()) != 2 {
		t.Fatal("the agent is missed for longer than a moment before works go without it")
	}
	c := w.cluster()
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: "ManagedClusterConditionAvailable", Status: "Unknown",
		LastTransitionTime: metav1.NewTime(w.clock.Now().Add(-time.Hour))})
	w.must(w.Status().Update(t.Context(), c))
	w.gone()
}

// Absence is never an order.
func TestAListThatFailsLetsNobodyGo(t *testing.T) {
	w := newWorld(t, alive, "a")
	w.order()
	w.until("released", w.released)
	w.must(w.Delete(t.Context(), w.cluster()))
	w.listing = errors.New("timeout")
	if err := w.round(); err == nil {
		t.Error("the failure is lost, nothing would try again")
	}
	if c := w.cluster(); c == nil || !slices.Contains(c.Finalizers, Finalizer) || len(w.works()) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestAnOrderCanBeWithdrawn(t *testing.T) {
	w := newWorld(t, alive, "a")
	w.order()
	w.until("released", w.released)
	w.change(func(c *clusterv1.ManagedCluster) { c.Annotations = nil })
	for range 2 {
		w.must(w.round())
	}
	c, home := w.cluster(), &corev1.Namespace{}
	w.must(w.Get(t.Context(), client.ObjectKey{Name: "east"}, home))
	if slices.Contains(c.Finalizers, Finalizer) || len(c.Status.Conditions) != 1 || len(home.Annotations) != 0 {
		t.Errorf("%+v, %v", c, home.Annotations)
	}
}
