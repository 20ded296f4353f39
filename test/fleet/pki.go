package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pki is the folder with a cluster's certificates. Each cluster has an authority of
// its own, so that no credential of one cluster means anything to another.
type pki string

func (p pki) path(name string) string { return filepath.Join(string(p), name) }

// create makes the authority, the API server's serving certificate and the service
// account key. Everything else is issued on demand.
func (p pki) create(cluster string, addresses ...string) error {
	if err := os.MkdirAll(string(p), 0o700); err != nil {
		return fmt.Errorf("make pki folder: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the authority's key: %w", err)
	}
	ca := certificate(pkix.Name{CommonName: cluster + "-ca"})
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make the authority: %w", err)
	}
	if err := errors.Join(p.writePair("ca", der, key), p.writeServiceAccountKey()); err != nil {
		return err
	}
	server := certificate(pkix.Name{CommonName: "kube-apiserver"})
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	for _, a := range append(addresses, "127.0.0.1") {
		server.IPAddresses = append(server.IPAddresses, net.ParseIP(a))
	}
	certPEM, keyPEM, err := p.issue(server)
	if err != nil {
		return fmt.Errorf("issue the API server's certificate: %w", err)
	}
	return errors.Join(writeFile(p.path("server.crt"), certPEM, 0o600), writeFile(p.path("server.key"), keyPEM, 0o600))
}

// client issues a client certificate for a user.
func (p pki) client(user string, groups ...string) (certPEM, keyPEM []byte, err error) {
	c := certificate(pkix.Name{CommonName: user, Organization: groups})
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if certPEM, keyPEM, err = p.issue(c); err != nil {
		return nil, nil, fmt.Errorf("issue a certificate for %s: %w", user, err)
	}
	return certPEM, keyPEM, nil
}

func (p pki) issue(c *x509.Certificate) (certPEM, keyPEM []byte, err error) {
	ca, caKey, err := p.authority()
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return encode("CERTIFICATE", der), encode("EC PRIVATE KEY", keyDER), nil
}

func (p pki) authority() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certDER, err := readPEM(p.path("ca.crt"))
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := readPEM(p.path("ca.key"))
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(keyDER)
	return cert, key, err
}

func (p pki) writePair(name string, der []byte, key *ecdsa.PrivateKey) error {
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(p.path(name+".crt"), encode("CERTIFICATE", der), 0o600),
		writeFile(p.path(name+".key"), encode("EC PRIVATE KEY", keyDER), 0o600))
}

func (p pki) writeServiceAccountKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the service account key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(p.path("sa.key"), encode("EC PRIVATE KEY", der), 0o600)
}

// certificate starts an hour ago: clocks of a restored machine may lag.
func certificate(subject pkix.Name) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		serial = big.NewInt(time.Now().UnixNano())
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(5, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func readPEM(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("read %s: no PEM block", path)
	}
	return block.Bytes, nil
}
