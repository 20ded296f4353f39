package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// keyIssuedCA is where issuers such as cert-manager put the authority; the other two keys are keyTLSCert and keyTLSKey. NP-8 (WH-8)
const keyIssuedCA = "ca.crt"

// issued is a Secret that somebody else writes, and we only read.
type issued struct {
	client client.Client
	key    client.ObjectKey
}

func (s *issued) load(ctx context.Context) (Pair, error) {
	seen := &corev1.Secret{}
	if err := s.client.Get(ctx, s.key, seen); err != nil {
		return Pair{}, fmt.Errorf("get secret %s with the webhook certificate: %w", s.key, err)
	}
	return Pair{CA: seen.Data[keyIssuedCA], Cert: seen.Data[keyTLSCert], Key: seen.Data[keyTLSKey]}, nil
}

func (s *issued) save(context.Context, Pair) error {
	return fmt.Errorf("secret %s is not ours to write", s.key)
}

// settleIssued takes what was issued while it is good; when it is renewed is its issuer's business.
func (k *keeper) settleIssued(ctx context.Context, from *issued) (Pair, error) {
	pair, err := from.load(ctx)
	if err != nil {
		return Pair{}, err
	}
	if why := pair.unfit(k.names[0], k.clock.Now()); why != "" {
		return Pair{}, fmt.Errorf("the webhook certificate in secret %s cannot be served: %s; its issuer has to replace it", from.key, why)
	}
	return pair, nil
}

// unfit says why a pair that was issued to us cannot be served; empty is good.
func (p Pair) unfit(name string, now time.Time) string {
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return fmt.Sprintf("keys %s and %s are no pair: %v", keyTLSCert, keyTLSKey, err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.CA) {
		return fmt.Sprintf("key %s holds no authority", keyIssuedCA)
	}
	for _, raw := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(raw); err == nil {
			between.AddCert(c)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name, CurrentTime: now}); err != nil {
		return err.Error()
	}
	return ""
}
