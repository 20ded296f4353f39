package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/health"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
	"github.com/flotilla-project/flotilla/hub/sets"
)

var clusterHeading = []string{"NAME", "ACCEPTED", "JOINED", "AVAILABLE", "HEARTBEAT", "VERSION", "SETS", "ZONES", "AGE", "NOTE"}

func clustersCommand(k *kube) *cobra.Command {
	return &cobra.Command{
		Use: "clusters", Short: "Show the clusters of the hub and how they are", Args: cobra.NoArgs,
		Long: "Show the clusters of the hub and how they are: since when the last heartbeat is, the sets and zones they are in,\n" +
			"and in the last column what keeps one from being chosen, or what to do about it.",
		RunE: func(c *cobra.Command, _ []string) error {
			hub, err := k.client()
			if err != nil {
				return err
			}
			var all clusterv1.ManagedClusterList
			if err := hub.List(c.Context(), &all); err != nil {
				return fmt.Errorf("list clusters: %w", err)
			}
			if len(all.Items) == 0 {
				_, err := fmt.Fprintln(c.OutOrStdout(), "No cluster has asked to join. Start an agent with the output of: kubectl flotilla bootstrap")
				return err
			}
			beside := besideOf(c.Context(), hub, c.PrintErrf)
			return printTable(c.OutOrStdout(), clusterHeading, clusterRows(all.Items, beside, time.Now()))
		},
	}
}

// beside is what is told of clusters elsewhere than in them.
type beside struct {
	sets  []clusterv1beta2.ManagedClusterSet
	beats map[string]time.Time
}

// besideOf reads what it may; who may not read leases still sees the clusters.
func besideOf(ctx context.Context, hub client.Reader, complain func(string, ...any)) beside {
	seen := beside{beats: map[string]time.Time{}}
	var all clusterv1beta2.ManagedClusterSetList
	if err := hub.List(ctx, &all); err == nil {
		seen.sets = all.Items
	} else if !meta.IsNoMatchError(err) {
		complain("note: sets are not shown: %v\n", err)
	}
	var leases coordinationv1.LeaseList
	if err := hub.List(ctx, &leases, client.MatchingFields{"metadata.name": health.LeaseName}); err != nil {
		complain("note: heartbeats are not shown: %v\n", err)
	}
	for _, l := range leases.Items {
		if l.Name == health.LeaseName && l.Spec.RenewTime != nil {
			seen.beats[l.Namespace] = l.Spec.RenewTime.Time
		}
	}
	return seen
}

func clusterRows(clusters []clusterv1.ManagedCluster, seen beside, now time.Time) (rows [][]string) {
	for i := range clusters {
		c := &clusters[i]
		rows = append(rows, []string{
			c.Name, yesNo(c.Spec.HubAcceptsClient), yesNo(joined(c)), availability(c, now), heartbeat(c, seen, now), orNone(c.Status.Version.Kubernetes),
			orNone(strings.Join(setsOf(c, seen.sets), ",")), orNone(claim(c, appsv1alpha1.ClaimZones)),
			duration.HumanDuration(now.Sub(c.CreationTimestamp.Time)), orNone(note(c)),
		})
	}
	return rows
}

// heartbeat is how long ago the agent was last heard of. The lease of a cluster that never joined is the hub's own.
func heartbeat(c *clusterv1.ManagedCluster, seen beside, now time.Time) string {
	last, found := seen.beats[c.Name]
	if !found || !joined(c) {
		return "-"
	}
	return duration.HumanDuration(now.Sub(last))
}

// setsOf leaves out the set of all clusters, which says nothing.
func setsOf(c *clusterv1.ManagedCluster, all []clusterv1beta2.ManagedClusterSet) (names []string) {
	for i := range all {
		if in, err := sets.Contains(&all[i], c); err == nil && in && all[i].Name != "global" {
			names = append(names, all[i].Name)
		}
	}
	slices.Sort(names)
	return names
}

// note is the first thing that keeps the cluster from being chosen.
func note(c *clusterv1.ManagedCluster) string {
	condition := func(kind string, status metav1.ConditionStatus) *metav1.Condition {
		found := meta.FindStatusCondition(c.Status.Conditions, kind)
		if found == nil || found.Status != status {
			return nil
		}
		return found
	}
	accepted := meta.FindStatusCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionHubAccepted)
	deleting := condition(clusterv1.ManagedClusterConditionDeleting, metav1.ConditionFalse)
	leaves := meta.FindStatusCondition(c.Status.Conditions, detach.ConditionReleased)
	clock := condition(clusterv1.ManagedClusterConditionClockSynced, metav1.ConditionFalse)
	available := meta.FindStatusCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
	switch {
	case deleting != nil:
		return "being deleted: " + deleting.Message
	case leaves != nil:
		return leaves.Message
	case !c.DeletionTimestamp.IsZero():
		return "being deleted; waits for its works. To stop them: kubectl flotilla remove " + c.Name + "; to keep them running: kubectl flotilla detach " + c.Name
	case !c.Spec.HubAcceptsClient:
		return "let it in with: kubectl flotilla accept " + c.Name
	case accepted != nil && accepted.Status != metav1.ConditionTrue:
		return accepted.Message
	case !joined(c):
		return "its agent has not reported yet"
	case available != nil && available.Status != metav1.ConditionTrue:
		return available.Message
	case clock != nil:
		return clock.Message
	}
	return tainted(c.Spec.Taints)
}

// tainted names the taints that people set; those of the hub itself say what AVAILABLE says.
func tainted(taints []clusterv1.Taint) string {
	var all []string
	for _, t := range taints {
		if t.Key == clusterv1.ManagedClusterTaintUnavailable || t.Key == clusterv1.ManagedClusterTaintUnreachable {
			continue
		}
		all = append(all, fmt.Sprintf("%s=%s:%s", t.Key, t.Value, t.Effect))
	}
	if len(all) == 0 {
		return ""
	}
	return "tainted " + strings.Join(all, ", ")
}

func joined(c *clusterv1.ManagedCluster) bool {
	return meta.IsStatusConditionTrue(c.Status.Conditions, clusterv1.ManagedClusterConditionJoined)
}

// availability is the condition in a word, with how long it has been so where that is bad news.
func availability(c *clusterv1.ManagedCluster, now time.Time) string {
	found := meta.FindStatusCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
	switch {
	case found == nil:
		return "-"
	case found.Status == metav1.ConditionTrue:
		return "yes"
	}
	word := "no"
	if found.Status == metav1.ConditionUnknown {
		word = "silent"
	}
	return fmt.Sprintf("%s (%s)", word, duration.HumanDuration(since(found, now)))
}

func claim(c *clusterv1.ManagedCluster, name string) string {
	for _, claim := range c.Status.ClusterClaims {
		if claim.Name == name {
			return claim.Value
		}
	}
	return ""
}
