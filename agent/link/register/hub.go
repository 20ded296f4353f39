package register

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Hub is how to reach a hub: what a bootstrap kubeconfig and the one made from it have in common.
type Hub struct {
	Entry         string // name of the cluster entry; it takes part in the comparison of OCM-2.4
	Server        string
	ProxyURL      string
	TLSServerName string
	CAFile        string
	CAData        []byte
	Insecure      bool
}

// ErrNoBootstrap says that there is no bootstrap kubeconfig (yet).
var ErrNoBootstrap = errors.New("no bootstrap kubeconfig")

// Bootstrap is a bootstrap kubeconfig as it was read: where the hub is and a first way in.
type Bootstrap struct {
	Hub    Hub
	Config *rest.Config
}

// ReadBootstrap reads the bootstrap kubeconfig. The error never holds any of its content.
func ReadBootstrap(path string) (Bootstrap, error) {
	if path == "" {
		return Bootstrap{}, ErrNoBootstrap
	}
	raw, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Bootstrap{}, fmt.Errorf("read %s: %w", path, ErrNoBootstrap)
	}
	if err != nil {
		return Bootstrap{}, fmt.Errorf("read bootstrap kubeconfig %s: it is not a kubeconfig", path)
	}
	if err := clientcmd.ResolveLocalPaths(raw); err != nil {
		return Bootstrap{}, fmt.Errorf("resolve file names in bootstrap kubeconfig %s: %w", path, err)
	}
	hub, err := hubOf(raw)
	if err != nil {
		return Bootstrap{}, fmt.Errorf("read bootstrap kubeconfig %s: %w", path, err)
	}
	config, err := clientcmd.NewDefaultClientConfig(*raw, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return Bootstrap{}, fmt.Errorf("use bootstrap kubeconfig %s: %w", path, err)
	}
	return Bootstrap{Hub: hub, Config: config}, nil
}

// parseHub reads the current cluster entry of kubeconfig data.
func parseHub(kubeconfig []byte) (Hub, error) {
	raw, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return Hub{}, errors.New("stored kubeconfig cannot be read")
	}
	return hubOf(raw)
}

func hubOf(raw *clientcmdapi.Config) (Hub, error) {
	current, ok := raw.Contexts[raw.CurrentContext]
	if !ok {
		return Hub{}, fmt.Errorf("current context %q is not in the kubeconfig", raw.CurrentContext)
	}
	cluster, ok := raw.Clusters[current.Cluster]
	if !ok {
		return Hub{}, fmt.Errorf("cluster entry %q is not in the kubeconfig", current.Cluster)
	}
	return Hub{
		Entry: current.Cluster, Server: cluster.Server, ProxyURL: cluster.ProxyURL, TLSServerName: cluster.TLSServerName,
		CAFile: cluster.CertificateAuthority, CAData: cluster.CertificateAuthorityData, Insecure: cluster.InsecureSkipTLSVerify,
	}, nil
}

// Same reports whether two kubeconfigs lead to the same hub in the sense of OCM-2.4.
func (h Hub) Same(other Hub) bool {
	return h.Entry == other.Entry && h.Server == other.Server && h.ProxyURL == other.ProxyURL &&
		h.CAFile == other.CAFile && bytes.Equal(h.CAData, other.CAData)
}

// Kubeconfig is the kubeconfig to store. It names certificate and key by file, so that sibling processes
// that only read those two files again keep working through a rotation. OCM-2.3
func (h Hub) Kubeconfig() ([]byte, error) {
	return h.kubeconfig(&clientcmdapi.AuthInfo{ClientCertificate: certKey, ClientKey: keyKey})
}

// TokenKubeconfig is the same for who has a token: it too is named by file. OCM-19.4
func (h Hub) TokenKubeconfig() ([]byte, error) {
	return h.kubeconfig(&clientcmdapi.AuthInfo{TokenFile: tokenKey})
}

func (h Hub) kubeconfig(auth *clientcmdapi.AuthInfo) ([]byte, error) {
	out := clientcmdapi.NewConfig()
	out.Clusters[h.Entry] = &clientcmdapi.Cluster{
		Server: h.Server, ProxyURL: h.ProxyURL, TLSServerName: h.TLSServerName,
		CertificateAuthority: h.CAFile, CertificateAuthorityData: h.CAData, InsecureSkipTLSVerify: h.Insecure,
	}
	out.AuthInfos["default-auth"] = auth
	out.Contexts["default-context"] = &clientcmdapi.Context{Cluster: h.Entry, AuthInfo: "default-auth", Namespace: "configuration"}
	out.CurrentContext = "default-context"
	data, err := clientcmd.Write(*out)
	if err != nil {
		return nil, fmt.Errorf("write hub kubeconfig: %w", err)
	}
	return data, nil
}

// Config is a connection with the stored certificate. It names the files, so client-go picks a rotated pair up.
func (h Hub) Config(dir string) *rest.Config {
	config := &rest.Config{
		Host: h.Server,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: h.CAFile, CAData: h.CAData, ServerName: h.TLSServerName, Insecure: h.Insecure,
			CertFile: filepath.Join(dir, certKey), KeyFile: filepath.Join(dir, keyKey),
		},
	}
	return config
}
