// Package health says which clusters are heard from. It owns the lease that each agent renews (it makes it, the agent
// may only update it), writes the Unknown of ManagedClusterConditionAvailable, the condition about the clock, and the
// two taints that follow from Available; it reads nothing else.
//
// It promises never to call a cluster available: only its agent does. A cluster is given up exactly when its grace is
// over, and judging it again is left to the next renewal.
package health

import (
	"context"
	"fmt"
	"os"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// ReasonAvailableUnknown is the reason of the event about a cluster that fell silent. OCM-20.3
	ReasonAvailableUnknown = "AvailableUnknown"
	// reporter is who the hub's events are from.
	reporter = "flotilla-hub"
)

// Steps is the controller of one ManagedCluster's health.
type Steps struct {
	// Hub reads from the cache and writes.
	Hub client.Client
	// Live writes events; it must not cache.
	Live client.Client

	beats *beats
}

// Observe reads the lease, and whether there is a namespace to hold one.
func (s *Steps) Observe(ctx context.Context, cluster *clusterv1.ManagedCluster) (facts, error) {
	seen := facts{beat: s.beats.of(cluster.Name)}
	var lease coordinationv1.Lease
	err := s.Hub.Get(ctx, client.ObjectKey{Namespace: cluster.Name, Name: LeaseName}, &lease)
	if err == nil {
		seen.lease = &lease
		return seen, nil
	}
	if !apierrors.IsNotFound(err) {
		return seen, fmt.Errorf("read lease of %s: %w", cluster.Name, err)
	}
	var home corev1.Namespace
	err = s.Hub.Get(ctx, client.ObjectKey{Name: cluster.Name}, &home)
	if client.IgnoreNotFound(err) != nil {
		return seen, fmt.Errorf("read namespace %s: %w", cluster.Name, err)
	}
	seen.home = err == nil && home.DeletionTimestamp.IsZero()
	return seen, nil
}

// Decide judges the cluster.
func (*Steps) Decide(cluster *clusterv1.ManagedCluster, seen facts, now time.Time) plan {
	return decide(cluster, seen, now)
}

// Act makes the lease, sets the taints and tells of a cluster that fell silent.
func (s *Steps) Act(ctx context.Context, cluster *clusterv1.ManagedCluster, p plan) error {
	if p.lease != nil {
		if err := s.Hub.Create(ctx, p.lease.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create lease: %w", err)
		}
	}
	if p.lost != nil {
		log.FromContext(ctx).Info("give cluster up", "lastRenewed", *p.lost)
		err := s.Live.Create(ctx, fellSilent(cluster, *p.lost, p.lost.Add(grace(cluster))))
		if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return fmt.Errorf("create event: %w", err) // in a namespace on its way out no event is possible, nor needed
		}
	}
	if p.retaint {
		changed := cluster.DeepCopy()
		changed.Spec.Taints = p.taints
		err := s.Hub.Patch(ctx, changed, client.MergeFromWithOptions(cluster.DeepCopy(), client.MergeFromWithOptimisticLock{}))
		if client.IgnoreNotFound(err) != nil { // OCM-4.4: another's newer taints are never overwritten
			return fmt.Errorf("set taints: %w", err)
		}
	}
	return nil
}

// Report writes the two conditions that are the hub's to write. OCM-20.1
func (*Steps) Report(cluster *clusterv1.ManagedCluster, _ facts, p plan, _ error) {
	for _, c := range []*metav1.Condition{p.available, p.clock} {
		if c != nil {
			meta.SetStatusCondition(&cluster.Status.Conditions, *c)
		}
	}
}

// fellSilent is named after the cluster and its last renewal, so that telling twice is telling once. OCM-20.3
func fellSilent(cluster *clusterv1.ManagedCluster, last, now time.Time) *eventsv1.Event {
	host, err := os.Hostname()
	if err != nil {
		host = reporter
	}
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s.silent.%x", cluster.Name, last.UnixNano()), Namespace: cluster.Name},
		EventTime:  metav1.NewMicroTime(now),
		// An event must be in the namespace of what it is about, which a cluster has not: its own stands in.
		Regarding: corev1.ObjectReference{APIVersion: clusterv1.GroupVersion.String(), Kind: "ManagedCluster", Namespace: cluster.Name,
			Name: cluster.Name, UID: cluster.UID, ResourceVersion: cluster.ResourceVersion},
		ReportingController: reporter,
		ReportingInstance:   reporter + "-" + host,
		Action:              "Watch",
		Reason:              ReasonAvailableUnknown,
		Type:                corev1.EventTypeWarning,
		Note: fmt.Sprintf("Cluster %s has not renewed its lease since %s and is not heard from.",
			cluster.Name, last.UTC().Format(time.RFC3339)),
	}
}
