package work

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

const (
	roundTimeout = 2 * time.Minute
	hubTimeout   = 10 * time.Second
	rulesTimeout = 20 * time.Second
)

// reconcile does what is due for one work and says when to come back, 0 for never by itself.
func (a *Agent) reconcile(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	var work workv1.ManifestWork
	// Shared with the cache and so only read: most rounds find nothing to do, and a copy of 500 kB costs more than they.
	err := a.deps.Works.Get(ctx, client.ObjectKey{Namespace: a.deps.Cluster, Name: name}, &work, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return a.unseen(ctx, name)
	}
	if err != nil {
		return failFirst, fmt.Errorf("get ManifestWork: %w", err)
	}
	s := a.memory.of(name, work.UID)
	a.hasten(s, name)
	due, again := decide(facts{work: &work, state: s, touched: a.memory.isTouched(s), online: a.deps.Online()}, time.Now())
	switch due {
	case finalize:
		err = a.finalize(ctx, &work, s)
	case applyRound:
		if may, after := a.vet(ctx, &work, s); !may {
			return a.only(ctx, &work, s, after)
		}
		err = a.applyWork(ctx, &work, s)
	case statusRound:
		err = a.lookAt(ctx, &work, s)
	case removeRound:
		return a.removeWork(ctx, &work, s)
	default:
		return again, nil
	}
	if apierrors.IsConflict(err) {
		return 200 * time.Millisecond, nil // fresher data is on its way (OCM-20.1)
	}
	if errors.Is(err, errLeaving) {
		return backoff(failFirst, failMost, s.failures), nil
	}
	if err != nil {
		return backoff(failFirst, failMost, s.failures), err
	}
	if a.memory.isTouched(s) { // changed meanwhile, or the hub could not be told
		return writeGap, nil
	}
	return max(time.Until(earliest(s.nextApply, s.nextStatus)), time.Millisecond), nil
}

func earliest(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// finalize stores the finalizer; what comes of it is an event, and only then anything is applied. OCM-10.1
func (a *Agent) finalize(ctx context.Context, work *workv1.ManifestWork, s *state) error {
	next := work.DeepCopy()
	next.Finalizers = append(next.Finalizers, workv1.ManifestWorkFinalizer)
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	if _, err := patch.Metadata(ctx, a.deps.Hub, work, next); err != nil {
		return fmt.Errorf("add finalizer: %w", err)
	}
	s.wrote, s.version = time.Now(), next.ResourceVersion
	s.nextApply = time.Now().Add(failFirst)
	return nil
}

// applyWork is a whole round: apply, take away what left the spec, look, and tell. OCM-10.2
func (a *Agent) applyWork(ctx context.Context, work *workv1.ManifestWork, s *state) error {
	now := time.Now()
	a.memory.look(s)
	if s.generation != work.Generation {
		s.failures = 0 // OCM-10.3: what failed before may work now
	}
	manifests := decode(work, a.objects.mapping)
	worst, err := a.carryOut(ctx, work, s, manifests)
	if err != nil {
		s.after(err, false, now)
		return err
	}
	s.applied, s.generation, s.labels = true, work.Generation, work.Labels
	s.after(worst, slices.ContainsFunc(manifests, (*manifest).denied), time.Now())
	a.watcher.want(context.WithoutCancel(ctx), work.Name, watchList(manifests))
	if worst != nil && !errors.Is(worst, errLeaving) {
		logf.FromContext(ctx).Info("Some manifests failed", "first", worst.Error(), "generation", work.Generation)
	}
	return a.tell(ctx, work, s, manifests)
}

// carryOut applies and removes; worst is the first failure of a manifest, err what kept the round from running.
func (a *Agent) carryOut(ctx context.Context, work *workv1.ManifestWork, s *state, manifests []*manifest) (worst, err error) {
	if err := nameable(work.Name); err != nil {
		return failAll(manifests, err), nil
	}
	record, err := a.records.ensure(ctx, work)
	if apierrors.IsInvalid(err) {
		return failAll(manifests, err), nil
	}
	if err != nil {
		return nil, err
	}
	if record == nil || !record.DeletionTimestamp.IsZero() {
		return nil, a.clear(ctx, record, work) // deleted on the member: finish that, then start anew
	}
	c, err := a.objects.as(work.Spec.Executor)
	if err != nil {
		return failAll(manifests, err), nil
	}
	if err := a.standUp(ctx, c, record, manifests); err != nil {
		return nil, err
	}
	ap := &applier{
		client: c, owner: reference(record), option: work.Spec.DeleteOption, hashes: s.hashes,
		executor: work.Spec.Executor, access: a.access,
	}
	a.spare(work, s, manifests, ap.settled)
	ap.applyAll(ctx, manifests)
	a.read(ctx, c, manifests)
	forgetOthers(s.hashes, manifests)
	gone, sure := obsolete(record, manifests)
	if s.frozen {
		gone, sure = nil, false
	}
	leaving, removing := a.removeAll(ctx, c, record, gone, work.Spec.DeleteOption)
	if err := a.records.list(ctx, record, held(record, manifests, leaving, sure)); err != nil {
		return nil, err
	}
	for _, m := range manifests {
		if !calm(m.failed) {
			return m.failed, nil
		}
	}
	if removing == nil && len(leaving) > 0 {
		removing = errLeaving
	}
	return removing, nil
}

// errLeaving makes a round come back soon for objects that are on their way out.
var errLeaving = errors.New("objects that left the work are still being deleted")

// nameable reports whether a record can be called after a work. If not it is the user's to mend. OCM-9.4
func nameable(work string) error {
	if len(work) > longestWorkName {
		return &badName{len(work)}
	}
	return nil
}

// forgetOthers drops what is remembered of objects that are no longer in the work.
func forgetOthers(hashes map[objectKey]applied, manifests []*manifest) {
	keep := map[objectKey]bool{}
	for _, m := range manifests {
		keep[m.key()] = true
	}
	maps.DeleteFunc(hashes, func(k objectKey, _ applied) bool { return !keep[k] })
}

func failAll(manifests []*manifest, err error) error {
	for _, m := range manifests {
		m.applied, m.failed, m.unread = true, err, err
	}
	return err
}

// removeAll removes listed objects; it returns those that still need attention.
func (a *Agent) removeAll(ctx context.Context, c dynamic.Interface, record *workv1.AppliedManifestWork, gone []workv1.AppliedManifestResourceMeta, option *workv1.DeleteOption) (left []workv1.AppliedManifestResourceMeta, err error) {
	var wrong []error
	for _, r := range gone {
		done, err := remove(ctx, c, record, r, orphans(option, r.ResourceIdentifier))
		if err != nil {
			wrong = append(wrong, err)
		}
		if !done {
			left = append(left, r)
		}
	}
	return left, errors.Join(wrong...)
}

// read fetches what applying did not leave at hand.
func (a *Agent) read(ctx context.Context, c dynamic.Interface, manifests []*manifest) {
	for _, m := range manifests {
		if m.same || m.meta.Resource == "" || m.live != nil && m.failed == nil {
			continue
		}
		live, err := in(c, m.gvr(), m.meta.Namespace).Get(ctx, m.meta.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			m.live, m.unread = nil, nil
		case err != nil:
			m.live, m.unread = nil, guarded(m, err)
		default:
			m.live, m.unread = live, nil
		}
	}
}

// watchList is what to watch between rounds.
func watchList(manifests []*manifest) []wish {
	var out []wish
	for _, m := range manifests {
		if m.meta.Resource != "" {
			out = append(out, wish{m.place(), len(m.config.feedback)+len(m.config.conditions) > 0})
		}
	}
	return out
}

// lookAt is a status round: read what the status lists, and tell what changed. OCM-12.4
func (a *Agent) lookAt(ctx context.Context, work *workv1.ManifestWork, s *state) error {
	a.memory.look(s)
	manifests := remembered(work)
	c, err := a.objects.as(work.Spec.Executor)
	if err != nil {
		for _, m := range manifests {
			m.unread = err
		}
		return a.tell(ctx, work, s, manifests)
	}
	a.watcher.want(context.WithoutCancel(ctx), work.Name, watchList(manifests)) // also of a work that is complete
	a.spare(work, s, manifests, nil)
	if len(manifests) > 0 && allSame(manifests) {
		s.nextStatus = a.nextLook()
		return nil
	}
	a.read(ctx, c, manifests)
	if s.failures == 0 && slices.ContainsFunc(manifests, (*manifest).lost) {
		s.nextApply = earliest(s.nextApply, time.Now().Add(writeGap)) // mending sooner than the contract asks is allowed
	}
	return a.tell(ctx, work, s, manifests)
}

// tell writes the status, if it changed, and sets when to look again.
func (a *Agent) tell(ctx context.Context, work *workv1.ManifestWork, s *state, manifests []*manifest) error {
	s.nextStatus = a.nextLook()
	a.judge(ctx, manifests)
	next := statusCopy(work)
	report(next, manifests, a.limits, time.Now())
	if equality.Semantic.DeepEqual(work.Status, next.Status) {
		s.noteTold(work, manifests, time.Now())
		return nil
	}
	if !a.deps.Online() {
		a.memory.touch(work.Name) // the news is still to be told
		return nil
	}
	if err := a.write(ctx, work, next, s); err != nil {
		a.memory.touch(work.Name)
		return err
	}
	s.noteTold(work, manifests, time.Now())
	if failing(next) && !failing(work) {
		a.complain(ctx, work, manifests)
	}
	return nil
}

// judge evaluates condition rules. Together they may not take the time that telling needs. OCM-13.1
func (a *Agent) judge(ctx context.Context, manifests []*manifest) {
	ctx, cancel := context.WithTimeout(ctx, rulesTimeout)
	defer cancel()
	for _, m := range manifests {
		if m.live != nil && len(m.config.conditions) > 0 {
			m.ruled = a.rules.Evaluate(ctx, m.live, m.config.conditions)
		}
	}
}

func (a *Agent) nextLook() time.Time {
	return time.Now().Add(wait.Jitter(a.options.StatusInterval, statusJitter)) // OCM-12.4
}

// statusCopy is a work whose status may be changed. It has no spec: that is not needed to report, and large.
func statusCopy(work *workv1.ManifestWork) *workv1.ManifestWork {
	out := &workv1.ManifestWork{TypeMeta: work.TypeMeta, ObjectMeta: *work.ObjectMeta.DeepCopy(), Status: work.Status}
	out.Status.Conditions = slices.Clone(work.Status.Conditions)
	return out
}

// write sends next's status and remembers that it did.
func (a *Agent) write(ctx context.Context, work, next *workv1.ManifestWork, s *state) error {
	if !a.deps.Online() {
		a.memory.touch(work.Name)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	wrote, err := patch.Status(ctx, a.deps.Hub, work, next)
	if err != nil {
		return fmt.Errorf("patch ManifestWork status: %w", err)
	}
	if wrote {
		s.wrote, s.version = time.Now(), next.ResourceVersion
	}
	return nil
}

// unseen handles a work that the hub does not list. Absence is never an order: what it left stays, unless the keeper
// evicts it (OCM-15.6). A record that was deleted on the member is carried through.
func (a *Agent) unseen(ctx context.Context, name string) (time.Duration, error) {
	record, err := a.records.get(ctx, name)
	if err != nil {
		return failFirst, err
	}
	a.watcher.want(ctx, name, nil)
	a.keeper.ring()
	if record == nil {
		a.memory.drop(name)
		return 0, nil
	}
	if record.DeletionTimestamp.IsZero() {
		s := a.memory.of(name, "")
		if !s.warned {
			s.warned = true
			logf.FromContext(ctx).Info("Work is not on the hub, what it applied runs on until its eviction", "objects", len(record.Status.AppliedResources))
		}
		return 0, nil
	}
	s := a.memory.of(name, "")
	if err := a.clear(ctx, record, nil); err != nil {
		s.removals++
		if errors.Is(err, errLeaving) {
			err = nil
		}
		return backoff(removeFirst, removeMost, s.removals), err
	}
	a.memory.drop(name)
	return 0, nil
}

// clear is what the finalizer of a record is for: its objects go first, then itself. errLeaving: not yet. OCM-15.4
func (a *Agent) clear(ctx context.Context, record *workv1.AppliedManifestWork, work *workv1.ManifestWork) error {
	if record == nil {
		return errLeaving
	}
	executor := executorOf(record)
	var option *workv1.DeleteOption
	if work != nil {
		executor, option = work.Spec.Executor, work.Spec.DeleteOption
	}
	c, err := a.objects.as(executor)
	if err != nil {
		return err
	}
	left, err := a.removeAll(ctx, c, record, record.Status.AppliedResources, option)
	if err := errors.Join(err, a.records.list(ctx, record, left)); err != nil {
		return err
	}
	if len(left) > 0 {
		return errLeaving
	}
	next := record.DeepCopy()
	next.Finalizers = slices.DeleteFunc(next.Finalizers, func(f string) bool { return f == workv1.AppliedManifestWorkFinalizer })
	if _, err := patch.Metadata(ctx, a.deps.Local, record, next); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("release AppliedManifestWork: %w", err)
	}
	if work != nil && work.DeletionTimestamp.IsZero() {
		return errLeaving // the next round makes a new record
	}
	return nil
}
