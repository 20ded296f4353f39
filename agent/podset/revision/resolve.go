package revision

import (
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	shared "github.com/flotilla-project/flotilla/pkg/revision"
)

// Owner is the set whose revisions these are.
type Owner struct {
	Name, Namespace string
	Ref             metav1.OwnerReference
	Annotations     map[string]string
	Template        *corev1.PodTemplateSpec
	ClaimHash       string // ClaimHash of its claim templates
	NoClaimHash     bool   // only CloneSets keep it
	Current         string // status.currentRevision
	Collisions      int32  // status.collisionCount
}

// Write is what has to be written before the update revision can be used.
type Write int

// The writes.
const (
	Keep     Write = iota // it is there as it should be
	Create                // it is new
	Renumber              // it is an older one that became the newest again
)

// Resolution says which revisions the set is between.
type Resolution struct {
	Update     *appsv1.ControllerRevision // what the template asks for, as it shall be after Write; never shared with the input
	Current    *appsv1.ControllerRevision // where its pods come from; Update when there is no other
	Write      Write
	Collisions int32
	owner      Owner
}

// Resolve finds the revisions among those that exist, or says what to write. // WL-0.5
func Resolve(owner Owner, existing []appsv1.ControllerRevision) (Resolution, error) {
	sorted := shared.Sorted(existing)
	data, err := Data(owner.Template)
	if err != nil {
		return Resolution{}, err
	}
	number := int64(1)
	if len(sorted) > 0 {
		number = sorted[len(sorted)-1].Revision + 1
	}
	r := Resolution{Collisions: owner.Collisions, owner: owner}
	switch newest, same := last(sorted), lastEqual(sorted, data); {
	case same == nil:
		r.Write, r.Update = Create, build(owner, data, number)
	case Equal(newest.Data.Raw, same.Data.Raw):
		r.Update = newest.DeepCopy()
	default: // a rollback
		r.Write, r.Update = Renumber, same.DeepCopy()
		r.Update.Revision = number
		annotate(r.Update, owner)
	}
	r.Current = r.Update
	for i := range sorted {
		if sorted[i].Name == owner.Current && owner.Current != r.Update.Name {
			r.Current = sorted[i].DeepCopy()
		}
	}
	return r, nil
}

// Clash answers a create that found the name taken: the one that is there serves when it means the same, else the revision
// gets another name and has to be created again. // WL-0.5
func (r Resolution) Clash(taken *appsv1.ControllerRevision) Resolution {
	if Equal(taken.Data.Raw, r.Update.Data.Raw) {
		update := taken.DeepCopy()
		if r.Current == r.Update {
			r.Current = update
		}
		r.Update, r.Write = update, Keep
		return r
	}
	update := r.Update.DeepCopy()
	r.Collisions++
	// The label keeps the first hash, which is odd, and what an existing cluster has.
	update.Name = shared.Name(r.owner.Name, shared.Hash(update.Data.Raw, r.Collisions))
	if r.Current == r.Update {
		r.Current = update
	}
	r.Update = update
	return r
}

func build(owner Owner, data []byte, number int64) *appsv1.ControllerRevision {
	hash := shared.Hash(data, owner.Collisions)
	labels := maps.Clone(owner.Template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[HashLabel] = hash
	r := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Name:            shared.Name(owner.Name, hash),
			Namespace:       owner.Namespace,
			Labels:          labels,
			Annotations:     maps.Clone(owner.Annotations), // WL-0.5
			OwnerReferences: []metav1.OwnerReference{owner.Ref},
		},
		Data:     runtime.RawExtension{Raw: data},
		Revision: number,
	}
	annotate(r, owner)
	return r
}

func annotate(r *appsv1.ControllerRevision, owner Owner) {
	if owner.NoClaimHash {
		return
	}
	if r.Annotations == nil {
		r.Annotations = map[string]string{}
	}
	r.Annotations[ClaimHashAnnotation] = owner.ClaimHash
}

// SameClaims says that two revisions ask for the same claims, as far as both say so. // WL-1.6
func SameClaims(a, b *appsv1.ControllerRevision) bool {
	x, known := a.Annotations[ClaimHashAnnotation]
	y, both := b.Annotations[ClaimHashAnnotation]
	return !known || !both || x == y
}

func last(sorted []appsv1.ControllerRevision) *appsv1.ControllerRevision {
	if len(sorted) == 0 {
		return nil
	}
	return &sorted[len(sorted)-1]
}

// lastEqual looks at the newest first, which is nearly always the one.
func lastEqual(sorted []appsv1.ControllerRevision, data []byte) *appsv1.ControllerRevision {
	for i := range slices.Backward(sorted) {
		if Equal(sorted[i].Data.Raw, data) {
			return &sorted[i]
		}
	}
	return nil
}

// Of finds the revision that a pod's label means; nil when there is none.
func Of(label string, revisions []appsv1.ControllerRevision) *appsv1.ControllerRevision {
	for i := range revisions {
		if Same(label, revisions[i].Name) {
			return &revisions[i]
		}
	}
	return nil
}

// Surplus is the revisions that nothing needs beyond the limit, the oldest first: those that are in use by label or name do
// not count. // WL-0.5
func Surplus(existing []appsv1.ControllerRevision, limit int, inUse ...string) []appsv1.ControllerRevision {
	var idle []appsv1.ControllerRevision
	for _, r := range shared.Sorted(existing) {
		if !slices.ContainsFunc(inUse, func(label string) bool { return Same(label, r.Name) }) {
			idle = append(idle, r)
		}
	}
	return idle[:max(len(idle)-max(limit, 0), 0)]
}
