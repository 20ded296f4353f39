package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
)

func detachCommand(k *kube) *cobra.Command {
	var patience time.Duration
	var reason string
	c := &cobra.Command{
		Use: "detach CLUSTER", Short: "Let a cluster go; everything in it goes on running", Args: cobra.ExactArgs(1),
		Long: "Let a cluster go. Everything that the hub put there goes on running and is nobody's but the cluster's from\n" +
			"then on. It also works when the cluster is dead; should it come back, nothing in it is removed either.\n" +
			"Who did it, when and why stays on the namespace of the cluster's name, in the annotation " + detach.DetachedAnnotation + ".\n" +
			"To stop what runs there, too: kubectl flotilla remove CLUSTER",
		Example: "  kubectl flotilla detach east --reason \"the site is closed\"",
		RunE: func(c *cobra.Command, names []string) error {
			hub, err := k.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), patience)
			defer cancel()
			d := detaching{hub: hub, leaving: leaving{hub: hub, name: names[0], out: c.OutOrStdout()}, why: reason, now: time.Now}
			if err := d.run(ctx); err != nil {
				return fmt.Errorf("cluster %s: %w", names[0], err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for those who ask later")
	c.Flags().DurationVar(&patience, "timeout", 30*time.Minute, "how long to wait; the hub goes on by itself once the cluster is deleted")
	return c
}

// detaching lets one cluster go.
type detaching struct {
	hub     client.Client
	leaving leaving
	why     string
	now     func() time.Time
}

func (d detaching) run(ctx context.Context) error {
	cluster, err := get(ctx, d.hub, d.leaving.name)
	if err != nil {
		return err
	}
	if err := d.order(ctx, cluster); err != nil {
		return err
	}
	if cluster, err = d.leaving.until(ctx, detach.ConditionReleased, "the hub has said nothing yet; does the hub process run?", released); err != nil {
		return fmt.Errorf("%w; the order stands, go on with the same command, or take it back with: kubectl annotate managedcluster %s %s-",
			err, d.leaving.name, appsv1alpha1.AnnotationDetach)
	}
	if err := d.leaving.remove(ctx, cluster); err != nil {
		return err
	}
	if err := d.leaving.gone(ctx); err != nil {
		return err
	}
	return d.leaving.say("detached; what runs there goes on running")
}

// order writes who wants it, as the hub's API server knows him. An order that is there already stands.
func (d detaching) order(ctx context.Context, cluster *clusterv1.ManagedCluster) error {
	have, err := detach.Of(cluster)
	if err != nil {
		return err
	}
	if have != nil {
		return d.leaving.say("detaching was ordered before: %s", have)
	}
	who := &authenticationv1.SelfSubjectReview{}
	if err := d.hub.Create(ctx, who); err != nil {
		return fmt.Errorf("ask the hub who you are: %w", err)
	}
	order := detach.Order{Who: who.Status.UserInfo.Username, At: d.now(), Why: d.why}
	if err := annotate(ctx, d.hub, cluster, appsv1alpha1.AnnotationDetach, order.String()); err != nil {
		return fmt.Errorf("order it: %w", err)
	}
	return d.leaving.say("ordered by %s", order.Who)
}

// released says whether the cluster can be deleted without harm.
func released(c *clusterv1.ManagedCluster) bool {
	return meta.IsStatusConditionTrue(c.Status.Conditions, detach.ConditionReleased)
}

// leaving is a cluster on its way out, and whom to tell.
type leaving struct {
	hub  client.Client
	name string
	out  io.Writer
}

func (l leaving) say(format string, args ...any) error {
	_, err := fmt.Fprintf(l.out, "cluster %s: %s\n", l.name, fmt.Sprintf(format, args...))
	return err
}

// until shows what a condition says until done. What it said last is part of the error when time is over.
func (l leaving) until(ctx context.Context, kind, last string, done func(*clusterv1.ManagedCluster) bool) (cluster *clusterv1.ManagedCluster, err error) {
	err = poll(ctx, func() (bool, error) {
		if cluster, err = get(ctx, l.hub, l.name); err != nil {
			return false, err
		}
		if c := meta.FindStatusCondition(cluster.Status.Conditions, kind); c != nil && c.Message != last {
			last = c.Message
			if err := l.say("%s", last); err != nil {
				return false, err
			}
		}
		return done(cluster), nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for it: %w; %s", err, last)
	}
	return cluster, nil
}

// remove deletes the cluster that was looked at.
func (l leaving) remove(ctx context.Context, cluster *clusterv1.ManagedCluster) error {
	if !cluster.DeletionTimestamp.IsZero() {
		return nil
	}
	if err := l.hub.Delete(ctx, cluster, client.Preconditions{UID: new(cluster.UID)}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete ManagedCluster: %w", err)
	}
	return nil
}

// gone waits until the cluster is.
func (l leaving) gone(ctx context.Context) error {
	_, err := l.until(ctx, clusterv1.ManagedClusterConditionDeleting, "the ManagedCluster is still there", func(*clusterv1.ManagedCluster) bool { return false })
	if errors.Is(err, errNotAsked) {
		return nil // there is no cluster of this name any more
	}
	return err
}

// annotate sets one annotation of the object that was looked at, and nothing else.
func annotate(ctx context.Context, hub client.Client, o client.Object, key, value string) error {
	if o.GetAnnotations()[key] == value {
		return nil
	}
	changed := o.DeepCopyObject().(client.Object)
	annotations := changed.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	changed.SetAnnotations(annotations)
	err := hub.Patch(ctx, changed, client.MergeFrom(o))
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// since is how long a condition has been what it is.
func since(c *metav1.Condition, now time.Time) time.Duration {
	return now.Sub(c.LastTransitionTime.Time)
}
