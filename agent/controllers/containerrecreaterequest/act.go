package containerrecreaterequest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

// Act carries the plan out. The finalizer comes before the mark, so that no mark is forgotten, and the annotation after it,
// since the daemon counts from there. // CRR-10
func (s *steps) Act(ctx context.Context, r *kruise.ContainerRecreateRequest, p plan) error {
	for _, step := range []struct {
		wanted bool
		do     func() error
		what   string
	}{
		{p.finalize, func() error { return s.finalizers(ctx, r, controllerutil.AddFinalizer) }, "add finalizer"},
		{p.mark, func() error { return s.editPod(ctx, r, p, lifecycle.AddMessage) }, "mark pod unready"},
		{p.lift, func() error { return s.editPod(ctx, r, p, lifecycle.RemoveMessage) }, "lift the pod's unready mark"},
		{p.release, func() error { return s.finalizers(ctx, r, controllerutil.RemoveFinalizer) }, "remove finalizer"},
		{len(p.annotate) > 0 || p.deactivate, func() error { return s.describe(ctx, r, p) }, "write labels and annotations"},
		{p.remove, func() error { return s.remove(ctx, r) }, "delete what is past its TTL"},
	} {
		if !step.wanted {
			continue
		}
		if err := step.do(); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// finalizers changes those of the request that was looked at.
func (s *steps) finalizers(ctx context.Context, r *kruise.ContainerRecreateRequest, change func(client.Object, string) bool) error {
	next := r.DeepCopy()
	change(next, finalizer)
	return s.local.Patch(ctx, next, client.MergeFromWithOptions(r.DeepCopy(), client.MergeFromWithOptimisticLock{}))
}

// editPod changes the condition of the pod that was looked at, together with others that do the same. // PR-3
func (s *steps) editPod(ctx context.Context, r *kruise.ContainerRecreateRequest, p plan, edit edit) error {
	pod, message := p.pod, lifecycle.Message{UserAgent: userAgent, Key: r.Namespace + "/" + r.Name}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		next := pod.DeepCopy()
		edit(next, message, p.now)
		err := client.IgnoreNotFound(s.patchConditions(ctx, pod, next))
		if err != nil {
			fresh := &corev1.Pod{}
			if s.fresh.Get(ctx, client.ObjectKeyFromObject(pod), fresh) == nil && fresh.UID == pod.UID {
				pod = fresh
			}
		}
		return err
	})
}

type edit = func(*corev1.Pod, lifecycle.Message, time.Time)

// patchConditions writes nothing if nothing changed.
func (s *steps) patchConditions(ctx context.Context, pod, next *corev1.Pod) error {
	if slices.EqualFunc(pod.Status.Conditions, next.Status.Conditions, func(a, b corev1.PodCondition) bool { return a == b }) {
		return nil
	}
	return s.local.Status().Patch(ctx, next, client.StrategicMergeFrom(pod.DeepCopy(), client.MergeFromWithOptimisticLock{}))
}

// describe writes labels and annotations of this request and no other of its name.
func (s *steps) describe(ctx context.Context, r *kruise.ContainerRecreateRequest, p plan) error {
	meta := map[string]any{"uid": r.UID}
	if len(p.annotate) > 0 {
		meta["annotations"] = p.annotate
	}
	if p.deactivate {
		meta["labels"] = map[string]any{kruise.ContainerRecreateRequestActiveKey: nil}
	}
	raw, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return err
	}
	return s.local.Patch(ctx, r.DeepCopy(), client.RawPatch(types.MergePatchType, raw))
}

func (s *steps) remove(ctx context.Context, r *kruise.ContainerRecreateRequest) error {
	return s.local.Delete(ctx, r.DeepCopy(), client.Preconditions{UID: &r.UID})
}

// Report completes the request; its containers are the daemon's to report. // CRR-8
func (*steps) Report(r *kruise.ContainerRecreateRequest, _ seen, p plan, _ error) {
	if p.complete == "" {
		return
	}
	r.Status.Phase = kruise.ContainerRecreateRequestCompleted
	r.Status.CompletionTime = new(metav1.NewTime(p.now))
	r.Status.Message = p.complete
}
