package stories

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// patience bounds every wait of a story. It is generous because three kubelets share two cores with the tests.
const patience = 3 * time.Minute

// image is a test image of the fleet's registry; each tag has a digest of its own.
func image(tag string) string { return "registry.local/web:" + tag }

// web is a FederatedDeployment over zones a, b and c; half of it lives in c.
func (w *world) web(replicas int32, change ...func(*appsv1alpha1.FederatedDeployment)) *appsv1alpha1.FederatedDeployment {
	labels := map[string]string{"app": "web"}
	d := &appsv1alpha1.FederatedDeployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"},
		Spec: appsv1alpha1.FederatedDeploymentSpec{
			Replicas: new(replicas),
			Selector: metav1.LabelSelector{MatchLabels: labels},
			Template: appsv1alpha1.SubsetTemplate{CloneSetTemplate: &kruisev1alpha1.CloneSetTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: kruisev1alpha1.CloneSetSpec{
					UpdateStrategy: kruisev1alpha1.CloneSetUpdateStrategy{
						Type:           kruisev1alpha1.InPlaceIfPossibleCloneSetUpdateStrategyType,
						MaxUnavailable: new(intstr.FromInt32(1)),
					},
					Template: corev1.PodTemplateSpec{
						ObjectMeta: metav1.ObjectMeta{Labels: labels},
						Spec: corev1.PodSpec{
							TerminationGracePeriodSeconds: new(int64(5)),
							AutomountServiceAccountToken:  new(false),
							Containers:                    []corev1.Container{{Name: "web", Image: image("v1")}},
						},
					},
				},
			}},
			Topology: appsv1alpha1.Topology{Subsets: []appsv1alpha1.Subset{
				{Name: "zone-a", NodeSelectorTerm: zone("a")},
				{Name: "zone-b", NodeSelectorTerm: zone("b")},
				{Name: "zone-c", NodeSelectorTerm: zone("c"), Replicas: new(intstr.FromString("50%"))},
			}},
		},
	}
	for _, c := range change {
		c(d)
	}
	return d
}

func zone(name string) *corev1.NodeSelectorTerm {
	return &corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
		Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{name},
	}}}
}

// apply creates d on the hub and has it removed, with all it made, when the story ends.
func (w *world) apply(d *appsv1alpha1.FederatedDeployment) {
	w.Helper()
	if err := w.hub.Create(w.Context(), d); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { w.remove(d) })
}

// remove deletes d and waits until its workloads are gone from the members.
func (w *world) remove(d *appsv1alpha1.FederatedDeployment) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := client.IgnoreNotFound(w.hub.Delete(ctx, d)); err != nil {
		w.Error(err)
		return
	}
	w.untilContext(ctx, "the FederatedDeployment is gone", func() string {
		err := w.hub.Get(ctx, client.ObjectKeyFromObject(d), &appsv1alpha1.FederatedDeployment{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprint("it is still there, ", err)
	})
}

// change reads d, changes it and writes it.
func (w *world) change(d *appsv1alpha1.FederatedDeployment, change func(*appsv1alpha1.FederatedDeployment)) {
	w.Helper()
	w.until("the change is written", func() string {
		if err := w.hub.Get(w.Context(), client.ObjectKeyFromObject(d), d); err != nil {
			return err.Error()
		}
		change(d)
		if err := w.hub.Update(w.Context(), d); err != nil {
			return err.Error()
		}
		return ""
	})
}

func toImage(tag string) func(*appsv1alpha1.FederatedDeployment) {
	return func(d *appsv1alpha1.FederatedDeployment) {
		d.Spec.Template.CloneSetTemplate.Spec.Template.Spec.Containers[0].Image = image(tag)
	}
}

// until asks until the answer is empty; what it answers is what is still missing.
func (w *world) until(what string, ask func() string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	w.untilContext(ctx, what, ask)
}

func (w *world) untilContext(ctx context.Context, what string, ask func() string) {
	w.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := ask()
		if missing == "" {
			return
		}
		select {
		case <-ctx.Done():
			w.Fatalf("waited for: %s\nbut %s", what, missing)
		case <-tick.C:
		}
	}
}

// ready waits until all of the newest spec of d is ready and updated.
func (w *world) ready(d *appsv1alpha1.FederatedDeployment) {
	w.Helper()
	w.until(d.Name+" is ready", func() string {
		if err := w.hub.Get(w.Context(), client.ObjectKeyFromObject(d), d); err != nil {
			return err.Error()
		}
		if d.Status.ObservedGeneration == d.Generation && condition.IsTrue(d.Status.Conditions, appsv1alpha1.ConditionReady) {
			return ""
		}
		return describe(d)
	})
}

// describe is what kubectl would show, for a failed wait.
func describe(d *appsv1alpha1.FederatedDeployment) string {
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d of %d observed\n", d.Status.ObservedGeneration, d.Generation)
	for _, c := range d.Status.Conditions {
		fmt.Fprintf(&b, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, s := range d.Status.Subsets {
		fmt.Fprintf(&b, "  %+v\n", s)
	}
	return b.String()
}

// pods lists the story's pods on a member that are not on their way out.
func (w *world) pods(member string) []corev1.Pod {
	w.Helper()
	var list corev1.PodList
	if err := w.member(member).List(w.Context(), &list, client.InNamespace(w.ns)); err != nil {
		w.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// zoneOf is the zone of the node that a pod runs on.
func (w *world) zoneOf(member string, pod *corev1.Pod) string {
	w.Helper()
	var node corev1.Node
	if err := w.member(member).Get(w.Context(), client.ObjectKey{Name: pod.Spec.NodeName}, &node); err != nil {
		w.Fatal(err)
	}
	return node.Labels[corev1.LabelTopologyZone]
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// witness sees every change of the story's pods on a member, in the order the API server made them.
type witness struct {
	mu       sync.Mutex
	pods     map[types.UID]*corev1.Pod
	leastUp  map[string]int // fewest ready pods seen, by subset
	mostLive map[string]int // most pods seen, by subset
	specs    map[types.UID][]string
	born     map[string]int // pods made, by name
	stop     func()
}

// watchPods starts a witness; it ends with the story.
func (w *world) watchPods(member string) *witness {
	w.Helper()
	v := &witness{pods: map[types.UID]*corev1.Pod{}, leastUp: map[string]int{}, mostLive: map[string]int{}, specs: map[types.UID][]string{}, born: map[string]int{}}
	var list corev1.PodList
	if err := w.member(member).List(w.Context(), &list, client.InNamespace(w.ns)); err != nil {
		w.Fatal(err)
	}
	for _, p := range list.Items {
		v.pods[p.UID] = &p
		v.specs[p.UID] = []string{p.Spec.Containers[0].Image}
	}
	for subset, n := range v.count() {
		v.leastUp[subset], v.mostLive[subset] = n.up, n.live
	}
	events, err := w.member(member).Watch(w.Context(), &corev1.PodList{}, client.InNamespace(w.ns),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		w.Fatal(err)
	}
	v.stop = events.Stop
	w.Cleanup(events.Stop)
	go func() {
		for e := range events.ResultChan() {
			v.see(e)
		}
	}()
	return v
}

type tally struct{ up, live int }

func (v *witness) count() map[string]tally {
	all := map[string]tally{}
	for _, p := range v.pods {
		subset := p.Labels[appsv1alpha1.LabelSubsetName]
		t := all[subset]
		if p.DeletionTimestamp == nil {
			t.live++
			if isReady(p) {
				t.up++
			}
		}
		all[subset] = t
	}
	return all
}

func (v *witness) see(e watch.Event) {
	p, ok := e.Object.(*corev1.Pod)
	if !ok {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if e.Type == watch.Added {
		v.born[p.Name]++
	}
	if e.Type == watch.Deleted {
		delete(v.pods, p.UID)
	} else {
		v.pods[p.UID] = p
		if s := v.specs[p.UID]; len(s) == 0 || s[len(s)-1] != p.Spec.Containers[0].Image {
			v.specs[p.UID] = append(s, p.Spec.Containers[0].Image)
		}
	}
	for subset, n := range v.count() {
		if least, known := v.leastUp[subset]; known && n.up < least {
			v.leastUp[subset] = n.up
		}
		v.mostLive[subset] = max(v.mostLive[subset], n.live)
	}
}

// fewestUp is the smallest number of ready pods of a subset ever seen.
func (v *witness) fewestUp(subset string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.leastUp[subset]
}

// images is the sequence of images that a pod was given.
func (v *witness) images(uid types.UID) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.specs[uid])
}

// made is the number of pods that appeared.
func (v *witness) made() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, times := range v.born {
		n += times
	}
	return n
}
