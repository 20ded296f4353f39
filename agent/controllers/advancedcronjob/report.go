package advancedcronjob

import (
	"slices"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Report writes the status, which has no conditions. What was made in this round is in it. // CJ-1, CJ-6, CJ-8
func (s *steps) Report(acj *kruise.AdvancedCronJob, _ seen, p *plan, acted error) {
	stopped := p.stop
	if acted != nil {
		stopped = nil
	}
	var running []corev1.ObjectReference
	for _, c := range p.active {
		if !slices.ContainsFunc(stopped, func(gone child) bool { return gone.object.GetUID() == c.object.GetUID() }) {
			running = append(running, s.reference(c.object))
		}
	}
	last := p.last
	if p.made != nil {
		running = append(running, s.reference(p.made.object))
		last = new(metav1.NewTime(p.made.slot))
	}
	acj.Status.Type = kindOf(acj)
	acj.Status.Active = running
	if !last.Equal(acj.Status.LastScheduleTime) {
		acj.Status.LastScheduleTime = last
	}
}
