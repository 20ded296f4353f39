package register

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	certutil "k8s.io/client-go/util/cert"
)

// The keys of the credential secret, and the names of the files. OCM-2.3
const (
	clusterKey    = "cluster-name"
	agentKey      = "agent-name"
	certKey       = "tls.crt"
	keyKey        = "tls.key"
	kubeconfigKey = "kubeconfig"
	tokenKey      = "token" // of add-ons only
)

// Credentials are what an agent has been given by a hub. They print as who they belong to, nothing else.
type Credentials struct {
	Identity   Identity
	Cert       []byte
	Key        []byte
	Kubeconfig []byte
}

// String names the holder, so that a log of credentials shows no key.
func (c Credentials) String() string { return c.Identity.Cluster + "/" + c.Identity.Agent }

// GoString does as String does.
func (c Credentials) GoString() string { return c.String() }

func fromData(data map[string][]byte) Credentials {
	return Credentials{
		Identity: Identity{Cluster: string(data[clusterKey]), Agent: string(data[agentKey])},
		Cert:     data[certKey], Key: data[keyKey], Kubeconfig: data[kubeconfigKey],
	}
}

// data leaves out what is not there yet: names are stored before there is a certificate.
func (c Credentials) data() map[string][]byte {
	out := map[string][]byte{}
	for key, value := range map[string][]byte{
		clusterKey: []byte(c.Identity.Cluster), agentKey: []byte(c.Identity.Agent),
		certKey: c.Cert, keyKey: c.Key, kubeconfigKey: c.Kubeconfig,
	} {
		if len(value) > 0 {
			out[key] = value
		}
	}
	return out
}

func (c Credentials) complete() bool {
	return len(c.Cert) > 0 && len(c.Key) > 0 && len(c.Kubeconfig) > 0
}

// Hub is the hub these credentials are for.
func (c Credentials) Hub() (Hub, error) { return parseHub(c.Kubeconfig) }

// Holder is whom the certificate names; that, and not what is written beside it, is who the hub sees.
func (c Credentials) Holder() (Identity, error) {
	chain, err := certutil.ParseCertsPEM(c.Cert)
	if err != nil {
		return Identity{}, errors.New("certificate cannot be read")
	}
	return ParseCommonName(chain[0].Subject.CommonName)
}

// Usable says why stored credentials must not be used, or nil. want's empty names match any; boot is nil when
// there is no bootstrap kubeconfig to compare with, and then its absence speaks against nothing. OCM-2.4
func (c Credentials) Usable(want Identity, boot *Hub, now time.Time) error {
	if !c.complete() {
		return errors.New("kubeconfig, certificate or key is missing")
	}
	hub, err := c.Hub()
	if err != nil {
		return err
	}
	if boot != nil && !hub.Same(*boot) {
		return errors.New("the bootstrap kubeconfig leads to another hub")
	}
	return c.valid(want, now)
}

func (c Credentials) valid(want Identity, now time.Time) error {
	if _, err := tls.X509KeyPair(c.Cert, c.Key); err != nil {
		return errors.New("certificate and key do not belong together")
	}
	chain, err := certutil.ParseCertsPEM(c.Cert)
	if err != nil {
		return errors.New("certificate cannot be read")
	}
	for _, cert := range chain {
		if now.After(cert.NotAfter) {
			return fmt.Errorf("certificate ran out at %s", cert.NotAfter.Format(time.RFC3339))
		}
	}
	holder, err := c.Holder()
	if err != nil {
		return err
	}
	if want.Cluster != "" && holder.Cluster != want.Cluster {
		return fmt.Errorf("certificate is for cluster %q, not %q", holder.Cluster, want.Cluster)
	}
	if want.Agent != "" && holder.Agent != want.Agent {
		return fmt.Errorf("certificate is for agent %q, not %q", holder.Agent, want.Agent)
	}
	return nil
}
