package register

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
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

// Request is what a certificate is asked with.
type Request struct {
	Cluster  string // whose agent asks
	AddOn    string // for which of its add-ons; empty is for the agent itself
	Subject  pkix.Name
	DNSNames []string
	Signer   string
	Seconds  int32 // wanted life; 0 leaves it to the signer
}

// Request is how the agent asks for a certificate of its own. OCM-3.3
func (i Identity) Request(seconds int32) Request {
	return Request{Cluster: i.Cluster, Subject: i.Subject(), Signer: certificatesv1.KubeAPIServerClientSignerName, Seconds: seconds}
}

// New makes a key and the request for its certificate. OCM-3.3, OCM-19.4
func (r Request) New() (*certificatesv1.CertificateSigningRequest, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: r.Subject, DNSNames: r.DNSNames}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make certificate request: %w", err)
	}
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: r.meta(),
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: r.Signer,
			Usages: []certificatesv1.KeyUsage{
				certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageClientAuth,
			},
		},
	}
	if r.Seconds > 0 {
		csr.Spec.ExpirationSeconds = &r.Seconds
	}
	return csr, keyPEM, nil
}

func (r Request) meta() metav1.ObjectMeta {
	if r.AddOn == "" {
		return metav1.ObjectMeta{GenerateName: r.Cluster + "-", Labels: map[string]string{clusterv1.ClusterNameLabelKey: r.Cluster}}
	}
	return metav1.ObjectMeta{
		GenerateName: "addon-" + r.Cluster + "-" + r.AddOn + "-",
		Labels:       map[string]string{clusterv1.ClusterNameLabelKey: r.Cluster, addonLabel: r.AddOn},
	}
}

// held counts the requests for the same that still lie on the hub, whatever became of them: the cluster's own, or those
// of one add-on.
func (r Request) held(csrs []certificatesv1.CertificateSigningRequest) int {
	n := 0
	for i := range csrs {
		if csrs[i].Labels[addonLabel] == r.AddOn {
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
func (r Request) Obtain(ctx context.Context, hub client.WithWatch) (cert, key []byte, err error) {
	var existing certificatesv1.CertificateSigningRequestList
	if err := hub.List(ctx, &existing, client.MatchingLabels{clusterv1.ClusterNameLabelKey: r.Cluster}); err != nil {
		return nil, nil, fmt.Errorf("list certificate requests: %w", err)
	}
	if n := r.held(existing.Items); n >= mostHeld {
		return nil, nil, fmt.Errorf("%w: %d of %s", ErrTooMany, n, r.whose())
	}
	csr, key, err := r.New()
	if err != nil {
		return nil, nil, err
	}
	if err := hub.Create(ctx, csr); err != nil {
		return nil, nil, fmt.Errorf("create certificate request: %w", err)
	}
	logf.FromContext(ctx).Info("Certificate requested, waiting for approval", "request", csr.Name)
	cert, err = await(ctx, hub, r.Cluster, csr.Name)
	return cert, key, err
}

func (r Request) whose() string {
	if r.AddOn != "" {
		return "add-on " + r.AddOn
	}
	return "cluster " + r.Cluster
}

// await watches the cluster's requests, because a label is all that this watch may select on. OCM-3.3
func await(ctx context.Context, hub client.WithWatch, cluster, name string) ([]byte, error) {
	selector := clusterv1.ClusterNameLabelKey + "=" + cluster
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
