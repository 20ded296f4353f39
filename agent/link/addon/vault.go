package addon

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"open-cluster-management.io/api/addon/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

// vault reads and writes the secrets of add-ons on this cluster.
type vault struct {
	local  client.Client // never a cached one
	ledger *ledger
}

// Keys of the secrets; what else is in them is somebody else's. OCM-2.3, OCM-19.4
const (
	keyCert       = "tls.crt"
	keyKey        = "tls.key"
	keyToken      = "token"
	keyKubeconfig = "kubeconfig"
	keyCluster    = "cluster-name"
)

var ours = []string{keyCert, keyKey, keyToken, keyKubeconfig, keyCluster}

// noNamespaceError waits for whoever deploys the add-on: its manifests bring their namespace along.
type noNamespaceError string

func (e noNamespaceError) Error() string { return "namespace " + string(e) + " is not there yet" }

// read returns a secret, nil if there is none.
func (v vault) read(ctx context.Context, name types.NamespacedName) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := v.local.Get(ctx, name, &secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get secret %s: %w", name, err)
	}
	return &secret, nil
}

// room makes sure that there is a place for a secret. Only the namespace that all add-ons share is made here.
func (v vault) room(ctx context.Context, namespace string) error {
	have := &corev1.Namespace{}
	err := v.local.Get(ctx, client.ObjectKey{Name: namespace}, have)
	switch {
	case err == nil:
		return nil
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("get namespace %s: %w", namespace, err)
	case namespace != defaultNamespace:
		return noNamespaceError(namespace)
	}
	have.Name = namespace
	if err := v.local.Create(ctx, have); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", namespace, err)
	}
	return nil
}

// save makes our keys of a secret what data says. It is remembered before it is made.
func (v vault) save(ctx context.Context, addOn string, name types.NamespacedName, data map[string][]byte) error {
	if err := v.ledger.note(ctx, addOn, name); err != nil {
		return err
	}
	have, err := v.read(ctx, name)
	if err != nil {
		return err
	}
	if have == nil {
		made := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: map[string]string{v1alpha1.AddonLabelKey: addOn}},
			Data:       data,
		}
		if err := v.local.Create(ctx, made); err != nil {
			return fmt.Errorf("create secret %s: %w", name, err)
		}
		return nil
	}
	return v.update(ctx, addOn, have, data)
}

func (v vault) update(ctx context.Context, addOn string, have *corev1.Secret, data map[string][]byte) error {
	next := have.DeepCopy()
	metav1.SetMetaDataLabel(&next.ObjectMeta, v1alpha1.AddonLabelKey, addOn)
	if _, err := patch.Metadata(ctx, v.local, have, next); err != nil {
		return fmt.Errorf("label secret %s/%s: %w", have.Namespace, have.Name, err)
	}
	have = next.DeepCopy()
	next.Data = with(have.Data, data)
	if _, err := patch.Data(ctx, v.local, have, next); err != nil {
		return fmt.Errorf("update secret %s/%s: %w", have.Namespace, have.Name, err)
	}
	return nil
}

// with replaces our keys and leaves those of others.
func with(have, data map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for key, value := range have {
		if !slices.Contains(ours, key) {
			out[key] = value
		}
	}
	maps.Copy(out, data)
	return out
}

// like says that nothing has to be written.
func like(have *corev1.Secret, addOn string, data map[string][]byte) bool {
	return have.Labels[v1alpha1.AddonLabelKey] == addOn && maps.EqualFunc(have.Data, with(have.Data, data), bytes.Equal)
}

// remove deletes a secret that was made for an add-on, and forgets it. One that does not say it is the add-on's stays.
func (v vault) remove(ctx context.Context, addOn string, name types.NamespacedName) error {
	have, err := v.read(ctx, name)
	if err != nil {
		return err
	}
	if have != nil && have.Labels[v1alpha1.AddonLabelKey] == addOn {
		err := v.local.Delete(ctx, have, client.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete secret %s: %w", name, err)
		}
	}
	return v.ledger.forget(ctx, addOn, name)
}
