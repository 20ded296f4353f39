package inventory

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/pkg/event"
)

const reportingController = "klusterlet-agent" // OCM-20.3

// Turned is the event for what became of availability, none while it stays. OCM-4.2
func Turned(before, after []metav1.Condition) (event.Event, bool) {
	was := meta.FindStatusCondition(before, clusterv1.ManagedClusterConditionAvailable)
	is := meta.FindStatusCondition(after, clusterv1.ManagedClusterConditionAvailable)
	if is == nil || was != nil && was.Status == is.Status {
		return event.Event{}, false
	}
	if is.Status == metav1.ConditionTrue {
		return event.Normal("Available", "%s", is.Message), true
	}
	return event.Warning("Unavailable", "%s", is.Message), true
}

// shownClaims is how many names the event holds.
const shownClaims = 3

// Dropped is the event for claims beyond the limit. OCM-5.2
func Dropped(dropped []string, most int) event.Event {
	names := strings.Join(dropped[:min(shownClaims, len(dropped))], ", ")
	if len(dropped) > shownClaims {
		names += ", ..."
	}
	return event.Warning("ClaimsDropped", "%d custom ClusterClaims are not reported (%s), because the hub takes %d of them by name; remove some, or raise --max-custom-cluster-claims",
		len(dropped), names, most)
}

// say leaves an event in the cluster's namespace on the hub. One that does not arrive is not worth a retry.
func (r *Reporter) say(ctx context.Context, cluster *clusterv1.ManagedCluster, e event.Event) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := r.Hub.Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Name, GenerateName: cluster.Name + "-"},
		EventTime:  metav1.NowMicro(), ReportingController: reportingController, ReportingInstance: reportingController,
		Action: e.Reason, Reason: e.Reason, Type: e.Type, Note: e.Message,
		Regarding: corev1.ObjectReference{
			APIVersion: clusterv1.GroupVersion.String(), Kind: "ManagedCluster", Name: cluster.Name, UID: cluster.UID,
			Namespace: cluster.Name, // the API wants the event where its object is, and a cluster is nowhere
		},
	})
	if err != nil {
		logf.FromContext(ctx).V(1).Info("Event not sent", "reason", e.Reason, "cause", err.Error())
	}
}
