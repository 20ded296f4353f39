// Package approval approves the certificate requests of those add-ons that the hub runs itself. It reads
// CertificateSigningRequests that carry the names of a cluster and of an add-on, the installation they are for, and the
// cluster; it writes the approval and an event. OCM-19.4
//
// It promises that only a cluster's own agent gets a certificate, only for an add-on that is installed there, and only
// in the names that are derived from both. What the installation's status says of the subject counts for nothing: the
// cluster's agent may write that. It never denies anything.
package approval

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/record"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/join/approval"
	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=certificates.k8s.io,resources=certificatesigningrequests,verbs=get;list;watch
// +kubebuilder:rbac:groups=certificates.k8s.io,resources=certificatesigningrequests/approval,verbs=update

// everybody is a group that older agents ask for. Nothing is gained by it: who is let in at all is in it. OCM-19.4
const everybody = "system:authenticated"

type (
	request      = certificatesv1.CertificateSigningRequest
	installation = addonv1alpha1.ManagedClusterAddOn
)

// Register adds the controller to the manager.
func Register(m ctrl.Manager) error {
	s := &Steps{Hub: m.GetClient(), Events: event.Recorder(m, "flotilla-hub")}
	return ctrl.NewControllerManagedBy(m).Named("addon-approval").
		For(&request{}, builder.WithPredicates(predicate.NewPredicateFuncs(ofAddOn))).
		Watches(&installation{}, handler.EnqueueRequestsFromMapFunc(s.requestsOf)).
		Complete(newLoop(s))
}

func newLoop(s *Steps) *loop.Loop[*request, facts, plan] {
	return &loop.Loop[*request, facts, plan]{Steps: s, Client: s.Hub, New: func() *request { return &request{} }}
}

func ofAddOn(o client.Object) bool {
	return o.GetLabels()[clusterv1.ClusterNameLabelKey] != "" && o.GetLabels()[catalog.NameLabel] != ""
}

// Steps approves one request.
type Steps struct {
	// Hub reads from the cache and writes approvals.
	Hub client.Client
	// Events receives what was left alone.
	Events record.EventRecorder
}

// requestsOf wakes what an installation's agent has asked for before it was ready.
func (s *Steps) requestsOf(ctx context.Context, o client.Object) (all []reconcile.Request) {
	var found certificatesv1.CertificateSigningRequestList
	err := s.Hub.List(ctx, &found, client.UnsafeDisableDeepCopy,
		client.MatchingLabels{clusterv1.ClusterNameLabelKey: o.GetNamespace(), catalog.NameLabel: o.GetName()})
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot tell which certificate requests an add-on has")
	}
	for i := range found.Items {
		if pending(&found.Items[i]) {
			all = append(all, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found.Items[i])})
		}
	}
	return all
}

// facts are what a request says and what it is for; what does not exist is nil.
type facts struct {
	subject   pkix.Name
	malformed error
	cluster   *clusterv1.ManagedCluster
	offer     *addonv1alpha1.ClusterManagementAddOn
	addon     *installation
}

// plan approves a request, or leaves it alone and says why. Neither is a request that is not the hub's.
type plan struct{ approve, leave string }

// Recheck is never: requests do not change.
func (plan) Recheck() time.Duration { return 0 }

// Observe reads what the request is for.
func (s *Steps) Observe(ctx context.Context, r *request) (seen facts, err error) {
	if !pending(r) || !ofAddOn(r) {
		return seen, nil
	}
	seen.subject, seen.malformed = identity.Subject(r.Spec.Request)
	cluster, name := r.Labels[clusterv1.ClusterNameLabelKey], r.Labels[catalog.NameLabel]
	if seen.cluster, err = read(ctx, s.Hub, client.ObjectKey{Name: cluster}, &clusterv1.ManagedCluster{}); err != nil {
		return seen, err
	}
	if seen.offer, err = read(ctx, s.Hub, client.ObjectKey{Name: name}, &addonv1alpha1.ClusterManagementAddOn{}); err != nil {
		return seen, err
	}
	seen.addon, err = read(ctx, s.Hub, client.ObjectKey{Namespace: cluster, Name: name}, &installation{})
	return seen, err
}

func read[T client.Object](ctx context.Context, hub client.Reader, key client.ObjectKey, into T) (found T, err error) {
	err = hub.Get(ctx, key, into)
	if apierrors.IsNotFound(err) {
		return found, nil
	}
	if err != nil {
		return found, fmt.Errorf("get %T %s: %w", into, key, err)
	}
	return into, nil
}

// Decide applies the checks.
func (*Steps) Decide(r *request, seen facts, _ time.Time) plan {
	if !pending(r) || !ofAddOn(r) || r.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName ||
		seen.addon == nil || seen.offer == nil || !catalog.RunByTemplate(seen.offer, seen.addon) {
		return plan{} // the business of whoever runs the add-on
	}
	for _, check := range checks {
		if problem := check(r, seen); problem != "" {
			return plan{leave: problem}
		}
	}
	return plan{approve: fmt.Sprintf("certificate of add-on %s on cluster %s", seen.addon.Name, seen.addon.Namespace)}
}

// checks name what is wrong with a request, or nothing. OCM-19.4
var checks = []func(*request, facts) string{wellFormed, installed, byItsCluster, ownName, ownGroups}

func wellFormed(_ *request, seen facts) string {
	if seen.malformed != nil {
		return seen.malformed.Error()
	}
	return ""
}

func installed(r *request, seen facts) string {
	switch {
	case !seen.addon.DeletionTimestamp.IsZero():
		return fmt.Sprintf("add-on %s of cluster %s is being deleted", seen.addon.Name, seen.addon.Namespace)
	case seen.cluster == nil || !seen.cluster.Spec.HubAcceptsClient || !seen.cluster.DeletionTimestamp.IsZero():
		return fmt.Sprintf("cluster %s is not accepted", r.Labels[clusterv1.ClusterNameLabelKey])
	}
	return ""
}

// byItsCluster compares names whole: an agent of cluster "ab" is no agent of cluster "a". OCM-19.4
func byItsCluster(r *request, seen facts) string {
	if cluster, _, ok := identity.ParseUser(r.Spec.Username); !ok || cluster != seen.addon.Namespace {
		return fmt.Sprintf("user %q is no agent of cluster %q", r.Spec.Username, seen.addon.Namespace)
	}
	return ""
}

func ownName(_ *request, seen facts) string {
	if !catalog.IsAgent(seen.subject.CommonName, seen.addon.Namespace, seen.addon.Name) {
		return fmt.Sprintf("common name is %q, want %q and an agent's name", seen.subject.CommonName, catalog.User(seen.addon.Namespace, seen.addon.Name, ""))
	}
	return ""
}

func ownGroups(_ *request, seen facts) string {
	want := []string{catalog.Group(seen.addon.Namespace, seen.addon.Name), catalog.SharedGroup(seen.addon.Name)}
	groups := slices.DeleteFunc(slices.Clone(seen.subject.Organization), func(g string) bool { return g == everybody })
	slices.Sort(groups)
	if slices.Sort(want); !slices.Equal(groups, want) {
		return fmt.Sprintf("organizations are %q, want %q", seen.subject.Organization, want)
	}
	return ""
}

// pending says whether nobody has decided about the request yet.
func pending(r *request) bool { return len(r.Status.Certificate) == 0 && len(r.Status.Conditions) == 0 }

// Act approves.
func (s *Steps) Act(ctx context.Context, r *request, p plan) error {
	if p.leave != "" {
		log.FromContext(ctx).Info("leave certificate request alone", "problem", p.leave)
		event.Emit(s.Events, r, event.Warning(approval.ReasonLeftAlone, "not approved automatically: %s", p.leave))
	}
	if p.approve == "" {
		return nil
	}
	approved := r.DeepCopy()
	approved.Status.Conditions = append(approved.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: approval.Reason, Message: "Approved by the hub: " + p.approve + ".",
	})
	if err := s.Hub.SubResource("approval").Update(ctx, approved); err != nil {
		return fmt.Errorf("approve certificate request: %w", err)
	}
	log.FromContext(ctx).Info("approved certificate request", "why", p.approve)
	return nil
}

// Report has nothing to say: the approval is the status.
func (*Steps) Report(*request, facts, plan, error) {}
