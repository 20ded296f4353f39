// Package inventory tells the hub what the cluster is: joined, available, version, capacity, claims, and what became
// of the namespaces that the hub's cluster sets manage.
//
// On the hub it owns these parts of its own ManagedCluster's status. On the local cluster it reads nodes,
// ClusterClaims and, if asked to, ClusterProperties, and owns four claims: zones and regions of the nodes, the
// cluster's id and its version. It never touches a claim of somebody else, and a read that failed changes nothing.
package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

const (
	settle      = time.Second // a burst of node events is one round
	readTimeout = 10 * time.Second
)

// Options are the flags that concern the inventory.
type Options struct {
	Period           time.Duration // --cluster-healthcheck-period
	MostClaims       int           // --max-custom-cluster-claims
	ReservedSuffixes []string      // --reserved-cluster-claim-suffixes
	WithoutClaims    bool          // the gate ClusterClaim is off
	Properties       bool          // the gate ClusterProperty is on
}

// Local is the cluster to tell about.
type Local struct {
	Client    client.Client // uncached: the few claims of ours
	Reader    client.Reader // cached nodes and claims
	Discovery discovery.DiscoveryInterface
}

// Namespaces keeps what a list of managed namespaces names, and says in the list what became of each.
type Namespaces interface {
	Keep(ctx context.Context, list []clusterv1.ClusterSetManagedNamespaceConfig) []clusterv1.ClusterSetManagedNamespaceConfig
}

// Reporter tells one ManagedCluster's status to the hub.
type Reporter struct {
	Local   Local
	Hub     client.Client
	Seen    client.Reader // the watched ManagedCluster
	Name    string
	Options Options
	Changed <-chan struct{}
	// Namespaces keeps the managed namespaces; nil leaves them alone. OCM-5.3
	Namespaces Namespaces

	health  Health
	dropped []string
}

// Run makes a round at every period and after changes, until ctx ends.
func (r *Reporter) Run(ctx context.Context) {
	for {
		next, err := r.round(ctx)
		if err != nil && ctx.Err() == nil {
			if !apierrors.IsConflict(err) { // a conflict only says that fresher data is on its way
				logf.FromContext(ctx).Error(err, "Cluster status not told, will try again")
			}
			next = settle * 2
		}
		if next == 0 {
			next = wait.Jitter(r.Options.Period, 0.1)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		case <-r.Changed:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
		}
	}
}

func (r *Reporter) round(ctx context.Context) (time.Duration, error) {
	var cluster clusterv1.ManagedCluster
	if err := r.Seen.Get(ctx, client.ObjectKey{Name: r.Name}, &cluster); err != nil {
		return 0, client.IgnoreNotFound(err) // not there, or not yet: its event brings us back
	}
	if Silent(&cluster) {
		return 0, nil
	}
	probe := Ask(ctx, r.Local.Discovery.RESTClient())
	condition, recheck := r.health.Judge(probe, time.Now(), cluster.Generation)
	seen := Facts{Available: condition, Healthy: probe.OK}
	if probe.OK {
		r.look(ctx, &seen)
		r.keepNamespaces(ctx, &cluster, &seen)
	}
	next := cluster.DeepCopy()
	Report(next, seen)
	if _, err := patch.Status(ctx, r.Hub, &cluster, next); err != nil {
		return recheck, fmt.Errorf("patch ManagedCluster status: %w", err)
	}
	if e, turned := Turned(cluster.Status.Conditions, next.Status.Conditions); turned {
		r.say(ctx, &cluster, e)
	}
	if len(seen.dropped) > 0 && !slices.Equal(seen.dropped, r.dropped) {
		r.say(ctx, &cluster, Dropped(seen.dropped, r.Options.MostClaims))
	}
	if seen.Claims != nil {
		r.dropped = seen.dropped
	}
	return recheck, nil
}

// look reads what it can; each part stands for itself.
func (r *Reporter) look(ctx context.Context, seen *Facts) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	log := logf.FromContext(ctx)
	var nodes corev1.NodeList
	if err := r.Local.Reader.List(ctx, &nodes); err != nil {
		log.Error(err, "Nodes not read")
	} else {
		seen.Nodes = &nodes.Items
	}
	if version, err := r.Local.Discovery.ServerVersion(); err != nil {
		log.Error(err, "Version not read")
	} else {
		seen.Version = version.GitVersion
	}
	if r.Options.WithoutClaims {
		return
	}
	claims, err := r.Local.claims(ctx, r.Options.Properties)
	if err != nil {
		log.Error(err, "Claims not read")
		return
	}
	reported, dropped := Reported(claims, r.Options.ReservedSuffixes, r.Options.MostClaims)
	seen.Claims, seen.dropped = &reported, dropped
}

// keepNamespaces is the last step of a round. OCM-4.2, OCM-5.3
func (r *Reporter) keepNamespaces(ctx context.Context, cluster *clusterv1.ManagedCluster, seen *Facts) {
	if r.Namespaces == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	kept := r.Namespaces.Keep(ctx, cluster.Status.ManagedNamespaces)
	seen.Namespaces = &kept
}

// KeepClaims keeps the agent's own ClusterClaims right until ctx ends. It needs no hub.
func (l Local) KeepClaims(ctx context.Context, period time.Duration, changed <-chan struct{}) {
	for {
		if err := l.writeClaims(ctx); err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "ClusterClaims not written, will try again")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait.Jitter(period, 0.2)):
		case <-changed:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
		}
	}
}

func (l Local) writeClaims(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var known Known
	var nodes corev1.NodeList
	if err := l.Reader.List(ctx, &nodes); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	known.Nodes = nodes.Items
	var system corev1.Namespace
	if err := l.Client.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
		return fmt.Errorf("get namespace kube-system: %w", err)
	}
	known.ClusterID = string(system.UID)
	version, err := l.Discovery.ServerVersion()
	if err != nil {
		return fmt.Errorf("get server version: %w", err)
	}
	known.Version = version.GitVersion
	for name, value := range known.Claims() {
		if err := l.writeClaim(ctx, name, value); err != nil {
			return err
		}
	}
	return nil
}

func (l Local) writeClaim(ctx context.Context, name, value string) error {
	var claim clusterv1alpha1.ClusterClaim
	err := l.Client.Get(ctx, client.ObjectKey{Name: name}, &claim)
	if apierrors.IsNotFound(err) {
		claim = clusterv1alpha1.ClusterClaim{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1alpha1.ClusterClaimSpec{Value: value},
		}
		if err := l.Client.Create(ctx, &claim); err != nil {
			return fmt.Errorf("create ClusterClaim %s: %w", name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("get ClusterClaim %s: %w", name, err)
	}
	next := claim.DeepCopy()
	next.Spec.Value = value
	if _, err := patch.Spec(ctx, l.Client, &claim, next); err != nil {
		return fmt.Errorf("update ClusterClaim %s: %w", name, err)
	}
	return nil
}
