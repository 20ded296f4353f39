package imagepulljob

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/flotilla-project/flotilla/agent/fanout"
)

// secrets is what has to be written before nodes can pull, and what NodeImages refer to.
type secrets struct {
	refs   []kruise.ReferenceObject
	create []*corev1.Secret
	update []fanout.Pair[*corev1.Secret, *corev1.Secret]
	delete []*corev1.Secret
}

// share has each pull secret copied once, however many jobs use it. A source that is missing takes nothing away: it may only
// not be there yet again. // IP-5, IP-6, IP-7
func share(job *kruise.ImagePullJob, sources []*corev1.Secret, copies []corev1.Secret, home string) (s secrets) {
	if job.Namespace == home {
		for _, source := range sources {
			s.refs = append(s.refs, kruise.ReferenceObject{Namespace: home, Name: source.Name})
		}
		return s
	}
	wanted, existing := map[string]*corev1.Secret{}, map[string]*corev1.Secret{} // by UID of the source
	for i := range copies {
		uid := copies[i].Labels[sourceUIDLabel]
		if is := existing[uid]; is == nil || refersTo(&copies[i], keyOf(job)) {
			existing[uid] = &copies[i]
		}
	}
	replaced := sets.Set[string]{}
	for _, source := range sources {
		uid := string(source.UID)
		wanted[uid] = copyOf(source, existing[uid], job, home)
		replaced.Insert(source.Name)
		s.refs = append(s.refs, kruise.ReferenceObject{Namespace: home, Name: wanted[uid].Name})
	}
	for uid, is := range existing {
		_, name, _ := strings.Cut(is.Annotations[sourceKeyNote], "/")
		if wanted[uid] == nil && slices.Contains(job.Spec.PullSecrets, name) && !replaced.Has(name) {
			wanted[uid] = is
			s.refs = append(s.refs, kruise.ReferenceObject{Namespace: home, Name: is.Name})
		}
	}
	diff := fanout.Diff(wanted, existing, alike)
	s.create, s.update = diff.Create, diff.Change
	s.let(job, diff.Delete)
	return s
}

// release lets go of every copy that a job refers to. // IP-7
func release(job *kruise.ImagePullJob, copies []corev1.Secret) (s secrets) {
	var all []*corev1.Secret
	for i := range copies {
		all = append(all, &copies[i])
	}
	s.let(job, all)
	return s
}

// let takes the job off the copies' lists; one that nobody is left on is deleted. // IP-7
func (s *secrets) let(job *kruise.ImagePullJob, copies []*corev1.Secret) {
	for _, is := range copies {
		if !refersTo(is, keyOf(job)) {
			continue
		}
		want := is.DeepCopy()
		if refs := references(is).Delete(keyOf(job)); refs.Len() > 0 {
			want.Annotations[referencesNote] = join(refs)
			s.update = append(s.update, fanout.Pair[*corev1.Secret, *corev1.Secret]{Want: want, Is: is})
		} else {
			s.delete = append(s.delete, is)
		}
	}
}

func join(refs sets.Set[string]) string { return strings.Join(sets.List(refs), ",") }

// copyOf is the copy of a source as it shall be. Its name comes from the source, so that a second create finds it taken. // IP-6
func copyOf(source, is *corev1.Secret, job *kruise.ImagePullJob, home string) *corev1.Secret {
	refs := sets.New(keyOf(job))
	if is != nil {
		refs = refs.Union(references(is))
		want := is.DeepCopy()
		want.Data = maps.Clone(source.Data)
		metav1.SetMetaDataAnnotation(&want.ObjectMeta, referencesNote, join(refs))
		return want
	}
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: home, GenerateName: source.Name + "-", Name: fmt.Sprintf("%.240s-%s", source.Name, suffix(source)),
			Labels: maps.Clone(source.Labels), Annotations: maps.Clone(source.Annotations),
		},
		Type: source.Type, Data: maps.Clone(source.Data),
	}
	metav1.SetMetaDataLabel(&want.ObjectMeta, sourceUIDLabel, string(source.UID))
	metav1.SetMetaDataAnnotation(&want.ObjectMeta, sourceKeyNote, source.Namespace+"/"+source.Name)
	metav1.SetMetaDataAnnotation(&want.ObjectMeta, referencesNote, join(refs))
	delete(want.Annotations, corev1.LastAppliedConfigAnnotation) // it holds the secret once more, for another object
	return want
}

func suffix(source *corev1.Secret) string {
	h := fnv.New32a()
	fmt.Fprint(h, source.UID)
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}

// alike: data and references are what counts in a copy that is there. // IP-6
func alike(want, is *corev1.Secret) bool {
	return equality.Semantic.DeepEqual(want.Data, is.Data) && references(want).Equal(references(is))
}
