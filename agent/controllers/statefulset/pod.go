package statefulset

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

// newPod makes the pod of an ordinal from a revision, and the claims it lacks. // WL-2.4
func (p *plan) newPod(slot, name string) (*corev1.Pod, []*corev1.PersistentVolumeClaim, error) {
	from := p.revisions.Update
	if name == p.revisions.Current.Name {
		from = p.revisions.Current
	}
	template, err := revision.Template(from.Data.Raw)
	if err != nil {
		return nil, nil, fmt.Errorf("read revision %s: %w", from.Name, err)
	}
	for _, claim := range p.claims.of(slot) {
		if claim != nil && claim.DeletionTimestamp != nil { // WL-2.8
			return nil, nil, fmt.Errorf("claim %s is being deleted, and the pod needs its name", claim.Name)
		}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:            p.set.Name + "-" + slot,
			GenerateName:    p.set.Name + "-",
			Namespace:       p.set.Namespace,
			Labels:          with(template.Labels, p.labels(from.Name)),
			Annotations:     maps.Clone(template.Annotations),
			Finalizers:      slices.Clone(template.Finalizers),
			OwnerReferences: []metav1.OwnerReference{ownerRef(p.set)},
		},
		Spec: template.Spec,
	}
	p.identify(pod, slot)
	pod.Spec.Hostname, pod.Spec.Subdomain = pod.Name, p.set.Spec.ServiceName
	pod.Spec.Volumes = p.volumes(template.Spec.Volumes, slot)
	lifecycle.Move(pod, p.firstState(pod), nil, p.now)
	return pod, p.claims.missing(slot), nil
}

// firstState is where a new pod begins. // WL-2.6.1
func (p *plan) firstState(pod *corev1.Pod) lifecycle.State {
	if l := p.set.Spec.Lifecycle; l != nil && l.PreNormal != nil && !lifecycle.AllHooked(l.PreNormal, pod) {
		return lifecycle.PreparingNormal
	}
	return lifecycle.Normal
}

// identify labels the pod with who it is. // WL-2.4
func (p *plan) identify(pod *corev1.Pod, slot string) {
	pod.Labels = with(pod.Labels, map[string]string{podNameLabel: pod.Name})
	if p.options.PodIndexLabel {
		pod.Labels[podIndexLabel] = slot
	}
}

// labels are what every pod of a revision carries.
func (p *plan) labels(name string) map[string]string {
	return map[string]string{appsv1.ControllerRevisionHashLabelKey: name}
}

// volumes are the claims, and what the template has beside them.
func (p *plan) volumes(template []corev1.Volume, slot string) []corev1.Volume {
	var volumes []corev1.Volume
	for i := range p.set.Spec.VolumeClaimTemplates {
		t := p.set.Spec.VolumeClaimTemplates[i].Name
		volumes = append(volumes, corev1.Volume{Name: t, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(t, p.set.Name, slot)},
		}})
	}
	for _, v := range template {
		if !slices.ContainsFunc(volumes, func(c corev1.Volume) bool { return c.Name == v.Name }) {
			volumes = append(volumes, v)
		}
	}
	return volumes
}

func with(base, more map[string]string) map[string]string {
	all := make(map[string]string, len(base)+len(more))
	maps.Copy(all, base)
	maps.Copy(all, more)
	return all
}
