package placement

import (
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"

	"github.com/flotilla-project/flotilla/pkg/event"
)

// Reasons of the events on a placement. OCM-17.4
const (
	reasonCreated = "DecisionCreate"
	reasonUpdated = "DecisionUpdate"
	reasonDeleted = "DecisionDelete"
	reasonScored  = "ScoreUpdate"
)

func decisionCreated(p *clusterv1beta1.Placement, name string) event.Event {
	return event.Normal(reasonCreated, "Decision %s is created with placement %s in namespace %s", name, p.Name, p.Namespace)
}

func decisionUpdated(p *clusterv1beta1.Placement, name string) event.Event {
	return event.Normal(reasonUpdated, "Decision %s is updated with placement %s in namespace %s", name, p.Name, p.Namespace)
}

func decisionDeleted(p *clusterv1beta1.Placement, name string) event.Event {
	return event.Normal(reasonDeleted, "Decision %s is deleted with placement %s in namespace %s", name, p.Name, p.Namespace)
}

// scoreUpdate is nothing when there are no scores to tell.
func scoreUpdate(text string) []event.Event {
	if text == "" {
		return nil
	}
	return []event.Event{event.Normal(reasonScored, "%s", text)}
}
