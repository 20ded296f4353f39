package register

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/client-go/util/keyutil"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	addonLabel = "open-cluster-management.io/addon-name"
	mostHeld   = 10 // OCM-3.3: a hub that never approves must not be filled with requests
)

// Reasons why a request ended without a certificate. The caller retries with a fresh key and back-off.
var (
	ErrDenied   = errors.New("certificate request was denied")
	ErrWithdrew = errors.New("certificate request was deleted")
	ErrTooMany  = errors.New("too many certificate requests are waiting on the hub")
)

// NewRequest makes a key and the request for its certificate. OCM-3.3
func NewRequest(id Identity, seconds int32) (*certificatesv1.CertificateSigningRequest, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: id.Subject()}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate request: %w", err)
	}
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: id.Cluster + "-",
			Labels:       map[string]string{clusterv1.ClusterNameLabelKey: id.Cluster},
		},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificatesv1.KubeAPIServerClientSignerName,
			Usages: []certificatesv1.KeyUsage{
				certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageClientAuth,
			},
		},
	}
	if seconds > 0 {
		csr.Spec.ExpirationSeconds = &seconds
	}
	return csr, keyPEM, nil
}

// held counts the cluster's own requests that still lie on the hub, whatever became of them.
func held(csrs []certificatesv1.CertificateSigningRequest) int {
	n := 0
	for i := range csrs {
		if _, addon := csrs[i].Labels[addonLabel]; !addon {
			n++
		}
	}
	return n
}

// outcome is a request's certificate, or why it will never have one; both empty means wait.
func outcome(csr *certificatesv1.CertificateSigningRequest) ([]byte, error) {
	approved := false
	for _, c := range csr.Status.Conditions {
		switch {
		case c.Type == certificatesv1.CertificateDenied:
			return nil, fmt.Errorf("%w: %s", ErrDenied, c.Reason)
		case c.Type == certificatesv1.CertificateFailed:
			return nil, fmt.Errorf("sign certificate: %s: %s", c.Reason, c.Message)
		case c.Type == certificatesv1.CertificateApproved && c.Status == corev1.ConditionTrue:
			approved = true
		}
	}
	if approved && len(csr.Status.Certificate) > 0 {
		return csr.Status.Certificate, nil
	}
	return nil, nil
}

// Obtain asks the hub for a certificate and waits until somebody approved it.
func Obtain(ctx context.Context, hub client.WithWatch, id Identity, seconds int32) (cert, key []byte, err error) {
	var existing certificatesv1.CertificateSigningRequestList
	if err := hub.List(ctx, &existing, client.MatchingLabels{clusterv1.ClusterNameLabelKey: id.Cluster}); err != nil {
		return nil, nil, fmt.Errorf("list certificate requests: %w", err)
	}
	if n := held(existing.Items); n >= mostHeld {
		return nil, nil, fmt.Errorf("%w: %d of cluster %s", ErrTooMany, n, id.Cluster)
	}
	csr, key, err := NewRequest(id, seconds)
	if err != nil {
		return nil, nil, err
	}
	if err := hub.Create(ctx, csr); err != nil {
		return nil, nil, fmt.Errorf("create certificate request: %w", err)
	}
	logf.FromContext(ctx).Info("Certificate requested, waiting for approval", "request", csr.Name)
	cert, err = await(ctx, hub, id, csr.Name)
	return cert, key, err
}

// await watches the cluster's requests, because a label is all that this watch may select on. OCM-3.3
func await(ctx context.Context, hub client.WithWatch, id Identity, name string) ([]byte, error) {
	selector := clusterv1.ClusterNameLabelKey + "=" + id.Cluster
	requests := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			list := &certificatesv1.CertificateSigningRequestList{}
			return list, hub.List(ctx, list, &client.ListOptions{Raw: &o})
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return hub.Watch(ctx, &certificatesv1.CertificateSigningRequestList{}, &client.ListOptions{Raw: &o})
		},
	}
	var cert []byte
	gone := func(store toolscache.Store) (bool, error) {
		if _, there, err := store.GetByKey(name); err != nil || !there {
			return false, ErrWithdrew
		}
		return false, nil
	}
	_, err := watchtools.UntilWithSync(ctx, requests, &certificatesv1.CertificateSigningRequest{}, gone, func(e watch.Event) (bool, error) {
		csr, ok := e.Object.(*certificatesv1.CertificateSigningRequest)
		if !ok || csr.Name != name {
			return false, nil
		}
		if e.Type == watch.Deleted {
			return false, ErrWithdrew
		}
		var err error
		cert, err = outcome(csr)
		return cert != nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("wait for certificate request %s: %w", name, err)
	}
	return cert, nil
}
