package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
)

var clusterHeading = []string{"NAME", "ACCEPTED", "JOINED", "AVAILABLE", "VERSION", "ZONES", "AGE"}

func clustersCommand(k *kube) *cobra.Command {
	return &cobra.Command{
		Use: "clusters", Short: "Show the clusters of the hub and how they are", Args: cobra.NoArgs,
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
			return printTable(c.OutOrStdout(), clusterHeading, clusterRows(all.Items, time.Now()))
		},
	}
}

func clusterRows(clusters []clusterv1.ManagedCluster, now time.Time) (rows [][]string) {
	for _, c := range clusters {
		rows = append(rows, []string{
			c.Name, yesNo(c.Spec.HubAcceptsClient), yesNo(joined(&c)), availability(&c, now), orNone(c.Status.Version.Kubernetes),
			orNone(claim(&c, appsv1alpha1.ClaimZones)), duration.HumanDuration(now.Sub(c.CreationTimestamp.Time)),
		})
	}
	return rows
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
	return fmt.Sprintf("%s (%s)", word, duration.HumanDuration(now.Sub(found.LastTransitionTime.Time)))
}

func claim(c *clusterv1.ManagedCluster, name string) string {
	for _, claim := range c.Status.ClusterClaims {
		if claim.Name == name {
			return claim.Value
		}
	}
	return ""
}
