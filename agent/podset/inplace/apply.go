package inplace

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
)

// reasonStart is why the gate is closed.
const reasonStart = "StartInPlaceUpdate"

// Begin is a copy of the pod that nobody sends requests to any more: its gate is closed, its readiness recomputed. A pod
// without the gate, or one that serves on while it is updated, comes back as it was. // WL-4.2
func Begin(pod *corev1.Pod, spec Spec, now time.Time) *corev1.Pod {
	pod = pod.DeepCopy()
	if spec.interrupts(pod) && lifecycle.HasGate(pod, pub.InPlaceUpdateReady) && setGate(pod, corev1.ConditionFalse, reasonStart, now) {
		lifecycle.RecomputeReady(pod)
	}
	return pod
}

// Open is a copy of the pod whose gate is open. The kubelet makes it Ready. // WL-4.7
func Open(pod *corev1.Pod, now time.Time) *corev1.Pod {
	pod = pod.DeepCopy()
	if lifecycle.HasGate(pod, pub.InPlaceUpdateReady) {
		setGate(pod, corev1.ConditionTrue, "", now)
	}
	return pod
}

// setGate replaces the condition only when its status changes.
func setGate(pod *corev1.Pod, status corev1.ConditionStatus, reason string, now time.Time) bool {
	want := corev1.PodCondition{Type: pub.InPlaceUpdateReady, Status: status, Reason: reason, LastTransitionTime: metav1.NewTime(now)}
	switch c := lifecycle.Condition(pod, pub.InPlaceUpdateReady); {
	case c == nil:
		pod.Status.Conditions = append(pod.Status.Conditions, want)
	case c.Status == status:
		return false
	default:
		want.ObservedGeneration = c.ObservedGeneration
		*c = want
	}
	return true
}

// Start is a copy of the pod in which the update has begun: the state is recorded, and the spec applied or, with a grace
// period, kept for its end. Labels and the lifecycle state are the caller's. // WL-4.2
func Start(pod *corev1.Pod, spec Spec, now time.Time) (*corev1.Pod, error) {
	pod = pod.DeepCopy()
	state := pub.InPlaceUpdateState{
		Revision:              spec.Revision,
		UpdateTimestamp:       metav1.NewTime(now),
		UpdateEnvFromMetadata: spec.UpdateEnvFromMetadata,
		UpdateResources:       len(spec.ContainerResources) > 0,
		UpdateImages:          len(spec.ContainerImages) > 0,
	}
	if spec.GraceSeconds <= 0 {
		return pod, apply(pod, &state, spec, now)
	}
	kept, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode the update of pod %s: %w", pod.Name, err)
	}
	pub.RemoveInPlaceUpdateGrace(pod)
	annotate(pod, pub.InPlaceUpdateGraceKey, string(kept))
	return pod, store(pod, state)
}

// Carry is a copy of the pod after the step that Next said is due.
func Carry(pod *corev1.Pod, step Step, now time.Time) (*corev1.Pod, error) {
	switch step {
	case DropGrace:
		pod = pod.DeepCopy()
		pub.RemoveInPlaceUpdateGrace(pod)
		return pod, nil
	case ApplyGrace:
		pod = pod.DeepCopy()
		spec, state := graceOf(pod), stateOf(pod)
		if spec == nil || state == nil {
			return nil, fmt.Errorf("apply the update of pod %s: its annotations are gone", pod.Name)
		}
		return pod, apply(pod, state, *spec, now)
	case ApplyNext:
		pod = pod.DeepCopy()
		state := stateOf(pod)
		if state == nil {
			return nil, fmt.Errorf("update the next containers of pod %s: its annotation is gone", pod.Name)
		}
		return pod, apply(pod, state, Spec{
			Revision:             state.Revision,
			ContainerImages:      state.NextContainerImages,
			ContainerRefMetadata: state.NextContainerRefMetadata,
			ContainerResources:   state.NextContainerResources,
		}, now)
	case MakeReady:
		return Open(pod, now), nil
	default:
		return pod, nil
	}
}

// apply changes the containers whose turn it is and leaves the others in the state. // WL-4.4
func apply(pod *corev1.Pod, state *pub.InPlaceUpdateState, spec Spec, now time.Time) error {
	state.NextContainerImages, state.NextContainerRefMetadata, state.NextContainerResources = nil, nil, nil
	if err := patchMetadata(pod, spec.MetaDataPatch); err != nil {
		return fmt.Errorf("update metadata of pod %s: %w", pod.Name, err)
	}
	if state.LastContainerStatuses == nil {
		state.LastContainerStatuses = map[string]pub.InPlaceUpdateContainerStatus{}
	}
	turn := batch(pod, spec)
	applyImages(pod, state, spec, turn)
	applyRefMetadata(pod, state, spec, turn)
	applyResources(pod, state, spec, turn)

	state.PreCheckBeforeNext = nil
	if pending(*state) {
		state.PreCheckBeforeNext = &pub.InPlaceUpdatePreCheckBeforeNext{ContainersRequiredReady: sets.List(turn)}
	}
	state.ContainerBatchesRecord = append(state.ContainerBatchesRecord,
		pub.InPlaceUpdateContainerBatch{Timestamp: metav1.NewTime(now), Containers: sets.List(turn)})
	pub.RemoveInPlaceUpdateGrace(pod)
	return store(pod, *state)
}

func applyImages(pod *corev1.Pod, state *pub.InPlaceUpdateState, spec Spec, turn sets.Set[string]) {
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		image, ok := spec.ContainerImages[c.Name]
		switch {
		case !ok:
		case turn.Has(c.Name):
			c.Image = image
			record(state, pod, c.Name)
		default:
			put(&state.NextContainerImages, c.Name, image)
		}
	}
}

// record notes which image the container runs before it changes: that it runs another one is how we know it is done.
func record(state *pub.InPlaceUpdateState, pod *corev1.Pod, container string) {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == container {
			state.LastContainerStatuses[container] = pub.InPlaceUpdateContainerStatus{ImageID: s.ImageID}
		}
	}
}

func applyRefMetadata(pod *corev1.Pod, state *pub.InPlaceUpdateState, spec Spec, turn sets.Set[string]) {
	for name, meta := range spec.ContainerRefMetadata {
		if !turn.Has(name) {
			put(&state.NextContainerRefMetadata, name, meta)
			continue
		}
		for k, v := range meta.Labels {
			put(&pod.Labels, k, v)
		}
		for k, v := range meta.Annotations {
			annotate(pod, k, v)
		}
	}
}

func applyResources(pod *corev1.Pod, state *pub.InPlaceUpdateState, spec Spec, turn sets.Set[string]) {
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		r, ok := spec.ContainerResources[c.Name]
		switch {
		case !ok:
		case turn.Has(c.Name):
			for k, v := range r.Limits {
				put(&c.Resources.Limits, k, v)
			}
			for k, v := range r.Requests {
				put(&c.Resources.Requests, k, v)
			}
		default:
			put(&state.NextContainerResources, c.Name, r)
		}
	}
}

// batch is the containers that change now: those without a launch priority, those of the highest one among the rest, and
// whoever shares a metadata key with one of them. // WL-4.4
func batch(pod *corev1.Pod, spec Spec) sets.Set[string] {
	involved := sets.KeySet(spec.ContainerImages).Union(sets.KeySet(spec.ContainerRefMetadata)).Union(sets.KeySet(spec.ContainerResources))
	turn, first := sets.New[string](), (*int)(nil)
	var waiting []corev1.Container
	for _, c := range pod.Spec.Containers {
		if !involved.Has(c.Name) {
			continue
		}
		if p := priority(c); p == nil {
			turn.Insert(c.Name)
		} else {
			waiting = append(waiting, c)
			if first == nil || *p > *first {
				first = p
			}
		}
	}
	for _, c := range waiting {
		if *priority(c) == *first {
			turn.Insert(c.Name)
		}
	}
	for grown := true; grown; {
		grown = false
		for _, name := range sets.List(involved.Difference(turn)) {
			if slices.ContainsFunc(sets.List(turn), func(t string) bool {
				return sharesKey(spec.ContainerRefMetadata[name], spec.ContainerRefMetadata[t])
			}) {
				turn.Insert(name)
				grown = true
			}
		}
	}
	return turn
}

func sharesKey(a, b metav1.ObjectMeta) bool {
	return sets.KeySet(a.Labels).HasAny(slices.Collect(maps.Keys(b.Labels))...) ||
		sets.KeySet(a.Annotations).HasAny(slices.Collect(maps.Keys(b.Annotations))...)
}

// The barrier that starts containers one after the other, and with it their priority. // WL-4.4
const (
	barrierEnv    = "KRUISE_CONTAINER_BARRIER"
	barrierPrefix = "p_"
)

// priority is the launch priority of a container; nil when it has none.
func priority(c corev1.Container) *int {
	for _, e := range c.Env {
		if e.Name != barrierEnv || e.ValueFrom == nil || e.ValueFrom.ConfigMapKeyRef == nil {
			continue
		}
		if p, err := strconv.Atoi(strings.TrimPrefix(e.ValueFrom.ConfigMapKeyRef.Key, barrierPrefix)); err == nil {
			return &p
		}
	}
	return nil
}

func patchMetadata(pod *corev1.Pod, patch []byte) error {
	if len(patch) == 0 {
		return nil
	}
	before, err := json.Marshal(corev1.Pod{ObjectMeta: pod.ObjectMeta})
	if err != nil {
		return err
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Pod{})
	if err != nil {
		return err
	}
	var patched corev1.Pod
	if err := json.Unmarshal(after, &patched); err != nil {
		return err
	}
	// A template has no say in the pod's name or owner.
	pod.Labels, pod.Annotations, pod.Finalizers = patched.Labels, patched.Annotations, patched.Finalizers
	return nil
}

func store(pod *corev1.Pod, state pub.InPlaceUpdateState) error {
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode the update state of pod %s: %w", pod.Name, err)
	}
	delete(pod.Annotations, pub.InPlaceUpdateStateKeyOld) // WL-4.1
	annotate(pod, pub.InPlaceUpdateStateKey, string(text))
	return nil
}

func annotate(pod *corev1.Pod, key, value string) { put(&pod.Annotations, key, value) }

func put[M ~map[K]V, K comparable, V any](m *M, key K, value V) {
	if *m == nil {
		*m = M{}
	}
	(*m)[key] = value
}
