package statefulset

import (
	"maps"
	"slices"
	"strconv"

	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset/ordinal"
)

// claims is how the claims there are compare with what the set wants of them.
type claims struct {
	set  *kruise.StatefulSet
	all  map[string]*corev1.PersistentVolumeClaim
	keep bool // owners of claims follow the retention policy: gate StatefulSetAutoDeletePVC
}

// of are the claims of an ordinal that exist, template by template; nil where one does not.
func (c claims) of(slot string) []*corev1.PersistentVolumeClaim {
	there := make([]*corev1.PersistentVolumeClaim, len(c.set.Spec.VolumeClaimTemplates))
	for i := range c.set.Spec.VolumeClaimTemplates {
		there[i] = c.all[claimName(c.set.Spec.VolumeClaimTemplates[i].Name, c.set.Name, slot)]
	}
	return there
}

func (c claims) lacks(slot string) bool { return slices.Contains(c.of(slot), nil) }

// stale names a claim of an empty ordinal that goes with a pod which was there before. A pod that took it would lose it
// while it runs. // WL-2.8
func (c claims) stale(n int) string {
	policy := c.set.Spec.PersistentVolumeClaimRetentionPolicy
	if !c.keep || policy == nil || policy.WhenScaled != kruise.DeletePersistentVolumeClaimRetentionPolicyType {
		return ""
	}
	slot := strconv.Itoa(n)
	for _, claim := range c.of(slot) {
		if claim != nil && slices.ContainsFunc(claim.OwnerReferences, func(r metav1.OwnerReference) bool {
			return r.Kind == "Pod" && r.Name == c.set.Name+"-"+slot
		}) {
			return claim.Name
		}
	}
	return ""
}

// owners are the claim's owner references as the retention policy wants them, and whether they differ from those it has.
// pod is empty when the claim's pod has yet to be made. // WL-2.8
func (c claims) owners(has []metav1.OwnerReference, pod metav1.OwnerReference, inside bool) ([]metav1.OwnerReference, bool) {
	if !c.keep {
		return has, false
	}
	var scaled, deleted kruise.PersistentVolumeClaimRetentionPolicyType
	if p := c.set.Spec.PersistentVolumeClaimRetentionPolicy; p != nil {
		scaled, deleted = p.WhenScaled, p.WhenDeleted
	}
	const remove = kruise.DeletePersistentVolumeClaimRetentionPolicyType
	set := metav1.OwnerReference{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Name: c.set.Name, UID: c.set.UID}
	want, changed := withOwner(has, set, deleted == remove && (scaled != remove || inside))
	if pod.UID == "" {
		return want, changed
	}
	want, more := withOwner(want, pod, scaled == remove && !inside)
	return want, changed || more
}

// withOwner leaves a reference that is wanted and there as it is, whatever flags it has.
func withOwner(has []metav1.OwnerReference, ref metav1.OwnerReference, wanted bool) ([]metav1.OwnerReference, bool) {
	is := func(r metav1.OwnerReference) bool { return r.UID == ref.UID }
	switch there := slices.ContainsFunc(has, is); {
	case wanted == there:
		return has, false
	case wanted:
		return append(slices.Clone(has), ref), true
	default:
		return slices.DeleteFunc(slices.Clone(has), is), true
	}
}

func podRef(pod *corev1.Pod) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
}

// misowned are the claims of an ordinal whose owners are not what the policy wants.
func (c claims) misowned(slot string, pod metav1.OwnerReference, inside bool) []*corev1.PersistentVolumeClaim {
	var wrong []*corev1.PersistentVolumeClaim
	for _, claim := range c.of(slot) {
		if claim == nil || claim.DeletionTimestamp != nil {
			continue
		}
		if _, differ := c.owners(claim.OwnerReferences, pod, inside); differ {
			wrong = append(wrong, claim)
		}
	}
	return wrong
}

// fit is how one claim compares with its template. // WL-2.9
type fit struct {
	misfit                       string // why no resizing helps
	compatible, ready, completed bool
	growing                      bool // it has something, and less than it asks for
}

func compare(claim, template *corev1.PersistentVolumeClaim) fit {
	var f fit
	switch has, want := claim.Spec.StorageClassName, template.Spec.StorageClassName; {
	case has != nil && want != nil && *has != *want:
		f.misfit = "claim " + claim.Name + " is of storage class " + *has + ", and its template of " + *want
	case !slices.Equal(claim.Spec.AccessModes, template.Spec.AccessModes):
		f.misfit = "claim " + claim.Name + " has other access modes than its template"
	}
	asks, wants := claim.Spec.Resources.Requests[corev1.ResourceStorage], template.Spec.Resources.Requests[corev1.ResourceStorage]
	has := claim.Status.Capacity[corev1.ResourceStorage]
	f.compatible = f.misfit == "" && asks.Cmp(wants) >= 0
	f.ready = has.Cmp(asks) >= 0
	f.growing = !f.ready && !has.IsZero()
	f.completed = f.compatible && (f.ready || slices.ContainsFunc(claim.Status.Conditions, func(c corev1.PersistentVolumeClaimCondition) bool {
		return c.Type == corev1.PersistentVolumeClaimFileSystemResizePending && c.Status == corev1.ConditionTrue
	}))
	return f
}

// fits compares all claims of an ordinal, missing and terminating ones ignored.
func (c claims) fits(slot string) ordinal.Claims {
	var all ordinal.Claims
	for i, claim := range c.of(slot) {
		if claim == nil || claim.DeletionTimestamp != nil {
			continue
		}
		f := compare(claim, &c.set.Spec.VolumeClaimTemplates[i])
		if all.Misfit == "" {
			all.Misfit = f.misfit
		}
		all.Small = all.Small || !f.compatible
		all.Unready = all.Unready || !f.ready
		all.Incomplete = all.Incomplete || !f.completed
		all.Growing = all.Growing || f.growing
	}
	return all
}

// status counts the pods whose claims are as their templates want them. // WL-2.9
func (c claims) status(slots []string) []kruise.VolumeClaimStatus {
	var all []kruise.VolumeClaimStatus
	for i := range c.set.Spec.VolumeClaimTemplates {
		template := &c.set.Spec.VolumeClaimTemplates[i]
		s := kruise.VolumeClaimStatus{VolumeClaimName: template.Name}
		for _, slot := range slots {
			claim := c.all[claimName(template.Name, c.set.Name, slot)]
			if claim == nil || claim.DeletionTimestamp != nil {
				continue
			}
			if f := compare(claim, template); f.compatible {
				s.CompatibleReplicas++
				if f.ready {
					s.CompatibleReadyReplicas++
				}
			}
		}
		all = append(all, s)
	}
	return all
}

// missing makes the claims that an ordinal lacks. Their labels are the selector's, and the template's are lost. // WL-2.4
func (c claims) missing(slot string) []*corev1.PersistentVolumeClaim {
	var made []*corev1.PersistentVolumeClaim
	for i, claim := range c.of(slot) {
		if claim != nil {
			continue
		}
		t := c.set.Spec.VolumeClaimTemplates[i].DeepCopy()
		owners, _ := c.owners(nil, metav1.OwnerReference{}, true)
		made = append(made, &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{
				Name: claimName(t.Name, c.set.Name, slot), Namespace: c.set.Namespace, Labels: maps.Clone(c.set.Spec.Selector.MatchLabels),
				Annotations: t.Annotations, Finalizers: t.Finalizers, OwnerReferences: owners,
			},
			Spec: t.Spec,
		})
	}
	return made
}
