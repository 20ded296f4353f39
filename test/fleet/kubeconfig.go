package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Kubeconfig returns the path of the administrator's kubeconfig. It holds its
// certificates itself and may be copied anywhere on this machine.
func (r *Running) Kubeconfig() string { return filepath.Join(r.dir, "kubeconfig") }

// RESTConfig returns a new client config with the administrator's rights and no
// client-side limit worth mentioning.
func (r *Running) RESTConfig() *rest.Config { return rest.CopyConfig(r.rest) }

// UserConfig returns a client config for any user, to test what RBAC lets it do.
func (r *Running) UserConfig(user string, groups ...string) (*rest.Config, error) {
	raw, err := r.kubeconfig("127.0.0.1", user, groups...)
	if err != nil {
		return nil, err
	}
	return restConfig(raw)
}

// load reads back what writeKubeconfig wrote.
func (r *Running) load() error {
	raw, err := os.ReadFile(r.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read the kubeconfig of %s: %w", r.Name(), err)
	}
	r.rest, err = restConfig(raw)
	return err
}

func restConfig(raw []byte) (*rest.Config, error) {
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = 1000, 2000
	return cfg, nil
}

// writeKubeconfig issues the administrator's certificate and writes it both ways: the
// API server itself needs it as files, to talk to kubelets.
func (r *Running) writeKubeconfig() error {
	certPEM, keyPEM, err := r.pki().client("admin", "system:masters")
	if err != nil {
		return err
	}
	local, err := r.encodeKubeconfig("127.0.0.1", "admin", certPEM, keyPEM)
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(r.pki().path("admin.crt"), certPEM, 0o600),
		writeFile(r.pki().path("admin.key"), keyPEM, 0o600),
		writeFile(r.Kubeconfig(), local, 0o600))
}

// kubeconfig issues a certificate for a user and returns it as a kubeconfig.
func (r *Running) kubeconfig(host, user string, groups ...string) ([]byte, error) {
	certPEM, keyPEM, err := r.pki().client(user, groups...)
	if err != nil {
		return nil, err
	}
	return r.encodeKubeconfig(host, user, certPEM, keyPEM)
}

func (r *Running) encodeKubeconfig(host, user string, certPEM, keyPEM []byte) ([]byte, error) {
	ca, err := os.ReadFile(r.pki().path("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("write a kubeconfig: %w", err)
	}
	context := r.fleet.state.Name + "-" + r.Name()
	return clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{context: {
			Server:                   fmt.Sprintf("https://%s:%d", host, r.port(portAPIServer)),
			CertificateAuthorityData: ca,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: {ClientCertificateData: certPEM, ClientKeyData: keyPEM}},
		Contexts:       map[string]*clientcmdapi.Context{context: {Cluster: context, AuthInfo: user}},
		CurrentContext: context,
	})
}
