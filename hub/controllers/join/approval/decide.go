package approval

import (
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
)

// facts are what a request says and what the hub's authorizer says of its sender.
type facts struct {
	subject   pkix.Name
	malformed error
	// review is nil when nobody asked, because the request fails without it.
	review *authorizationv1.SubjectAccessReviewStatus
}

// plan approves a request, or leaves it alone and says why. Neither is a request that is not this controller's.
type plan struct {
	approve string
	leave   string
}

// Recheck is never: requests do not change.
func (plan) Recheck() time.Duration { return 0 }

// check names what is wrong with a request, or nothing.
type check func(request *certificatesv1.CertificateSigningRequest, seen facts) string

// formal needs the request alone; renewal also needs to know who asks. OCM-3.4
var (
	formal  = []check{wellFormed, oneCluster, ownName}
	renewal = append(slices.Clone(formal), asksForItself, mayRenew)
)

// decide approves renewals that pass every check, and first certificates of users that the list names.
func decide(request *certificatesv1.CertificateSigningRequest, seen facts, auto []string) plan {
	switch {
	case !pending(request) || addOn(request):
		return plan{}
	case identity.IsMember(request.Spec.Username):
		if problem := first(renewal, request, seen); problem != "" {
			return plan{leave: problem}
		}
		return plan{approve: "renewal of the agent's own certificate"}
	case !slices.Contains(auto, request.Spec.Username):
		return plan{} // an administrator's business
	default:
		if problem := first(formal, request, seen); problem != "" {
			return plan{leave: problem}
		}
		return plan{approve: "first certificate, asked for by a user whose requests are approved automatically"}
	}
}

func first(checks []check, request *certificatesv1.CertificateSigningRequest, seen facts) string {
	for _, check := range checks {
		if problem := check(request, seen); problem != "" {
			return problem
		}
	}
	return ""
}

// pending says whether nobody has decided about the request yet.
func pending(request *certificatesv1.CertificateSigningRequest) bool {
	return len(request.Status.Certificate) == 0 &&
		!slices.ContainsFunc(request.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
			return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied ||
				c.Type == certificatesv1.CertificateFailed
		})
}

// addOn requests are approved by whoever runs the add-on on the hub. OCM-19.4
func addOn(request *certificatesv1.CertificateSigningRequest) bool {
	_, found := request.Labels[identity.AddOnLabel]
	return found
}

// OCM-3.4, check 1.
func wellFormed(request *certificatesv1.CertificateSigningRequest, seen facts) string {
	switch {
	case request.Labels[clusterv1.ClusterNameLabelKey] == "":
		return fmt.Sprintf("label %s is missing", clusterv1.ClusterNameLabelKey)
	case request.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName:
		return fmt.Sprintf("signer is %q, want %q", request.Spec.SignerName, certificatesv1.KubeAPIServerClientSignerName)
	case seen.malformed != nil:
		return seen.malformed.Error()
	}
	return ""
}

// OCM-3.4, check 2.
func oneCluster(request *certificatesv1.CertificateSigningRequest, seen facts) string {
	groups := slices.DeleteFunc(slices.Clone(seen.subject.Organization), func(g string) bool { return g == identity.AllMembers })
	if want := identity.Group(request.Labels[clusterv1.ClusterNameLabelKey]); len(groups) != 1 || groups[0] != want {
		return fmt.Sprintf("organizations are %q, want %q and %q", seen.subject.Organization, want, identity.AllMembers)
	}
	return ""
}

// OCM-3.4, check 3.
func ownName(request *certificatesv1.CertificateSigningRequest, seen facts) string {
	cluster, _, ok := identity.ParseUser(seen.subject.CommonName)
	if want := request.Labels[clusterv1.ClusterNameLabelKey]; !ok || cluster != want {
		return fmt.Sprintf("common name is %q, want an agent of cluster %q", seen.subject.CommonName, want)
	}
	return ""
}

// OCM-3.4, check 4.
func asksForItself(request *certificatesv1.CertificateSigningRequest, seen facts) string {
	if request.Spec.Username != seen.subject.CommonName {
		return fmt.Sprintf("user %q asks for a certificate of %q", request.Spec.Username, seen.subject.CommonName)
	}
	return ""
}

// OCM-3.4, check 5.
func mayRenew(request *certificatesv1.CertificateSigningRequest, seen facts) string {
	if seen.review == nil || !seen.review.Allowed {
		return fmt.Sprintf("user %q has no right to renew managedclusters/clientcertificates; is the cluster accepted?", request.Spec.Username)
	}
	return ""
}
