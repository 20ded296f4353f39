// Package notice tells the people of a hub what the agent of a cluster noticed: as events in the cluster's namespace,
// for which every agent has the right (OCM-3.6). It owns nothing and promises that telling twice is telling once.
package notice

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const timeout = 10 * time.Second

// Warn leaves an event about cluster. Events of the same reason and occasion are one. OCM-20.3
func Warn(ctx context.Context, hub client.Client, cluster *clusterv1.ManagedCluster, reason, occasion, note string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := hub.Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: cluster.Name, Name: strings.ToLower(fmt.Sprintf("%s.%s.%s", cluster.Name, reason, occasion)),
		},
		EventTime:           metav1.NowMicro(),
		ReportingController: "klusterlet-agent", ReportingInstance: "flotilla-agent",
		Action: "Hold", Reason: reason, Type: corev1.EventTypeWarning, Note: cut(note),
		// An event must be in the namespace of what it is about, which a cluster has not: its own stands in.
		Regarding: corev1.ObjectReference{
			APIVersion: clusterv1.GroupVersion.String(), Kind: "ManagedCluster", Namespace: cluster.Name, Name: cluster.Name, UID: cluster.UID,
		},
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create event about cluster %s: %w", cluster.Name, err)
	}
	return nil
}

// cut keeps a note within what an event may hold.
func cut(note string) string {
	const longest = 1024
	return note[:min(len(note), longest)]
}
