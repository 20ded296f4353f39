// Package template runs those add-ons that come as an AddOnTemplate. It reads ManagedClusterAddOns, their offers and
// configurations, and clusters; it owns the ManifestWorks addon-<name>-deploy-<n> and addon-<name>-pre-delete, the
// RoleBindings of the add-on's agents, the finalizer of add-ons with a hook, and in status the registrations, the install
// namespace and the conditions RegistrationApplied, ManifestApplied and HookManifestCompleted. OCM-19.4, OCM-19.5
//
// It promises to give an add-on's agent no right but those of its own template, on its own cluster; that a configuration
// that is missing or whose turn has not come changes nothing that runs; and that an add-on with a hook goes only after
// the hook has run to its end. Since a cluster's agent may write status, what status says is checked against the specs.
package template

import (
	"context"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	workv1 "open-cluster-management.io/api/work/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/hub/controllers/join/acceptance"
	"github.com/flotilla-project/flotilla/hub/controllers/join/detach"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=addon.open-cluster-management.io,resources=managedclusteraddons;clustermanagementaddons;addontemplates;addondeploymentconfigs,verbs=get;list;watch
// +kubebuilder:rbac:groups=addon.open-cluster-management.io,resources=managedclusteraddons,verbs=patch
// +kubebuilder:rbac:groups=addon.open-cluster-management.io,resources=managedclusteraddons/status,verbs=patch
// +kubebuilder:rbac:groups=work.open-cluster-management.io,resources=manifestworks,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,verbs=get;list;watch;create;delete

type installation = addonv1alpha1.ManagedClusterAddOn

// Options are what the controller depends on.
type Options struct {
	// Kinds are the configurations that are served, as they are read.
	Kinds map[config.Kind]schema.GroupVersionKind
}

// Register adds the controller to a manager that has the catalog's index.
func Register(m ctrl.Manager, o Options) error {
	s := &Steps{Hub: m.GetClient(), Live: m.GetAPIReader(), Configs: m.GetCache(), Options: o}
	ours := builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[acceptance.ManagedByLabel] == acceptance.ManagedBy && o.GetLabels()[catalog.NameLabel] != ""
	}))
	owner := handler.EnqueueRequestsFromMapFunc(ownerOf)
	return ctrl.NewControllerManagedBy(m).Named("addon-template").
		For(&installation{}).
		Watches(&addonv1alpha1.ClusterManagementAddOn{}, handler.EnqueueRequestsFromMapFunc(s.ofOffer), builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&clusterv1.ManagedCluster{}, handler.EnqueueRequestsFromMapFunc(s.ofCluster), builder.WithPredicates(acceptanceChanged())).
		Watches(&workv1.ManifestWork{}, owner, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetLabels()[catalog.NameLabel] != "" }))).
		Watches(&rbacv1.RoleBinding{}, owner, ours).
		Complete(&controller{s, newLoop(s, nil)})
}

func newLoop(s *Steps, events record.EventRecorder) *loop.Loop[*installation, facts, plan] {
	return &loop.Loop[*installation, facts, plan]{Steps: s, Client: s.Hub, Events: events, New: func() *installation { return &installation{} }}
}

// ownerOf finds the installation that a work or a binding was made for.
func ownerOf(_ context.Context, o client.Object) []reconcile.Request {
	cluster := o.GetLabels()[catalog.NamespaceLabel]
	if cluster == "" {
		cluster = o.GetNamespace()
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: cluster, Name: o.GetLabels()[catalog.NameLabel]}}}
}

func (s *Steps) ofOffer(ctx context.Context, o client.Object) (all []reconcile.Request) {
	found, err := catalog.Installations(ctx, s.Hub, o.GetName())
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot tell which add-ons a change concerns")
	}
	for i := range found {
		all = append(all, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found[i])})
	}
	return all
}

func (s *Steps) ofCluster(ctx context.Context, o client.Object) (all []reconcile.Request) {
	var found addonv1alpha1.ManagedClusterAddOnList
	if err := s.Hub.List(ctx, &found, client.InNamespace(o.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "cannot tell which add-ons a change concerns")
	}
	for i := range found.Items {
		all = append(all, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found.Items[i])})
	}
	return all
}

func acceptanceChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok1 := e.ObjectOld.(*clusterv1.ManagedCluster)
		is, ok2 := e.ObjectNew.(*clusterv1.ManagedCluster)
		return ok1 && ok2 && (was.Spec.HubAcceptsClient != is.Spec.HubAcceptsClient || detach.Ordered(was) != detach.Ordered(is))
	}}
}

// controller also sees to installations that are gone: rights in other namespaces do not go with them.
type controller struct {
	steps *Steps
	loop  *loop.Loop[*installation, facts, plan]
}

// Reconcile is one round for an installation, or for what one has left behind.
func (c *controller) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	var obj installation
	err := c.steps.Hub.Get(ctx, r.NamespacedName, &obj)
	if apierrors.IsNotFound(err) {
		return reconcile.Result{}, c.steps.revoke(ctx, r.NamespacedName)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	return c.loop.ReconcileObject(ctx, &obj)
}

// Steps are the controller of one installation.
type Steps struct {
	// Hub reads from the cache and writes.
	Hub client.Client
	// Live asks the API server itself.
	Live client.Reader
	// Configs reads configurations as they were written.
	Configs client.Reader
	Options
}

// facts are what the hub has for an installation; what does not exist is nil.
type facts struct {
	offer    *addonv1alpha1.ClusterManagementAddOn
	cluster  *clusterv1.ManagedCluster
	configs  map[config.Ref]*unstructured.Unstructured
	works    map[string]*workv1.ManifestWork
	bindings []rbacv1.RoleBinding
}

// Observe reads.
func (s *Steps) Observe(ctx context.Context, obj *installation) (seen facts, err error) {
	seen.configs, seen.works = map[config.Ref]*unstructured.Unstructured{}, map[string]*workv1.ManifestWork{}
	if seen.offer, err = read(ctx, s.Hub, client.ObjectKey{Name: obj.Name}, &addonv1alpha1.ClusterManagementAddOn{}); err != nil || seen.offer == nil {
		return seen, err
	}
	if seen.cluster, err = read(ctx, s.Hub, client.ObjectKey{Name: obj.Namespace}, &clusterv1.ManagedCluster{}); err != nil {
		return seen, err
	}
	for _, r := range obj.Status.ConfigReferences {
		if r.DesiredConfig == nil {
			continue
		}
		ref := config.Ref{Kind: r.ConfigGroupResource, ConfigReferent: r.DesiredConfig.ConfigReferent}
		kind, served := s.Kinds[ref.Kind]
		if !served {
			continue
		}
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(kind)
		if o, err = read(ctx, s.Configs, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, o); err != nil {
			return seen, err
		}
		if o != nil {
			seen.configs[ref] = o
		}
	}
	if err := s.readWorks(ctx, obj, seen); err != nil {
		return seen, err
	}
	seen.bindings, err = s.bindingsOf(ctx, client.ObjectKeyFromObject(obj))
	return seen, err
}

func read[T client.Object](ctx context.Context, from client.Reader, key client.ObjectKey, into T) (found T, err error) {
	err = from.Get(ctx, key, into)
	if apierrors.IsNotFound(err) {
		return found, nil
	}
	if err != nil {
		return found, fmt.Errorf("get %T %s: %w", into, key, err)
	}
	return into, nil
}

// readWorks keeps those that were made here.
func (s *Steps) readWorks(ctx context.Context, obj *installation, seen facts) error {
	var found workv1.ManifestWorkList
	if err := s.Hub.List(ctx, &found, client.InNamespace(obj.Namespace), client.MatchingLabels{catalog.NameLabel: obj.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list works of add-on %s/%s: %w", obj.Namespace, obj.Name, err)
	}
	for i := range found.Items {
		if _, ours := found.Items[i].Annotations[renderedAs]; ours {
			seen.works[found.Items[i].Name] = &found.Items[i]
		}
	}
	return nil
}

func (s *Steps) bindingsOf(ctx context.Context, key client.ObjectKey) ([]rbacv1.RoleBinding, error) {
	var found rbacv1.RoleBindingList
	if err := s.Hub.List(ctx, &found, client.MatchingLabels(bindingLabels(key.Namespace, key.Name)), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list rights of add-on %s: %w", key, err)
	}
	return found.Items, nil
}

// Decide renders and compares.
func (*Steps) Decide(obj *installation, seen facts, _ time.Time) plan { return decide(obj, seen) }
