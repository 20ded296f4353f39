package register

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	pollStored   = time.Second // OCM-2.4
	checkCluster = time.Hour   // OCM-3.2
)

// Dial opens a connection to a hub with a given way in, that lives as long as ctx.
type Dial func(ctx context.Context, boot Bootstrap) (client.WithWatch, error)

// Registrar turns bootstrap credentials into stored ones.
type Registrar struct {
	Store      Store
	Identity   Identity // as the flags say; empty names are found in the store or made up
	Kubeconfig string   // file name of the bootstrap kubeconfig
	Expiration int32    // seconds; 0 leaves it to the signer
	Cluster    Cluster  // without a name
	Dial       Dial

	refused *refusal
}

// refusal remembers a certificate that the hub does not know, for a while: should the hub come to its senses
// rather than our bootstrap kubeconfig be renewed, the certificate is tried again.
type refusal struct {
	sync.Mutex
	cert  []byte
	until time.Time
}

const refusalLasts = 5 * time.Minute

// NewRegistrar fills in what a registrar keeps to itself.
func NewRegistrar(r Registrar) Registrar {
	r.refused = &refusal{}
	return r
}

// Refuse keeps credentials from being used for some minutes, because the hub refused them.
func (r Registrar) Refuse(c Credentials) {
	r.refused.Lock()
	defer r.refused.Unlock()
	r.refused.cert, r.refused.until = c.Cert, time.Now().Add(refusalLasts)
}

func (r Registrar) isRefused(c Credentials) bool {
	if r.refused == nil {
		return false
	}
	r.refused.Lock()
	defer r.refused.Unlock()
	return len(c.Cert) > 0 && bytes.Equal(c.Cert, r.refused.cert) && time.Now().Before(r.refused.until)
}

// Stored returns credentials that can be used as they are, or says why there are none. OCM-2.4
func (r Registrar) Stored(ctx context.Context) (Credentials, error) {
	stored, err := r.Store.Load(ctx)
	if err != nil {
		return Credentials{}, err
	}
	return stored, r.usable(stored)
}

// Usable says why credentials cannot be used (any more), judged by the bootstrap kubeconfig as it is now.
func (r Registrar) usable(c Credentials) error {
	if r.isRefused(c) {
		return errors.New("the hub refused this certificate")
	}
	boot, err := ReadBootstrap(r.Kubeconfig)
	if err != nil {
		// A bootstrap kubeconfig that is gone or broken tells nothing about the credentials it once led to.
		return c.Usable(r.expect(c), nil, time.Now())
	}
	return c.Usable(r.expect(c), &boot.Hub, time.Now())
}

// expect is whom the certificate must name: the flags, else the names stored beside it.
func (r Registrar) expect(c Credentials) Identity {
	want := r.Identity
	if want.Cluster == "" {
		want.Cluster = c.Identity.Cluster
	}
	if want.Agent == "" {
		want.Agent = c.Identity.Agent
	}
	return want
}

// Guard returns, with the reason, when the files stop being usable; nil when ctx ended first.
func (r Registrar) Guard(ctx context.Context, period time.Duration) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(period):
		}
		// A folder that cannot be read now is not a certificate that ran out.
		if files, err := r.Store.Files(); err == nil {
			if why := r.usable(files); why != nil {
				return why
			}
		}
	}
}

// Register goes through the handshake once: names, ManagedCluster, certificate, store. It returns early when
// usable credentials turn up in the store by other means, and with an error when the bootstrap kubeconfig changed.
func (r Registrar) Register(ctx context.Context) (Credentials, error) {
	boot, err := ReadBootstrap(r.Kubeconfig)
	if err != nil {
		return Credentials{}, err
	}
	id, err := r.name(ctx)
	if err != nil {
		return Credentials{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hub, err := r.Dial(ctx, boot)
	if err != nil {
		return Credentials{}, fmt.Errorf("connect to hub with bootstrap kubeconfig: %w", err)
	}
	go r.watchStore(ctx, boot, cancel)
	made, err := r.handshake(ctx, hub, boot, id)
	if found := (&turnedUp{}); errors.As(context.Cause(ctx), &found) {
		return found.Credentials, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return Credentials{}, cause
	}
	return made, err
}

// name settles who we are before anything is said to the hub, so that a restart does not become another cluster.
func (r Registrar) name(ctx context.Context) (Identity, error) {
	stored, err := r.Store.Load(ctx)
	if err != nil {
		return Identity{}, err
	}
	id := r.Identity.Complete(stored.Identity)
	if id == stored.Identity {
		return id, nil
	}
	if err := r.Store.Save(ctx, Credentials{Identity: id}); err != nil {
		return Identity{}, fmt.Errorf("store names: %w", err)
	}
	return id, nil
}

func (r Registrar) handshake(ctx context.Context, hub client.WithWatch, boot Bootstrap, id Identity) (Credentials, error) {
	cluster := r.Cluster
	cluster.Name = id.Cluster
	if err := patiently(func() error { return cluster.Ensure(ctx, hub) }); err != nil {
		return Credentials{}, err
	}
	go cluster.Keep(ctx, hub)
	cert, key, err := id.Request(r.Expiration).Obtain(ctx, hub)
	if err != nil {
		return Credentials{}, err
	}
	kubeconfig, err := boot.Hub.Kubeconfig()
	if err != nil {
		return Credentials{}, err
	}
	made := Credentials{Identity: id, Cert: cert, Key: key, Kubeconfig: kubeconfig}
	if err := made.Usable(id, &boot.Hub, time.Now()); err != nil {
		return Credentials{}, fmt.Errorf("check the certificate the hub issued: %w", err)
	}
	if err := r.Store.Save(ctx, made); err != nil {
		return Credentials{}, fmt.Errorf("store credentials: %w", err)
	}
	return made, nil
}

// patiently calls f once more when the hub gave no answer: the second request waits in the connection until there
// is one, so a hub that comes back finds the agent at once and not after its back-off.
func patiently(f func() error) error {
	err := f()
	if err != nil && apierrors.ReasonForError(err) == metav1.StatusReasonUnknown {
		err = f()
	}
	return err
}

// Keep looks after the ManagedCluster about hourly until ctx ends. OCM-3.2
func (c Cluster) Keep(ctx context.Context, hub client.Client) {
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		if err := c.Ensure(ctx, hub); err != nil && ctx.Err() == nil {
			logf.FromContext(ctx).Error(err, "ManagedCluster not looked after, will try again")
		}
	}, checkCluster, 0.2, true)
}

// turnedUp ends a handshake that has become pointless.
type turnedUp struct{ Credentials }

func (*turnedUp) Error() string { return "usable credentials turned up" }

// ErrMoved ends a handshake whose way in is no longer the configured one.
var ErrMoved = errors.New("the bootstrap kubeconfig changed")

func (r Registrar) watchStore(ctx context.Context, boot Bootstrap, cancel context.CancelCauseFunc) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if now, err := ReadBootstrap(r.Kubeconfig); err == nil && !now.Equal(boot) {
			cancel(ErrMoved)
			return
		}
		if stored, err := r.Stored(ctx); err == nil {
			cancel(&turnedUp{stored})
		}
	}, pollStored)
}

// Equal reports whether both bootstrap kubeconfigs lead to the same hub by the same way in.
func (b Bootstrap) Equal(other Bootstrap) bool {
	x, y := b.Config, other.Config
	return b.Hub.Same(other.Hub) && x.BearerToken == y.BearerToken && x.BearerTokenFile == y.BearerTokenFile &&
		x.Username == y.Username && x.Password == y.Password &&
		x.CertFile == y.CertFile && string(x.CertData) == string(y.CertData)
}
