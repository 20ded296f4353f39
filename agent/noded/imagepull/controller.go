// Package imagepull pulls the images that this node's NodeImage asks for. It reads that one object and the pull secrets
// it names, has the container runtime pull, and owns the whole status of the NodeImage.
//
// It promises that a tag which the status shows as finished is not pulled again until its version changes, that every
// unfinished one is being pulled, whatever was restarted meanwhile, and that the status is written when it changed only,
// every two seconds in the long run.
package imagepull

import (
	"context"
	"fmt"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/pace"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// Component is what events come from. // IM-12
const Component = "kruise-daemon-imagepuller"

// Options are what the puller depends on.
type Options struct {
	// Node is the name of the node and of its NodeImage.
	Node string
	// Runtime pulls.
	Runtime cri.Runtime
	// Keys finds credentials.
	Keys Keys
	// Events records as Component.
	Events record.EventRecorder
}

// Register adds the puller to the daemon.
func Register(m ctrl.Manager, o Options) error {
	s := newSteps(m.GetClient(), o)
	if err := m.Add(s.pool); err != nil {
		return err
	}
	l := &loop.Loop[*kruisev1alpha1.NodeImage, facts, plan]{
		Steps: s, Client: m.GetClient(), New: func() *kruisev1alpha1.NodeImage { return &kruisev1alpha1.NodeImage{} },
	}
	// Its own writes of the status must not wake it; a new version or a new tag changes the generation. // IM-1
	spec := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	err := ctrl.NewControllerManagedBy(m).Named("imagepuller").For(&kruisev1alpha1.NodeImage{}, spec).
		WatchesRawSource(source.Channel(s.wake, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: pace.Retry()}).
		Complete(reconcile.Func(func(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
			return s.reconcile(ctx, l, r)
		}))
	if err != nil {
		return fmt.Errorf("build controller: %w", err)
	}
	return nil
}

type steps struct {
	local  client.Reader
	pool   *pool
	wake   chan event.GenericEvent
	writes bucket
	clock  clock.PassiveClock
}

func newSteps(local client.Reader, o Options) *steps {
	node := &kruisev1alpha1.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: o.Node}}
	s := &steps{
		local: local, clock: clock.RealClock{},
		wake: make(chan event.GenericEvent, 1),
	}
	s.pool = &pool{
		puller: &puller{runtime: o.Runtime, keys: o.Keys, events: o.Events},
		changed: func() {
			select {
			case s.wake <- event.GenericEvent{Object: node}:
			default: // somebody is about to look already
			}
		},
	}
	return s
}

// reconcile ends every pull of a NodeImage that is gone.
func (s *steps) reconcile(ctx context.Context, l *loop.Loop[*kruisev1alpha1.NodeImage, facts, plan], r reconcile.Request) (reconcile.Result, error) {
	var obj kruisev1alpha1.NodeImage
	if err := s.local.Get(ctx, r.NamespacedName, &obj); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	} else if err != nil {
		for k := range s.pool.tasks() {
			s.pool.stop(k)
		}
		return reconcile.Result{}, nil
	}
	return l.ReconcileObject(ctx, &obj)
}

// Observe implements loop.Steps.
func (s *steps) Observe(context.Context, *kruisev1alpha1.NodeImage) (facts, error) {
	return facts{tasks: s.pool.tasks(), mayWrite: s.writes.has(s.clock.Now())}, nil
}

// Decide implements loop.Steps.
func (s *steps) Decide(obj *kruisev1alpha1.NodeImage, seen facts, now time.Time) plan {
	return decide(obj, seen, now)
}

// Act implements loop.Steps.
func (s *steps) Act(ctx context.Context, _ *kruisev1alpha1.NodeImage, p plan) error {
	for _, k := range p.stop {
		s.pool.stop(k)
	}
	for _, w := range p.start {
		s.pool.start(ctx, w, p.at)
	}
	for _, w := range p.adjust {
		s.pool.adjust(w)
	}
	return nil
}

// Report implements loop.Steps.
func (s *steps) Report(obj *kruisev1alpha1.NodeImage, _ facts, p plan, _ error) {
	if p.write {
		s.writes.take(s.clock.Now())
		obj.Status = p.status
	}
}
