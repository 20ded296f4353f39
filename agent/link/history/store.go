package history

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Store keeps a Memory in a Lease beside the hub credentials: the agent may write leases there, so it needs no
// further right, and the Lease outlives the credentials, which a restored hub may refuse.
type Store struct {
	Local     client.Client // direct
	Namespace string
	Hash      string // of the hub
}

const (
	keyID      = "flotilla.dev/hub-history"
	keyVersion = "flotilla.dev/hub-version"
	keyHeld    = "flotilla.dev/held"
	keySince   = "flotilla.dev/held-since"
	keyStale   = "flotilla.dev/stale-confirmation"
)

// Name is the Lease of a hub.
func (s Store) Name() string { return "flotilla-hub-" + s.Hash[:min(len(s.Hash), 16)] }

// Load returns the zero Memory of a hub never heard.
func (s Store) Load(ctx context.Context) (Memory, error) {
	lease, err := s.lease(ctx)
	if err != nil || lease == nil {
		return Memory{}, err
	}
	a := lease.Annotations
	return Memory{ID: a[keyID], Version: a[keyVersion], Held: a[keyHeld], Since: a[keySince], Stale: a[keyStale]}, nil
}

func (s Store) lease(ctx context.Context) (*coordinationv1.Lease, error) {
	var lease coordinationv1.Lease
	err := s.Local.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name()}, &lease)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Lease with what is remembered of the hub: %w", err)
	}
	return &lease, nil
}

// Save writes m.
func (s Store) Save(ctx context.Context, m Memory) error {
	return s.change(ctx, func(lease *coordinationv1.Lease) {
		if lease.Annotations == nil {
			lease.Annotations = map[string]string{}
		}
		for key, value := range map[string]string{keyID: m.ID, keyVersion: m.Version, keyHeld: m.Held, keySince: m.Since, keyStale: m.Stale} {
			if lease.Annotations[key] = value; value == "" {
				delete(lease.Annotations, key)
			}
		}
	})
}

func (s Store) change(ctx context.Context, change func(*coordinationv1.Lease)) error {
	lease, err := s.lease(ctx)
	if err != nil {
		return err
	}
	if lease == nil {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name()}}
		change(lease)
		if err = s.Local.Create(ctx, lease); apierrors.IsNotFound(err) { // the namespace, for an agent that stores no credentials
			made := s.Local.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Namespace}})
			if made == nil || apierrors.IsAlreadyExists(made) {
				err = s.Local.Create(ctx, lease)
			}
		}
	} else {
		change(lease)
		err = s.Local.Update(ctx, lease)
	}
	if err != nil {
		return fmt.Errorf("remember the hub in Lease %s: %w", s.Name(), err)
	}
	return nil
}
