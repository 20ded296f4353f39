// Package identity says how member clusters and those who bring them in are called by the hub's API server: users,
// groups, and the subject of a certificate request. It is pure; it reads and writes nothing. Names are always
// compared whole, so that cluster "a" is never taken for cluster "ab".
package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// AllMembers is the group that every member's certificate carries. Nothing is bound to it.
	AllMembers = "system:open-cluster-management:managed-clusters"
	// AddOnLabel marks requests that add-ons make for themselves; joining leaves them alone.
	AddOnLabel = "open-cluster-management.io/addon-name"

	// Bootstrapper is the service account whose token lets a cluster ask to join (OCM-3.1).
	Bootstrapper = "system:serviceaccount:" + BootstrapNamespace + ":" + BootstrapAccount
	// BootstrapNamespace is where that service account lives.
	BootstrapNamespace = "open-cluster-management"
	// BootstrapAccount is its name there.
	BootstrapAccount = "agent-registration-bootstrap"
	// BootstrapTokenGroup is the group of bootstrap tokens made for joining.
	BootstrapTokenGroup = "system:bootstrappers:managedcluster"

	prefix      = "system:open-cluster-management:"
	cloudPrefix = "open-cluster-management:"
)

// bootstrapToken is the user of a bootstrap token; the last part is the token's public half.
var bootstrapToken = regexp.MustCompile(`^system:bootstrap:[a-z0-9]{6}$`)

// Group is the group of a cluster's certificates.
func Group(cluster string) string { return prefix + cluster }

// CloudGroup is the group of a cluster that comes with a cloud provider's identity instead of a certificate.
func CloudGroup(cluster string) string { return cloudPrefix + cluster }

// User is one agent of a cluster.
func User(cluster, agent string) string { return prefix + cluster + ":" + agent }

// ParseUser takes a user apart into its cluster and agent. Add-on agents have longer names and are not agents here.
func ParseUser(user string) (cluster, agent string, ok bool) {
	rest, found := strings.CutPrefix(user, prefix)
	parts := strings.Split(rest, ":")
	if !found || len(parts) != 2 || parts[0] == "" || parts[1] == "" {
		return "", "", false
	}
	return parts[0], parts[1], true
}

// IsMember says whether the user is, or calls itself, an agent of some cluster or add-on.
func IsMember(user string) bool { return strings.HasPrefix(user, prefix) }

// IsBootstrapper says whether the user is one of the stock identities for joining (OCM-3.1).
func IsBootstrapper(user string, groups []string) bool {
	return user == Bootstrapper || bootstrapToken.MatchString(user) && slices.Contains(groups, BootstrapTokenGroup)
}

// Subject reads whom the certificate request in a PEM block wants to become.
func Subject(request []byte) (pkix.Name, error) {
	block, rest := pem.Decode(request)
	switch {
	case block == nil:
		return pkix.Name{}, errors.New("the request holds no PEM block")
	case block.Type != "CERTIFICATE REQUEST":
		return pkix.Name{}, fmt.Errorf("the PEM block is of type %q, want CERTIFICATE REQUEST", block.Type)
	case len(strings.TrimSpace(string(rest))) > 0:
		return pkix.Name{}, errors.New("something follows the PEM block")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return pkix.Name{}, fmt.Errorf("parse certificate request: %w", err)
	}
	return parsed.Subject, nil
}

// Reserved says why a cluster cannot have this name, or nothing when it can. The hub gives a cluster rights in the
// namespace of its name, and a group of its name.
func Reserved(cluster string) string {
	problems := validation.IsDNS1123Label(cluster)
	switch {
	case len(problems) > 0: // OCM-2.1
		return fmt.Sprintf("a cluster cannot be called %q (%d characters), because its namespace on the hub could not be: %s; join it under another name",
			cluster, len(cluster), strings.Join(problems, "; "))
	case strings.HasPrefix(cluster, "kube-"), cluster == "default", cluster == "flotilla-system",
		strings.HasPrefix(cluster, "open-cluster-management"):
		return fmt.Sprintf("a cluster cannot be called %q like a system namespace: its agent would get rights there; join it under another name", cluster)
	case Group(cluster) == AllMembers:
		return fmt.Sprintf("a cluster cannot be called %q: its group would be that of all clusters; join it under another name", cluster)
	}
	return ""
}
