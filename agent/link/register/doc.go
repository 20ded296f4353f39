// Package register gives the agent its identity on a hub.
//
// It owns the ManagedCluster's first creation, the certificate requests, the credential secret
// hub-kubeconfig-secret in open-cluster-management-agent on the local cluster and the same five entries as
// files. It reads the bootstrap kubeconfig. It promises that a key never leaves this process other than into
// that secret and those files, that the secret is written before the files, and that stored credentials are
// used again only under the four rules of OCM-2.4.
package register
