package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/brake"
	"github.com/flotilla-project/flotilla/agent/link/evict"
	"github.com/flotilla-project/flotilla/agent/link/patch"
)

const (
	listen     = 5 * time.Second // how often the hub is listened to while a grace runs
	housework  = 5 * time.Minute
	houseBatch = 100 * time.Millisecond // a burst of news is one round
)

// keeper looks after the records whose work is not on the hub. Only its own goroutine uses it. OCM-15.6
type keeper struct {
	agent *Agent
	heard time.Time         // since when the hub was heard without a break
	known map[string]*state // what the brake was told, by name of the record
	wake  chan struct{}
}

func newKeeper(a *Agent) *keeper {
	return &keeper{agent: a, known: map[string]*state{}, wake: make(chan struct{}, 1)}
}

// ring asks for a round.
func (k *keeper) ring() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run makes rounds until ctx ends. The list of works must be complete before it starts.
func (k *keeper) run(ctx context.Context) {
	for {
		next := k.round(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		case <-k.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(houseBatch):
			}
		}
	}
}

// round looks at all records and says when to come back.
func (k *keeper) round(ctx context.Context, now time.Time) time.Duration {
	k.listen(now)
	var records workv1.AppliedManifestWorkList
	var works workv1.ManifestWorkList
	err := errors.Join(
		k.agent.deps.Works.List(ctx, &works, client.InNamespace(k.agent.deps.Cluster), client.UnsafeDisableDeepCopy),
		k.agent.deps.Records.List(ctx, &records, client.UnsafeDisableDeepCopy),
	)
	if err != nil {
		logf.FromContext(ctx).V(1).Info("Records not looked at", "cause", err.Error())
		return listen
	}
	listed := make(map[string]bool, len(works.Items)) // by the complete list; the hub itself is asked before anything goes
	for i := range works.Items {
		listed[k.agent.records.name(works.Items[i].Name)] = true
	}
	k.agent.crowd.see(listed)
	next := housework
	for i := range records.Items {
		again, err := k.visit(ctx, &records.Items[i], listed, now)
		if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) {
			logf.FromContext(ctx).Error(err, "Record not looked after, will try again", "appliedManifestWork", records.Items[i].Name)
		}
		if err != nil {
			again = writeGap
		}
		if again > 0 {
			next = min(next, again)
		}
	}
	return max(next, houseBatch)
}

// listen notes since when the hub is heard.
func (k *keeper) listen(now time.Time) {
	switch {
	case !k.agent.deps.Online():
		k.heard = time.Time{}
	case k.heard.IsZero():
		k.heard = now
	}
}

// visit looks at one record, which is shared with the cache.
func (k *keeper) visit(ctx context.Context, shared *workv1.AppliedManifestWork, listed map[string]bool, now time.Time) (time.Duration, error) {
	f := evict.Of(shared)
	f.Ours, f.Heard, f.Grace = k.agent.records.ours(shared), k.heard, k.agent.options.EvictionGrace
	f.Listed = k.ofThisHub(shared) && listed[shared.Name]
	if f.Ours && f.Leaving && !k.ofThisHub(shared) {
		return k.finish(ctx, shared)
	}
	action, again := evict.Decide(f, now)
	if action == evict.Keep {
		if f.Ours && !f.Started.IsZero() && !f.Listed {
			return min(max(again, houseBatch), listen), nil // an outage has to be noticed
		}
		return again, nil
	}
	record := shared.DeepCopy()
	switch action {
	case evict.Start:
		at := metav1.NewTime(now)
		return writeGap, k.setStart(ctx, record, &at)
	case evict.Clear:
		return writeGap, errors.Join(k.setStart(ctx, record, nil), k.agent.markHeld(ctx, record, ""))
	case evict.Due:
		return k.due(ctx, record)
	}
	return again, nil
}

func (k *keeper) ofThisHub(record *workv1.AppliedManifestWork) bool {
	return record.Spec.HubHash == k.agent.records.hash && record.Name == k.agent.records.name(record.Spec.ManifestWorkName)
}

func (k *keeper) setStart(ctx context.Context, record *workv1.AppliedManifestWork, at *metav1.Time) error {
	next := record.DeepCopy()
	next.Status.EvictionStartTime = at
	if _, err := patch.Status(ctx, k.agent.deps.Local, record, next); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("set evictionStartTime: %w", err)
	}
	*record = *next
	logf.FromContext(ctx).Info("Eviction judged anew", "appliedManifestWork", record.Name, "unmanagedSince", at,
		"grace", k.agent.options.EvictionGrace.String(), "objects", len(record.Status.AppliedResources))
	return nil
}

// due evicts a record whose grace is over, if the hub says once more that the work is not there, and the brake that
// it may go.
func (k *keeper) due(ctx context.Context, cached *workv1.AppliedManifestWork) (time.Duration, error) {
	a := k.agent
	record := &workv1.AppliedManifestWork{}
	if err := a.deps.Local.Get(ctx, client.ObjectKeyFromObject(cached), record); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	if record.UID != cached.UID || !record.DeletionTimestamp.IsZero() || record.Status.EvictionStartTime == nil {
		return writeGap, nil // the cache is behind
	}
	if sure, err := k.surelyGone(ctx, record); err != nil || !sure {
		return listen, err
	}
	objects, err := a.toDelete(ctx, record)
	if err != nil {
		return listen, err
	}
	s := k.state(record)
	verdict, err := a.consult(ctx, removal{
		work: record.Spec.ManifestWorkName, record: record, objects: objects, state: s,
		confirmed: brake.Confirmed(record.Spec.ManifestWorkName, record),
	})
	if err != nil || !verdict.Go {
		return max(verdict.After, houseBatch), errors.Join(err, k.hold(ctx, record, verdict, s))
	}
	return k.evict(ctx, record, objects)
}

// hold says on the member that an eviction is held; there is no work on the hub to say it on.
func (k *keeper) hold(ctx context.Context, record *workv1.AppliedManifestWork, v brake.Verdict, s *state) error {
	if v.Held == "" || v.Held == s.held {
		return nil
	}
	logf.FromContext(ctx).Info("Eviction held", "appliedManifestWork", record.Name, "why", v.Held)
	if v.Lasting {
		if err := k.agent.markHeld(ctx, record, v.Held); err != nil {
			return err
		}
	}
	s.held = v.Held
	return k.agent.warn(ctx, record, v.Held)
}

func (k *keeper) state(record *workv1.AppliedManifestWork) *state {
	s := k.known[record.Name]
	if s == nil || s.uid != record.UID {
		s = &state{uid: record.UID}
		k.known[record.Name] = s
	}
	return s
}

// surelyGone asks the hub itself. A refusal is no answer. Of a work of another hub this hub cannot know anything;
// that its own list was complete says that we moved here.
func (k *keeper) surelyGone(ctx context.Context, record *workv1.AppliedManifestWork) (bool, error) {
	if !k.ofThisHub(record) {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	var work workv1.ManifestWork
	err := k.agent.deps.Hub.Get(ctx, client.ObjectKey{Namespace: k.agent.deps.Cluster, Name: record.Spec.ManifestWorkName}, &work)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("ask for the work before its eviction: %w", err)
	}
	return err != nil, nil
}

// evict deletes the record that was looked at. Its finalizer takes the objects with it. OCM-15.6
func (k *keeper) evict(ctx context.Context, record *workv1.AppliedManifestWork, objects int) (time.Duration, error) {
	a := k.agent
	if !brake.Confirmed(record.Spec.ManifestWorkName, record) {
		a.crowd.depart(vanished(record))
	}
	seen := client.Preconditions{UID: &record.UID, ResourceVersion: &record.ResourceVersion}
	if err := a.deps.Local.Delete(ctx, record, seen); client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("evict AppliedManifestWork: %w", err)
	}
	delete(k.known, record.Name)
	logf.FromContext(ctx).Info("Evicted", "appliedManifestWork", record.Name, "objects", objects,
		"unmanagedSince", record.Status.EvictionStartTime, "grace", a.options.EvictionGrace.String())
	return writeGap, nil
}

// finish carries through the deletion of a record of another hub; those of this hub have their work's queue.
func (k *keeper) finish(ctx context.Context, cached *workv1.AppliedManifestWork) (time.Duration, error) {
	record := &workv1.AppliedManifestWork{}
	if err := k.agent.deps.Local.Get(ctx, client.ObjectKeyFromObject(cached), record); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	s := k.state(record)
	err := k.agent.clear(ctx, record, nil)
	if errors.Is(err, errLeaving) {
		s.removals++
		return backoff(removeFirst, removeMost, s.removals), nil
	}
	if err == nil {
		delete(k.known, record.Name)
	}
	return 0, err
}

// toDelete counts the objects that would be deleted with a record, and not only released. Objects that works of a new
// hub have adopted, for one, are in no danger.
func (a *Agent) toDelete(ctx context.Context, record *workv1.AppliedManifestWork) (int, error) {
	c, err := a.objects.as(executorOf(record))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range record.Status.AppliedResources {
		gvr := schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Resource}
		live, err := in(c, gvr, r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("get %s %s: %w", r.Resource, r.Name, err)
		}
		if judge(live, r.UID, record, false) == destroy {
			n++
		}
	}
	return n, nil
}
