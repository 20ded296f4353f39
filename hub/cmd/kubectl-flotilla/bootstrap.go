package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/flotilla-project/flotilla/hub/controllers/join/identity"
)

// entry is the name of the cluster in every bootstrap kubeconfig. Agents compare it: another name makes them start
// over. OCM-2.4
const entry = "hub"

func bootstrapCommand(k *kube) *cobra.Command {
	var server string
	var lifetime time.Duration
	c := &cobra.Command{
		Use: "bootstrap", Short: "Print a kubeconfig with which a cluster can ask to join",
		Long: "Print a kubeconfig with which a cluster can ask to join. It allows asking and nothing else; letting the\n" +
			"cluster in is up to: kubectl flotilla accept CLUSTER",
		Example: "  kubectl flotilla bootstrap > bootstrap.kubeconfig", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if lifetime < 10*time.Minute {
				return fmt.Errorf("--duration=%s: tokens live for 10m or longer", lifetime)
			}
			raw, err := k.loader().RawConfig()
			if err != nil {
				return fmt.Errorf("load kubeconfig: %w", err)
			}
			cluster, err := reachable(raw, k.context, server)
			if err != nil {
				return err
			}
			token, err := k.token(c.Context(), lifetime)
			if err != nil {
				return err
			}
			encoded, err := clientcmd.Write(bootstrapConfig(cluster, token.Token))
			if err != nil {
				return fmt.Errorf("write kubeconfig: %w", err)
			}
			if local(cluster.Server) {
				c.PrintErrf("note: %s is this machine's own address; for clusters elsewhere pass --server\n", cluster.Server)
			}
			c.PrintErrf("note: valid until %s\n", token.ExpirationTimestamp.Format(time.RFC3339))
			_, err = c.OutOrStdout().Write(encoded)
			return err
		},
	}
	c.Flags().DurationVar(&lifetime, "duration", 24*time.Hour, "how long the kubeconfig can be used to ask")
	c.Flags().StringVar(&server, "server", "", "URL of the hub as the clusters reach it; empty is that of your own kubeconfig")
	return c
}

// token is a fresh one of the bootstrap account. OCM-3.1
func (k *kube) token(ctx context.Context, lifetime time.Duration) (*authenticationv1.TokenRequestStatus, error) {
	hub, err := k.client()
	if err != nil {
		return nil, err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(lifetime.Seconds()))}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: identity.BootstrapNamespace, Name: identity.BootstrapAccount}}
	err = hub.SubResource("token").Create(ctx, account, request)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("request token: %w\nThis cluster is not a hub. Choose the hub with --context, or make this one a hub with: kubectl apply -k deploy/hub", err)
	}
	if err != nil {
		return nil, fmt.Errorf("request token of %s/%s: %w", account.Namespace, account.Name, err)
	}
	return &request.Status, nil
}

// reachable is how the caller reaches the hub, with the certificates in place of the names of their files.
func reachable(raw clientcmdapi.Config, context, server string) (*clientcmdapi.Cluster, error) {
	if context == "" {
		context = raw.CurrentContext
	}
	chosen := raw.Contexts[context]
	if chosen == nil {
		return nil, fmt.Errorf("the kubeconfig has no context %q; choose one with --context", context)
	}
	cluster := raw.Clusters[chosen.Cluster]
	if cluster == nil {
		return nil, fmt.Errorf("the kubeconfig has no cluster %q, which context %q names", chosen.Cluster, context)
	}
	found := &clientcmdapi.Cluster{
		Server: cluster.Server, CertificateAuthorityData: cluster.CertificateAuthorityData, ProxyURL: cluster.ProxyURL,
		TLSServerName: cluster.TLSServerName, InsecureSkipTLSVerify: cluster.InsecureSkipTLSVerify,
	}
	if len(found.CertificateAuthorityData) == 0 && cluster.CertificateAuthority != "" {
		data, err := os.ReadFile(cluster.CertificateAuthority)
		if err != nil {
			return nil, fmt.Errorf("read certificate authority: %w", err)
		}
		found.CertificateAuthorityData = data
	}
	if server != "" {
		if parsed, err := url.Parse(server); err != nil || parsed.Scheme != "https" || parsed.Host == "" {
			return nil, fmt.Errorf("--server=%s: an https URL is needed, such as https://hub.example.com:6443", server)
		}
		found.Server = server
	}
	if found.Server == "" {
		return nil, errors.New("the kubeconfig names no server; pass --server")
	}
	return found, nil
}

func bootstrapConfig(cluster *clientcmdapi.Cluster, token string) clientcmdapi.Config {
	const name = "bootstrap"
	return clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{entry: cluster},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: entry, AuthInfo: name}},
		CurrentContext: name,
	}
}

// local says whether the address means the machine that dials it.
func local(server string) bool {
	parsed, err := url.Parse(server)
	if err != nil {
		return false
	}
	ip := net.ParseIP(parsed.Hostname())
	return parsed.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
