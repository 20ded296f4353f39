package daemonset

import (
	"slices"

	"github.com/flotilla-project/flotilla/agent/nodefit"
	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// Reasons of events that stop a DaemonSet.
const (
	reasonSelectingAll = "SelectingAll" // WL-3.11
	reasonInvalidSpec  = "InvalidSpec"  // ours: without conditions there is no other place to say it
)

// reasons of what was done, and of what failed. // WL-3.11
var reasons = map[podset.Action][2]string{
	podset.Created:        {"SuccessfulCreate", "FailedCreate"},
	podset.Deleted:        {"SuccessfulDelete", "FailedDelete"},
	podset.UpdatedInPlace: {"SuccessfulUpdatePodInPlace", "FailedUpdatePodInPlace"},
}

var verbs = map[podset.Action]string{podset.Created: "created", podset.Deleted: "deleted", podset.UpdatedInPlace: "updated in place"}

// told is the events of one action.
func (p *plan) told(d podset.Deed) []event.Event {
	if d.Err != nil {
		return []event.Event{event.Warning(reasons[d.Do][1], "%v", d.Err)}
	}
	done := event.Normal(reasons[d.Do][0], "%s pod %s on node %s: %s", verbs[d.Do], d.Pod, p.nodeOf(d), d.Why)
	if d.Do == podset.Deleted && slices.ContainsFunc(p.steps.Failed, func(f podset.Delete) bool { return f.Pod == d.Pod }) {
		return []event.Event{event.Warning("FailedDaemonPod", "pod %s on node %s failed and is replaced", d.Pod, p.nodeOf(d)), done}
	}
	return []event.Event{done}
}

func (p *plan) nodeOf(d podset.Deed) string {
	if pod, ok := p.pods[d.Pod]; ok {
		return nodefit.Target(pod)
	}
	for node, name := range p.names {
		if name == d.Pod {
			return node
		}
	}
	return "unknown"
}
