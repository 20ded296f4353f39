package register

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// Cluster is what the agent says of its cluster when it first knocks.
type Cluster struct {
	Name        string
	URLs        []string
	CA          []byte
	Annotations map[string]string
}

// Ensure creates the ManagedCluster, or adjusts the client configs when their number differs; everything else
// there is the user's. A refusal is no error: a denied agent must not crash-loop here. OCM-3.2
func (c Cluster) Ensure(ctx context.Context, hub client.Client) error {
	var found clusterv1.ManagedCluster
	err := hub.Get(ctx, client.ObjectKey{Name: c.Name}, &found)
	switch {
	case apierrors.IsNotFound(err):
		err = hub.Create(ctx, c.object())
	case err == nil && len(found.Spec.ManagedClusterClientConfigs) != len(c.URLs):
		found.Spec.ManagedClusterClientConfigs = c.configs()
		err = hub.Update(ctx, &found) // the agent has update, not patch, on this resource (OCM-3.6)
	}
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsAlreadyExists(err) {
		logf.FromContext(ctx).V(1).Info("ManagedCluster left as it is", "cause", err.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("ensure ManagedCluster %s: %w", c.Name, err)
	}
	return nil
}

func (c Cluster) object() *clusterv1.ManagedCluster {
	return &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: c.Name, Annotations: c.Annotations},
		Spec:       clusterv1.ManagedClusterSpec{ManagedClusterClientConfigs: c.configs()},
	}
}

func (c Cluster) configs() []clusterv1.ClientConfig {
	var out []clusterv1.ClientConfig
	for _, url := range c.URLs {
		out = append(out, clusterv1.ClientConfig{URL: url, CABundle: c.CA})
	}
	return out
}
