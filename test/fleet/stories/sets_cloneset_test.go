package stories

import (
	"strings"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// An update in place gives the pods another container and leaves name, address and node as they are; an update that makes pods
// anew adds before it takes. // WL-1.10, WL-4.2
func (w *world) changesInside() {
	set := w.newCloneSet("web", 4)
	w.settles(set)
	before, d := w.lives("web"), w.keepDiary()
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.settles(set)
	w.wentOn("web", before, 1)
	for uid, is := range w.lives("web") {
		if is.image == before[uid].image {
			w.Errorf("pod %s still runs %s", is.name, is.image)
		}
		if said := w.run(is.name, "version"); said != image("v2") {
			w.Errorf("pod %s says that it is %s", is.name, said)
		}
	}
	if fewest, most := d.fewest("web", 4); fewest < 3 || most != 4 {
		w.Errorf("%d pods were ready at least and %d there at most; with maxUnavailable 1, want 3 and 4", fewest, most)
	}
}

// With maxSurge there is always as much as was asked for; whoever names a pod gets rid of that one. // WL-1.8, WL-1.9
func (w *world) surgesAndShrinks() {
	set := w.newCloneSet("web", 3, func(set *kruisev1alpha1.CloneSet) {
		set.Spec.UpdateStrategy = kruisev1alpha1.CloneSetUpdateStrategy{
			Type:     kruisev1alpha1.RecreateCloneSetUpdateStrategyType,
			MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0)),
		}
	})
	w.settles(set)
	before, d := w.lives("web"), w.keepDiary()
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.settles(set)
	for uid, is := range w.lives("web") {
		if _, there := before[uid]; there {
			w.Errorf("pod %s was not made anew", is.name)
		}
	}
	if fewest, most := d.fewest("web", 3); fewest < 3 || most != 4 {
		w.Errorf("%d pods were ready at least and %d there at most; with maxSurge 1, want 3 and 4", fewest, most)
	}

	before = w.lives("web")
	named := w.these("web")[1]
	w.alter(set, func() {
		set.Spec.Replicas = new(int32(2))
		set.Spec.ScaleStrategy.PodsToDelete = []string{named.Name}
	})
	w.settles(set)
	delete(before, named.UID)
	w.wentOn("web", before, 0)
}

// cpuAndMemory is a quantity of both.
func cpuAndMemory(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

// Cpu and memory change under running containers: none restarts, and no pod is missed for a moment. // WL-4.6
func (w *world) resizes() {
	set := w.newCloneSet("web", 3, func(set *kruisev1alpha1.CloneSet) {
		set.Spec.Template.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: cpuAndMemory("10m", "16Mi"), Limits: cpuAndMemory("200m", "64Mi")}
	})
	w.settles(set)
	before, d := w.lives("web"), w.keepDiary()
	limits := cpuAndMemory("300m", "96Mi")
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Resources.Limits = limits })
	w.settles(set)
	w.wentOn("web", before, 0)
	for _, p := range w.these("web") {
		for _, c := range p.Status.ContainerStatuses {
			if c.Resources == nil || !c.Resources.Limits.Cpu().Equal(limits[corev1.ResourceCPU]) || !c.Resources.Limits.Memory().Equal(limits[corev1.ResourceMemory]) {
				w.Errorf("the container of %s runs with %+v", p.Name, c.Resources)
			}
		}
	}
	if fewest, _ := d.fewest("web", 3); fewest < 3 {
		w.Errorf("only %d of 3 pods were ready at some time", fewest)
	}
}

// A label that a container reads into its environment changes with the pod: the node daemon has the container started again,
// once, and says when it runs with the new value. // WL-4.5, WL-4.7, WL-4.10
func (w *world) changesEnvironment() {
	set := w.newCloneSet("web", 3, func(set *kruisev1alpha1.CloneSet) {
		set.Spec.Template.Labels["version"] = "one"
		set.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{
			Name: "VERSION", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['version']"}},
		}}
	})
	w.settles(set)
	before, d := w.lives("web"), w.keepDiary()
	w.alter(set, func() { set.Spec.Template.Labels["version"] = "two" })
	w.settles(set)
	w.wentOn("web", before, 1)
	for _, p := range w.these("web") {
		if env := w.ask(p.Status.PodIP, 8080, "/env"); !strings.Contains(env+"\n", "VERSION=two\n") {
			w.Errorf("%s runs with\n%s", p.Name, env)
		}
	}
	if wrong := d.overBudget("web", 3, 1); wrong != "" {
		w.Error(wrong)
	}
}
