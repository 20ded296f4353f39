package federateddeployment

import "github.com/flotilla-project/flotilla/pkg/event"

// Reasons of events that are no condition's.
const (
	reasonRolloutStarted   = "RolloutStarted"
	reasonWaveStarted      = "WaveStarted"
	reasonRolloutComplete  = "RolloutComplete"
	reasonRemovingReplicas = "RemovingReplicas"
	// ReasonWorkWritten: a work was made or changed.
	ReasonWorkWritten = "WorkWritten"
)

// removing speaks before the deed, because it is the last moment to stop it.
func removing(r removal) event.Event {
	return event.Normal(reasonRemovingReplicas, "removing %d replicas of subset %s from cluster %s: %s",
		r.work.replicas, r.work.subset(), r.work.cluster(), r.why)
}

// written tells what a cluster was asked for.
func written(c change) event.Event {
	return event.Normal(ReasonWorkWritten, "%s", c.why)
}
