package addon

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const annotationSecrets = "flotilla.dev/addon-secrets"

// ledger remembers which secrets were made for which add-on, so that those of an add-on that went while the agent was
// away are found without the right to list secrets. It is a Lease beside the agent's credentials, one for each hub.
type ledger struct {
	local     client.Client
	namespace string
	name      string

	mu     sync.Mutex
	loaded bool
	made   map[string][]string // add-on: namespace/name, in order
}

// of lists what was made for an add-on.
func (l *ledger) of(ctx context.Context, addOn string) ([]types.NamespacedName, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.load(ctx); err != nil {
		return nil, err
	}
	var out []types.NamespacedName
	for _, entry := range l.made[addOn] {
		namespace, name, _ := strings.Cut(entry, "/")
		out = append(out, types.NamespacedName{Namespace: namespace, Name: name})
	}
	return out, nil
}

// addOns lists whose secrets are remembered.
func (l *ledger) addOns(ctx context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.load(ctx); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(l.made)), nil
}

// note is called before a secret is made.
func (l *ledger) note(ctx context.Context, addOn string, secret types.NamespacedName) error {
	return l.change(ctx, addOn, func(entries []string) []string { return slices.Compact(sorted(append(entries, secret.String()))) })
}

// forget is called after a secret is gone.
func (l *ledger) forget(ctx context.Context, addOn string, secret types.NamespacedName) error {
	return l.change(ctx, addOn, func(entries []string) []string {
		return slices.DeleteFunc(entries, func(entry string) bool { return entry == secret.String() })
	})
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

func (l *ledger) change(ctx context.Context, addOn string, change func([]string) []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.load(ctx); err != nil {
		return err
	}
	entries := change(slices.Clone(l.made[addOn]))
	if slices.Equal(entries, l.made[addOn]) {
		return nil
	}
	next := maps.Clone(l.made)
	if next[addOn] = entries; len(entries) == 0 {
		delete(next, addOn)
	}
	if err := l.save(ctx, next); err != nil {
		return err
	}
	l.made = next
	return nil
}

func (l *ledger) load(ctx context.Context) error {
	if l.loaded {
		return nil
	}
	var lease coordinationv1.Lease
	err := l.local.Get(ctx, client.ObjectKey{Namespace: l.namespace, Name: l.name}, &lease)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get record of add-on secrets: %w", err)
	}
	l.made = map[string][]string{}
	if text := lease.Annotations[annotationSecrets]; text != "" {
		if err := json.Unmarshal([]byte(text), &l.made); err != nil {
			return fmt.Errorf("read record of add-on secrets in lease %s/%s: %w", l.namespace, l.name, err)
		}
	}
	l.loaded = true
	return nil
}

func (l *ledger) save(ctx context.Context, made map[string][]string) error {
	text, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("encode record of add-on secrets: %w", err)
	}
	var lease coordinationv1.Lease
	err = l.local.Get(ctx, client.ObjectKey{Namespace: l.namespace, Name: l.name}, &lease)
	if apierrors.IsNotFound(err) {
		lease.ObjectMeta = metav1.ObjectMeta{Namespace: l.namespace, Name: l.name, Annotations: map[string]string{annotationSecrets: string(text)}}
		err = l.local.Create(ctx, &lease)
	} else if err == nil {
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, annotationSecrets, string(text))
		err = l.local.Update(ctx, &lease)
	}
	if err != nil {
		return fmt.Errorf("save record of add-on secrets: %w", err)
	}
	return nil
}
