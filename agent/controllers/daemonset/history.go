package daemonset

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/dump"

	"github.com/flotilla-project/flotilla/agent/podset/revision"
	shared "github.com/flotilla-project/flotilla/pkg/revision"
)

// hashLabel holds a revision's hash, on revisions and on pods. // WL-3.11
const hashLabel = appsv1.ControllerRevisionHashLabelKey

// history is the revisions of a DaemonSet, and what has to be written before they can be used. // WL-3.2
type history struct {
	current    *appsv1.ControllerRevision // as it shall be; shared with the cache when nothing changes
	create     bool
	hash       string
	changes    []revised
	twins      []*appsv1.ControllerRevision // they say the same as the current one
	old        []*appsv1.ControllerRevision // lowest number first
	collisions *int32
}

// revised is a revision as it is and as it shall be.
type revised struct{ seen, want *appsv1.ControllerRevision }

// resolve finds the revision that the template asks for. // WL-3.2
func resolve(ds *kruise.DaemonSet, existing []*appsv1.ControllerRevision) (history, error) {
	h := history{collisions: ds.Status.CollisionCount}
	data, err := revision.Data(&ds.Spec.Template)
	if err != nil {
		return h, err
	}
	var same []*appsv1.ControllerRevision
	for _, r := range slices.SortedFunc(slices.Values(existing), byNumber) {
		if revision.Equal(r.Data.Raw, data) {
			same = append(same, r)
		} else {
			h.old = append(h.old, r)
		}
	}
	number := int64(1)
	if n := len(h.old); n > 0 {
		number = h.old[n-1].Revision + 1
	}
	for i, r := range h.old {
		h.old[i] = h.put(r, r.Revision)
	}
	if len(same) == 0 {
		h.create = true
		h.build(ds, data, number)
		return h, nil
	}
	newest := same[len(same)-1]
	h.twins = same[:len(same)-1]
	h.current = h.put(newest, max(newest.Revision, number))
	h.hash = h.current.Labels[hashLabel]
	return h, nil
}

func byNumber(a, b *appsv1.ControllerRevision) int {
	return cmp.Or(cmp.Compare(a.Revision, b.Revision), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// put gives a revision its number, and its name as hash if it has none.
func (h *history) put(r *appsv1.ControllerRevision, number int64) *appsv1.ControllerRevision {
	if r.Revision == number && r.Labels[hashLabel] != "" {
		return r
	}
	want := r.DeepCopy()
	want.Revision = number
	if want.Labels[hashLabel] == "" {
		metav1.SetMetaDataLabel(&want.ObjectMeta, hashLabel, r.Name)
	}
	h.changes = append(h.changes, revised{r, want})
	return want
}

func (h *history) build(ds *kruise.DaemonSet, data []byte, number int64) {
	h.hash = templateHash(&ds.Spec.Template, h.collisions)
	labels := maps.Clone(ds.Spec.Template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[hashLabel] = h.hash
	h.current = &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Name: shared.Name(ds.Name, h.hash), Namespace: ds.Namespace, Labels: labels,
			Annotations: maps.Clone(ds.Annotations), OwnerReferences: []metav1.OwnerReference{ownerRef(ds)},
		},
		Data: runtime.RawExtension{Raw: data}, Revision: number,
	}
}

// clash answers a create whose name was taken: the one that is there serves when it means the same; else the collision
// count of this DaemonSet goes up, and with it the name changes. // WL-3.2
func (h *history) clash(ds *kruise.DaemonSet, taken *appsv1.ControllerRevision) {
	if revision.Equal(taken.Data.Raw, h.current.Data.Raw) && taken.Labels[hashLabel] != "" {
		h.current, h.create, h.hash = taken, false, taken.Labels[hashLabel]
		return
	}
	count := int32(0)
	if h.collisions != nil {
		count = *h.collisions
	}
	h.collisions = new(count + 1)
	h.build(ds, h.current.Data.Raw, h.current.Revision)
}

// templateHash is how Kubernetes tells pod templates apart: FNV-1a over everything in it, printed out. Other releases print
// other fields, so a hash is only ever made for a revision that is new, and compared as text. // WL-3.2
func templateHash(template *corev1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%v", dump.ForHash(*template))
	if collisions != nil {
		var count [8]byte
		binary.LittleEndian.PutUint32(count[:], uint32(*collisions))
		h.Write(count[:])
	}
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}

// means finds the revision that a pod's label stands for, by hash or by name. // WL-3.8
func (h *history) means(label string) *appsv1.ControllerRevision {
	for _, some := range [][]*appsv1.ControllerRevision{h.old, h.twins, {h.current}} {
		for _, r := range some {
			if revision.Same(label, r.Labels[hashLabel]) || revision.Same(label, r.Name) {
				return r
			}
		}
	}
	return nil
}

// isCurrent says that a pod with the label needs no update for its template's sake.
func (h *history) isCurrent(label string) bool {
	return label == h.hash || slices.ContainsFunc(h.twins, func(r *appsv1.ControllerRevision) bool { return label != "" && label == r.Labels[hashLabel] })
}

// surplus is how many old revisions are over the limit: the lowest numbers first, but none that a pod still has. // WL-3.2
func (h *history) surplus(limit int, live map[string]bool) []*appsv1.ControllerRevision {
	over := len(h.old) - limit
	var drop []*appsv1.ControllerRevision
	for _, r := range h.old {
		if len(drop) >= over {
			break
		}
		if !live[r.Labels[hashLabel]] {
			drop = append(drop, r)
		}
	}
	return drop
}
