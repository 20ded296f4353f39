package signer

import (
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/catalog"
	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
)

// everybody is a group that older agents ask for. OCM-19.4
const everybody = "system:authenticated"

// facts are what a request says and what it is for; what does not exist is nil.
type facts struct {
	subject   pkix.Name
	malformed error
	cluster   *clusterv1.ManagedCluster
	offer     *addonv1alpha1.ClusterManagementAddOn
	addon     *installation
	template  *addonv1alpha1.AddOnTemplate
}

// plan approves a request, signs it, or leaves it alone and says why. None of these is a request that is not the hub's.
type plan struct {
	approve bool
	sign    *addonv1alpha1.SigningCARef
	leave   string
}

// Recheck is never: requests do not change by time.
func (plan) Recheck() time.Duration { return 0 }

func decide(r *request, seen facts) plan {
	custom := registered(r, seen)
	if !concerned(r) || custom == nil {
		return plan{}
	}
	approved := false
	for _, c := range r.Status.Conditions {
		if c.Type != certificatesv1.CertificateApproved {
			return plan{} // denied or failed: somebody else has decided
		}
		approved = true
	}
	if problem := wrong(r, seen, custom.Subject); problem != "" {
		return plan{leave: problem}
	}
	if approved {
		return plan{sign: &custom.SigningCA}
	}
	return plan{approve: true}
}

// registered is what the add-on's template says about the signer, if a spec names that template: a cluster's agent may
// write status, and must not choose an authority.
func registered(r *request, seen facts) *addonv1alpha1.CustomSignerRegistrationConfig {
	if seen.template == nil || !catalog.RunByTemplate(seen.offer, seen.addon) || seen.template.Spec.AddonName != seen.addon.Name ||
		!slices.Contains(config.Named(seen.offer, seen.addon), config.Ref{Kind: config.Templates, ConfigReferent: addonv1alpha1.ConfigReferent{Name: seen.template.Name}}) {
		return nil
	}
	for _, reg := range seen.template.Spec.Registration {
		if reg.Type == addonv1alpha1.RegistrationTypeCustomSigner && reg.CustomSigner != nil && reg.CustomSigner.SignerName == r.Spec.SignerName {
			return reg.CustomSigner
		}
	}
	return nil
}

// wrong names what is wrong with a request, or nothing. OCM-19.4
func wrong(r *request, seen facts, subject *addonv1alpha1.Subject) string {
	cluster, name := r.Labels[clusterv1.ClusterNameLabelKey], r.Labels[catalog.NameLabel]
	by, _, ok := identity.ParseUser(r.Spec.Username)
	switch {
	case seen.malformed != nil:
		return seen.malformed.Error()
	case !seen.addon.DeletionTimestamp.IsZero():
		return fmt.Sprintf("add-on %s of cluster %s is being deleted", name, cluster)
	case seen.cluster == nil || !seen.cluster.Spec.HubAcceptsClient || !seen.cluster.DeletionTimestamp.IsZero():
		return fmt.Sprintf("cluster %s is not accepted", cluster)
	case !ok || by != cluster:
		return fmt.Sprintf("user %q is no agent of cluster %q", r.Spec.Username, cluster)
	}
	want := addonv1alpha1.Subject{Groups: []string{catalog.Group(cluster, name), catalog.SharedGroup(name)}}
	if subject != nil {
		want = *subject
	}
	is := seen.subject
	switch {
	case want.User != "" && is.CommonName != want.User, want.User == "" && !catalog.IsAgent(is.CommonName, cluster, name):
		return fmt.Sprintf("common name is %q, want %q", is.CommonName, want.User)
	case subject != nil && !sameSet(is.Organization, want.Groups), subject == nil && !sameSet(without(is.Organization, everybody), want.Groups):
		return fmt.Sprintf("organizations are %q, want %q", is.Organization, want.Groups)
	case !sameSet(is.OrganizationalUnit, want.OrganizationUnits):
		return fmt.Sprintf("organizational units are %q, want %q", is.OrganizationalUnit, want.OrganizationUnits)
	}
	return ""
}

func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == one })
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
