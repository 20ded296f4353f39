package nodepodprobe

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/pkg/batch"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// steps is the controller of NodePodProbes.
type steps struct {
	local client.Client
	// fresh does not lag behind: a node that the cache does not hold yet is not gone.
	fresh client.Reader
}

var _ loop.Steps[*kruise.NodePodProbe, seen, plan] = &steps{}

// seen is what was observed. What is not there is nil.
type seen struct {
	node *corev1.Node
	// pods are those that the object speaks of, by UID.
	pods map[string]*corev1.Pod
	// markers are those that its probes are named after.
	markers map[types.NamespacedName]*kruise.PodProbeMarker
}

// Observe reads.
func (s *steps) Observe(ctx context.Context, o *kruise.NodePodProbe) (out seen, err error) {
	if out.node, err = s.nodeOf(ctx, o.Name); err != nil || out.node == nil {
		return out, err
	}
	out.pods, out.markers = map[string]*corev1.Pod{}, map[types.NamespacedName]*kruise.PodProbeMarker{}
	for _, e := range o.Spec.PodProbes {
		pod, err := get[corev1.Pod](ctx, s.local, e.Namespace, e.Name)
		if err != nil {
			return out, err
		}
		if pod != nil && string(pod.UID) == e.UID {
			out.pods[e.UID] = pod
		}
	}
	for _, e := range o.Status.PodProbeStatuses {
		for _, state := range e.ProbeStates {
			name, _, _ := strings.Cut(state.Name, "#")
			at := types.NamespacedName{Namespace: e.Namespace, Name: name}
			if _, asked := out.markers[at]; asked {
				continue
			}
			if out.markers[at], err = get[kruise.PodProbeMarker](ctx, s.local, at.Namespace, at.Name); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

func (s *steps) nodeOf(ctx context.Context, name string) (*corev1.Node, error) {
	node, err := get[corev1.Node](ctx, s.local, "", name)
	if node != nil || err != nil {
		return node, err
	}
	return get[corev1.Node](ctx, s.fresh, "", name)
}

// get is nil for what is not there.
func get[T any, P interface {
	*T
	client.Object
}](ctx context.Context, from client.Reader, namespace, name string) (P, error) {
	o := P(new(T))
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get %T %s: %w", o, name, err)
	}
	return o, nil
}

// plan is what to do.
type plan struct {
	// remove deletes the object of a node that is gone.
	remove bool
	// entries are what is left to probe, if prune says that some are not.
	prune   bool
	entries []kruise.PodProbe
	// pods are to be written.
	pods []marked
}

type marked struct{ before, after *corev1.Pod }

// Recheck is never.
func (plan) Recheck() time.Duration { return 0 }

// Decide compares.
func (*steps) Decide(o *kruise.NodePodProbe, s seen, _ time.Time) (p plan) {
	if o.DeletionTimestamp != nil {
		return p
	}
	if s.node == nil || s.node.DeletionTimestamp != nil { // PM-9
		p.remove = true
		return p
	}
	for _, e := range o.Spec.PodProbes { // PM-10
		if pod := s.pods[e.UID]; pod != nil && active(pod) {
			p.entries = append(p.entries, e)
		}
	}
	p.prune = len(p.entries) < len(o.Spec.PodProbes)
	for _, e := range o.Status.PodProbeStatuses {
		pod := s.pods[e.UID]
		if pod == nil || !active(pod) {
			continue
		}
		if after := mark(pod, e.ProbeStates, s.markers); after != nil {
			p.pods = append(p.pods, marked{pod, after})
		}
	}
	return p
}

// found says whether a daemon probes for a marker.
func found(o *kruise.NodePodProbe, marker client.Object) bool {
	return slices.ContainsFunc(o.Status.PodProbeStatuses, func(e kruise.PodProbeStatus) bool {
		return e.Namespace == marker.GetNamespace() && slices.ContainsFunc(e.ProbeStates, func(s kruise.ContainerProbeState) bool {
			return strings.HasPrefix(s.Name, marker.GetName()+"#")
		})
	})
}

// mark is the pod as the results want it, or nil if it is that already. // PM-11
func mark(pod *corev1.Pod, states []kruise.ContainerProbeState, markers map[types.NamespacedName]*kruise.PodProbeMarker) *corev1.Pod {
	after, set := pod.DeepCopy(), map[string]bool{}
	for _, state := range states {
		probe := probeOf(pod.Namespace, state, markers)
		if probe == nil {
			continue
		}
		if t := probe.PodConditionType; t != "" && !set[t] {
			set[t] = true
			condition(after, t, state)
		}
		policies(after, probe.MarkerPolicy, state.State)
	}
	if equality.Semantic.DeepEqual(pod, after) {
		return nil
	}
	return after
}

// probeOf finds what a state is of; nil for an empty state, and where there is no such marker or probe any more.
func probeOf(namespace string, state kruise.ContainerProbeState, markers map[types.NamespacedName]*kruise.PodProbeMarker) *kruise.PodContainerProbe {
	marker, name, named := strings.Cut(state.Name, "#")
	m := markers[types.NamespacedName{Namespace: namespace, Name: marker}]
	if state.State == "" || !named || m == nil || m.DeletionTimestamp != nil {
		return nil
	}
	i := slices.IndexFunc(m.Spec.Probes, func(p kruise.PodContainerProbe) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &m.Spec.Probes[i]
}

// condition says what a probe found; what it does not know is not true. // PM-11, PM-12
func condition(pod *corev1.Pod, t string, state kruise.ContainerProbeState) {
	want := corev1.PodCondition{
		Type: corev1.PodConditionType(t), Status: corev1.ConditionFalse, Message: state.Message,
		LastProbeTime: state.LastProbeTime, LastTransitionTime: state.LastTransitionTime,
	}
	if state.State == kruise.ProbeSucceeded {
		want.Status = corev1.ConditionTrue
	}
	has := lifecycle.Condition(pod, want.Type)
	switch {
	case has == nil:
		pod.Status.Conditions = append(pod.Status.Conditions, want)
	case has.Status != want.Status || has.Message != want.Message:
		*has = want
	}
}

// policies takes the marks of the other result away, then sets those of this one. // PM-11
func policies(pod *corev1.Pod, all []kruise.ProbeMarkerPolicy, state kruise.ProbeState) {
	var matched, opposite *kruise.ProbeMarkerPolicy
	for i := range all {
		if all[i].State == state {
			matched = &all[i]
		} else {
			opposite = &all[i]
		}
	}
	if opposite != nil {
		remove(pod.Labels, opposite.Labels)
		remove(pod.Annotations, opposite.Annotations)
	}
	if matched != nil {
		pod.Labels = with(pod.Labels, matched.Labels)
		pod.Annotations = with(pod.Annotations, matched.Annotations)
	}
}

func remove(from, keys map[string]string) {
	for k := range keys {
		delete(from, k)
	}
}

func with(to, more map[string]string) map[string]string {
	for k, v := range more {
		if to == nil {
			to = map[string]string{}
		}
		to[k] = v
	}
	return to
}

// Act carries the plan out.
func (s *steps) Act(ctx context.Context, o *kruise.NodePodProbe, p plan) error {
	if p.remove {
		seen := client.Preconditions{UID: &o.UID, ResourceVersion: &o.ResourceVersion}
		if err := client.IgnoreNotFound(s.local.Delete(ctx, o.DeepCopy(), seen)); err != nil {
			return fmt.Errorf("delete NodePodProbe of a node that is gone: %w", err)
		}
		return nil
	}
	failed := batch.Each(p.pods, func(m marked) error { return s.write(ctx, m) })
	if !p.prune {
		return failed
	}
	next := o.DeepCopy()
	next.Spec.PodProbes = p.entries
	if err := s.local.Patch(ctx, next, client.MergeFromWithOptions(o.DeepCopy(), client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("take out pods that are gone: %w", err)
	}
	return failed
}

// write puts everything about one pod into one write, of this pod and no other of its name. // PM-12
func (s *steps) write(ctx context.Context, m marked) error {
	data, err := client.StrategicMergeFrom(m.before).Data(m.after)
	if err != nil {
		return fmt.Errorf("make patch of pod %s: %w", m.before.Name, err)
	}
	var patch map[string]any
	if err := json.Unmarshal(data, &patch); err != nil {
		return fmt.Errorf("make patch of pod %s: %w", m.before.Name, err)
	}
	meta, _ := patch["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	meta["uid"], patch["metadata"] = m.before.UID, meta
	if data, err = json.Marshal(patch); err != nil {
		return fmt.Errorf("make patch of pod %s: %w", m.before.Name, err)
	}
	err = s.local.Status().Patch(ctx, m.before.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, data))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("mark pod %s: %w", m.before.Name, err)
	}
	return nil
}

// Report has nothing to say: the status is the daemon's.
func (*steps) Report(*kruise.NodePodProbe, seen, plan, error) {}
