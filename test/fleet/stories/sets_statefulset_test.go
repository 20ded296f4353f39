package stories

import (
	"fmt"
	"slices"
	"strings"

	kruisev1beta1 "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// withDisk gives each pod a claim of its own, called data.
func withDisk(set *kruisev1beta1.StatefulSet) {
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}}
	set.Spec.Template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
}

// claims are the story's claims that are not on their way out: name, uid and the volume they are bound to.
func (w *world) claims() map[string]string {
	w.Helper()
	var list corev1.PersistentVolumeClaimList
	if err := w.east.List(w.Context(), &list, client.InNamespace(w.ns)); err != nil {
		w.Fatal(err)
	}
	all := map[string]string{}
	for _, c := range list.Items {
		if c.DeletionTimestamp == nil {
			all[c.Name] = fmt.Sprintf("%s %s %s", c.UID, c.Status.Phase, c.Spec.VolumeName)
		}
	}
	return all
}

// uidOf is the uid of a pod by name; empty when there is none that stays.
func (w *world) uidOf(name string) types.UID {
	w.Helper()
	for _, p := range w.pods(east) {
		if p.Name == name {
			return p.UID
		}
	}
	return ""
}

// Kubernetes' own promises, which the Advanced StatefulSet inherits: identity, order, disks, and our own: a rollout that is
// broken heals by going back, without hands. // WL-2.4, WL-2.6, WL-2.8, WL-2.10
func (w *world) keepsNamesAndDisks() {
	d := w.keepDiary()
	set := w.newStatefulSet("db", 3, withDisk)
	w.settles(set)
	if names, ready := d.born("db"); !slices.Equal(names, []string{"db-0", "db-1", "db-2"}) || !slices.Equal(ready, []int{0, 1, 2}) {
		w.Errorf("pods %v were made when %v others were ready", names, ready)
	}
	for n, p := range w.these("db") {
		if p.Labels["statefulset.kubernetes.io/pod-name"] != p.Name || p.Labels["apps.kubernetes.io/pod-index"] != fmt.Sprint(n) || p.Spec.Subdomain != "db" {
			w.Errorf("pod %s has labels %v and subdomain %q", p.Name, p.Labels, p.Spec.Subdomain)
		}
		if said := w.run(p.Name, "hello"); said != "hello world from "+p.Name {
			w.Errorf("%s says %q", p.Name, said)
		}
		w.run(p.Name, "write", "/data/mark", "disk of "+p.Name)
	}
	disks := w.claims()
	if len(disks) != 3 {
		w.Fatalf("claims %v", disks)
	}

	w.comesBack("db-1")
	w.settles(set)
	w.sameDisks(disks)

	// An update goes from the highest down, one at a time.
	before := w.lives("db")
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.settles(set)
	w.sameDisks(disks)
	if names, _ := d.born("db"); !slices.Equal(names[4:], []string{"db-2", "db-1", "db-0"}) {
		w.Errorf("pods were made anew in the order %v", names[4:])
	}
	if fewest, _ := d.fewest("db", 3); fewest < 2 {
		w.Errorf("only %d of 3 were ready at some time", fewest)
	}
	for uid, was := range w.lives("db") {
		if _, there := before[uid]; there {
			w.Errorf("pod %s was not made anew", was.name)
		}
	}

	w.breaksAndHeals(set, d)
	w.sameDisks(disks)

	// Scaled in and out again, a place finds its disk: claims are kept unless somebody asked otherwise.
	w.alter(set, func() { set.Spec.Replicas = new(int32(1)) })
	w.settles(set)
	w.alter(set, func() { set.Spec.Replicas = new(int32(3)) })
	w.settles(set)
	w.sameDisks(disks)
}

// comesBack deletes a pod and waits for another of its name.
func (w *world) comesBack(name string) {
	w.Helper()
	was := w.uidOf(name)
	if err := w.east.Delete(w.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}); err != nil {
		w.Fatal(err)
	}
	w.until(name+" is back", func() string {
		if is := w.uidOf(name); is == "" || is == was {
			return fmt.Sprintf("its uid is %q, was %q", is, was)
		}
		return ""
	})
}

// sameDisks checks that each place has its claim, the claim its volume, and the volume what was written there.
func (w *world) sameDisks(want map[string]string) {
	w.Helper()
	is := w.claims()
	for name, was := range want {
		if is[name] != was {
			w.Errorf("claim %s was %q, is %q", name, was, is[name])
		}
	}
	for _, p := range w.these("db") {
		if kept := w.run(p.Name, "read", "/data/mark"); kept != "disk of "+p.Name {
			w.Errorf("%s reads %q", p.Name, kept)
		}
	}
}

// breaksAndHeals rolls out an image that cannot be pulled, and then the old one again.
func (w *world) breaksAndHeals(set *kruisev1beta1.StatefulSet, d *diary) {
	w.Helper()
	stuck, sound := "db-2", map[types.UID]life{}
	for uid, l := range w.lives("db") {
		if l.name != stuck {
			sound[uid] = l
		}
	}
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Image = image("invalid") })
	w.until(stuck+" cannot pull its image", func() string {
		if shown := w.shown("db"); !strings.Contains(shown, "ImagePullBackOff") && !strings.Contains(shown, "ErrImagePull") {
			return shown
		}
		return ""
	})
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.settles(set)
	for uid, was := range sound {
		if is := w.lives("db")[uid]; is != was {
			w.Errorf("pod %s had nothing to do with it: %+v became %+v", was.name, was, is)
		}
	}
	if fewest, _ := d.fewest("db", 3); fewest < 2 {
		w.Errorf("only %d of 3 were ready at some time", fewest)
	}
}

// Parallel places start at once, are updated in place as many at a time as may be down, and take their disks with them where
// the policy says so. // WL-2.6, WL-2.8, WL-2.12
func (w *world) waitsForNobody() {
	d := w.keepDiary()
	remove := kruisev1beta1.DeletePersistentVolumeClaimRetentionPolicyType
	set := w.newStatefulSet("db", 4, withDisk, func(set *kruisev1beta1.StatefulSet) {
		set.Spec.PodManagementPolicy = appsv1.ParallelPodManagement
		set.Spec.UpdateStrategy.RollingUpdate = &kruisev1beta1.RollingUpdateStatefulSetStrategy{
			PodUpdatePolicy: kruisev1beta1.InPlaceIfPossiblePodUpdateStrategyType, MaxUnavailable: new(intstr.FromInt32(2)),
		}
		set.Spec.PersistentVolumeClaimRetentionPolicy = &kruisev1beta1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: remove, WhenScaled: remove}
	})
	w.settles(set)
	if names, ready := d.born("db"); len(names) != 4 || slices.Max(ready) != 0 {
		w.Errorf("pods %v were made when %v others were ready", names, ready)
	}
	before, disks := w.lives("db"), w.claims()
	w.alter(set, func() { set.Spec.Template.Spec.Containers[0].Image = image("v2") })
	w.settles(set)
	w.wentOn("db", before, 1)
	if wrong := d.overBudget("db", 4, 2); wrong != "" {
		w.Error(wrong)
	}

	w.alter(set, func() { set.Spec.Replicas = new(int32(2)) })
	w.settles(set)
	w.hasClaims(disks, "data-db-0", "data-db-1")
	if err := w.east.Delete(w.Context(), set); err != nil {
		w.Fatal(err)
	}
	w.hasClaims(disks)
}

// hasClaims waits until there are these claims and no others, each the one it was.
func (w *world) hasClaims(was map[string]string, names ...string) {
	w.Helper()
	w.until(fmt.Sprintf("there are claims %v and no others", names), func() string {
		is := w.claims()
		for _, name := range names {
			if is[name] != was[name] {
				return fmt.Sprintf("%s was %q, is %q", name, was[name], is[name])
			}
		}
		if len(is) != len(names) {
			return fmt.Sprint(is)
		}
		return ""
	})
}
