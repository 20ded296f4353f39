package cloneset

import (
	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// reasons of what was done, and of what failed. // WL-1.18
var reasons = map[podset.Action][2]string{
	podset.Created:           {"SuccessfulCreate", "FailedCreate"},
	podset.Deleted:           {"SuccessfulDelete", "FailedDelete"},
	podset.UpdatedInPlace:    {"SuccessfulUpdatePodInPlace", "FailedUpdatePodInPlace"},
	podset.MarkedForRecreate: {"SuccessfulUpdatePodReCreate", "FailedUpdatePodReCreate"},
}

var verbs = map[podset.Action]string{
	podset.Created: "created", podset.Deleted: "deleted", podset.UpdatedInPlace: "updated in place", podset.MarkedForRecreate: "marked to be recreated",
}

// told is the event of one action.
func told(d podset.Deed) event.Event {
	if d.Err != nil {
		return event.Warning(reasons[d.Do][1], "%v", d.Err)
	}
	if d.Why == "" {
		return event.Normal(reasons[d.Do][0], "%s %s", verbs[d.Do], d.Pod)
	}
	return event.Normal(reasons[d.Do][0], "%s %s: %s", verbs[d.Do], d.Pod, d.Why)
}

// scaleLimited says that scaleStrategy.maxUnavailable holds pods back.
func scaleLimited(creates, limit int) event.Event {
	return event.Warning("ScaleUpLimited", "%d pods are not created yet: scaleStrategy.maxUnavailable allows %d unavailable", creates, limit)
}

// claimKept says that a claim did not go to the pod that leaves.
func claimKept(err error) event.Event { return event.Warning("FailedUpdate", "%v", err) }
