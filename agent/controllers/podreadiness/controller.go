// Package podreadiness opens the readiness gate KruisePodReady of pods that have it and of which nobody has said anything
// yet. From then on others close and open it, with a message each.
//
// It owns the first value of that condition and reads pods. It promises to leave a condition alone that is there, and, where
// the controller of a workload opens the gate together with its own in one write, to write nothing.
package podreadiness

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods/status,verbs=patch

// courtesy is how long the controller of a workload is given that has a gate of its own to open.
const courtesy = 10 * time.Second

// Register starts the controller.
func Register(mgr manager.Manager) error {
	local := mgr.GetClient()
	err := ctrl.NewControllerManagedBy(mgr).Named("podreadiness").
		For(&corev1.Pod{}, builder.WithPredicates(predicate.NewPredicateFuncs(concerns))).
		Complete(&loop.Loop[*corev1.Pod, struct{}, plan]{
			Steps: &steps{local: local}, Client: local, New: func() *corev1.Pod { return &corev1.Pod{} },
		})
	if err != nil {
		return fmt.Errorf("register podreadiness controller: %w", err)
	}
	return nil
}

func concerns(o client.Object) bool {
	pod, ok := o.(*corev1.Pod)
	return ok && silent(pod, pub.KruisePodReadyConditionType) && pod.DeletionTimestamp == nil
}

// silent is a gate of which nothing was said.
func silent(pod *corev1.Pod, gate corev1.PodConditionType) bool {
	return lifecycle.HasGate(pod, gate) && lifecycle.Condition(pod, gate) == nil
}

// plan is to open the gate, now or later.
type plan struct {
	open  bool
	now   time.Time
	later time.Duration
}

// Recheck is when nobody else is waited for any longer.
func (p plan) Recheck() time.Duration { return p.later }

type steps struct{ local client.Client }

var _ loop.Steps[*corev1.Pod, struct{}, plan] = &steps{}

// Observe has nothing to read beside the pod.
func (*steps) Observe(context.Context, *corev1.Pod) (struct{}, error) { return struct{}{}, nil }

// Decide says whether it is our turn. // WL-4.8
func (*steps) Decide(pod *corev1.Pod, _ struct{}, now time.Time) plan {
	if !concerns(pod) {
		return plan{}
	}
	owner := metav1.GetControllerOf(pod)
	shared := owner != nil && strings.HasPrefix(owner.APIVersion, "apps.kruise.io/") && silent(pod, pub.InPlaceUpdateReady)
	if wait := pod.CreationTimestamp.Add(courtesy).Sub(now); shared && wait > 0 {
		return plan{later: wait}
	}
	return plan{open: true, now: now}
}

// Act opens the gate of the pod that was looked at; of one that changed meanwhile there is news.
func (s *steps) Act(ctx context.Context, pod *corev1.Pod, p plan) error {
	if !p.open {
		return nil
	}
	next := pod.DeepCopy()
	lifecycle.OpenSilent(next, p.now)
	err := s.local.Status().Patch(ctx, next, client.StrategicMergeFrom(pod.DeepCopy(), client.MergeFromWithOptimisticLock{}))
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("open readiness gate %s: %w", pub.KruisePodReadyConditionType, err)
	}
	return nil
}

// Report has nothing to say: the answer is the condition.
func (*steps) Report(*corev1.Pod, struct{}, plan, error) {}
