package webhook

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Lifetimes. NP-8 (WH-10, WH-11)
const (
	day             = 24 * time.Hour
	lifetime        = 10 * 365 * day // of authority and certificate
	renewBefore     = 180 * day      // a certificate is replaced so long before its end
	authorityMargin = 365 * day      // an authority signs no more when less than this is left
	skew            = time.Hour      // clocks of API servers may be behind ours
)

// Pair is a certificate and the authority that signed it, as PEM. CA may hold older authorities behind the present one,
// which replicas still serve certificates of.
type Pair struct {
	CA, CAKey, Cert, Key []byte
}

// fault says why a pair cannot be served any longer; empty is good.
func (p Pair) fault(names []string, now time.Time) string {
	if len(p.CA) == 0 || len(p.Cert) == 0 {
		return "there is none"
	}
	authority, err := first(p.CA)
	if err != nil {
		return fmt.Sprintf("its authority cannot be read: %v", err)
	}
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return fmt.Sprintf("certificate and key do not match: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	for _, name := range names {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now.Add(renewBefore)})
		if err != nil {
			return fmt.Sprintf("it is not good for %s %d days from now: %v", name, renewBefore/day, err)
		}
	}
	return ""
}

// renew makes a certificate. The authority stays while it lasts, so that nobody has to learn of a new one.
func renew(old Pair, names []string, now time.Time) (Pair, error) {
	authority, key, err := old.authority(now)
	if err != nil {
		return Pair{}, err
	}
	bundle := old.CA
	if authority == nil {
		if authority, key, err = newAuthority(now); err != nil {
			return Pair{}, err
		}
		bundle = append(encode("CERTIFICATE", authority.Raw), old.valid(now)...)
	}
	leaf, leafKey, err := sign(leafTemplate(names, authority, now), authority, key)
	if err != nil {
		return Pair{}, fmt.Errorf("make certificate: %w", err)
	}
	p := Pair{CA: bundle, Cert: encode("CERTIFICATE", leaf.Raw)}
	if p.Key, err = encodeKey(leafKey); err != nil {
		return Pair{}, err
	}
	p.CAKey, err = encodeKey(key)
	return p, err
}

// authority is the present one, nil when it cannot sign any more.
func (p Pair) authority(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	pair, err := tls.X509KeyPair(p.CA, p.CAKey)
	if err != nil || !pair.Leaf.IsCA || now.Add(authorityMargin).After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		return nil, nil, nil //nolint:nilerr // what cannot sign is none
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("the key of the authority cannot sign")
	}
	return pair.Leaf, key, nil
}

// valid is the present authority as one to trust for as long as it lasts. What was before it goes.
func (p Pair) valid(now time.Time) []byte {
	authority, err := first(p.CA)
	if err != nil || now.After(authority.NotAfter) {
		return nil
	}
	return encode("CERTIFICATE", authority.Raw)
}

func newAuthority(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	authority, key, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "webhook-cert-ca"}, // NP-8 (WH-11)
		IsCA:    true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		NotBefore: now.Add(-skew), NotAfter: now.Add(lifetime),
	}, nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make authority: %w", err)
	}
	return authority, key, nil
}

// leafTemplate never outlives its authority: what would look valid and is not is worse than a renewal.
func leafTemplate(names []string, authority *x509.Certificate, now time.Time) *x509.Certificate {
	end := now.Add(lifetime)
	if end.After(authority.NotAfter) {
		end = authority.NotAfter
	}
	c := &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore:   now.Add(-skew), NotAfter: end,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c
}

// sign makes a key and a certificate of it; without a parent it signs itself.
func sign(c, parent *x509.Certificate, parentKey crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, parentKey = c, key
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	if err != nil {
		return nil, nil, err
	}
	signed, err := x509.ParseCertificate(der)
	return signed, key, err
}

func first(bundle []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(bundle)
	if block == nil {
		return nil, errors.New("no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return encode("PRIVATE KEY", der), nil
}

func (p Pair) equal(q Pair) bool {
	return bytes.Equal(p.CA, q.CA) && bytes.Equal(p.CAKey, q.CAKey) && bytes.Equal(p.Cert, q.Cert) && bytes.Equal(p.Key, q.Key)
}
