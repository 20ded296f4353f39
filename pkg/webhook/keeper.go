package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// period is how often the keeper looks whether everything is as it should be. NP-8 (WH-5)
const period = time.Minute

// keeper sees to it that there is a certificate and that the API server knows where to call. Every replica runs one.
type keeper struct {
	client client.Client
	store  store
	names  []string
	at     address
	set    Set
	clock  clock.PassiveClock

	served atomic.Pointer[served]
}

// served is what this process presents at the moment.
type served struct {
	certificate tls.Certificate
	ca          []byte
	pair        Pair
}

// keep registers now and looks again every period, sooner after a failure. It closes done after the first success.
func (k *keeper) keep(ctx context.Context, done chan<- struct{}) {
	for wait := time.Duration(0); ; {
		err := k.round(ctx)
		switch {
		case err == nil:
			wait = period
			if done != nil {
				close(done)
				done = nil
			}
		case ctx.Err() == nil:
			wait = min(max(retry, 2*wait), period)
			log.FromContext(ctx).Error(err, "keep webhooks", "tryAgainIn", wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// round compares the certificate and all that names it with what they should be.
func (k *keeper) round(ctx context.Context) error {
	pair, err := k.settle(ctx)
	if err != nil {
		return err
	}
	// Whoever calls learns of a new authority before a certificate of it is served.
	if err := k.register(ctx, pair.CA); err != nil {
		return err
	}
	return k.serve(pair)
}

// certificate gets ready to serve, without telling anybody.
func (k *keeper) certificate(ctx context.Context) error {
	pair, err := k.settle(ctx)
	if err != nil {
		return err
	}
	return k.serve(pair)
}

// settle returns the pair that all replicas agree on, a new one when the present one is no good.
func (k *keeper) settle(ctx context.Context) (Pair, error) {
	if others, ok := k.store.(*issued); ok {
		return k.settleIssued(ctx, others)
	}
	for {
		pair, err := k.store.load(ctx)
		if err != nil {
			return Pair{}, err
		}
		why := pair.fault(k.names, k.clock.Now())
		if why == "" {
			return pair, nil
		}
		fresh, err := renew(pair, k.names, k.clock.Now())
		if err != nil {
			return Pair{}, err
		}
		err = k.store.save(ctx, fresh)
		if errors.Is(err, errLost) {
			continue // what the other wrote is looked at just the same
		}
		if err == nil {
			log.FromContext(ctx).Info("made a webhook certificate", "because", why, "names", k.names)
		}
		return fresh, err
	}
}

func (k *keeper) serve(pair Pair) error {
	if now := k.served.Load(); now != nil && now.pair.equal(pair) {
		return nil
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return fmt.Errorf("load webhook certificate: %w", err)
	}
	k.served.Store(&served{certificate: certificate, ca: pair.CA, pair: pair})
	return nil
}

// serveTLS presents whatever is current at each handshake, so a new certificate needs no restart.
func (k *keeper) serveTLS(c *tls.Config) {
	c.MinVersion = tls.VersionTLS12
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		now := k.served.Load()
		if now == nil {
			return nil, errors.New("there is no webhook certificate yet")
		}
		return &now.certificate, nil
	}
}
