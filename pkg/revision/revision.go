// Package revision decides about ControllerRevisions: what one is called, which of those that exist holds the wanted data,
// and which are no longer needed. It is pure and knows data as bytes only; how two of them are told to mean the same is up
// to the caller. It promises the names that OpenKruise gives (WL-0.5).
package revision

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
)

// HashLabel is the label that holds a revision's hash.
const HashLabel = "controller.kubernetes.io/hash"

// maxOwnerName leaves room for the hash in a revision's name.
const maxOwnerName = 223

// Hash is what the name of a revision ends in.
func Hash(data []byte, collisions int32) string {
	h := fnv.New32()
	h.Write(data)
	h.Write([]byte(strconv.Itoa(int(collisions))))
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}

// Name is what a revision of the owner is called.
func Name(owner, hash string) string {
	return owner[:min(len(owner), maxOwnerName)] + "-" + hash
}

// Sorted returns the revisions oldest first: by number, creation time and name.
func Sorted(revisions []appsv1.ControllerRevision) []appsv1.ControllerRevision {
	return slices.SortedFunc(slices.Values(revisions), func(a, b appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision),
			a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
}

// Owner is whose revisions these are.
type Owner struct {
	Name, Namespace string
	Ref             metav1.OwnerReference
	Labels          map[string]string
	Collisions      int32
}

// Write is what has to be written before the revision can be used.
type Write int

// The writes.
const (
	Keep     Write = iota // it is there as it should be
	Create                // it is new
	Renumber              // it is an older one that became the newest again
)

// Resolve finds the revision with that data among those that exist, or says what to write. What it returns is never shared
// with its input.
func Resolve(owner Owner, data []byte, existing []appsv1.ControllerRevision, same func(a, b []byte) bool) (*appsv1.ControllerRevision, Write) {
	sorted := Sorted(existing)
	if len(sorted) == 0 {
		return build(owner, data, 1, nil), Create
	}
	newest := sorted[len(sorted)-1]
	for _, r := range slices.Backward(sorted) {
		switch {
		case !same(r.Data.Raw, data):
			continue
		case r.Name == newest.Name:
			return r.DeepCopy(), Keep
		}
		again := r.DeepCopy()
		again.Revision = newest.Revision + 1
		return again, Renumber
	}
	return build(owner, data, newest.Revision+1, sorted), Create
}

// build counts collisions up until the name is free.
func build(owner Owner, data []byte, number int64, existing []appsv1.ControllerRevision) *appsv1.ControllerRevision {
	hash := Hash(data, owner.Collisions)
	taken := func(r appsv1.ControllerRevision) bool { return r.Name == Name(owner.Name, hash) }
	for slices.ContainsFunc(existing, taken) {
		owner.Collisions++
		hash = Hash(data, owner.Collisions)
	}
	labels := maps.Clone(owner.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[HashLabel] = hash
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Name: Name(owner.Name, hash), Namespace: owner.Namespace, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{owner.Ref},
		},
		Data: runtime.RawExtension{Raw: data}, Revision: number,
	}
}

// Surplus are the oldest revisions over the limit, without those that are still needed, which do count (WL-5.6).
func Surplus(existing []appsv1.ControllerRevision, limit int, needed func(name string) bool) []appsv1.ControllerRevision {
	sorted := Sorted(existing)
	oldest := sorted[:max(len(sorted)-max(limit, 0), 0)]
	return slices.DeleteFunc(oldest, func(r appsv1.ControllerRevision) bool { return needed(r.Name) })
}
