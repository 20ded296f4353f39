package broadcastjob

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/nodefit"
)

const (
	suffixLetters = "bcdfghjklmnpqrstvwxz2456789"
	suffixLength  = 10 // the pods of ten thousand nodes do not meet
	longestBase   = 63 - suffixLength
)

// newPod makes the pod of a node. // BJ-6, BJ-8
func (p *plan) newPod(node string) *corev1.Pod {
	template := p.job.Spec.Template.DeepCopy()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: p.nameOn(node), GenerateName: p.job.Name + "-", Namespace: p.job.Namespace,
			Labels: template.Labels, Annotations: template.Annotations, Finalizers: slices.Clone(template.Finalizers),
			OwnerReferences: []metav1.OwnerReference{ownerRef(p.job)},
		},
		Spec: template.Spec,
	}
	metav1.SetMetaDataLabel(&pod.ObjectMeta, NameLabel, p.job.Name)
	metav1.SetMetaDataLabel(&pod.ObjectMeta, UIDLabel, string(p.job.UID))
	if p.bind {
		pod.Spec.NodeName = node
		return pod
	}
	nodefit.Pin(&pod.Spec, node)
	return pod
}

// nameOn is the name of the job's pod on a node, always the same one.
func (p *plan) nameOn(node string) string {
	h := fnv.New64a()
	h.Write([]byte(p.job.UID))
	h.Write([]byte("/" + node))
	random := rand.New(rand.NewPCG(h.Sum64(), 0))
	name := []byte(p.job.Name + "-")
	name = name[:min(len(name), longestBase)]
	for range suffixLength {
		name = append(name, suffixLetters[random.IntN(len(suffixLetters))])
	}
	return string(name)
}
