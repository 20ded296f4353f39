package statefulset

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/ordinal"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// reasons of what was done, and of what failed. // WL-2.15
var reasons = map[podset.Action][2]string{
	podset.Created:        {"SuccessfulCreate", "FailedCreate"},
	podset.Deleted:        {"SuccessfulDelete", "FailedDelete"},
	podset.UpdatedInPlace: {"SuccessfulUpdatePodInPlace", "FailedUpdatePodInPlace"},
}

var verbs = map[podset.Action]string{podset.Created: "created", podset.Deleted: "deleted", podset.UpdatedInPlace: "updated in place"}

// told is the event of one action.
func told(d podset.Deed) event.Event {
	if d.Err != nil {
		return event.Warning(reasons[d.Do][1], "%v", d.Err)
	}
	return event.Normal(reasons[d.Do][0], "%s %s: %s", verbs[d.Do], d.Pod, d.Why)
}

func repaired(r ordinal.Repair, err error) event.Event {
	if err != nil {
		return event.Warning("FailedUpdate", "%v", err)
	}
	return event.Normal("SuccessfulUpdate", "repaired %s: %s", r.Pod, r.Why)
}

func resized(claim, template *corev1.PersistentVolumeClaim, err error) event.Event {
	if err != nil {
		return event.Warning("FailedResize", "%v", err)
	}
	size := template.Spec.Resources.Requests[corev1.ResourceStorage]
	return event.Normal("SuccessfulResize", "asked for %s for claim %s", size.String(), claim.Name)
}

// claimRefused says that a claim cannot be made to fit its template. // WL-2.9
func claimRefused(r podset.Refusal) event.Event {
	return event.Warning("FailedUpdatePVC", "%s cannot be updated: %s; make the template fit, or delete claim and pod", r.Pod, r.Why)
}
