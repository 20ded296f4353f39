package federateddeployment

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// Front is a kind that is served by the steps of this package: an object of it is turned into a FederatedDeployment in
// memory, and what became of that is turned back into the object's status.
type Front[T client.Object] struct {
	// Name of the controller.
	Name string
	// Kind of the objects.
	Kind schema.GroupVersionKind
	// New is an empty object.
	New func() T
	// In is the FederatedDeployment that an object stands for, status included: what it remembers comes from there. Its
	// TypeMeta names the object's kind.
	In func(T) *v1alpha1.FederatedDeployment
	// Out writes the object's status.
	Out func(T, Outcome)
	// Conditions of the object that become events when they change.
	Conditions func(T) []metav1.Condition
	// Words wraps what records events, and may rename them; nil records them as they are.
	Words func(record.EventRecorder) record.EventRecorder
	// Fleet also serves what only FederatedDeployments have: Placements and references.
	Fleet bool
}

// Outcome is what a round found and did.
type Outcome struct {
	// Object with its new status.
	Object *v1alpha1.FederatedDeployment
	// Readable is false while the spec cannot be decoded.
	Readable bool
	// Shares are the replicas that the subsets got; none while the spec is at fault.
	Shares map[string]int32
	// Partitions in force.
	Partitions map[string]int32
	// Provisioned says that works were made or removed, or were to be.
	Provisioned bool
	// Err is why writing failed.
	Err error
	// At is when it was decided.
	At time.Time
}

// Tools are what a round works with.
type Tools struct {
	// Cached has the objects undecoded, and the Indexes of the front.
	Cached client.Reader
	// Hub reads and writes everything else.
	Hub client.Client
	// Live asks the API server itself.
	Live client.Reader
	// Events records what happened.
	Events record.EventRecorder
	// Braked keeps works of which too many at once are no longer decided for, until somebody confirms.
	Braked bool
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
}

// Serve is the reconciler of a front, without a manager and without watches.
func Serve[T client.Object](front Front[T], tools Tools) reconcile.Reconciler {
	return &reconciler[T]{Front: front, Tools: tools}
}

// reconciler decodes one object and puts it through the loop.
type reconciler[T client.Object] struct {
	Front[T]
	Tools
	shelf *shelf
}

// Reconcile is one round.
func (r *reconciler[T]) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	u := raw(r.Kind)
	if err := r.Cached.Get(ctx, request.NamespacedName, u); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	obj, malformed := decode(u, r.New)
	events := r.Tools.Events
	if r.Words != nil {
		events = r.Words(events)
	}
	inner := &steps{hub: r.Hub, live: r.Live, events: events, shelf: r.shelf, template: templateOf(u), malformed: malformed, braked: r.Braked}
	round := loop.Loop[T, facts, Plan]{
		Steps:  &fronted[T]{inner: inner, front: r.Front},
		Client: undecoded{r.Hub, r.Kind}, Events: events, Clock: r.Clock,
	}
	return round.ReconcileObject(ctx, obj)
}

// fronted puts an object of another kind through the steps.
type fronted[T client.Object] struct {
	inner *steps
	front Front[T]
	fed   *v1alpha1.FederatedDeployment
	at    time.Time
}

// Finalizer keeps the object until its works are gone.
func (f *fronted[T]) Finalizer() string { return v1alpha1.FinalizerWorks }

// Conditions become events when they change.
func (f *fronted[T]) Conditions(obj T) []metav1.Condition { return f.front.Conditions(obj) }

// Observe reads.
func (f *fronted[T]) Observe(ctx context.Context, obj T) (facts, error) {
	f.fed = f.front.In(obj)
	return f.inner.Observe(ctx, f.fed)
}

// Decide turns facts into a plan.
func (f *fronted[T]) Decide(_ T, seen facts, now time.Time) Plan {
	f.at = now
	return f.inner.Decide(f.fed, seen, now)
}

// Act carries it out.
func (f *fronted[T]) Act(ctx context.Context, _ T, plan Plan) error {
	return f.inner.Act(ctx, f.fed, plan)
}

// Report writes down what was observed.
func (f *fronted[T]) Report(obj T, seen facts, plan Plan, acted error) {
	f.inner.Report(f.fed, seen, plan, acted)
	out := Outcome{Object: f.fed, Readable: seen.malformed == nil, Err: acted, At: f.at}
	for _, s := range plan.shares {
		if out.Shares == nil {
			out.Shares, out.Partitions = map[string]int32{}, map[string]int32{}
		}
		out.Shares[s.name()], out.Partitions[s.name()] = s.replicas, s.partition
	}
	for _, c := range plan.works {
		out.Provisioned = out.Provisioned || c.live == nil
	}
	out.Provisioned = out.Provisioned || len(plan.remove) > 0
	f.front.Out(obj, out)
}

// steps are one round for one object in memory.
type steps struct {
	hub       client.Client
	live      client.Reader // asks the API server itself
	events    record.EventRecorder
	shelf     *shelf // nil where references do not travel
	template  map[string]any
	malformed *field.Error
	braked    bool // many works that a Placement no longer decides for wait for a second word
}
