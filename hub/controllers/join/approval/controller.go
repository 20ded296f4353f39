// Package approval approves the certificate requests of member clusters. It reads CertificateSigningRequests that
// carry a cluster's name and asks the authorizer about their senders; it writes the approval and an event.
//
// It promises that a renewal is approved only to the agent that already holds the name it asks for, that a first
// certificate is approved only to users it was told of, and that it never denies anything: a request that fails a
// check is left to an administrator, with an event that names the check.
package approval

import (
	"context"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
	"github.com/flotilla-project/flotilla/pkg/event"
)

const (
	// Reason is what an approval says it was made by. OCM-3.4
	Reason = "AutoApprovedByHubCSRApprovingController"
	// ReasonLeftAlone is the reason of the event on a request that failed a check.
	ReasonLeftAlone = "CertificateRequestLeftAlone"

	// renewGroup, renewVerb and their resource are the right to renew. OCM-3.4
	renewGroup = "register.open-cluster-management.io"
	renewVerb  = "renew"
)

// Steps approves one request.
type Steps struct {
	// Hub writes approvals.
	Hub client.Client
	// Live asks the authorizer; it must not cache.
	Live client.Client
	// Events receives what was left alone.
	Events record.EventRecorder
	// Auto are the users whose first certificates are approved automatically.
	Auto []string
}

// Observe reads the request, and asks the authorizer only about renewals that could pass.
func (s *Steps) Observe(ctx context.Context, request *certificatesv1.CertificateSigningRequest) (facts, error) {
	var seen facts
	seen.subject, seen.malformed = identity.Subject(request.Spec.Request)
	if !pending(request) || addOn(request) || !identity.IsMember(request.Spec.Username) ||
		first(renewal[:len(renewal)-1], request, seen) != "" {
		return seen, nil
	}
	review := reviewOf(request)
	if err := s.Live.Create(ctx, review); err != nil {
		return seen, fmt.Errorf("review the rights of %s: %w", request.Spec.Username, err)
	}
	seen.review = &review.Status
	return seen, nil
}

// Decide applies the checks.
func (s *Steps) Decide(request *certificatesv1.CertificateSigningRequest, seen facts, _ time.Time) plan {
	return decide(request, seen, s.Auto)
}

// Act approves.
func (s *Steps) Act(ctx context.Context, request *certificatesv1.CertificateSigningRequest, p plan) error {
	if p.leave != "" {
		log.FromContext(ctx).Info("leave certificate request alone", "problem", p.leave)
		event.Emit(s.Events, request, event.Warning(ReasonLeftAlone, "not approved automatically: %s", p.leave))
	}
	if p.approve == "" {
		return nil
	}
	approved := request.DeepCopy()
	approved.Status.Conditions = append(approved.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: Reason,
		Message: "Approved by the hub: " + p.approve + ".",
	})
	if err := s.Hub.SubResource("approval").Update(ctx, approved); err != nil {
		return fmt.Errorf("approve certificate request: %w", err)
	}
	log.FromContext(ctx).Info("approved certificate request", "why", p.approve)
	return nil
}

// Report has nothing to say: the approval is the status.
func (*Steps) Report(*certificatesv1.CertificateSigningRequest, facts, plan, error) {}

// reviewOf asks whether the sender may renew certificates.
func reviewOf(request *certificatesv1.CertificateSigningRequest) *authorizationv1.SubjectAccessReview {
	extra := make(map[string]authorizationv1.ExtraValue, len(request.Spec.Extra))
	for key, values := range request.Spec.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	return &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: request.Spec.Username, UID: request.Spec.UID, Groups: request.Spec.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: renewVerb, Group: renewGroup, Resource: "managedclusters", Subresource: "clientcertificates",
		},
	}}
}
