package register

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/patch"
)

// Store keeps credentials in a secret on the local cluster and as files beside it. The secret is written first
// and believed first; the files are what clients read, and what is left when the local API server is away.
type Store struct {
	Local     client.Client // never a cached one: it must see its own writes
	Namespace string
	Name      string
	Dir       string
}

// Load returns what is stored, incomplete as it may be, and brings the files in line with the secret.
func (s Store) Load(ctx context.Context) (Credentials, error) {
	files, err := s.Files()
	if err != nil {
		return Credentials{}, err
	}
	secret, err := s.secret(ctx)
	if err != nil {
		// The local API server is no reason to lose the hub: the files say the same.
		logf.FromContext(ctx).Info("Credential secret cannot be read, using the files", "cause", err.Error())
		return files, nil
	}
	if secret == nil {
		return files, nil
	}
	stored := fromData(secret.Data)
	if !stored.complete() && files.complete() {
		return files, nil
	}
	return stored, s.writeFiles(stored)
}

// Peek returns what is stored and changes nothing.
func (s Store) Peek(ctx context.Context) (Credentials, error) {
	secret, err := s.secret(ctx)
	if err != nil {
		return Credentials{}, err
	}
	if secret != nil {
		return fromData(secret.Data), nil
	}
	return s.Files()
}

// Save stores credentials: the secret first, then the files. OCM-6.1
func (s Store) Save(ctx context.Context, c Credentials) error {
	return errors.Join(s.saveSecret(ctx, c), s.writeFiles(c))
}

// Files reads the files alone.
func (s Store) Files() (Credentials, error) {
	data := map[string][]byte{}
	for _, name := range []string{clusterKey, agentKey, certKey, keyKey, kubeconfigKey} {
		content, err := os.ReadFile(filepath.Join(s.Dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return Credentials{}, fmt.Errorf("read credential file: %w", err)
		}
		data[name] = content
	}
	return fromData(data), nil
}

func (s Store) secret(ctx context.Context) (*corev1.Secret, error) {
	var secret corev1.Secret
	err := s.Local.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, &secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get credential secret: %w", err)
	}
	return &secret, nil
}

func (s Store) saveSecret(ctx context.Context, c Credentials) error {
	secret, err := s.secret(ctx)
	if err != nil {
		return err
	}
	if secret == nil {
		return s.create(ctx, c)
	}
	next := secret.DeepCopy()
	if next.Data == nil {
		next.Data = map[string][]byte{}
	}
	maps.Copy(next.Data, c.data()) // keys of others, like an add-on's token, stay
	if maps.EqualFunc(secret.Data, next.Data, bytes.Equal) {
		return nil
	}
	if _, err := patch.Data(ctx, s.Local, secret, next); err != nil {
		return fmt.Errorf("update credential secret: %w", err)
	}
	return nil
}

func (s Store) create(ctx context.Context, c Credentials) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Namespace}}
	if err := s.Local.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		// A secret can still be made where only the namespace's own creation is somebody else's.
		logf.FromContext(ctx).V(1).Info("Namespace for credentials not created", "namespace", s.Namespace, "cause", err.Error())
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}, Data: c.data()}
	if err := s.Local.Create(ctx, secret); err != nil {
		return fmt.Errorf("create credential secret: %w", err)
	}
	return nil
}

// writeFiles replaces what differs, each file in one step. The key goes before the certificate: a reader that
// comes between the two finds a pair that does not match, keeps the old one and reads again.
func (s Store) writeFiles(c Credentials) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("create credential folder: %w", err)
	}
	data := c.data()
	for _, name := range slices.Backward([]string{kubeconfigKey, certKey, keyKey, agentKey, clusterKey}) {
		content, there := data[name]
		if !there {
			continue
		}
		if err := writeFile(filepath.Join(s.Dir, name), content); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // 0600 by its own contract
	if err != nil {
		return fmt.Errorf("create credential file: %w", err)
	}
	_, wrote := file.Write(content)
	synced := file.Sync()
	if err := errors.Join(wrote, synced, file.Close()); err != nil {
		return errors.Join(fmt.Errorf("write credential file: %w", err), os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("replace credential file: %w", err), os.Remove(file.Name()))
	}
	return nil
}
