package credentials

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

// How long a secret is believed, drawn for each, so that a node does not read all of them at once again. // IM-9
const (
	believed = 5 * time.Minute
	spread   = 5 * time.Minute
)

// Keys finds credentials for an image. It may be used by many pulls at once.
type Keys struct {
	// Secrets reads from the API server; nothing is watched, for the daemon may read one namespace's secrets only.
	Secrets client.Reader
	// Plugins are asked too; nil has none.
	Plugins *Plugins
	// Clock is now; nil is the real one.
	Clock clock.PassiveClock
	// Log is told of secrets that are not there.
	Log logr.Logger

	mu   sync.Mutex
	kept map[kruisev1alpha1.ReferenceObject]kept
}

type kept struct {
	ring  ring
	until time.Time
}

// For is what to try for an image such as nginx or quay.io/team/app, in order. A secret that is missing or may not be
// read is skipped; one that holds no docker config is an error. // IM-8, IM-9
func (k *Keys) For(ctx context.Context, image string, references []kruisev1alpha1.ReferenceObject) ([]cri.Auth, error) {
	repository, err := repositoryOf(image)
	if err != nil {
		return nil, err
	}
	var found []cri.Auth
	var failures []error
	for _, ref := range references {
		r, err := k.secret(ctx, ref)
		failures = append(failures, err)
		found = append(found, r.lookup(repository)...)
	}
	if err := errors.Join(failures...); err != nil {
		return nil, err
	}
	if k.Plugins != nil {
		found = append(found, k.Plugins.lookup(ctx, repository)...)
	}
	return found, nil
}

func (k *Keys) now() time.Time {
	if k.Clock == nil {
		return time.Now()
	}
	return k.Clock.Now()
}

func (k *Keys) secret(ctx context.Context, ref kruisev1alpha1.ReferenceObject) (ring, error) {
	k.mu.Lock()
	known, ok := k.kept[ref]
	k.mu.Unlock()
	if ok && k.now().Before(known.until) {
		return known.ring, nil
	}
	var s corev1.Secret
	// Any version will do, from the API server's own cache.
	err := k.Secrets.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &s, &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		k.Log.Info("skipping a pull secret", "secret", cache.NewObjectName(ref.Namespace, ref.Name).String(), "reason", string(apierrors.ReasonForError(err)))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := fromSecret(&s)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		k.kept = map[kruisev1alpha1.ReferenceObject]kept{}
	}
	k.kept[ref] = kept{r, k.now().Add(believed + rand.N(spread))}
	return r, nil
}
