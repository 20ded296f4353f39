// Package webhook serves admission and conversion webhooks and keeps everything they need by itself: certificates made
// and rotated, webhook configurations registered, custom resource definitions told where to convert. One Go list of
// hooks says what is served and what is registered, so the two never differ.
//
// It owns the Secret that it is given, the webhook configurations named by its hooks, and spec.conversion of the
// definitions it converts. It reads and writes nothing else. Nothing listens unless a port is asked for.
//
// It promises that hooks are registered only while this process answers, that a certificate is replaced without a
// restart and without a refused request, and that a process that finds everything as it should be writes nothing.
package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

const (
	// firstTry is how long the first certificate may take. NP-7 (MG-1)
	firstTry = 20 * time.Second
	// retry is the pause after a round that failed.
	retry = 250 * time.Millisecond
	// healthPath answers the self-test.
	healthPath = "/healthz"
)

// Server serves hooks. It is a runnable of a controller-runtime manager, which starts it before its caches: reading a
// kind that we convert ourselves needs it.
type Server struct {
	crwebhook.Server
	keeper *keeper
	dial   string
	// registered is closed when the API server knows the hooks for the first time.
	registered chan struct{}
}

// New makes a server of what is in set, for the API server behind cfg.
func New(cfg *rest.Config, o Options, set Set) (*Server, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{admissionv1.AddToScheme, corev1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	hub, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return serverWith(hub, o, set, clock.RealClock{}), nil
}

func serverWith(c client.Client, o Options, set Set, now clock.PassiveClock) *Server {
	s := &Server{
		keeper:     &keeper{client: c, store: o.store(c), names: o.names(), at: o.address(), set: set, clock: now},
		dial:       net.JoinHostPort(o.self(), strconv.Itoa(o.Port)),
		registered: make(chan struct{}),
	}
	s.Server = crwebhook.NewServer(crwebhook.Options{
		Host: o.bind(), Port: o.Port, WebhookMux: http.NewServeMux(), TLSOpts: []func(*tls.Config){s.keeper.serveTLS},
	})
	s.Register(healthPath, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for path, handler := range set.handlers() {
		s.Register(path, handler)
	}
	return s
}

// Start serves until ctx ends. It fails when there is no certificate after twenty seconds, or the port is taken.
func (s *Server) Start(ctx context.Context) error {
	if err := s.firstCertificate(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.Server.Start(ctx) })
	group.Go(func() error {
		if err := s.untilServed(ctx); err != nil {
			return nil //nolint:nilerr // the end came first
		}
		s.keeper.keep(ctx, s.registered)
		return nil
	})
	return group.Wait()
}

func (s *Server) firstCertificate(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, retry, firstTry, true, func(ctx context.Context) (bool, error) {
		last = s.keeper.certificate(ctx)
		return last == nil, nil
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("get webhook certificate: %w", errors.Join(last, err))
	}
	return nil
}

// untilServed waits until the port answers, so that nothing is registered that would only be refused.
func (s *Server) untilServed(ctx context.Context) error {
	return wait.PollUntilContextCancel(ctx, 5*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		return s.answers(ctx) == nil, nil
	})
}

// Ready says whether this replica answers and the API server knows its hooks. NP-7 (MG-3)
func (s *Server) Ready(r *http.Request) error {
	select {
	case <-s.registered:
		return s.answers(r.Context())
	default:
		return errors.New("the webhooks are not registered yet")
	}
}

// answers is the self-test: our own port, by the name that others call it by.
func (s *Server) answers(ctx context.Context) error {
	served := s.keeper.served.Load()
	if served == nil {
		return errors.New("there is no certificate yet")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(served.ca)
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{Timeout: time.Second},
		Config:    &tls.Config{RootCAs: roots, ServerName: s.keeper.names[0], MinVersion: tls.VersionTLS12},
	}
	conn, err := dialer.DialContext(ctx, "tcp", s.dial)
	if err != nil {
		return fmt.Errorf("call our own webhooks: %w", err)
	}
	return conn.Close()
}
