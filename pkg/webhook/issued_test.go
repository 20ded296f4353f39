package webhook

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// issuedTo is a Secret as cert-manager writes one.
func issuedTo(t *testing.T, now time.Time, names ...string) *corev1.Secret {
	t.Helper()
	pair, err := renew(Pair{}, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "flotilla-system", Name: "hub-webhook-certs"},
		Data:       map[string][]byte{"ca.crt": pair.CA, "tls.crt": pair.Cert, "tls.key": pair.Key},
	}
}

// NP-8 (WH-8): a certificate of others is served as it is, and never written.
func TestACertificateThatWasIssuedIsServed(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := inCluster
	o.Issued = true
	const name = "hub-webhook.flotilla-system.svc"
	for what, tc := range map[string]struct {
		secret *corev1.Secret
		now    time.Time
		wrong  string
	}{
		"a good one":                       {issuedTo(t, now, name), now, ""},
		"one near its end, which is known": {issuedTo(t, now, name), now.Add(lifetime - 30*day), ""},
		"one at its end":                   {issuedTo(t, now, name), now.Add(lifetime + day), "its issuer has to replace it"},
		"one for somebody else":            {issuedTo(t, now, "other"), now, "hub-webhook.flotilla-system.svc"},
		"none":                             {issuedTo(t, now, name), now, "issuer"},
	} {
		t.Run(what, func(t *testing.T) {
			if what == "none" {
				tc.secret.Data = nil
			}
			c := newCluster(t, tc.secret)
			k := replica(c, o, tc.now)
			err := k.round(t.Context())
			if (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
				t.Fatal(err)
			}
			if served := k.served.Load(); (served != nil) != (tc.wrong == "") {
				t.Error("it is served, or is not")
			}
			if err := k.store.save(t.Context(), Pair{}); err == nil {
				t.Error("it was written")
			}
		})
	}
}
