package addon

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// facts are what is known of one add-on.
type facts struct {
	there    *installation // nil: the hub has no such add-on
	lease    *coordinationv1.Lease
	look     bool    // the lease was read for this round
	blind    error   // why it was not, though it should have been
	last     verdict // of the round in which it was read before
	made     []types.NamespacedName
	outcomes []metav1.Condition // what keepers tell
	keepless bool
}

// observe reads the add-on from the cache, and its lease when it is time to.
func (a *Agent) observe(ctx context.Context, name string) (facts, error) {
	o := newObject(a.kind)
	f := facts{keepless: a.keepless}
	var err error
	if f.made, err = a.vault.ledger.of(ctx, name); err != nil {
		return f, err
	}
	err = a.seen.Get(ctx, client.ObjectKey{Namespace: a.Holder.Cluster, Name: name}, o)
	if apierrors.IsNotFound(err) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("get add-on: %w", err)
	}
	f.there = read(o)
	a.mu.Lock()
	f.last = a.looked[name]
	for _, c := range a.outcomes[name] {
		f.outcomes = append(f.outcomes, c)
	}
	a.mu.Unlock()
	f.blind = a.observeLease(ctx, name, &f) // its credentials are looked after all the same
	return f, nil
}

// observeLease reads the lease seldom and not at every event, or two writers of the condition would chase each other.
func (a *Agent) observeLease(ctx context.Context, name string, f *facts) error {
	if f.there.customized || f.last.namespace == f.there.namespace && time.Since(f.last.at) < f.last.due(a.options) {
		return nil
	}
	var lease coordinationv1.Lease
	err := a.Local.Get(ctx, client.ObjectKey{Namespace: f.there.namespace, Name: name}, &lease)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get lease of add-on: %w", err)
	}
	if f.look = true; err == nil {
		f.lease = &lease
	}
	return nil
}
