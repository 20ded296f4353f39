// Package acceptance gives an accepted cluster its place on the hub and takes it away again. It owns, per cluster, the
// namespace, the RBAC objects of OCM-3.6 and a finalizer on the ManagedCluster; it reads ManifestWorks only to see
// whether any is left; it writes the condition HubAcceptedManagedCluster and no other.
//
// It promises that a member gets exactly the rights of the contract, in its own namespace and on its own object; that
// the right to works outlives the last work; and that nothing is taken because a read failed.
package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// fieldOwner owns what is applied here.
const fieldOwner = client.FieldOwner("flotilla-hub-join")

// Steps is the controller of one ManagedCluster's acceptance.
type Steps struct {
	// Hub reads from the cache and writes.
	Hub client.Client
	// Live reads past the cache before a right is taken away, and takes it: the cache holds only what is labelled as
	// made here, and another hub's objects have the same names.
	Live client.Client
	// Auto accepts clusters that join for the first time.
	Auto bool
}

// Observe reads what the hub has for the cluster.
func (s *Steps) Observe(ctx context.Context, cluster *clusterv1.ManagedCluster) (facts, error) {
	seen := facts{have: map[ref]client.Object{}}
	var from client.Reader = s.Hub
	if loses(cluster) {
		from = s.Live
	}
	for _, want := range wanted(cluster.Name) {
		have := want.DeepCopyObject().(client.Object)
		err := from.Get(ctx, client.ObjectKeyFromObject(want), have)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return seen, fmt.Errorf("read %s %s: %w", refOf(want).kind, want.GetName(), err)
		}
		have.GetObjectKind().SetGroupVersionKind(want.GetObjectKind().GroupVersionKind())
		seen.have[refOf(want)] = have
	}
	gone := !cluster.DeletionTimestamp.IsZero()
	var err error
	if gone || !cluster.Spec.HubAcceptsClient || leaving(seen.of(workBinding(cluster.Name))) {
		seen.works, err = s.worksIn(ctx, cluster.Name)
	}
	if err == nil && gone {
		seen.last, err = s.isLast(ctx, cluster)
	}
	return seen, err
}

// loses says whether rights are about to be taken from the cluster.
func loses(cluster *clusterv1.ManagedCluster) bool {
	held := controllerutil.ContainsFinalizer(cluster, clusterv1.ManagedClusterFinalizer)
	return held && (!cluster.DeletionTimestamp.IsZero() ||
		!cluster.Spec.HubAcceptsClient && !meta.IsStatusConditionFalse(cluster.Status.Conditions, clusterv1.ManagedClusterConditionHubAccepted))
}

// worksIn says whether the namespace holds any ManifestWork. "None" is believed only when the API server says so.
func (s *Steps) worksIn(ctx context.Context, namespace string) (bool, error) {
	for _, r := range []client.Reader{s.Hub, s.Live} {
		var works workv1.ManifestWorkList
		if err := r.List(ctx, &works, client.InNamespace(namespace), client.Limit(1)); err != nil {
			return false, fmt.Errorf("list works of %s: %w", namespace, err)
		}
		if len(works.Items) > 0 {
			return true, nil
		}
	}
	return false, nil
}

func (s *Steps) isLast(ctx context.Context, cluster *clusterv1.ManagedCluster) (bool, error) {
	var all clusterv1.ManagedClusterList
	if err := s.Live.List(ctx, &all, client.Limit(2)); err != nil {
		return false, fmt.Errorf("list clusters: %w", err)
	}
	for _, c := range all.Items {
		if c.UID != cluster.UID {
			return false, nil
		}
	}
	return true, nil
}

// Decide accepts, denies or lets go.
func (s *Steps) Decide(cluster *clusterv1.ManagedCluster, seen facts, now time.Time) plan {
	return decide(cluster, seen, s.Auto, now)
}

// Act writes the cluster itself first, then grants, then takes, and lets go only of a cluster that has nothing left.
func (s *Steps) Act(ctx context.Context, cluster *clusterv1.ManagedCluster, p plan) error {
	if p.empty() {
		return nil
	}
	log.FromContext(ctx).Info("settle cluster", "why", p.why, "grant", len(p.apply), "take", len(p.remove))
	if !p.accept.IsZero() {
		return s.patch(ctx, cluster, "accept cluster", func(c *clusterv1.ManagedCluster) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, AutoAcceptedAnnotation, p.accept.UTC().Format(time.RFC3339))
			c.Spec.HubAcceptsClient = true
		})
	}
	if p.addFinalizer {
		return s.patch(ctx, cluster, "add finalizer", func(c *clusterv1.ManagedCluster) {
			controllerutil.AddFinalizer(c, clusterv1.ManagedClusterFinalizer)
		})
	}
	var errs []error
	for _, o := range p.apply {
		errs = append(errs, s.apply(ctx, o))
	}
	for _, o := range p.remove {
		errs = append(errs, s.remove(ctx, o))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if p.dropFinal {
		return s.patch(ctx, cluster, "drop finalizer", func(c *clusterv1.ManagedCluster) {
			controllerutil.RemoveFinalizer(c, clusterv1.ManagedClusterFinalizer)
		})
	}
	return nil
}

// patch changes the cluster that was looked at and no newer one; the loop's copy stays as it is. OCM-20.1
func (s *Steps) patch(ctx context.Context, cluster *clusterv1.ManagedCluster, what string, change func(*clusterv1.ManagedCluster)) error {
	changed := cluster.DeepCopy()
	change(changed)
	err := s.Hub.Patch(ctx, changed, client.MergeFromWithOptions(cluster.DeepCopy(), client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (s *Steps) apply(ctx context.Context, o client.Object) error {
	wanted, err := applyConfiguration(o)
	if err != nil {
		return err
	}
	if err := s.Hub.Apply(ctx, wanted, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("apply %s %s: %w", refOf(o).kind, o.GetName(), err)
	}
	return nil
}

// applyConfiguration is the object as a server-side apply of all that it says.
func applyConfiguration(o client.Object) (runtime.ApplyConfiguration, error) {
	var into runtime.ApplyConfiguration
	switch o.(type) {
	case *corev1.Namespace:
		into = &corev1ac.NamespaceApplyConfiguration{}
	case *rbacv1.ClusterRole:
		into = &rbacv1ac.ClusterRoleApplyConfiguration{}
	case *rbacv1.ClusterRoleBinding:
		into = &rbacv1ac.ClusterRoleBindingApplyConfiguration{}
	case *rbacv1.RoleBinding:
		into = &rbacv1ac.RoleBindingApplyConfiguration{}
	default:
		return nil, fmt.Errorf("apply %T: not a kind that is applied here", o)
	}
	encoded, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", o, err)
	}
	if err := json.Unmarshal(encoded, into); err != nil {
		return nil, fmt.Errorf("decode %T: %w", o, err)
	}
	return into, nil
}

// remove deletes the object that was seen, and first drops the finalizer that kept it.
func (s *Steps) remove(ctx context.Context, seen client.Object) error {
	freed := seen.DeepCopyObject().(client.Object)
	if controllerutil.RemoveFinalizer(freed, WorkFinalizer) {
		err := s.Live.Patch(ctx, freed, client.MergeFromWithOptions(seen, client.MergeFromWithOptimisticLock{}))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("release %s %s: %w", refOf(seen).kind, seen.GetName(), err)
		}
	}
	if leaving(seen) {
		return nil
	}
	err := s.Live.Delete(ctx, freed, client.Preconditions{UID: new(freed.GetUID()), ResourceVersion: new(freed.GetResourceVersion())})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %s %s: %w", refOf(seen).kind, seen.GetName(), err)
	}
	return nil
}

// Report writes the verdict. A failure is the verdict too, unless it is one that passes: an agent that was let in
// stops its heartbeat when told otherwise.
func (s *Steps) Report(cluster *clusterv1.ManagedCluster, _ facts, p plan, acted error) {
	verdict := p.verdict
	if acted != nil && cluster.Spec.HubAcceptsClient && cluster.DeletionTimestamp.IsZero() && p.verdict != nil {
		if passes(acted) {
			return
		}
		verdict = failed(acted.Error())
	}
	if verdict == nil || acted != nil && verdict.Reason != ReasonError {
		return
	}
	meta.SetStatusCondition(&cluster.Status.Conditions, *verdict)
}

// Conditions are what the loop makes events of.
func (*Steps) Conditions(cluster *clusterv1.ManagedCluster) []metav1.Condition {
	return cluster.Status.Conditions
}

// passes says whether trying again may be all it takes.
func passes(err error) bool {
	var refused apierrors.APIStatus
	return !errors.As(err, &refused) || apierrors.IsConflict(err) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}
