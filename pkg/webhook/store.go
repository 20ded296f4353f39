package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// errLost says that another replica wrote first: read again what it wrote.
var errLost = errors.New("another replica was first")

// store is where a pair is kept.
type store interface {
	// load is the zero Pair when there is none.
	load(ctx context.Context) (Pair, error)
	// save replaces what was loaded last, and nothing newer.
	save(ctx context.Context, p Pair) error
}

// memory is for a process that is alone.
type memory struct{ pair Pair }

func (m *memory) load(context.Context) (Pair, error) { return m.pair, nil }

func (m *memory) save(_ context.Context, p Pair) error {
	m.pair = p
	return nil
}

// Keys of the Secret. NP-8 (WH-9)
const (
	keyCAKey, keyCA, keyKey, keyCert = "ca-key.pem", "ca-cert.pem", "key.pem", "cert.pem"
	keyTLSKey, keyTLSCert            = "tls.key", "tls.crt"
)

// secret is for replicas that share a certificate.
type secret struct {
	client client.Client
	key    client.ObjectKey
	seen   *corev1.Secret
}

func (s *secret) load(ctx context.Context) (Pair, error) {
	seen := &corev1.Secret{}
	s.seen = nil
	if err := s.client.Get(ctx, s.key, seen); err != nil {
		if apierrors.IsNotFound(err) {
			return Pair{}, nil
		}
		return Pair{}, fmt.Errorf("get secret %s: %w", s.key, err)
	}
	s.seen = seen
	return Pair{CA: seen.Data[keyCA], CAKey: seen.Data[keyCAKey], Cert: seen.Data[keyCert], Key: seen.Data[keyKey]}, nil
}

func (s *secret) save(ctx context.Context, p Pair) error {
	data := map[string][]byte{
		keyCA: p.CA, keyCAKey: p.CAKey, keyCert: p.Cert, keyKey: p.Key, keyTLSCert: p.Cert, keyTLSKey: p.Key,
	}
	if s.seen == nil {
		made := &corev1.Secret{Type: corev1.SecretTypeOpaque, Data: data}
		made.Namespace, made.Name = s.key.Namespace, s.key.Name
		return s.lost(s.client.Create(ctx, made), "create")
	}
	changed := s.seen.DeepCopy()
	if changed.Data == nil {
		changed.Data = map[string][]byte{}
	}
	maps.Copy(changed.Data, data)
	return s.lost(s.client.Update(ctx, changed), "update")
}

func (s *secret) lost(err error, verb string) error {
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return errLost
	}
	if err != nil {
		return fmt.Errorf("%s secret %s: %w", verb, s.key, err)
	}
	return nil
}
