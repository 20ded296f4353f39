package signer

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

const (
	// life of a certificate for which nobody asked another.
	life = 365 * 24 * time.Hour
	// early is how much clocks may differ.
	early = 5 * time.Minute
)

// issue signs a request. The certificate is for a client, whatever else was asked for, and ends before its authority.
func issue(r *request, caCertificate, caKey []byte, now time.Time) ([]byte, error) {
	pair, err := tls.X509KeyPair(caCertificate, caKey)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	ca, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !ca.IsCA {
		return nil, errNoAuthority
	}
	if !now.Before(ca.NotAfter) {
		return nil, fmt.Errorf("its certificate authority ended %s", ca.NotAfter.UTC().Format(time.RFC3339))
	}
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil {
		return nil, fmt.Errorf("read the request: no PEM block")
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = asked.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("choose a serial number: %w", err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: asked.Subject, DNSNames: asked.DNSNames,
		NotBefore: now.Add(-early), NotAfter: end(r, ca, now), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, asked.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), nil
}

func end(r *request, ca *x509.Certificate, now time.Time) time.Time {
	until := now.Add(life)
	if s := r.Spec.ExpirationSeconds; s != nil {
		until = now.Add(time.Duration(*s) * time.Second)
	}
	if until.After(ca.NotAfter) {
		return ca.NotAfter
	}
	return until
}
