// Package work applies the ManifestWorks of this cluster's namespace on the hub, and feeds their status back.
//
// On the hub it owns the finalizer manifest-work-cleanup and the status of works. On the local cluster it owns
// AppliedManifestWorks whose name starts with the hub's hash, and the objects works hold, shared with their
// other owners. It promises: the finalizer is stored before anything is applied; one bad manifest stops no
// other; a hub write only when something changed, and at most one per work and second; a work that is not seen
// removes nothing but by the contract's eviction, whose grace must pass while the hub is heard; and neither a
// namespace that is going, nor many works that leave together, nor a hub that was restored removes anything unconfirmed.
package work

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/brake"
	"github.com/flotilla-project/flotilla/agent/link/conditions"
	"github.com/flotilla-project/flotilla/agent/link/feedback"
)

// Deps are the connections the agent works with.
type Deps struct {
	Hub         client.Client // direct
	Works       cache.Cache   // ManifestWorks of the own namespace
	Online      func() bool   // whether the hub is thought to answer
	Cluster     string
	HubServer   string        // as in the hub kubeconfig
	Local       client.Client // direct
	Records     cache.Cache   // AppliedManifestWorks
	LocalConfig *rest.Config
	History     History // nil: the hub is always believed
	Fence       Fence   // nil: nothing is ever stopped
}

// Options are the flags that concern works.
type Options struct {
	AgentID        string        // --agent-id; empty: the hub's hash
	StatusInterval time.Duration // --status-sync-interval
	MostWatches    int           // --max-feedback-watch
	MostRawJSON    int           // --max-json-raw-length
	RawJSON        bool          // gate RawFeedbackJsonString
	EvictionGrace  time.Duration // --appliedmanifestwork-eviction-grace-period
	ResyncInterval time.Duration // --resync-interval
	// MassRemovalShare is --mass-removal-share, in percent: more works that leave together are held.
	MassRemovalShare int
	Workers          int
}

// Agent carries out works.
type Agent struct {
	deps    Deps
	options Options
	limits  feedback.Limits
	rules   *conditions.Evaluator
	access  *access
	records records
	objects *objects
	watcher *watcher
	memory  *memory
	queue   workqueue.TypedDelayingInterface[string]
	keeper  *keeper
	// known tells whether the own ManagedCluster was ever heard of; a read before that would wait for it.
	known func() bool
	crowd crowd
	ask   func(ctx context.Context) (brake.Answer, error)
}

// New prepares an agent. It calls nobody yet.
func New(d Deps, o Options) (*Agent, error) {
	reach, err := newObjects(d.LocalConfig)
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfig(d.LocalConfig)
	if err != nil {
		return nil, fmt.Errorf("prepare metadata client: %w", err)
	}
	a := newAgent(d, o)
	a.objects = reach
	a.watcher = newWatcher(meta, o.MostWatches, a.touched)
	return a, nil
}

func newAgent(d Deps, o Options) *Agent {
	hash := HubHash(d.HubServer)
	if o.AgentID == "" {
		o.AgentID = hash // OCM-2.1
	}
	a := &Agent{
		deps: d, options: o, limits: feedback.Limits{RawJSON: o.RawJSON, MostRaw: o.MostRawJSON},
		rules:   conditions.New(),
		access:  newAccess(func(ctx context.Context, r *authorizationv1.SubjectAccessReview) error { return d.Local.Create(ctx, r) }),
		records: records{local: d.Local, hash: hash, agent: o.AgentID, cluster: d.Cluster}, memory: newMemory(o.ResyncInterval),
		queue: workqueue.NewTypedDelayingQueue[string](),
	}
	if a.deps.History == nil {
		a.deps.History = noHistory{}
	}
	if a.deps.Fence == nil {
		a.deps.Fence = noFence{}
	}
	a.keeper = newKeeper(a)
	a.known = func() bool { return true }
	a.ask = func(ctx context.Context) (brake.Answer, error) { return brake.Ask(ctx, d.Hub, d.Cluster) }
	return a
}

// touched notes that an applied object changed and has its work looked at.
func (a *Agent) touched(work string) {
	a.memory.touch(work)
	a.queue.Add(work)
}

// Run carries out works until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	works, err := a.deps.Works.GetInformer(ctx, &workv1.ManifestWork{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch ManifestWorks: %w", err)
	}
	if _, err := works.AddEventHandler(a.workEvents()); err != nil {
		return fmt.Errorf("watch ManifestWorks: %w", err)
	}
	if err := a.followCluster(ctx); err != nil {
		return err
	}
	go a.followRecords(ctx)
	defer a.watcher.stop()
	// Before the first complete list nothing can be said of a work, least of all that it is gone.
	if !toolscache.WaitForCacheSync(ctx.Done(), works.HasSynced) {
		return nil
	}
	var workers sync.WaitGroup
	workers.Go(func() { a.keeper.run(ctx) })
	for range max(a.options.Workers, 1) {
		workers.Go(func() { a.serve(ctx) })
	}
	<-ctx.Done()
	a.queue.ShutDown()
	workers.Wait()
	return nil
}

func (a *Agent) serve(ctx context.Context) {
	for {
		name, over := a.queue.Get()
		if over {
			return
		}
		again, err := a.reconcile(logf.IntoContext(ctx, logf.FromContext(ctx).WithValues("manifestWork", name)), name)
		if err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "Work not carried out, will try again", "manifestWork", name)
		}
		if again > 0 && ctx.Err() == nil {
			a.queue.AddAfter(name, again)
		}
		a.queue.Done(name)
	}
}

// workEvents ignores what we write ourselves: a status that changed is no reason for a round.
func (a *Agent) workEvents() toolscache.ResourceEventHandler {
	add := func(obj any) {
		if w, ok := obj.(*workv1.ManifestWork); ok {
			a.queue.Add(w.Name)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: add,
		UpdateFunc: func(old, new any) {
			before, ok := old.(*workv1.ManifestWork)
			after, fine := new.(*workv1.ManifestWork)
			if !ok || !fine || ordered(before, after) {
				add(new)
			}
		},
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			add(obj)
		},
	}
}

// ordered reports whether somebody wants something else of the work than before.
func ordered(before, after *workv1.ManifestWork) bool {
	return before.UID != after.UID || before.Generation != after.Generation ||
		before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!maps.Equal(before.Labels, after.Labels) || !slices.Equal(before.Finalizers, after.Finalizers) ||
		before.Annotations[brake.Confirm] != after.Annotations[brake.Confirm]
}

// Wake has every work and record looked at, because something changed that concerns them all.
func (a *Agent) Wake(ctx context.Context) {
	a.keeper.ring()
	var works workv1.ManifestWorkList
	if err := a.deps.Works.List(ctx, &works, client.InNamespace(a.deps.Cluster), client.UnsafeDisableDeepCopy); err != nil {
		logf.FromContext(ctx).V(1).Info("Works not listed", "cause", err.Error())
		return
	}
	for i := range works.Items {
		a.queue.Add(works.Items[i].Name)
	}
}

// followCluster brings in what is confirmed on the ManagedCluster, and a history id that changed.
func (a *Agent) followCluster(ctx context.Context) error {
	informer, err := a.deps.Works.GetInformer(ctx, &clusterv1.ManagedCluster{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch ManagedCluster: %w", err)
	}
	a.known = informer.HasSynced
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(old, new any) {
			before, ok := old.(*clusterv1.ManagedCluster)
			after, fine := new.(*clusterv1.ManagedCluster)
			if !ok || !fine || maps.Equal(before.Annotations, after.Annotations) {
				return
			}
			a.deps.History.Void()
			go func() { // the check waits for the hub, an informer must not
				if _, err := a.deps.History.Check(ctx); err != nil {
					logf.FromContext(ctx).V(1).Info("History of the hub not known", "cause", err.Error())
				}
				a.Wake(ctx)
			}()
		},
	})
	if err != nil {
		return fmt.Errorf("watch ManagedCluster: %w", err)
	}
	return nil
}

// followRecords brings in what is said on the member: a confirmation, or a record that is deleted.
func (a *Agent) followRecords(ctx context.Context) {
	heard := func(old, new any) {
		record, ok := new.(*workv1.AppliedManifestWork)
		if !ok {
			return
		}
		work, ours := a.records.work(record.Name)
		before, updated := old.(*workv1.AppliedManifestWork)
		if !updated || !equality.Semantic.DeepEqual(before.Annotations, record.Annotations) ||
			before.DeletionTimestamp.IsZero() != record.DeletionTimestamp.IsZero() || before.Spec != record.Spec ||
			!before.Status.EvictionStartTime.Equal(record.Status.EvictionStartTime) {
			a.keeper.ring()
		}
		if !ours || updated && equality.Semantic.DeepEqual(before.Annotations, record.Annotations) &&
			before.DeletionTimestamp.IsZero() == record.DeletionTimestamp.IsZero() {
			return
		}
		a.queue.Add(work)
	}
	for ctx.Err() == nil {
		informer, err := a.deps.Records.GetInformer(ctx, &workv1.AppliedManifestWork{}, cache.BlockUntilSynced(false))
		if err == nil {
			var handle toolscache.ResourceEventHandlerRegistration
			handle, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
				AddFunc: func(obj any) { heard(nil, obj) }, UpdateFunc: heard,
			})
			if err == nil {
				<-ctx.Done() // the cache outlives this agent, so its handler has to go
				if err := informer.RemoveEventHandler(handle); err != nil {
					logf.FromContext(ctx).V(1).Info("Handler not removed", "cause", err.Error())
				}
				return
			}
		}
		logf.FromContext(ctx).V(1).Info("AppliedManifestWorks not watched yet", "cause", err.Error())
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}
