package addon

import (
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-project/flotilla/agent/link/register"
)

// Drivers of OCM-19.4.
const (
	driverCSR   = "csr"
	driverToken = "token"
)

const addonDomain = ".addon.open-cluster-management.io"

// credential is one secret that an add-on's agent finds on this cluster, and how it is come by.
type credential struct {
	addOn  string
	secret types.NamespacedName
	token  bool // by a token of a service account on the hub; else by a certificate
	kube   bool // for the hub's API server, so it comes with a kubeconfig
	signer string
	user   string
	groups []string
	units  []string
}

// same says that a keeper of c need not be replaced.
func (c credential) same(other credential) bool {
	return c.addOn == other.addOn && c.secret == other.secret && c.token == other.token && c.kube == other.kube && c.signer == other.signer &&
		c.user == other.user && slices.Equal(c.groups, other.groups) && slices.Equal(c.units, other.units)
}

// credentials are what an add-on's registrations ask for. Of two that want the same secret the first counts. OCM-19.4
func credentials(name string, i *installation, holder register.Identity, driver string) []credential {
	var out []credential
	for _, r := range i.registrations {
		c := credential{addOn: name, kube: r.kube(), signer: r.signer, secret: types.NamespacedName{Namespace: i.namespace, Name: secretName(name, r)}}
		if c.token = c.kube && driver == driverToken; !c.token {
			c.user, c.groups, c.units = subject(name, r, holder)
		}
		if !slices.ContainsFunc(out, func(other credential) bool { return other.secret == c.secret }) {
			out = append(out, c)
		}
	}
	return out
}

func secretName(addOn string, r registration) string {
	if r.kube() {
		return addOn + "-hub-kubeconfig"
	}
	return addOn + "-" + strings.ReplaceAll(r.signer, "/", "-") + "-client-cert"
}

// subject is whom the certificate names: what the registration says, and the defaults for what it leaves open. A user
// that is a service account is left from when the add-on had a token; no certificate is issued for one. OCM-19.4
func subject(addOn string, r registration, holder register.Identity) (user string, groups, units []string) {
	const tokenUser = "system:serviceaccount:"
	group := fmt.Sprintf("system:open-cluster-management:cluster:%s:addon:%s", holder.Cluster, addOn)
	user, groups, units = r.user, r.groups, r.units
	if user == "" || strings.HasPrefix(user, tokenUser) {
		user = group + ":agent:" + holder.Agent
	}
	if r.kube() && len(groups) == 0 {
		groups = []string{group, "system:open-cluster-management:addon:" + addOn}
	}
	return user, groups, units
}

// request is how the certificate is asked for.
func (c credential) request(cluster string, seconds int32) register.Request {
	return register.Request{
		Cluster: cluster, AddOn: c.addOn, Signer: c.signer, Seconds: seconds, DNSNames: []string{c.addOn + addonDomain},
		Subject: pkix.Name{CommonName: c.user, Organization: c.groups, OrganizationalUnit: c.units},
	}
}

// account is the service account on the hub whose token the add-on gets, and the user it is there. OCM-19.4
func account(addOn string) string { return addOn + "-agent" }

func accountUser(cluster, addOn string) string {
	return "system:serviceaccount:" + cluster + ":" + account(addOn)
}
