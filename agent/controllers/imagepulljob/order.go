package imagepulljob

import (
	"cmp"
	"slices"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// order is what a job asks of a node. // IP-11
type order struct {
	name, tag string
	secrets   []kruise.ReferenceObject
	sandbox   *kruise.SandboxConfig
	policy    kruise.ImageTagPullPolicy
	pull      kruise.ImagePullPolicy
	owner     corev1.ObjectReference
	at        metav1.Time
}

func newOrder(job *kruise.ImagePullJob, name, tag string, secrets []kruise.ReferenceObject, now time.Time, luck func(int32) int32) order {
	return order{
		name: name, tag: tag, secrets: secrets, sandbox: job.Spec.SandboxConfig, policy: pullPolicy(job, luck), pull: job.Spec.ImagePullPolicy,
		owner: corev1.ObjectReference{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Namespace: job.Namespace, Name: job.Name, UID: job.UID},
		at:    metav1.NewTime(now.Truncate(time.Second)),
	}
}

// How long a tag outlives its pull, in seconds. // IP-12
const (
	longest    = 1800
	reserve    = 300 // and up to as much again by chance, so that tags do not go all at once
	neverTTL   = 86400
	neverRange = 600
)

// pullPolicy is the numbers of the tag. // IP-12
func pullPolicy(job *kruise.ImagePullJob, luck func(int32) int32) kruise.ImageTagPullPolicy {
	pull, completion := job.Spec.PullPolicy, job.Spec.CompletionPolicy
	policy := kruise.ImageTagPullPolicy{TimeoutSeconds: pull.TimeoutSeconds, BackoffLimit: pull.BackoffLimit}
	if completion.Type == kruise.Never {
		policy.ActiveDeadlineSeconds = new(int64(max(longest, *pull.TimeoutSeconds)))
		policy.TTLSecondsAfterFinished = new(neverTTL - neverRange + luck(2*neverRange))
		return policy
	}
	policy.ActiveDeadlineSeconds = completion.ActiveDeadlineSeconds
	base := *pull.TimeoutSeconds * *pull.BackoffLimit
	switch {
	case completion.TTLSecondsAfterFinished != nil:
		base = *completion.TTLSecondsAfterFinished
	case completion.ActiveDeadlineSeconds != nil:
		base = int32(*completion.ActiveDeadlineSeconds)
	}
	policy.TTLSecondsAfterFinished = new(base + reserve + luck(reserve))
	return policy
}

// apply writes the order into a NodeImage, and tells whether that changed anything. // IP-11
func (o *order) apply(node *kruise.NodeImage) bool {
	image := node.Spec.Images[o.name]
	lacking := missing(image.PullSecrets, o.secrets)
	image.PullSecrets = slices.Concat(image.PullSecrets, lacking)
	changed := len(lacking) > 0
	i := slices.IndexFunc(image.Tags, func(t kruise.ImageTagSpec) bool { return t.Tag == o.tag })
	switch {
	case i >= 0 && slices.ContainsFunc(image.Tags[i].OwnerReferences, func(ref corev1.ObjectReference) bool { return ref.UID == o.owner.UID }):
		if !changed {
			return false
		}
	case i >= 0:
		tag := &image.Tags[i]
		tag.Version++
		tag.OwnerReferences = append(slices.Clone(tag.OwnerReferences), o.owner)
		tag.CreatedAt, tag.ImagePullPolicy = o.at.DeepCopy(), o.pull
	default:
		image.Tags = append(image.Tags, kruise.ImageTagSpec{
			Tag: o.tag, Version: o.version(node), CreatedAt: o.at.DeepCopy(), ImagePullPolicy: o.pull,
			PullPolicy: o.policy.DeepCopy(), OwnerReferences: []corev1.ObjectReference{o.owner},
		})
		slices.SortFunc(image.Tags, func(a, b kruise.ImageTagSpec) int { return cmp.Compare(a.Tag, b.Tag) })
	}
	image.SandboxConfig = o.sandbox.DeepCopy()
	if node.Spec.Images == nil {
		node.Spec.Images = map[string]kruise.ImageSpec{}
	}
	node.Spec.Images[o.name] = image
	return true
}

// version goes on from what the daemon has seen, or it would take the tag for one that it has pulled. // IP-11
func (o *order) version(node *kruise.NodeImage) int64 {
	for _, t := range node.Status.ImageStatuses[o.name].Tags {
		if t.Tag == o.tag {
			return t.Version + 1
		}
	}
	return 0
}
