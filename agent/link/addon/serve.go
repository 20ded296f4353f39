package addon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"open-cluster-management.io/api/addon/v1alpha1"
	"open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// Kinds are the versions of the API, the one first that every hub stores: it needs no conversion on the hub. OCM-1.3
var Kinds = []schema.GroupVersionKind{
	schema.GroupVersion(v1alpha1.GroupVersion).WithKind("ManagedClusterAddOn"),
	schema.GroupVersion(v1beta1.GroupVersion).WithKind("ManagedClusterAddOn"),
}

// errUnserved ends the service of a kind that the hub does not serve any more.
var errUnserved = errors.New("the hub does not serve add-ons")

func jittered(d time.Duration) time.Duration { return d - rand.N(d/5+1) }

// discover finds the version to speak, nil if the hub serves none. OCM-1.3
func (a *Agent) discover(ctx context.Context) (*schema.GroupVersionKind, error) {
	for _, kind := range Kinds {
		served, err := a.Serves(ctx, kind.Version)
		if err != nil {
			return nil, fmt.Errorf("ask for add-on API %s: %w", kind.Version, err)
		}
		if served {
			return &kind, nil
		}
	}
	return nil, nil
}

func newObject(kind schema.GroupVersionKind) client.Object {
	if kind.Version == v1beta1.GroupVersion.Version {
		return &v1beta1.ManagedClusterAddOn{}
	}
	return &v1alpha1.ManagedClusterAddOn{}
}

// serve looks after add-ons for as long as the hub serves them.
func (a *Agent) serve(ctx context.Context, kind schema.GroupVersionKind) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	seen, err := a.Watch(func(err error) {
		if apierrors.IsNotFound(err) {
			cancel(errUnserved)
			return
		}
		logf.FromContext(ctx).V(1).Info("Add-ons cannot be watched, will try again", "cause", err.Error())
	})
	if err != nil {
		return err
	}
	a.begin(ctx, seen, kind)
	defer a.end()
	all.Go(func() {
		if err := seen.Start(ctx); err != nil {
			cancel(err)
		}
	})
	if err := a.follow(ctx, seen, kind); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	logf.FromContext(ctx).Info("Looking after add-ons", "version", kind.Version)
	context.AfterFunc(ctx, a.queue.ShutDown)
	a.work(ctx)
	return context.Cause(ctx)
}

func (a *Agent) begin(ctx context.Context, seen client.Reader, kind schema.GroupVersionKind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.life, a.seen, a.kind, a.keepless = ctx, seen, kind, false
	a.queue = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Second, time.Minute))
}

// end stops the keepers. What they made stays.
func (a *Agent) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.keepers {
		k.stop()
	}
	clear(a.keepers)
	clear(a.looked)
	a.queue.ShutDown()
}

// follow watches, and begins once everything is known: with the add-ons that are there, and with those whose secrets are.
func (a *Agent) follow(ctx context.Context, seen cache.Cache, kind schema.GroupVersionKind) error {
	seen.WaitForCacheSync(ctx) // nothing is watched yet, so this is until it runs
	informer, err := seen.GetInformer(ctx, newObject(kind), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch add-ons: %w", err)
	}
	heard := func(obj any) {
		if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if o, ok := obj.(client.Object); ok {
			a.queue.Add(o.GetName())
		}
	}
	events, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: heard, UpdateFunc: func(_, new any) { heard(new) }, DeleteFunc: heard,
	})
	if err != nil {
		return fmt.Errorf("watch add-ons: %w", err)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), events.HasSynced) {
		return errors.New("add-ons were not listed")
	}
	return a.recall(ctx)
}

// recall takes up what was made by an agent before this one.
func (a *Agent) recall(ctx context.Context) error {
	names, err := a.vault.ledger.addOns(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		a.queue.Add(name)
	}
	return nil
}
