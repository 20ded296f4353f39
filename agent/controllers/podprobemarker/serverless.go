package podprobemarker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/pkg/loop"
	"github.com/flotilla-project/flotilla/pkg/manager"
)

// +kubebuilder:rbac:groups="",resources=pods,verbs=patch

// RegisterServerless starts the controller of pods on virtual nodes, whose providers run the probes that the webhook wrote into
// the pod and write the conditions themselves (gate EnablePodProbeMarkerOnServerless). It sets what markers say of a condition,
// and takes nothing away. // PM-15
func RegisterServerless(mgr ctrl.Manager, retry manager.Retry) error {
	local := mgr.GetClient()
	err := ctrl.NewControllerManagedBy(mgr).Named("podprobemarker-serverless").WithOptions(retry.Controller()).
		For(&corev1.Pod{}, builder.WithPredicates(told())).
		Complete(&loop.Loop[*corev1.Pod, facts, marks]{Steps: &serverless{local}, Client: local, New: func() *corev1.Pod { return &corev1.Pod{} }})
	if err != nil {
		return fmt.Errorf("register controller of probes on virtual nodes: %w", err)
	}
	return nil
}

// told is a pod with probes of which a condition has changed.
func told() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return probed(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			old, was := e.ObjectOld.(*corev1.Pod)
			pod, is := e.ObjectNew.(*corev1.Pod)
			return was && is && probed(pod) && !equality.Semantic.DeepEqual(old.Status.Conditions, pod.Status.Conditions)
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

func probed(o client.Object) bool {
	return o.GetAnnotations()[kruise.PodProbeMarkerListAnnotationKey] != ""
}

// serverless is the part of the loop that is about one pod.
type serverless struct{ local client.Client }

var _ loop.Steps[*corev1.Pod, facts, marks] = &serverless{}

// facts are the markers that the pod was given; none for a pod that is not on a virtual node.
type facts []kruise.PodProbeMarker

// marks are what to set.
type marks struct{ labels, annotations map[string]string }

// Recheck is never.
func (marks) Recheck() time.Duration { return 0 }

// Observe finds the markers.
func (s *serverless) Observe(ctx context.Context, pod *corev1.Pod) (facts, error) {
	if !probed(pod) || !active(pod) || pod.Spec.NodeName == "" {
		return nil, nil
	}
	node := &corev1.Node{}
	if err := s.local.Get(ctx, client.ObjectKey{Name: pod.Spec.NodeName}, node); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if node.Labels[virtualLabel] != virtual {
		return nil, nil
	}
	var all kruise.PodProbeMarkerList
	if err := s.local.List(ctx, &all, client.InNamespace(pod.Namespace)); err != nil {
		return nil, fmt.Errorf("list markers: %w", err)
	}
	names := strings.Split(pod.Annotations[kruise.PodProbeMarkerListAnnotationKey], ",")
	return slices.DeleteFunc(all.Items, func(m kruise.PodProbeMarker) bool {
		return m.DeletionTimestamp != nil || !slices.Contains(names, m.Name)
	}), nil
}

// Decide takes the policies whose state is that of their condition. // PM-15
func (*serverless) Decide(pod *corev1.Pod, markers facts, _ time.Time) (m marks) {
	for _, marker := range markers {
		for _, p := range marker.Spec.Probes {
			c := lifecycle.Condition(pod, corev1.PodConditionType(p.PodConditionType))
			if p.PodConditionType == "" || c == nil {
				continue
			}
			for _, policy := range p.MarkerPolicy {
				if policy.State.IsEqualPodConditionStatus(c.Status) {
					m.labels, m.annotations = missing(m.labels, pod.Labels, policy.Labels), missing(m.annotations, pod.Annotations, policy.Annotations)
				}
			}
		}
	}
	return m
}

// missing adds to some what is wanted and not there.
func missing(to, has, wanted map[string]string) map[string]string {
	for k, v := range wanted {
		if got, there := has[k]; there && got == v {
			continue
		}
		if to == nil {
			to = map[string]string{}
		}
		to[k] = v
	}
	return to
}

// Act sets them.
func (s *serverless) Act(ctx context.Context, pod *corev1.Pod, m marks) error {
	if len(m.labels)+len(m.annotations) == 0 {
		return nil
	}
	next := pod.DeepCopy()
	next.Labels, next.Annotations = added(next.Labels, m.labels), added(next.Annotations, m.annotations)
	if err := s.local.Patch(ctx, next, client.StrategicMergeFrom(pod.DeepCopy())); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("mark pod: %w", err)
	}
	return nil
}

func added(to, more map[string]string) map[string]string {
	if to == nil {
		return more
	}
	maps.Copy(to, more)
	return to
}

// Report has nothing to say: pods are not ours.
func (*serverless) Report(*corev1.Pod, facts, marks, error) {}
