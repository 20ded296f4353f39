// Package heartbeat renews the agent's lease on the hub.
//
// It owns the renewTime of Lease managed-cluster-lease in the cluster's namespace and nothing else. It never
// creates the lease, and it stops while the hub does not accept the cluster.
package heartbeat

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	leaseName     = "managed-cluster-lease"
	defaultPeriod = 60 * time.Second
	jitter        = 0.25
	retryFirst    = time.Second
	callTimeout   = 10 * time.Second
)

// Beat is what the ManagedCluster asks of the heartbeat.
type Beat struct {
	Accepted bool
	Period   time.Duration
}

// Of reads the beat from a ManagedCluster; nil, which is an object that cannot be read, is no beat. OCM-4.1
func Of(cluster *clusterv1.ManagedCluster) Beat {
	if cluster == nil {
		return Beat{}
	}
	period := time.Duration(cluster.Spec.LeaseDurationSeconds) * time.Second
	if period <= 0 {
		period = defaultPeriod
	}
	return Beat{
		Accepted: meta.IsStatusConditionTrue(cluster.Status.Conditions, clusterv1.ManagedClusterConditionHubAccepted),
		Period:   period,
	}
}

// Await blocks while the hub does not answer and reports whether it had to.
type Await func(ctx context.Context) bool

// Tried is told of every try to renew the lease: when it began, and what became of it.
type Tried func(begun time.Time, err error)

// Run renews the lease of cluster through hub as the latest beat says, until ctx ends. A changed beat starts anew.
// After an outage the lease is the first thing renewed: until then the hub holds this cluster for dead.
func Run(ctx context.Context, hub client.Client, cluster string, beats <-chan Beat, hubAnswers Await, tried Tried) {
	held := &lease{hub: hub, cluster: cluster}
	var beat Beat
	var due <-chan time.Time
	failed := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-beats:
			if next == beat {
				continue
			}
			beat, due, failed = next, nil, 0
			if beat.Accepted {
				due = time.After(0)
			}
		case <-due:
			begun := time.Now()
			err := held.renew(ctx)
			tried(begun, err)
			if err != nil && ctx.Err() == nil {
				logf.FromContext(ctx).Error(err, "Lease not renewed, will try again")
				failed = min(max(2*failed, retryFirst), beat.Period)
				if hubAnswers(ctx) {
					failed = retryFirst / 2
				}
				due = time.After(wait.Jitter(failed, jitter))
				continue
			}
			failed = 0
			due = time.After(wait.Jitter(beat.Period, jitter)) // counted from the end of the call
		}
	}
}

// lease renews one lease. It remembers what it wrote, so that a renewal is one request while nobody else writes.
type lease struct {
	hub     client.Client
	cluster string
	last    *coordinationv1.Lease
}

func (l *lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	remembered := l.last != nil
	err := l.update(ctx)
	if remembered && (apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err)) {
		l.last = nil // somebody wrote it, or made another in its place
		err = l.update(ctx)
	}
	if err != nil {
		l.last = nil
	}
	return err
}

func (l *lease) update(ctx context.Context) error {
	if l.last == nil {
		l.last = &coordinationv1.Lease{}
		if err := l.hub.Get(ctx, client.ObjectKey{Namespace: l.cluster, Name: leaseName}, l.last); err != nil {
			return fmt.Errorf("get lease: %w", err) // missing too: the hub makes it, the agent has no right to
		}
	}
	now := metav1.NowMicro()
	l.last.Spec.RenewTime = &now
	if err := l.hub.Update(ctx, l.last); err != nil {
		return fmt.Errorf("update lease: %w", err)
	}
	return nil
}
