package register

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	certutil "k8s.io/client-go/util/cert"
)

// Threshold draws the remaining fraction of a certificate's life at which it is renewed: a fleet that joined
// in one minute must not renew in one minute. OCM-6.1
func Threshold() float64 { return 0.20 + 0.05*rand.Float64() }

// Due says why a new certificate is needed now; an empty string means it is not. OCM-6.1
func Due(have Credentials, want Identity, kubeconfig []byte, threshold float64, now time.Time) string {
	chain, err := certutil.ParseCertsPEM(have.Cert)
	if err != nil || len(chain) == 0 {
		return "there is no certificate"
	}
	cert := chain[0]
	if !want.Owns(cert.Subject) {
		return fmt.Sprintf("the certificate is for %q", cert.Subject.CommonName)
	}
	life, left := cert.NotAfter.Sub(cert.NotBefore), cert.NotAfter.Sub(now)
	if life <= 0 || float64(left)/float64(life) <= threshold {
		return fmt.Sprintf("%s of its life is left", max(left, 0).Round(time.Second))
	}
	if have.Identity != want {
		return fmt.Sprintf("the secret names %q", have.Identity)
	}
	if !bytes.Equal(have.Kubeconfig, kubeconfig) {
		return "the stored kubeconfig is not the one to store"
	}
	return ""
}
