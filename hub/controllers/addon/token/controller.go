// Package token gives those add-ons that use a service account's token what they need: the account in the cluster's
// namespace, and the right of the cluster's agent to ask for its tokens. It reads ManagedClusterAddOns; it owns these
// three objects and the condition TokenInfrastructureReady. OCM-19.4
//
// It promises that a cluster's agent gets tokens of that one account only. The API server lets nobody grant what he does
// not hold, and whoever may ask for any account's token holds the cluster: so the hub makes these objects only where an
// administrator has bound the ClusterRole flotilla:hub:addon-tokens to it, and says so where not.
package token

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/join/acceptance"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;list;watch
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;list;watch

const (
	// ConditionReady is what agents wait for; its message holds the account's UID. OCM-19.4
	ConditionReady = "TokenInfrastructureReady"
	reasonReady    = "TokenInfrastructureReady"
	reasonFailed   = "TokenInfrastructureFailed"

	// NameLabel says whose objects those made here are. OCM-19.4
	NameLabel = "addon.open-cluster-management.io/name"
	// InfrastructureLabel marks them. OCM-19.4
	InfrastructureLabel = "addon.open-cluster-management.io/token-infrastructure"

	// Role is the ClusterRole that an administrator binds to the hub.
	Role = "flotilla:hub:addon-tokens"
)

type installation = addonv1alpha1.ManagedClusterAddOn

// Register adds the controller to the manager.
func Register(m ctrl.Manager) error {
	ours := builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetLabels()[InfrastructureLabel] == "true" }))
	owner := handler.EnqueueRequestsFromMapFunc(ownerOf)
	return ctrl.NewControllerManagedBy(m).Named("addon-token").
		For(&installation{}).
		Watches(&corev1.ServiceAccount{}, owner, ours).
		Watches(&rbacv1.Role{}, owner, ours).
		Watches(&rbacv1.RoleBinding{}, owner, ours).
		Complete(newLoop(m.GetClient()))
}

func newLoop(hub client.Client) *loop.Loop[*installation, facts, plan] {
	return &loop.Loop[*installation, facts, plan]{Steps: &Steps{Hub: hub}, Client: hub, New: func() *installation { return &installation{} }}
}

func ownerOf(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: o.GetNamespace(), Name: o.GetLabels()[NameLabel]}}}
}

// Steps are the controller of one installation's token.
type Steps struct {
	// Hub reads from the cache, which holds what the hub has labelled as its own, and writes.
	Hub client.Client
}

// facts are the objects that exist, in the order of those that are wanted; nil is one that does not.
type facts struct{ have []client.Object }

// account is nil until it is there.
func (f facts) account() client.Object { return f.have[0] }

// plan makes, replaces or removes.
type plan struct {
	wanted         bool
	create, remove []client.Object
	uid            types.UID
}

// Recheck is never: all of it is watched.
func (plan) Recheck() time.Duration { return 0 }

// objects are what an add-on with a token has: the account comes first. They go with the installation.
func objects(obj *installation) []client.Object {
	labels := map[string]string{NameLabel: obj.Name, InfrastructureLabel: "true", acceptance.ManagedByLabel: acceptance.ManagedBy}
	named := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: obj.Namespace, Name: name, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(obj, catalog.GroupVersion.WithKind("ManagedClusterAddOn"))}}
	}
	role := obj.Name + "-token-role"
	var subjects []rbacv1.Subject
	for _, group := range catalog.ClusterGroups(obj.Namespace) {
		subjects = append(subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group})
	}
	return []client.Object{
		&corev1.ServiceAccount{ObjectMeta: named(catalog.ServiceAccount(obj.Name))},
		&rbacv1.Role{ObjectMeta: named(role), Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{catalog.ServiceAccount(obj.Name)}, Verbs: []string{"create"}},
		}},
		&rbacv1.RoleBinding{ObjectMeta: named(role), Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role}},
	}
}

// Observe reads what there is.
func (s *Steps) Observe(ctx context.Context, obj *installation) (seen facts, err error) {
	for _, want := range objects(obj) {
		have := want.DeepCopyObject().(client.Object)
		err := s.Hub.Get(ctx, client.ObjectKeyFromObject(want), have)
		if apierrors.IsNotFound(err) {
			seen.have = append(seen.have, nil)
			continue
		}
		if err != nil {
			return seen, fmt.Errorf("read %T %s: %w", want, want.GetName(), err)
		}
		seen.have = append(seen.have, have)
	}
	return seen, nil
}

// uses says whether the add-on's agent declares that it comes with a token. OCM-19.4
func uses(obj *installation) bool {
	return obj.Status.KubeClientDriver == catalog.TokenDriver && obj.DeletionTimestamp.IsZero() &&
		slices.ContainsFunc(obj.Status.Registrations, func(r addonv1alpha1.RegistrationConfig) bool {
			return r.SignerName == "kubernetes.io/kube-apiserver-client"
		})
}

// Decide compares. An installation that goes takes its objects with it; one that no longer uses a token loses them.
func (*Steps) Decide(obj *installation, seen facts, _ time.Time) plan {
	p := plan{wanted: uses(obj)}
	if !obj.DeletionTimestamp.IsZero() {
		return p
	}
	for i, want := range objects(obj) {
		have := seen.have[i]
		switch {
		case have != nil && !metav1.IsControlledBy(have, obj): // another's, or of an installation before this one
			p.remove = append(p.remove, have)
		case have == nil && p.wanted:
			p.create = append(p.create, want)
		case have != nil && (!p.wanted || !same(have, want)):
			p.remove = append(p.remove, have)
		}
	}
	if account := seen.account(); p.wanted && account != nil && len(p.create)+len(p.remove) == 0 {
		p.uid = account.GetUID()
	}
	return p
}

// same: what was changed is made again, since a role's binding cannot be changed.
func same(have, want client.Object) bool {
	for key := range maps.Keys(want.GetLabels()) {
		if have.GetLabels()[key] != want.GetLabels()[key] {
			return false
		}
	}
	switch want := want.(type) {
	case *rbacv1.Role:
		return slices.EqualFunc(have.(*rbacv1.Role).Rules, want.Rules, func(a, b rbacv1.PolicyRule) bool { return a.String() == b.String() })
	case *rbacv1.RoleBinding:
		have := have.(*rbacv1.RoleBinding)
		return have.RoleRef == want.RoleRef && slices.Equal(have.Subjects, want.Subjects)
	}
	return true
}

// Act takes away what is wrong and makes what is missing; what was taken is made again in the round that this brings.
func (s *Steps) Act(ctx context.Context, _ *installation, p plan) error {
	var errs []error
	for _, o := range p.remove {
		log.FromContext(ctx).Info("remove token infrastructure", "object", fmt.Sprintf("%T %s", o, o.GetName()))
		err := s.Hub.Delete(ctx, o, client.Preconditions{UID: new(o.GetUID()), ResourceVersion: new(o.GetResourceVersion())})
		if client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("delete %T %s: %w", o, o.GetName(), err))
		}
	}
	for _, o := range p.create {
		log.FromContext(ctx).Info("make token infrastructure", "object", fmt.Sprintf("%T %s", o, o.GetName()))
		if err := s.Hub.Create(ctx, o); err != nil {
			errs = append(errs, fmt.Errorf("create %T %s: %w", o, o.GetName(), err))
		}
	}
	return errors.Join(errs...)
}

// Report tells the agent that it can ask for a token, or why not.
func (*Steps) Report(obj *installation, _ facts, p plan, acted error) {
	c := metav1.Condition{Type: ConditionReady, Status: metav1.ConditionTrue, Reason: reasonReady}
	switch {
	case !p.wanted && obj.DeletionTimestamp.IsZero():
		meta.RemoveStatusCondition(&obj.Status.Conditions, ConditionReady)
		return
	case !p.wanted:
		return
	case acted != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonFailed, acted.Error()+hint(acted)
	case p.uid == "":
		return // the next round sees what was made
	default:
		c.Message = fmt.Sprintf("Service account %s/%s is there (UID: %s).", obj.Namespace, catalog.ServiceAccount(obj.Name), p.uid)
	}
	meta.SetStatusCondition(&obj.Status.Conditions, c)
}

func hint(err error) string {
	var refused apierrors.APIStatus
	if !errors.As(err, &refused) || refused.Status().Code != 403 {
		return ""
	}
	return ". To let add-ons use tokens, bind the ClusterRole " + Role + " to the hub's service account."
}
