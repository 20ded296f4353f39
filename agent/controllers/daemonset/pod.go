package daemonset

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/nodefit"
	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/agent/podset/pernode"
)

// Names on pods, and on the DaemonSet. // WL-3.11
const (
	templateGeneration = "pod-template-generation"
	ownScheduler       = "kubernetes.io/daemonset-controller"
	progressiveCreate  = "daemonset.kruise.io/progressive-create-pod"
)

const (
	suffixLetters = "bcdfghjklmnpqrstvwxz2456789"
	suffixLength  = 5
	longestBase   = 63 - suffixLength // of generated names
)

// name chooses the names of the pods that the plan makes. The same view gives the same names, so a plan that is carried out
// twice ends in AlreadyExists and not in a second pod on a node; any change that was seen gives others.
func (p *plan) name(facts []pernode.Pod) {
	p.names = map[string]string{}
	if len(p.steps.Create) == 0 {
		return
	}
	taken := map[string]bool{}
	pods := make([]podset.Pod, 0, len(facts))
	for i := range facts {
		taken[facts[i].Name] = true
		pods = append(pods, facts[i].Pod)
	}
	seed := podset.Seed(string(p.set.UID), p.set.ResourceVersion, pods)
	base := p.set.Name + "-"
	base = base[:min(len(base), longestBase)]
	for _, c := range p.steps.Create {
		h := fnv.New64a()
		h.Write([]byte(c.Slot))
		random := rand.New(rand.NewPCG(seed, h.Sum64()))
		name := base + suffix(random)
		for taken[name] {
			name = base + suffix(random)
		}
		taken[name], p.names[c.Slot] = true, name
	}
}

func suffix(random *rand.Rand) string {
	var s [suffixLength]byte
	for i := range s {
		s[i] = suffixLetters[random.IntN(len(suffixLetters))]
	}
	return string(s[:])
}

// newPod makes the pod of a node. // WL-3.6
func (p *plan) newPod(node, _ string) (*corev1.Pod, []*corev1.PersistentVolumeClaim, error) {
	template := p.set.Spec.Template.DeepCopy()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: p.names[node], GenerateName: p.set.Name + "-", Namespace: p.set.Namespace,
			Labels: template.Labels, Annotations: template.Annotations, Finalizers: slices.Clone(template.Finalizers),
			OwnerReferences: []metav1.OwnerReference{ownerRef(p.set)},
		},
		Spec: template.Spec,
	}
	for key, value := range p.labels("") {
		metav1.SetMetaDataLabel(&pod.ObjectMeta, key, value)
	}
	if generation, ok := p.set.Annotations[appsv1.DeprecatedTemplateGeneration]; ok {
		metav1.SetMetaDataLabel(&pod.ObjectMeta, templateGeneration, generation)
	}
	pod.Spec.Tolerations = tolerationsOf(&pod.Spec)
	if r := p.rolling(); r != nil && r.Type == kruise.InplaceRollingUpdateType && !lifecycle.HasGate(pod, pub.InPlaceUpdateReady) { // WL-3.12.7
		pod.Spec.ReadinessGates = append(pod.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: pub.InPlaceUpdateReady})
	}
	if p.bind {
		pod.Spec.NodeName, pod.Spec.SchedulerName = node, ownScheduler
		return pod, nil, nil
	}
	nodefit.Pin(&pod.Spec, node) // what else the template requires of nodes was answered before // WL-3.6
	return pod, nil, nil
}

// labels are what every pod of the current revision carries. // WL-3.12.10
func (p *plan) labels(string) map[string]string { return map[string]string{hashLabel: p.history.hash} }
