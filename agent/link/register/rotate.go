package register

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	certutil "k8s.io/client-go/util/cert"
)

// shortestPause is between two renewals of certificates that are due as soon as they are issued.
const shortestPause = 10 * time.Second

// Threshold draws the remaining fraction of a certificate's life at which it is renewed: a fleet that joined
// in one minute must not renew in one minute. OCM-6.1
func Threshold() float64 { return 0.20 + 0.05*rand.Float64() }

// Due says why a new certificate is needed now; an empty string means it is not. OCM-6.1
func Due(have Credentials, want Identity, kubeconfig []byte, threshold float64, now time.Time) string {
	chain, err := certutil.ParseCertsPEM(have.Cert)
	if err != nil || len(chain) == 0 {
		return "there is no certificate"
	}
	if why := Worn(chain[0], want.Subject(), threshold, now); why != "" {
		return why
	}
	if have.Identity != want {
		return fmt.Sprintf("the secret names %q", have.Identity)
	}
	if !bytes.Equal(have.Kubeconfig, kubeconfig) {
		return "the stored kubeconfig is not the one to store"
	}
	return ""
}

// DueIn is how long until the certificate has to be renewed. What cannot be read lasts for ever.
func DueIn(have Credentials, threshold float64, now time.Time) time.Duration {
	chain, err := certutil.ParseCertsPEM(have.Cert)
	if err != nil || len(chain) == 0 {
		return math.MaxInt64
	}
	return Lasts(chain[0], threshold, now)
}

// Lasts is how long until a certificate has to be renewed, for those that live so short that the next look would come
// too late. One that is due as soon as it is issued, of a signer that dates it back, is renewed at a measured pace.
func Lasts(cert *x509.Certificate, threshold float64, now time.Time) time.Duration {
	life, left := lifetime(cert, now)
	return max(left-time.Duration(threshold*float64(life)), min(left/2, shortestPause), 0)
}

// lifetime is how long a certificate is good for in all, and from now on.
func lifetime(cert *x509.Certificate, now time.Time) (life, left time.Duration) {
	return cert.NotAfter.Sub(cert.NotBefore), cert.NotAfter.Sub(now)
}

// Worn says why a certificate has to be replaced: it is for another subject, or little of its life is left. OCM-6.1
func Worn(cert *x509.Certificate, want pkix.Name, threshold float64, now time.Time) string {
	if !sameSubject(cert.Subject, want) {
		return fmt.Sprintf("the certificate is for %q", cert.Subject.CommonName)
	}
	life, left := lifetime(cert, now)
	if life <= 0 || float64(left)/float64(life) <= threshold {
		return fmt.Sprintf("%s of its life is left", max(left, 0).Round(time.Second))
	}
	return ""
}
