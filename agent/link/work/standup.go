package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/fence"
	"github.com/flotilla-project/flotilla/agent/link/patch"
)

// Acting returns how to act on a record's objects as whoever they were applied as.
func Acting(config *rest.Config) (func(*workv1.AppliedManifestWork) (dynamic.Interface, error), error) {
	o, err := newObjects(config)
	if err != nil {
		return nil, err
	}
	return func(record *workv1.AppliedManifestWork) (dynamic.Interface, error) { return o.as(executorOf(record)) }, nil
}

// hasten has a work whose replicas were stopped applied as soon as the hub is heard again.
func (a *Agent) hasten(s *state, name string) {
	record := a.records.name(name)
	switch returning := a.deps.Fence.Down(record) && !a.deps.Fence.Away(record); {
	case !returning:
		s.returning = false
	case !s.returning:
		s.returning, s.nextApply = true, time.Time{}
	}
}

// passFence keeps what was stopped from being brought back by what the hub said before it was lost: only what it
// says now counts, for it may have moved the replicas elsewhere.
func (a *Agent) passFence(ctx context.Context, cached *workv1.ManifestWork) (may bool, after time.Duration) {
	record := a.records.name(cached.Name)
	switch {
	case !a.deps.Fence.Down(record):
		return true, 0
	case a.deps.Fence.Away(record) || !a.deps.Online():
		return false, offlineLook
	}
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	now := &workv1.ManifestWork{}
	if err := a.deps.Hub.Get(ctx, client.ObjectKeyFromObject(cached), now); err != nil {
		logf.FromContext(ctx).V(1).Info("Work stays stopped until it can be read", "cause", err.Error())
		return false, offlineLook
	}
	return now.UID == cached.UID && now.Generation == cached.Generation, failFirst
}

// standUp ends what the fence began, right before a stopped record's manifests are applied. It comes before and not
// of applying, because server-side apply would take the fence for somebody with another mind.
func (a *Agent) standUp(ctx context.Context, c dynamic.Interface, record *workv1.AppliedManifestWork, manifests []*manifest) error {
	stopped := fence.StoppedOf(record)
	if stopped == nil {
		return nil
	}
	var all error
	for _, m := range manifests {
		had, ok := stopped.Replicas[fence.Key(m.meta.Group, m.meta.Resource, m.meta.Namespace, m.meta.Name)]
		if ok && m.meta.Resource != "" {
			all = errors.Join(all, restore(ctx, c, m, had))
		}
	}
	if all != nil {
		return all
	}
	next := record.DeepCopy()
	delete(next.Annotations, fence.AnnotationStopped)
	if _, err := patch.Metadata(ctx, a.deps.Local, record, next); err != nil {
		return fmt.Errorf("note that replicas are restored: %w", err)
	}
	*record = *next
	a.deps.Fence.Up(record.Name)
	logf.FromContext(ctx).Info("Replicas restored, the hub is heard again", "stoppedAt", stopped.At)
	return nil
}

// restore gives an object the replicas that its manifest asks for, or else those it had, unless it has some again.
func restore(ctx context.Context, c dynamic.Interface, m *manifest, had int64) error {
	place := in(c, m.gvr(), m.meta.Namespace)
	live, err := place.Get(ctx, m.meta.Name, metav1.GetOptions{})
	if err != nil {
		return ignoreGone(err, "get %s %s to restore its replicas", m.meta.Resource, m.meta.Name)
	}
	if now, found, err := unstructured.NestedInt64(live.Object, "spec", "replicas"); err != nil || !found || now != 0 {
		return nil //nolint:nilerr // nothing that could be restored
	}
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": live.GetUID(), "resourceVersion": live.GetResourceVersion()},
		"spec":     map[string]any{"replicas": m.replicas(had)},
	})
	if err != nil {
		return fmt.Errorf("encode replicas: %w", err)
	}
	_, err = place.Patch(ctx, m.meta.Name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: "flotilla-fence"})
	return ignoreGone(err, "restore replicas of %s %s", m.meta.Resource, m.meta.Name)
}

func ignoreGone(err error, doing string, args ...any) error {
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(doing, args...), err)
}

// replicas is how many the manifest asks for; had, where it does not say or leaves them to the member.
func (m *manifest) replicas(had int64) int64 {
	s := m.config.strategy
	if s.Type == workv1.UpdateStrategyTypeCreateOnly || s.ServerSideApply != nil && len(s.ServerSideApply.IgnoreFields) > 0 || m.want == nil {
		return had
	}
	wanted, says, err := unstructured.NestedInt64(m.want.Object, "spec", "replicas")
	if err != nil || !says {
		return had
	}
	return wanted
}
