// Package history notices that a hub is not the hub it was: restored from a backup, or replaced.
//
// It owns a Lease beside the agent's hub credentials, which holds what the agent remembers of that hub, and the
// condition HubHistoryChanged of the ManagedCluster. It reads the own ManagedCluster and, once, the own works. It
// promises that whatever was applied here was applied after the version it came with was remembered, so that an
// older backup is recognized, also by an agent that was restarted; and that a jump holds everything that would remove
// or change something on this cluster until the works change, or somebody confirms.
//
// Hubs without a history id, such as stock ones, are recognized by their versions.
package history

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"

	"github.com/flotilla-project/flotilla/agent/link/inventory"
	"github.com/flotilla-project/flotilla/agent/link/notice"
	"github.com/flotilla-project/flotilla/agent/link/patch"
)

const (
	// Condition is True while a jump of the hub's history holds this cluster.
	Condition = "HubHistoryChanged"
	// ReasonHeld is its reason while it holds.
	ReasonHeld = "HeldByHistory"
	// ReasonConfirmed is its reason once somebody confirmed.
	ReasonConfirmed = "Confirmed"

	lasting = 2 * time.Second        // how long an answer counts; no hub is restored in less
	again   = 500 * time.Millisecond // how long a failure counts
	timeout = 10 * time.Second
)

// Verdict says what may go on.
type Verdict struct {
	Held  string // why nothing may be removed; empty: all goes on
	since time.Time
	truth *truth
}

// truth is how the works were when the jump was noticed, or became by it: restoring may take a while.
type truth struct {
	mu          sync.Mutex
	generations map[types.UID]int64
}

// News reports whether a work is newer than the jump: made or changed since. Only such are carried out while held. A
// work that turns up later but is older than the jump has come out of the backup.
func (v Verdict) News(work *workv1.ManifestWork) bool {
	if v.Held == "" {
		return true
	}
	if v.truth != nil {
		v.truth.mu.Lock()
		defer v.truth.mu.Unlock()
		if generation, listed := v.truth.generations[work.UID]; listed {
			v.truth.generations[work.UID] = min(generation, work.Generation)
			return work.Generation > generation
		}
	}
	if work.CreationTimestamp.Time.Before(v.since.Truncate(time.Second)) {
		if v.truth != nil {
			v.truth.generations[work.UID] = work.Generation
		}
		return false
	}
	return true
}

// Keeper remembers and compares. Its fields are set once.
type Keeper struct {
	Hub     client.Client // direct
	Memory  Store
	Cluster string // name of the ManagedCluster
	Changed func() // called when a hold began or ended

	checking sync.Mutex // one question at a time; it may take long, so what follows it is not behind it
	loaded   bool
	memory   Memory
	told     string
	failed   error
	failedAt time.Time

	mu       sync.Mutex
	at       time.Time
	verdict  Verdict
	evidence string
}

// Suspect notes evidence of a jump, to be weighed at the next check.
func (k *Keeper) Suspect(evidence string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.evidence, k.at = evidence, time.Time{}
}

// Void has the next check ask, because what it would say has changed.
func (k *Keeper) Void() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at = time.Time{}
}

// Check asks the hub who it is, and must be called before anything is removed or changed. An error means that it
// cannot be known now, and nothing may be done.
func (k *Keeper) Check(ctx context.Context) (Verdict, error) {
	k.checking.Lock()
	defer k.checking.Unlock()
	if v, ok := k.recent(); ok {
		return v, nil
	}
	if k.failed != nil && time.Since(k.failedAt) < again {
		return Verdict{}, k.failed // for those who waited behind this question, or each would wait anew
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	v, err := k.ask(ctx)
	k.failed, k.failedAt = err, time.Now()
	return v, err
}

func (k *Keeper) ask(ctx context.Context) (Verdict, error) {
	if err := k.load(ctx); err != nil {
		return Verdict{}, err
	}
	cluster, seen, err := k.look(ctx)
	if err != nil {
		return Verdict{}, err
	}
	v, err := k.judge(ctx, seen)
	if err != nil {
		return Verdict{}, err
	}
	k.tell(ctx, cluster, v.Held)
	return v, nil
}

func (k *Keeper) recent() (Verdict, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.verdict, !k.at.IsZero() && time.Since(k.at) < lasting
}

func (k *Keeper) suspicion() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.evidence
}

// Last is the latest verdict, without asking. Before the first check it holds nothing.
func (k *Keeper) Last() Verdict {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.verdict
}

func (k *Keeper) load(ctx context.Context) error {
	if k.loaded {
		return nil
	}
	memory, err := k.Memory.Load(ctx)
	if err := bearable(ctx, err); err != nil {
		return err
	}
	k.memory, k.loaded = memory, true
	return nil
}

// look reads all of one moment with one request. The version of a list is that of the whole hub. OCM-3.6
func (k *Keeper) look(ctx context.Context) (*clusterv1.ManagedCluster, Seen, error) {
	var list clusterv1.ManagedClusterList
	err := k.Hub.List(ctx, &list, client.MatchingFields{"metadata.name": k.Cluster})
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || err == nil && len(list.Items) == 0 {
		seen, err := k.glimpse(ctx)
		return nil, seen, err
	}
	if err != nil {
		return nil, Seen{}, fmt.Errorf("ask the hub for its history: %w", err)
	}
	cluster := &list.Items[0]
	return cluster, Seen{
		Cluster: cluster.Name, UID: string(cluster.UID), Version: list.ResourceVersion, Evidence: k.suspicion(), At: time.Now(),
		ID: cluster.Annotations[appsv1alpha1.AnnotationHubHistory], Confirmed: cluster.Annotations[confirmation],
	}, nil
}

// glimpse is for a cluster that was deleted on the hub: until its works are gone the agent may see those, and nothing
// else; and for a hub that knows works only. Their list has the hub's version. OCM-7.2
func (k *Keeper) glimpse(ctx context.Context) (Seen, error) {
	var works workv1.ManifestWorkList
	if err := k.Hub.List(ctx, &works, client.InNamespace(k.Cluster), client.Limit(1)); err != nil {
		return Seen{}, fmt.Errorf("ask the hub for its version: %w", err)
	}
	return Seen{Cluster: k.Cluster, Version: works.ResourceVersion, Evidence: k.suspicion(), At: time.Now()}, nil
}

// judge remembers before anybody acts on the verdict.
func (k *Keeper) judge(ctx context.Context, seen Seen) (Verdict, error) {
	next := Judge(k.memory, seen)
	truth := k.Last().truth
	if next.Held != "" && truth == nil {
		var err error
		if truth, err = k.truth(ctx); err != nil {
			return Verdict{}, err
		}
	}
	if next.Held == "" {
		truth = nil
	}
	if next != k.memory {
		if err := bearable(ctx, k.Memory.Save(ctx, next)); err != nil {
			return Verdict{}, err
		}
	}
	turned := next.Held != k.memory.Held
	k.memory = next
	since, err := time.Parse(time.RFC3339, next.Since)
	if err != nil && next.Held != "" {
		since = seen.At // nobody wrote it down
	}
	v := Verdict{Held: next.Held, since: since, truth: truth}
	k.mu.Lock()
	k.evidence, k.verdict, k.at = "", v, time.Now()
	k.mu.Unlock()
	if turned {
		logf.FromContext(ctx).Info("History of the hub judged", "held", next.Held)
		if k.Changed != nil {
			k.Changed()
		}
	}
	return v, nil
}

// truth lists the works as they are: what is still like this later is not the new truth.
func (k *Keeper) truth(ctx context.Context) (*truth, error) {
	works := &metav1.PartialObjectMetadataList{} // of 2,000 works the specs alone could be a gigabyte
	works.SetGroupVersionKind(schema.GroupVersionKind{Group: workv1.GroupName, Version: workv1.GroupVersion.Version, Kind: "ManifestWorkList"})
	if err := k.Hub.List(ctx, works, client.InNamespace(k.Cluster)); err != nil {
		return nil, fmt.Errorf("list works after the hub's history changed: %w", err)
	}
	out := &truth{generations: make(map[types.UID]int64, len(works.Items))}
	for i := range works.Items {
		out.generations[works.Items[i].UID] = works.Items[i].Generation
	}
	return out, nil
}

// tell keeps the condition, and leaves an event when a hold begins. What does not arrive is told at the next check.
func (k *Keeper) tell(ctx context.Context, cluster *clusterv1.ManagedCluster, held string) {
	if cluster == nil {
		return // nobody to tell
	}
	if held != "" && k.told != held {
		if err := notice.Warn(ctx, k.Hub, cluster, ReasonHeld, k.memory.Version, held); err != nil {
			logf.FromContext(ctx).V(1).Info("Event not sent", "cause", err.Error())
		} else {
			k.told = held
		}
	}
	next := cluster.DeepCopy()
	if inventory.Silent(cluster) || !report(next, held) {
		return
	}
	if _, err := patch.Status(ctx, k.Hub, cluster, next); err != nil {
		logf.FromContext(ctx).V(1).Info("Condition not written", "type", Condition, "cause", err.Error())
	}
}

// report leaves a hub that never jumped without the condition.
func report(cluster *clusterv1.ManagedCluster, held string) bool {
	if held == "" && !meta.IsStatusConditionTrue(cluster.Status.Conditions, Condition) {
		return false
	}
	c := metav1.Condition{
		Type: Condition, Status: metav1.ConditionTrue, Reason: ReasonHeld, Message: held, ObservedGeneration: cluster.Generation,
	}
	if held == "" {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, ReasonConfirmed, "The hub's history is accepted as it is"
	}
	return meta.SetStatusCondition(&cluster.Status.Conditions, c)
}

// bearable lets an agent without the right to its own Lease go on: it still notices a jump while it runs.
func bearable(ctx context.Context, err error) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	logf.FromContext(ctx).Info("History of the hub is not remembered over a restart", "cause", err.Error())
	return nil
}
