package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/agent/link/ignore"
)

const fieldManager = workv1.DefaultFieldManager

// errIgnoreFields marks a manifest whose ignoreFields cannot be read; the contract has a reason of its own for it.
var errIgnoreFields = errors.New("ignoreFields")

// applier applies the manifests of one work as one user.
type applier struct {
	client dynamic.Interface
	owner  *metav1.OwnerReference
	option *workv1.DeleteOption
	hashes map[objectKey]applied // what this process applied last

	executor *workv1.ManifestWorkExecutor // whom client acts as; nil: the agent itself
	access   *access
}

// applied is what was applied, and the version of the object that came of it.
type applied struct {
	hash, version string
	owner         types.UID
	orphan        bool
}

// applyAll tries every manifest, in the order of kinds; one failure does not stop the others. OCM-10.2
func (a *applier) applyAll(ctx context.Context, manifests []*manifest) {
	for _, m := range inOrder(manifests) {
		m.applied = true
		if m.broken != nil {
			m.failed = m.broken
			continue
		}
		if m.done || m.same {
			continue // OCM-13.3, OCM-11.1
		}
		m.failed = a.try(ctx, m)
	}
}

// try applies one manifest. An executor is asked about first: one that may create but not patch is to apply
// nothing, and not once. OCM-14
func (a *applier) try(ctx context.Context, m *manifest) error {
	if a.executor != nil {
		if err := a.access.check(ctx, a.executor, m, a.orphan(m)); err != nil {
			return err
		}
	}
	return refusedTo(a.executor, m, guarded(m, a.retry(ctx, m)))
}

// retry repeats what only met somebody else's write. A server-side-apply conflict is an answer, not an accident.
func (a *applier) retry(ctx context.Context, m *manifest) error {
	var last error
	steps := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 4}
	err := wait.ExponentialBackoffWithContext(ctx, steps, func(ctx context.Context) (bool, error) {
		last = a.apply(ctx, m)
		return !outrun(last) && !apierrors.IsAlreadyExists(last), nil
	})
	if last == nil && err != nil {
		return err
	}
	return last
}

// outrun reports whether somebody else's write came in between. Two field managers that want different things are
// another matter.
func outrun(err error) bool {
	return apierrors.IsConflict(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict)
}

func (a *applier) apply(ctx context.Context, m *manifest) error {
	place := in(a.client, m.gvr(), m.meta.Namespace)
	live, err := place.Get(ctx, m.meta.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		m.live, m.unread = nil, nil
	case err != nil:
		m.live, m.unread = nil, guarded(m, err)
		return fmt.Errorf("get object: %w", err)
	default:
		m.live, m.unread = live, nil
	}
	switch m.config.strategy.Type {
	case workv1.UpdateStrategyTypeReadOnly: // OCM-11.4
		return nil
	case workv1.UpdateStrategyTypeServerSideApply:
		return a.serverSide(ctx, place, m)
	case workv1.UpdateStrategyTypeCreateOnly, workv1.UpdateStrategyTypeUpdate:
		if m.live == nil {
			return a.create(ctx, place, m)
		}
		if m.config.strategy.Type == workv1.UpdateStrategyTypeCreateOnly {
			if err := a.keepOwner(ctx, place, m); err != nil {
				return err
			}
			a.remember(m, m.live)
			return nil
		}
		return a.update(ctx, place, m)
	default:
		return fmt.Errorf("update strategy %q is unknown", m.config.strategy.Type)
	}
}

func (a *applier) orphan(m *manifest) bool { return orphans(a.option, identifier(m.meta)) }

func (a *applier) create(ctx context.Context, place dynamic.ResourceInterface, m *manifest) error {
	made, err := place.Create(ctx, fresh(m.want, a.owner, a.orphan(m)), metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return fmt.Errorf("create object: %w", err)
	}
	a.remember(m, made)
	return nil
}

// update brings a live object in line, generically. A manifest and an object that are both what they were are
// skipped; a manifest that is what it was is compared only by what it says, so that fields the server filled in
// do not cause a write in each round. OCM-11.1
func (a *applier) update(ctx context.Context, place dynamic.ResourceInterface, m *manifest) error {
	if a.unchanged(m) {
		return nil
	}
	merged := merge(m.live, m.want, a.owner, a.orphan(m))
	if equality.Semantic.DeepEqual(m.live.Object, merged.Object) ||
		a.hashes[m.key()].hash == m.hash && coversContent(m.live, m.want, merged) {
		a.remember(m, m.live)
		return nil
	}
	updated, err := place.Update(ctx, merged, metav1.UpdateOptions{FieldManager: fieldManager})
	if err != nil {
		return fmt.Errorf("update object: %w", err)
	}
	a.remember(m, updated)
	return nil
}

// settled reports whether a manifest was applied as it is, for the same owner, and what came of it.
func (a *applier) settled(m *manifest) (version string, ok bool) {
	last := a.hashes[m.key()]
	return last.version, last == a.mark(m, last.version)
}

// mark is what applying m now would leave in memory.
func (a *applier) mark(m *manifest, version string) applied {
	return applied{hash: m.hash, version: version, owner: a.owner.UID, orphan: a.orphan(m)}
}

// unchanged reports whether manifest, object and what is to become of it are what they were. OCM-11.1
func (a *applier) unchanged(m *manifest) bool {
	_, disowned := own(m.live.GetOwnerReferences(), a.owner, a.orphan(m))
	last := a.hashes[m.key()]
	return !disowned && last.hash == m.hash && last.version == m.live.GetResourceVersion()
}

func (a *applier) remember(m *manifest, live *unstructured.Unstructured) {
	m.live = live
	a.hashes[m.key()] = a.mark(m, live.GetResourceVersion())
}

// serverSide applies with the work's own field manager; the owner reference goes separately. OCM-11.2
func (a *applier) serverSide(ctx context.Context, place dynamic.ResourceInterface, m *manifest) error {
	manager, force, err := serverSideOptions(m.config.strategy.ServerSideApply)
	if err != nil {
		return err
	}
	if m.live != nil && a.unchanged(m) {
		return nil
	}
	plan, err := ignore.Decide(ctx, ignored(m.config.strategy.ServerSideApply), m.want, m.live, manager)
	if err != nil {
		return fmt.Errorf("%w: %w", errIgnoreFields, err)
	}
	if plan.Skip {
		return a.keepOwner(ctx, place, m)
	}
	data, err := json.Marshal(plan.Apply)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	live, err := place.Patch(ctx, m.meta.Name, types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: manager, Force: &force})
	if err != nil {
		return fmt.Errorf("apply object: %w", err)
	}
	m.live = live
	if err := a.keepOwner(ctx, place, m); err != nil {
		return err
	}
	a.remember(m, m.live)
	return nil
}

func serverSideOptions(c *workv1.ServerSideApplyConfig) (manager string, force bool, err error) {
	if c == nil {
		return fieldManager, false, nil
	}
	manager = c.FieldManager
	if manager == "" {
		manager = fieldManager
	}
	if !strings.HasPrefix(manager, fieldManager) {
		return "", false, fmt.Errorf("field manager %q does not start with %q", manager, fieldManager)
	}
	return manager, c.Force, nil
}

func ignored(c *workv1.ServerSideApplyConfig) []workv1.IgnoreField {
	if c == nil {
		return nil
	}
	return c.IgnoreFields
}

func (a *applier) keepOwner(ctx context.Context, place dynamic.ResourceInterface, m *manifest) error {
	owners, changed := own(m.live.GetOwnerReferences(), a.owner, a.orphan(m))
	if !changed {
		return nil
	}
	live, err := setOwners(ctx, place, m.live, owners)
	if err != nil {
		return err
	}
	m.live = live
	return nil
}

// guarded keeps what a server says about a Secret out of status, logs and events: a complaint may quote its data.
func guarded(m *manifest, err error) error {
	if err == nil || m.meta.Kind != "Secret" {
		return err
	}
	return &hidden{kind: m.meta.Kind, reason: apierrors.ReasonForError(err), cause: err}
}

// hidden prints as its reason alone.
type hidden struct {
	kind   string
	reason metav1.StatusReason
	cause  error
}

func (h *hidden) Error() string {
	reason := h.reason
	if reason == "" {
		reason = "unknown reason"
	}
	return fmt.Sprintf("%s refused: %s", h.kind, reason)
}

func (h *hidden) Unwrap() error { return h.cause }
