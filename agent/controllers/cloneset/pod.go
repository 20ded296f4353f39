package cloneset

import (
	"fmt"
	"maps"
	"slices"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

// newPod makes the pod of an instance id from a revision, and the claims it lacks. // WL-1.5, WL-1.4
func (p *plan) newPod(id, name string) (*corev1.Pod, []*corev1.PersistentVolumeClaim, error) {
	from := p.revisions.Update
	if name == p.revisions.Current.Name {
		from = p.revisions.Current
	}
	template, err := revision.Template(from.Data.Raw)
	if err != nil {
		return nil, nil, fmt.Errorf("read revision %s: %w", from.Name, err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:            p.set.Name + "-" + id,
			GenerateName:    p.set.Name + "-",
			Namespace:       p.set.Namespace,
			Labels:          with(template.Labels, p.labels(from.Name)),
			Annotations:     maps.Clone(template.Annotations),
			Finalizers:      slices.Clone(template.Finalizers),
			OwnerReferences: []metav1.OwnerReference{ownerRef(p.set)},
		},
		Spec: template.Spec,
	}
	pod.Labels[kruise.CloneSetInstanceID] = id
	lifecycle.Move(pod, lifecycle.PreparingNormal, nil, p.now)
	if !lifecycle.HasGate(pod, pub.InPlaceUpdateReady) {
		pod.Spec.ReadinessGates = append(pod.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: pub.InPlaceUpdateReady})
	}
	return pod, p.claim(pod, id), nil
}

// labels are what every pod of a revision carries. // WL-1.5
func (p *plan) labels(name string) map[string]string {
	return map[string]string{
		appsv1.ControllerRevisionHashLabelKey:  p.label(name),
		appsv1.DefaultDeploymentUniqueLabelKey: revision.Short(name),
	}
}

// claim gives the pod its claims as volumes, and returns those that do not exist. // WL-1.4
func (p *plan) claim(pod *corev1.Pod, id string) []*corev1.PersistentVolumeClaim {
	var missing []*corev1.PersistentVolumeClaim
	var volumes []corev1.Volume
	for _, t := range p.set.Spec.VolumeClaimTemplates {
		name := t.Name + "-" + p.set.Name + "-" + id
		volumes = append(volumes, corev1.Volume{Name: t.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}})
		if slices.ContainsFunc(p.claims.byID[id], func(c *corev1.PersistentVolumeClaim) bool { return c.Name == name }) {
			continue // the pod takes over what another one left
		}
		missing = append(missing, &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: p.set.Namespace, Annotations: t.Annotations,
				Labels:          with(with(t.Labels, p.set.Spec.Selector.MatchLabels), map[string]string{kruise.CloneSetInstanceID: id}),
				OwnerReferences: []metav1.OwnerReference{ownerRef(p.set)},
			},
			Spec: t.Spec,
		})
	}
	for _, v := range pod.Spec.Volumes {
		if !slices.ContainsFunc(volumes, func(c corev1.Volume) bool { return c.Name == v.Name }) {
			volumes = append(volumes, v)
		}
	}
	pod.Spec.Volumes = volumes
	return missing
}

func with(base, more map[string]string) map[string]string {
	all := make(map[string]string, len(base)+len(more))
	maps.Copy(all, base)
	maps.Copy(all, more)
	return all
}

// claims is what becomes of the claims there are.
type claims struct {
	byID   map[string][]*corev1.PersistentVolumeClaim // those that take part
	taken  []string                                   // their ids
	free   []string                                   // of them, those whose pod is gone
	follow map[*corev1.PersistentVolumeClaim]string   // pods on their way out, and the claims that go with them
	drop   []*corev1.PersistentVolumeClaim
}

// sortClaims keeps claims for new pods, unless the CloneSet does not want them reused. // WL-1.4
func sortClaims(cs *kruise.CloneSet, found []corev1.PersistentVolumeClaim, facts []podset.Pod) claims {
	active, inactive := map[string]bool{}, map[string]string{}
	for _, f := range facts {
		if f.Terminating || f.Phase == podset.Finished {
			inactive[f.Slot] = f.Name
		} else {
			active[f.Slot] = true
		}
	}
	c := claims{byID: map[string][]*corev1.PersistentVolumeClaim{}, follow: map[*corev1.PersistentVolumeClaim]string{}}
	for i := range found {
		claim := &found[i]
		id := claim.Labels[kruise.CloneSetInstanceID]
		pod, leaving := inactive[id]
		switch {
		case id == "":
			continue // not one of ours to give away
		case active[id] || !cs.Spec.ScaleStrategy.DisablePVCReuse:
			c.byID[id] = append(c.byID[id], claim)
		case leaving:
			c.follow[claim] = pod
		default:
			c.drop = append(c.drop, claim)
		}
	}
	c.taken = slices.Sorted(maps.Keys(c.byID))
	for _, id := range c.taken {
		if !active[id] {
			c.free = append(c.free, id)
		}
	}
	return c
}
