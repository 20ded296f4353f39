// Package signer approves and signs the certificate requests of add-ons that the hub runs by a template with a signer of
// its own. It reads CertificateSigningRequests that carry the names of a cluster and of an add-on, the installation, its
// template, the cluster, and the secret of the certificate authority; it writes the approval, the certificate and events.
// OCM-19.4
//
// It promises to sign only for the cluster's own agent, only in the names that the template gives, and never longer than
// the authority itself is good for. The hub may neither approve for such signers nor read their secrets until an
// administrator lets it, by the ClusterRole flotilla:hub:addon-signers and a Role for the secret.
package signer

import (
	"context"
	"errors"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/join/approval"
	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
	"github.com/flotilla-project/flotilla/pkg/event"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

// +kubebuilder:rbac:groups=certificates.k8s.io,resources=certificatesigningrequests,verbs=get;list;watch

// Reasons of events.
const (
	reasonNotSigned = "CertificateNotSigned"
	// defaultNamespace of the secrets of certificate authorities.
	defaultNamespace = "open-cluster-management-hub"
)

type (
	request      = certificatesv1.CertificateSigningRequest
	installation = addonv1alpha1.ManagedClusterAddOn
)

// Register adds the controller to the manager.
func Register(m ctrl.Manager, now clock.PassiveClock) error {
	if now == nil {
		now = clock.RealClock{}
	}
	s := &Steps{Hub: m.GetClient(), Live: m.GetAPIReader(), Configs: m.GetCache(), Events: event.Recorder(m, "flotilla-hub"), Clock: now}
	return ctrl.NewControllerManagedBy(m).Named("addon-signer").
		For(&request{}, builder.WithPredicates(predicate.NewPredicateFuncs(concerned))).
		Complete(newLoop(s))
}

func newLoop(s *Steps) *loop.Loop[*request, facts, plan] {
	return &loop.Loop[*request, facts, plan]{Steps: s, Client: s.Hub, Clock: s.Clock, New: func() *request { return &request{} }}
}

// concerned are requests of add-ons for signers of their own, which nobody has signed.
func concerned(o client.Object) bool {
	r, ok := o.(*request)
	return ok && r.Labels[clusterv1.ClusterNameLabelKey] != "" && r.Labels[catalog.NameLabel] != "" &&
		r.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName && len(r.Status.Certificate) == 0
}

// Steps signs one request.
type Steps struct {
	// Hub reads from the cache and writes.
	Hub client.Client
	// Live reads secrets, which no cache holds.
	Live client.Reader
	// Configs reads templates as they were written.
	Configs client.Reader
	// Events receives what was left alone.
	Events record.EventRecorder
	// Clock is now.
	Clock clock.PassiveClock
}

// Observe reads what the request is for.
func (s *Steps) Observe(ctx context.Context, r *request) (seen facts, err error) {
	if !concerned(r) {
		return seen, nil
	}
	seen.subject, seen.malformed = identity.Subject(r.Spec.Request)
	cluster, name := r.Labels[clusterv1.ClusterNameLabelKey], r.Labels[catalog.NameLabel]
	if seen.cluster, err = read(ctx, s.Hub, client.ObjectKey{Name: cluster}, &clusterv1.ManagedCluster{}); err != nil {
		return seen, err
	}
	if seen.offer, err = read(ctx, s.Hub, client.ObjectKey{Name: name}, &addonv1alpha1.ClusterManagementAddOn{}); err != nil || seen.offer == nil {
		return seen, err
	}
	if seen.addon, err = read(ctx, s.Hub, client.ObjectKey{Namespace: cluster, Name: name}, &installation{}); err != nil || seen.addon == nil {
		return seen, err
	}
	ref := catalog.Template(seen.addon)
	if ref == nil {
		return seen, nil
	}
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(catalog.GroupVersion.WithKind("AddOnTemplate"))
	if o, err = read(ctx, s.Configs, client.ObjectKey{Name: ref.Name}, o); err != nil || o == nil {
		return seen, err
	}
	seen.template = &addonv1alpha1.AddOnTemplate{}
	return seen, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, seen.template)
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

// Decide applies the checks.
func (*Steps) Decide(r *request, seen facts, _ time.Time) plan { return decide(r, seen) }

// Act approves, or signs what is approved.
func (s *Steps) Act(ctx context.Context, r *request, p plan) error {
	switch {
	case p.leave != "":
		log.FromContext(ctx).Info("leave certificate request alone", "problem", p.leave)
		event.Emit(s.Events, r, event.Warning(approval.ReasonLeftAlone, "not approved automatically: %s", p.leave))
	case p.approve:
		return s.told(r, s.approve(ctx, r))
	case p.sign != nil:
		return s.told(r, s.sign(ctx, r, *p.sign))
	}
	return nil
}

// told tells of what an administrator has to allow.
func (s *Steps) told(r *request, err error) error {
	if err != nil {
		event.Emit(s.Events, r, event.Warning(reasonNotSigned, "%v", err))
	}
	return err
}

func (s *Steps) approve(ctx context.Context, r *request) error {
	approved := r.DeepCopy()
	approved.Status.Conditions = append(approved.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: approval.Reason,
		Message: fmt.Sprintf("Approved by the hub: certificate of add-on %s on cluster %s.", r.Labels[catalog.NameLabel], r.Labels[clusterv1.ClusterNameLabelKey]),
	})
	if err := s.Hub.SubResource("approval").Update(ctx, approved); err != nil {
		return fmt.Errorf("approve for signer %s, which takes the right to approve for it: %w", r.Spec.SignerName, err)
	}
	return nil
}

func (s *Steps) sign(ctx context.Context, r *request, ca addonv1alpha1.SigningCARef) error {
	if ca.Namespace == "" {
		ca.Namespace = defaultNamespace
	}
	var secret corev1.Secret
	if err := s.Live.Get(ctx, client.ObjectKey{Namespace: ca.Namespace, Name: ca.Name}, &secret); err != nil {
		return fmt.Errorf("read the certificate authority of signer %s: %w", r.Spec.SignerName, err)
	}
	certificate, err := issue(r, secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], s.Clock.Now())
	if err != nil {
		return fmt.Errorf("sign with secret %s/%s: %w", ca.Namespace, ca.Name, err)
	}
	signed := r.DeepCopy()
	signed.Status.Certificate = certificate
	if err := s.Hub.SubResource("status").Update(ctx, signed); err != nil {
		return fmt.Errorf("hand out the certificate of signer %s, which takes the right to sign for it: %w", r.Spec.SignerName, err)
	}
	log.FromContext(ctx).Info("signed certificate request", "signer", r.Spec.SignerName)
	return nil
}

// Report has nothing to say: approval and certificate are the status.
func (*Steps) Report(*request, facts, plan, error) {}

var errNoAuthority = errors.New("it holds no certificate authority")
