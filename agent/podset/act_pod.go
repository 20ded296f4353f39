package podset

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	life "github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

// refresh makes at most one write on the pod, and one more if both its spec
// and its status change.
func (h Hands) refresh(ctx context.Context, set Set, r Refresh, now time.Time) error {
	seen, ok := set.Pods[r.Pod]
	if !ok {
		return nil
	}
	pod, err := inplace.Carry(seen, carried[r.Step], now)
	if err != nil {
		return err
	}
	if pod == seen {
		pod = seen.DeepCopy()
	}
	if r.Hash { // WL-1.5
		pod.Labels[templateHashLabel] = revision.Short(pod.Labels[appsv1.ControllerRevisionHashLabelKey])
	}
	switch {
	case r.Rearm:
		life.Rearm(pod, set.Hooks, now)
	case r.State != "":
		life.Move(pod, life.State(r.State), set.Hooks, now)
	}
	life.OpenSilent(pod, now) // in this write instead of one more by whoever looks after it
	if err := h.save(ctx, seen, pod); err != nil && !lostRace(err) {
		return fmt.Errorf("%s: %w", r, err)
	}
	return nil
}

var carried = map[Step]inplace.Step{
	DropGrace: inplace.DropGrace, ApplyNow: inplace.ApplyGrace, NextBatch: inplace.ApplyNext, OpenGate: inplace.MakeReady,
}

func (h Hands) update(ctx context.Context, set Set, u Update, now time.Time) error {
	seen, ok := set.Pods[u.Pod]
	if !ok {
		return nil
	}
	do, act := UpdatedInPlace, h.updateInPlace
	if u.How == MarkForRecreate {
		do, act = MarkedForRecreate, h.mark
	}
	done, err := act(ctx, set, seen, u, now)
	switch {
	case lostRace(err):
		return nil
	case err != nil:
		err = fmt.Errorf("%s: %w", u, err)
	case !done:
		return nil
	}
	set.tell(Deed{do, u.Pod, u.Why, err})
	return err
}

// mark leaves the pod to a later plan, which deletes it within the budget. // WL-1.13
func (h Hands) mark(ctx context.Context, _ Set, seen *corev1.Pod, _ Update, _ time.Time) (bool, error) {
	pod := seen.DeepCopy()
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[kruise.SpecifiedDeleteKey] = "true"
	return true, h.save(ctx, seen, pod)
}

// updateInPlace is two writes, and one more for resources: the gate is closed first, so that nobody sends requests to a
// container that is about to stop. Killed between them, we find a closed gate on an old pod, open it again and start over.
// // WL-4.2, WL-4.12.2
func (h Hands) updateInPlace(ctx context.Context, set Set, seen *corev1.Pod, u Update, now time.Time) (bool, error) {
	spec, err := set.Change(seen, u.To)
	if err != nil {
		return false, err
	}
	closed := inplace.Begin(seen, spec, now)
	if err := h.saveStatus(ctx, seen, closed); err != nil {
		return false, err
	}
	for fresh := closed; ; {
		if !sameTurn(seen, fresh) {
			return false, nil // somebody else was here: decide anew
		}
		started, err := h.started(set, fresh, spec, u.To, now)
		if err != nil {
			return false, err
		}
		err = h.saveSpec(ctx, fresh, started)
		if !apierrors.IsConflict(err) || fresh != closed {
			return err == nil, err
		}
		// The kubelet answered the closed gate. Its status is no reason to begin anew, and costs one more try.
		fresh = &corev1.Pod{}
		if err := h.Live.Get(ctx, client.ObjectKeyFromObject(seen), fresh); err != nil {
			return false, err
		}
	}
}

// started is the pod as the one pod write of its update leaves it.
func (h Hands) started(set Set, pod *corev1.Pod, spec inplace.Spec, to string, now time.Time) (*corev1.Pod, error) {
	pod, err := inplace.Start(pod, spec, now)
	if err != nil {
		return nil, err
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	maps.Copy(pod.Labels, set.Labels(to))
	if !set.KeepStateless || life.Of(pod) != life.None {
		life.Move(pod, life.Updating, set.Hooks, now)
	}
	return pod, nil
}

// sameTurn says that the pod is still the one whose update was decided on: nothing but its status has changed, and
// resources, which we may just have written.
func sameTurn(seen, fresh *corev1.Pod) bool {
	return seen.UID == fresh.UID && fresh.DeletionTimestamp == nil &&
		equality.Semantic.DeepEqual(seen.Labels, fresh.Labels) && equality.Semantic.DeepEqual(seen.Finalizers, fresh.Finalizers) &&
		seen.Annotations[pub.InPlaceUpdateStateKey] == fresh.Annotations[pub.InPlaceUpdateStateKey] &&
		sameContainers(seen.Spec.Containers, fresh.Spec.Containers)
}

func sameContainers(seen, fresh []corev1.Container) bool {
	return slices.EqualFunc(seen, fresh, func(a, b corev1.Container) bool {
		a.Resources = b.Resources
		return equality.Semantic.DeepEqual(a, b)
	})
}

// save writes what changed: a changed spec by itself; changed metadata with the
// status when that changes too, because the status endpoint takes both.
func (h Hands) save(ctx context.Context, seen, pod *corev1.Pod) error {
	status := !equality.Semantic.DeepEqual(seen.Status, pod.Status)
	switch {
	case !equality.Semantic.DeepEqual(seen.Spec, pod.Spec):
		changed := seen.DeepCopy()
		changed.Status = pod.Status
		if err := h.saveSpec(ctx, seen, pod); err != nil || !status {
			return err
		}
		return h.saveStatus(ctx, seen, changed)
	case status:
		return h.saveStatus(ctx, seen, pod)
	default:
		return h.saveSpec(ctx, seen, pod)
	}
}

// saveSpec patches metadata and spec of exactly the pod that was looked at, after its resources.
// Without a difference it writes nothing. pod becomes what the server answers.
func (h Hands) saveSpec(ctx context.Context, seen, pod *corev1.Pod) error {
	seen, err := h.resize(ctx, seen, pod)
	if err != nil {
		return err
	}
	patch, err := difference(seen, pod, "status", map[string]any{"uid": seen.UID, "resourceVersion": seen.ResourceVersion})
	if err != nil || patch == nil {
		return err
	}
	answer := named(seen)
	if err := h.Local.Patch(ctx, answer, patch); err != nil {
		return err
	}
	*pod = *answer
	return nil
}

// resize writes the resources by themselves, as Kubernetes wants it, and is the pod that the server answers. They come
// before what says that they were written: killed in between, we write them again. A server without the endpoint, which
// says so in another way than one that has lost the pod, takes them with the rest. // WL-4.6
func (h Hands) resize(ctx context.Context, seen, pod *corev1.Pod) (*corev1.Pod, error) {
	resized := inplace.Resized(seen, pod)
	if resized == nil {
		return seen, nil
	}
	patch, err := difference(seen, resized, "status", map[string]any{"uid": seen.UID, "resourceVersion": seen.ResourceVersion})
	if err != nil {
		return nil, err
	}
	answer := named(seen)
	switch err := h.Local.SubResource("resize").Patch(ctx, answer, patch); {
	case apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return seen, nil
	case err != nil:
		return nil, fmt.Errorf("resize: %w", err)
	}
	for i := range pod.Spec.Containers { // the server may have completed them
		pod.Spec.Containers[i].Resources = answer.Spec.Containers[i].Resources
	}
	pod.ResourceVersion, pod.Generation = answer.ResourceVersion, answer.Generation
	return answer, nil
}

// saveStatus patches status and metadata. It names the pod's UID and not its
// resourceVersion: kubelets write the same status all the time, and the patch
// holds only conditions and labels that nobody but us writes. Without a
// difference it writes nothing. pod becomes what the server answers.
func (h Hands) saveStatus(ctx context.Context, seen, pod *corev1.Pod) error {
	patch, err := difference(seen, pod, "spec", map[string]any{"uid": seen.UID})
	if err != nil || patch == nil {
		return err
	}
	answer := named(seen)
	if err := h.Local.Status().Patch(ctx, answer, patch); err != nil {
		return err
	}
	*pod = *answer
	return nil
}

// named is an empty pod of the same name, for requests and their answers.
func named(pod *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
}

// difference is a strategic merge patch between two pods without one of their
// parts, on the precondition given; nil when they are the same.
func difference(before, after *corev1.Pod, without string, precondition map[string]any) (client.Patch, error) {
	from, to := *before, *after
	if without == "spec" {
		from.Spec, to.Spec = corev1.PodSpec{}, corev1.PodSpec{}
	} else {
		from.Status, to.Status = corev1.PodStatus{}, corev1.PodStatus{}
	}
	data, err := client.StrategicMergeFrom(&from).Data(&to)
	if err != nil {
		return nil, fmt.Errorf("compare pods: %w", err)
	}
	var patch map[string]any
	if err := json.Unmarshal(data, &patch); err != nil {
		return nil, fmt.Errorf("compare pods: %w", err)
	}
	if len(patch) == 0 {
		return nil, nil
	}
	metadata, _ := patch["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	maps.Copy(metadata, precondition)
	patch["metadata"] = metadata
	if data, err = json.Marshal(patch); err != nil {
		return nil, fmt.Errorf("compare pods: %w", err)
	}
	return client.RawPatch(types.StrategicMergePatchType, data), nil
}

// ReleasePod takes the owner off a pod that is no longer its. // WL-0.6
func ReleasePod(ctx context.Context, c client.Client, owner client.Object, seen *corev1.Pod) error {
	pod := seen.DeepCopy()
	pod.OwnerReferences = nil
	for _, ref := range seen.OwnerReferences {
		if ref.UID != owner.GetUID() {
			pod.OwnerReferences = append(pod.OwnerReferences, ref)
		}
	}
	if err := (Hands{Local: c}).saveSpec(ctx, seen, pod); err != nil && !lostRace(err) {
		return fmt.Errorf("release pod %s: %w", seen.Name, err)
	}
	return nil
}
