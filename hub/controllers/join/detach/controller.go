// Package detach lets a cluster go and leaves everything in it running, also when the cluster is dead. It acts on one
// annotation of a ManagedCluster, which names who ordered it. It owns a finalizer on clusters under such an order, their
// condition Released, two annotations on their namespaces, and two events; it writes deleteOption and a confirmation
// into the ManifestWorks of these namespaces, deletes them, and, of a cluster that does not answer, takes the agent's
// right to works and then the agent's finalizer from them. DESIGN.md has the order and the reasons.
//
// It promises that no work is deleted before its agent let go of what it applied, or before the agent lost its right to
// see that; that who ordered it stays readable on the namespace, which survives; and that it never deletes a cluster:
// that is up to whoever ordered it.
package detach

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	appsv1alpha1 "github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/controllers/join/acceptance"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// reporter is who the events are from.
const reporter = "flotilla-hub"

var addOnKind = schema.GroupVersionKind{Group: "addon.open-cluster-management.io", Version: "v1alpha1", Kind: "ManagedClusterAddOn"}

// Steps is the controller of one cluster's detaching.
type Steps struct {
	// Hub reads clusters, namespaces and works from the cache and writes.
	Hub client.Client
	// Live reads past the cache what must be known for sure, and writes what is not cached.
	Live client.Client
}

// Register adds the controller. The live client has no cache.
func Register(m ctrl.Manager, live client.Client) error {
	return ctrl.NewControllerManagedBy(m).Named("join-detach").For(&clusterv1.ManagedCluster{}).
		Complete(&loop.Loop[*clusterv1.ManagedCluster, facts, plan]{
			Steps:  &Steps{Hub: m.GetClient(), Live: live},
			Client: m.GetClient(),
			New:    func() *clusterv1.ManagedCluster { return &clusterv1.ManagedCluster{} },
		})
}

// Observe reads the namespace, and of a cluster under an order what is in it.
func (s *Steps) Observe(ctx context.Context, cluster *clusterv1.ManagedCluster) (facts, error) {
	var seen facts
	home := &corev1.Namespace{}
	err := s.Hub.Get(ctx, client.ObjectKey{Name: cluster.Name}, home)
	if client.IgnoreNotFound(err) != nil {
		return seen, fmt.Errorf("read namespace %s: %w", cluster.Name, err)
	}
	if err == nil {
		seen.home = home
	}
	if !Ordered(cluster) {
		return seen, nil
	}
	if seen.works, err = s.worksIn(ctx, cluster.Name); err != nil || cluster.DeletionTimestamp.IsZero() {
		return seen, err
	}
	if seen.rights, err = s.rightsOf(ctx, cluster.Name); err != nil {
		return seen, err
	}
	seen.addOns, err = s.addOnsIn(ctx, cluster.Name)
	return seen, err
}

// worksIn believes "none" only when the API server says so.
func (s *Steps) worksIn(ctx context.Context, namespace string) ([]workv1.ManifestWork, error) {
	var works workv1.ManifestWorkList
	for _, r := range []client.Reader{s.Hub, s.Live} {
		if err := r.List(ctx, &works, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list works of %s: %w", namespace, err)
		}
		if len(works.Items) > 0 {
			break
		}
	}
	return works.Items, nil
}

// rightsOf is the binding by which the agent sees its works, nil when it is gone for sure.
func (s *Steps) rightsOf(ctx context.Context, cluster string) (*rbacv1.RoleBinding, error) {
	binding := &rbacv1.RoleBinding{}
	err := s.Live.Get(ctx, acceptance.WorkBinding(cluster), binding)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the right of %s to works: %w", cluster, err)
	}
	return binding, nil
}

// addOnsIn are none where the kind is not served.
func (s *Steps) addOnsIn(ctx context.Context, namespace string) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(addOnKind)
	if err := s.Live.List(ctx, list, client.InNamespace(namespace)); err != nil && !meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("list add-ons of %s: %w", namespace, err)
	}
	for i := range list.Items {
		list.Items[i].SetGroupVersionKind(addOnKind)
	}
	return list.Items, nil
}

// Decide says what comes next.
func (*Steps) Decide(cluster *clusterv1.ManagedCluster, seen facts, now time.Time) plan {
	return decide(cluster, seen, now)
}

// Act carries out one step; what follows waits for the next round, which sees what became of this one.
func (s *Steps) Act(ctx context.Context, cluster *clusterv1.ManagedCluster, p plan) error {
	if p.why != "" {
		log.FromContext(ctx).Info("detach cluster", "why", p.why, "orphan", len(p.orphan), "strip", len(p.strip), "remove", len(p.remove)+len(p.addOns))
	}
	if p.hold {
		if err := s.finalizer(ctx, cluster, controllerutil.AddFinalizer); err != nil {
			return err
		}
	}
	if err := s.mark(ctx, p); err != nil {
		return err
	}
	var errs []error
	for i := range p.orphan {
		errs = append(errs, s.orphan(ctx, &p.orphan[i]))
	}
	if p.take != nil {
		errs = append(errs, s.take(ctx, p.take))
	}
	for i := range p.strip {
		errs = append(errs, s.strip(ctx, &p.strip[i]))
	}
	for i := range p.addOns {
		errs = append(errs, s.remove(ctx, s.Live, "add-on", &p.addOns[i]))
	}
	for i := range p.remove {
		errs = append(errs, s.remove(ctx, s.Hub, "ManifestWork", &p.remove[i]))
	}
	errs = append(errs, s.tell(ctx, p.tell))
	if err := errors.Join(errs...); err != nil || !p.drop {
		return err
	}
	return s.finalizer(ctx, cluster, controllerutil.RemoveFinalizer)
}

func (s *Steps) finalizer(ctx context.Context, cluster *clusterv1.ManagedCluster, change func(client.Object, string) bool) error {
	changed := cluster.DeepCopy()
	if !change(changed, Finalizer) {
		return nil
	}
	err := s.Hub.Patch(ctx, changed, client.MergeFromWithOptions(cluster.DeepCopy(), client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("change finalizer: %w", err)
	}
	return nil
}

// mark changes the annotations of the cluster's namespace.
func (s *Steps) mark(ctx context.Context, p plan) error {
	if p.home == nil {
		return nil
	}
	err := s.Hub.Patch(ctx, p.home.DeepCopy(), client.MergeFromWithOptions(p.was, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("mark namespace %s: %w", p.home.Name, err)
	}
	return nil
}

// orphan asks the agent to let go of what the work applied. OCM-15.3
func (s *Steps) orphan(ctx context.Context, work *workv1.ManifestWork) error {
	changed := work.DeepCopy()
	changed.Spec.DeleteOption = orphaned(work.Spec.DeleteOption)
	metav1.SetMetaDataAnnotation(&changed.ObjectMeta, appsv1alpha1.AnnotationConfirmRemoval, work.Name)
	err := s.Hub.Patch(ctx, changed, client.MergeFromWithOptions(work, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("orphan ManifestWork %s: %w", work.Name, err)
	}
	return nil
}

// take ends the agent's right to works, so that it cannot see them go.
func (s *Steps) take(ctx context.Context, binding *rbacv1.RoleBinding) error {
	freed := binding.DeepCopy()
	if controllerutil.RemoveFinalizer(freed, acceptance.WorkFinalizer) {
		err := s.Live.Patch(ctx, freed, client.MergeFromWithOptions(binding, client.MergeFromWithOptimisticLock{}))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("release RoleBinding %s: %w", binding.Name, err)
		}
	}
	return s.remove(ctx, s.Live, "RoleBinding", freed)
}

// strip drops the agent's finalizer from a work, and no other. OCM-7.2, OCM-21.3
func (s *Steps) strip(ctx context.Context, work *workv1.ManifestWork) error {
	changed := work.DeepCopy()
	if !controllerutil.RemoveFinalizer(changed, workv1.ManifestWorkFinalizer) {
		return nil
	}
	if err := s.Hub.Patch(ctx, changed, client.MergeFromWithOptions(work.DeepCopy(), client.MergeFromWithOptimisticLock{})); err != nil {
		return client.IgnoreNotFound(wrap(err, "release ManifestWork %s", work.Name))
	}
	*work = *changed
	return s.remove(ctx, s.Hub, "ManifestWork", work)
}

// remove deletes the object that was looked at, unless it goes already.
func (*Steps) remove(ctx context.Context, c client.Client, kind string, o client.Object) error {
	if !o.GetDeletionTimestamp().IsZero() {
		return nil
	}
	seen := client.Preconditions{UID: new(o.GetUID()), ResourceVersion: new(o.GetResourceVersion())}
	return client.IgnoreNotFound(wrap(c.Delete(ctx, o.DeepCopyObject().(client.Object), seen), "delete %s %s", kind, o.GetName()))
}

// tell leaves an event. One that is there already was told; in a namespace that is gone none is possible.
func (s *Steps) tell(ctx context.Context, e *eventsv1.Event) error {
	if e == nil {
		return nil
	}
	err := s.Live.Create(ctx, e.DeepCopy())
	if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return fmt.Errorf("create event: %w", err)
	}
	return nil
}

// Report says how far it has come.
func (*Steps) Report(cluster *clusterv1.ManagedCluster, _ facts, p plan, acted error) {
	if p.forget {
		meta.RemoveStatusCondition(&cluster.Status.Conditions, ConditionReleased)
	}
	for _, c := range p.verdicts {
		if acted != nil && c.Status == metav1.ConditionFalse {
			c.Message += "; " + acted.Error()
		}
		meta.SetStatusCondition(&cluster.Status.Conditions, c)
	}
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
