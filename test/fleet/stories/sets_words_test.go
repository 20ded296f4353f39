package stories

import (
	"fmt"
	"slices"
	"strings"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	kruisev1beta1 "github.com/openkruise/kruise-api/apps/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// labelled is a selector for the pods of a set that is called like its label.
func labelled(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

// template is a pod of the test image that can be updated in place.
func template(name string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(5)),
			AutomountServiceAccountToken:  new(false),
			Containers:                    []corev1.Container{{Name: "main", Image: image("v1")}},
			ReadinessGates:                []corev1.PodReadinessGate{{ConditionType: "InPlaceUpdateReady"}},
		},
	}
}

func (w *world) newCloneSet(name string, replicas int32, change ...func(*kruisev1alpha1.CloneSet)) *kruisev1alpha1.CloneSet {
	w.Helper()
	set := &kruisev1alpha1.CloneSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		Spec: kruisev1alpha1.CloneSetSpec{
			Replicas: &replicas, Selector: labelled(name), Template: template(name),
			UpdateStrategy: kruisev1alpha1.CloneSetUpdateStrategy{
				Type: kruisev1alpha1.InPlaceIfPossibleCloneSetUpdateStrategyType, MaxUnavailable: new(intstr.FromInt32(1)),
			},
		},
	}
	return begun(w, set, change)
}

func (w *world) newStatefulSet(name string, replicas int32, change ...func(*kruisev1beta1.StatefulSet)) *kruisev1beta1.StatefulSet {
	w.Helper()
	set := &kruisev1beta1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		Spec:       kruisev1beta1.StatefulSetSpec{Replicas: &replicas, Selector: labelled(name), Template: template(name), ServiceName: name},
	}
	return begun(w, set, change)
}

func (w *world) newDaemonSet(name string, change ...func(*kruisev1alpha1.DaemonSet)) *kruisev1alpha1.DaemonSet {
	w.Helper()
	set := &kruisev1alpha1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name},
		Spec:       kruisev1alpha1.DaemonSetSpec{Selector: labelled(name), Template: template(name)},
	}
	return begun(w, set, change)
}

// begun creates a set. It goes with the story's namespace.
func begun[T client.Object](w *world, set T, change []func(T)) T {
	w.Helper()
	for _, c := range change {
		c(set)
	}
	// The agent's webhooks may still be starting.
	w.until("there is "+set.GetName(), func() string {
		if err := w.east.Create(w.Context(), set); err != nil {
			return err.Error()
		}
		return ""
	})
	return set
}

// alter reads a set, changes it and writes it.
func (w *world) alter(set client.Object, change func()) {
	w.Helper()
	w.until("the change is written", func() string {
		if err := w.east.Get(w.Context(), client.ObjectKeyFromObject(set), set); err != nil {
			return err.Error()
		}
		change()
		if err := w.east.Update(w.Context(), set); err != nil {
			return err.Error()
		}
		return ""
	})
}

// settles waits until a set has what it asks for, and says so of its newest spec.
func (w *world) settles(sets ...client.Object) {
	w.Helper()
	for _, set := range sets {
		w.until(set.GetName()+" has what it asks for", func() string {
			if err := w.east.Get(w.Context(), client.ObjectKeyFromObject(set), set); err != nil {
				return err.Error()
			}
			if unsettled(set) {
				return fmt.Sprintf("its status is %s\n%s", statusOf(set), w.shown(set.GetName()))
			}
			return ""
		})
	}
}

func unsettled(set client.Object) bool {
	switch s := set.(type) {
	case *kruisev1alpha1.CloneSet:
		n, is := *s.Spec.Replicas, s.Status
		return is.ObservedGeneration != s.Generation || is.Replicas != n || is.AvailableReplicas != n || is.UpdatedReplicas < is.ExpectedUpdatedReplicas ||
			is.UpdatedAvailableReplicas < is.ExpectedUpdatedReplicas
	case *kruisev1beta1.StatefulSet:
		n, is, old := *s.Spec.Replicas, s.Status, int32(0)
		if r := s.Spec.UpdateStrategy.RollingUpdate; r != nil && r.Partition != nil {
			old = min(*r.Partition, n)
		}
		return is.ObservedGeneration != s.Generation || is.Replicas != n || is.AvailableReplicas != n || is.UpdatedReplicas < n-old
	case *kruisev1alpha1.DaemonSet:
		is, old := s.Status, int32(0)
		if r := s.Spec.UpdateStrategy.RollingUpdate; r != nil && r.Partition != nil {
			old = *r.Partition
		}
		return is.ObservedGeneration != s.Generation || is.DesiredNumberScheduled == 0 || is.NumberAvailable != is.DesiredNumberScheduled ||
			is.UpdatedNumberScheduled < is.DesiredNumberScheduled-old || is.NumberMisscheduled != 0
	}
	return true
}

func statusOf(set client.Object) string {
	switch s := set.(type) {
	case *kruisev1alpha1.CloneSet:
		return fmt.Sprintf("%+v", s.Status)
	case *kruisev1beta1.StatefulSet:
		return fmt.Sprintf("%+v", s.Status)
	case *kruisev1alpha1.DaemonSet:
		return fmt.Sprintf("%+v", s.Status)
	}
	return ""
}

// shown are the pods of a set, a line each, for a failed wait.
func (w *world) shown(name string) string {
	w.Helper()
	var b strings.Builder
	for _, p := range w.these(name) {
		fmt.Fprintf(&b, "  %s on %s is %s, ready %v, %s\n", p.Name, p.Spec.NodeName, p.Status.Phase, isReady(&p), p.Spec.Containers[0].Image)
		for _, c := range p.Status.Conditions {
			if c.Status != corev1.ConditionTrue {
				fmt.Fprintf(&b, "    %s=%s %s %s\n", c.Type, c.Status, c.Reason, c.Message)
			}
		}
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Waiting != nil {
				fmt.Fprintf(&b, "    %s waits: %s\n", c.Name, c.State.Waiting.Reason)
			}
		}
	}
	return b.String()
}

// these are the pods of a set that are not on their way out, by name.
func (w *world) these(name string) []corev1.Pod {
	w.Helper()
	all := slices.DeleteFunc(w.pods(east), func(p corev1.Pod) bool { return p.Labels["app"] != name })
	slices.SortFunc(all, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// life is what would betray that a pod was made anew or its container restarted.
type life struct {
	name, ip, container, image string
	restarts                   int32
}

// lives are those of a set's pods.
func (w *world) lives(name string) map[types.UID]life {
	w.Helper()
	all := map[types.UID]life{}
	for _, p := range w.these(name) {
		l := life{name: p.Name, ip: p.Status.PodIP}
		if s := p.Status.ContainerStatuses; len(s) > 0 {
			l.container, l.image, l.restarts = s[0].ContainerID, s[0].ImageID, s[0].RestartCount
		}
		all[p.UID] = l
	}
	return all
}

// wentOn compares what ran before with what runs now: the same pods, each restarted so often.
func (w *world) wentOn(name string, before map[types.UID]life, restarts int32) {
	w.Helper()
	after := w.lives(name)
	for uid, was := range before {
		w.sameLife(was, after[uid], restarts)
	}
	if len(after) != len(before) {
		w.Errorf("%d pods of %s became %d", len(before), name, len(after))
	}
}

// sameLife compares a pod with what it was.
func (w *world) sameLife(was, is life, restarts int32) {
	w.Helper()
	switch {
	case is == life{}:
		w.Errorf("pod %s is no more", was.name)
	case is.name != was.name || is.ip != was.ip:
		w.Errorf("pod %s at %s became %s at %s", was.name, was.ip, is.name, is.ip)
	case is.restarts != was.restarts+restarts:
		w.Errorf("the container of %s restarted %d times, want %d", is.name, is.restarts-was.restarts, restarts)
	case (is.container == was.container) != (restarts == 0):
		w.Errorf("pod %s had container %s and has %s, after %d restarts", is.name, was.container, is.container, restarts)
	}
}

// run executes the test program in a pod.
func (w *world) run(pod string, args ...string) string {
	w.Helper()
	out, err := w.Kubectl(w.Context(), east, slices.Concat([]string{"-n", w.ns, "exec", pod, "--", "/app"}, args)...)
	if err != nil {
		w.Fatal(err)
	}
	return strings.TrimSpace(out)
}
