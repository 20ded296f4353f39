package addon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/register"
)

const (
	conditionRotated = "ClusterCertificateRotated"
	reasonUpdated    = "ClientCertificateUpdated"
	reasonFailed     = "ClientCertificateUpdateFailed"
)

// keeper looks after one credential for as long as its add-on wants it: makes it, renews it, and mends its secret.
type keeper struct {
	credential
	agent *Agent
	ring  chan struct{} // what the hub says of the add-on changed
	stop  context.CancelFunc
	ended chan struct{}

	mu      sync.Mutex
	account string            // UID of the service account, while there is one
	held    *x509.Certificate // the one in hand; nil: not known
}

func (k *keeper) run(ctx context.Context) {
	log := logf.FromContext(ctx).WithValues("addOn", k.addOn, "secret", k.secret.String())
	register.Tend(logf.IntoContext(ctx, log), k.look, k.agent.options.Retry, k.ring, k.check)
}

// look is how soon the secret is looked at again: somebody may have deleted it, or the certificate may live short.
func (k *keeper) look(threshold float64) time.Duration {
	period := k.agent.options.Look
	period -= rand.N(period/10 + 1)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == nil {
		return period
	}
	return min(period, register.Lasts(k.held, threshold, time.Now()))
}

// check makes the credential anew when it is due, and otherwise what lies around it right.
func (k *keeper) check(ctx context.Context, threshold float64) error {
	have, err := k.agent.vault.read(ctx, k.secret)
	if err != nil {
		return err
	}
	if have == nil {
		have = &corev1.Secret{}
		err = k.agent.vault.room(ctx, k.secret.Namespace)
	}
	if missing := noNamespaceError(""); errors.As(err, &missing) {
		logf.FromContext(ctx).V(1).Info("No credentials for an add-on yet", "why", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if k.token {
		return k.checkToken(ctx, have)
	}
	return k.checkCertificate(ctx, have, threshold)
}

func (k *keeper) checkCertificate(ctx context.Context, have *corev1.Secret, threshold float64) error {
	why := k.worn(have.Data, threshold)
	if why == "" {
		return k.mend(ctx, have, keyCert, keyKey)
	}
	logf.FromContext(ctx).Info("Asking for a certificate for an add-on", "why", why)
	err := k.renew(ctx)
	if ctx.Err() == nil {
		k.agent.told(k.addOn, k.rotated(err))
	}
	return err
}

// worn says why a certificate is needed; an empty string means it is not. OCM-6.1, OCM-19.4
func (k *keeper) worn(have map[string][]byte, threshold float64) string {
	if _, err := tls.X509KeyPair(have[keyCert], have[keyKey]); err != nil {
		return "there is no certificate with its key"
	}
	chain, err := certutil.ParseCertsPEM(have[keyCert])
	if err != nil {
		return "the certificate cannot be read"
	}
	k.hold(chain[0])
	return register.Worn(chain[0], k.request("", 0).Subject, threshold, time.Now())
}

func (k *keeper) hold(cert *x509.Certificate) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = cert
}

func (k *keeper) renew(ctx context.Context) error {
	cert, key, err := k.request(k.agent.Holder.Cluster, k.agent.options.CertSeconds).Obtain(ctx, k.agent.Hub)
	if err != nil {
		return err
	}
	if why := k.worn(map[string][]byte{keyCert: cert, keyKey: key}, 0); why != "" {
		return fmt.Errorf("check the certificate the hub issued: %s", why)
	}
	return k.store(ctx, map[string][]byte{keyCert: cert, keyKey: key})
}

// mend makes the rest of a secret right whose credential is good.
func (k *keeper) mend(ctx context.Context, have *corev1.Secret, credential ...string) error {
	data := map[string][]byte{}
	for _, key := range credential {
		data[key] = have.Data[key]
	}
	if like(have, k.addOn, k.whole(data)) {
		return k.agent.vault.ledger.note(ctx, k.addOn, k.secret) // the record may have been lost
	}
	return k.store(ctx, data)
}

func (k *keeper) store(ctx context.Context, data map[string][]byte) error {
	return k.agent.vault.save(ctx, k.addOn, k.secret, k.whole(data))
}

// whole is a secret around a pair or a token. OCM-2.3, OCM-19.4
func (k *keeper) whole(data map[string][]byte) map[string][]byte {
	out := map[string][]byte{keyCluster: []byte(k.agent.Holder.Cluster)}
	maps.Copy(out, data)
	if k.kube {
		kubeconfig := k.agent.Kubeconfig
		if k.token {
			kubeconfig = k.agent.TokenKubeconfig
		}
		out[keyKubeconfig] = kubeconfig
	}
	return out
}

// rotated is what is told of a certificate that was asked for. OCM-6.1
func (k *keeper) rotated(failed error) metav1.Condition {
	if failed != nil {
		return metav1.Condition{Type: conditionRotated, Status: metav1.ConditionFalse, Reason: reasonFailed, Message: failed.Error()}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return metav1.Condition{
		Type: conditionRotated, Status: metav1.ConditionTrue, Reason: reasonUpdated,
		Message: fmt.Sprintf("client certificate rotated starting from %s to %s", k.held.NotBefore.UTC().Format(time.RFC3339), k.held.NotAfter.UTC().Format(time.RFC3339)),
	}
}

// know passes on what the hub says of the service account.
func (k *keeper) know(account string) {
	k.mu.Lock()
	changed := k.account != account
	k.account = account
	k.mu.Unlock()
	if changed {
		select {
		case k.ring <- struct{}{}:
		default:
		}
	}
}

func (k *keeper) knows() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.account
}

// checkToken waits for the hub's service account, and keeps a token of it. OCM-19.4
func (k *keeper) checkToken(ctx context.Context, have *corev1.Secret) error {
	account := k.knows()
	if account == "" {
		return nil // what was given stays: the account may come back
	}
	why := tokenDue(have.Data[keyToken], account, time.Now())
	if why == "" {
		return k.mend(ctx, have, keyToken)
	}
	logf.FromContext(ctx).Info("Asking for a token for an add-on", "why", why)
	token, err := k.ask(ctx, account)
	if err == nil {
		err = k.store(ctx, map[string][]byte{keyToken: token})
	}
	if ctx.Err() == nil {
		k.agent.told(k.addOn, refreshed(token, err))
	}
	return err
}

func (k *keeper) ask(ctx context.Context, uid string) ([]byte, error) {
	holder := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: k.agent.Holder.Cluster, Name: account(k.addOn)}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(k.agent.options.TokenSeconds))}}
	if err := k.agent.Hub.SubResource("token").Create(ctx, holder, request); err != nil {
		return nil, fmt.Errorf("ask for a token of service account %s/%s: %w", holder.Namespace, holder.Name, err)
	}
	token := []byte(request.Status.Token)
	if why := tokenDue(token, uid, time.Now()); why != "" {
		return nil, fmt.Errorf("check the token of service account %s/%s: %s", holder.Namespace, holder.Name, why)
	}
	return token, nil
}

// refreshed is what is told of a token that was asked for. OCM-19.4
func refreshed(token []byte, failed error) metav1.Condition {
	c, err := readToken(token)
	if failed = errors.Join(failed, err); failed != nil {
		return metav1.Condition{Type: conditionRefreshed, Status: metav1.ConditionFalse, Reason: reasonNotRefreshed, Message: failed.Error()}
	}
	return metav1.Condition{
		Type: conditionRefreshed, Status: metav1.ConditionTrue, Reason: reasonRefreshed,
		Message: "Addon token refreshed, expires at " + time.Unix(c.Expires, 0).UTC().Format(time.RFC3339),
	}
}
