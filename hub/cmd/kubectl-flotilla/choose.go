package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
)

// errNotAsked says that a cluster has yet to ask; waiting may help.
var errNotAsked = errors.New("it has not asked to join")

// choose picks the requests to approve, which are those that wait for an administrator. It picks none of a cluster
// that has joined before and needs none, and refuses to choose between different names or to trust strangers. OCM-3.4
func choose(cluster *clusterv1.ManagedCluster, requests []certificatesv1.CertificateSigningRequest, also string) ([]*certificatesv1.CertificateSigningRequest, error) {
	if why := identity.Reserved(cluster.Name); why != "" {
		return nil, errors.New(why)
	}
	var open []*certificatesv1.CertificateSigningRequest
	var names, denied []string
	approved := false
	for i := range requests {
		request := &requests[i]
		if _, addOn := request.Labels[identity.AddOnLabel]; addOn || identity.IsMember(request.Spec.Username) {
			continue // add-ons and renewals are not ours to approve
		}
		switch decided(request) {
		case certificatesv1.CertificateApproved:
			approved = true
			continue
		case certificatesv1.CertificateDenied, certificatesv1.CertificateFailed:
			denied = append(denied, request.Name)
			continue
		}
		name, err := trusted(cluster.Name, request, also)
		if err != nil {
			return nil, fmt.Errorf("certificate request %s: %w", request.Name, err)
		}
		open = append(open, request)
		names = append(names, name)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 1 {
		return nil, fmt.Errorf("requests under %d different names wait: %s; only one can be its agent: see kubectl get csr -l %s=%s and delete those you do not trust",
			len(names), strings.Join(names, ", "), clusterv1.ClusterNameLabelKey, cluster.Name)
	}
	switch {
	case len(open) > 0 || approved || joined(cluster):
		return open, nil
	case len(denied) > 0:
		return nil, fmt.Errorf("%w: its certificate request %s was denied; delete that and restart its agent, which then asks again", errNotAsked, denied[0])
	}
	return nil, fmt.Errorf("%w: no certificate request of it is here; does its agent run, with a kubeconfig of kubectl flotilla bootstrap? --wait waits for it", errNotAsked)
}

// decided is the decision about a request, empty while there is none.
func decided(request *certificatesv1.CertificateSigningRequest) certificatesv1.RequestConditionType {
	for _, c := range request.Status.Conditions {
		switch c.Type {
		case certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed:
			return c.Type
		}
	}
	return ""
}

// trusted returns the name that a request asks for, if it is one that an agent of the cluster asks for in due form.
func trusted(cluster string, request *certificatesv1.CertificateSigningRequest, also string) (string, error) {
	if request.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
		return "", fmt.Errorf("it asks signer %q, agents ask %q; delete it if you do not trust it", request.Spec.SignerName, certificatesv1.KubeAPIServerClientSignerName)
	}
	if user := request.Spec.Username; !identity.IsBootstrapper(user, request.Spec.Groups) && (also == "" || user != also) {
		return "", fmt.Errorf("it is from user %q, which is no bootstrap identity; if you trust that user: --requester=%s", user, user)
	}
	subject, err := identity.Subject(request.Spec.Request)
	if err != nil {
		return "", err
	}
	named, _, ok := identity.ParseUser(subject.CommonName)
	groups := slices.DeleteFunc(slices.Clone(subject.Organization), func(g string) bool { return g == identity.AllMembers })
	if !ok || named != cluster || len(groups) != 1 || groups[0] != identity.Group(cluster) {
		return "", fmt.Errorf("it asks to become %q of groups %q, which is no agent of this cluster; delete it if you do not trust it", subject.CommonName, subject.Organization)
	}
	return subject.CommonName, nil
}
