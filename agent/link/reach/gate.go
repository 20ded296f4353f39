// Package reach keeps an agent from hammering a hub that is gone.
//
// It owns one http.RoundTripper per hub connection. While the hub answers, requests pass. After a request
// that got no answer at all, the others wait at the gate and only a small probe goes out, so that an outage
// costs every operation one failed try, and all of them go on within moments of the hub coming back.
package reach

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	probeTimeout = 5 * time.Second
	probeFirst   = 200 * time.Millisecond
	probeMost    = 4 * time.Second
)

// Gate is a RoundTripper that holds requests back while the server is known not to answer.
type Gate struct {
	base  http.RoundTripper
	ready string
	life  context.Context

	mu      sync.Mutex
	opened  chan struct{} // closed while requests may pass
	refused time.Time     // first of the unbroken answers 401; zero: the last one was another
}

// New returns an open gate in front of base. The probes ask server's readiness endpoint until life ends.
func New(life context.Context, base http.RoundTripper, server string) *Gate {
	opened := make(chan struct{})
	close(opened)
	return &Gate{base: base, ready: strings.TrimSuffix(server, "/") + "/readyz", life: life, opened: opened}
}

// RoundTrip sends req as soon as the server is thought to answer, or gives up with req's context.
func (g *Gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.wait(req.Context()); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper closes the body also when it fails
		}
		return nil, fmt.Errorf("wait for the hub to answer: %w", err)
	}
	resp, err := g.base.RoundTrip(req)
	// A request that was called off says nothing about the server, one that ran out of time may.
	if err != nil && !errors.Is(req.Context().Err(), context.Canceled) {
		g.shut(err) //nolint:contextcheck // the probe outlives the request that failed
	}
	if err == nil {
		g.note(resp.StatusCode == http.StatusUnauthorized)
	}
	return resp, err
}

func (g *Gate) note(refused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !refused:
		g.refused = time.Time{}
	case g.refused.IsZero():
		g.refused = time.Now()
	}
}

// Refused says for how long the server has not known who we are.
func (g *Gate) Refused() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused.IsZero() {
		return 0
	}
	return time.Since(g.refused)
}

// WrappedRoundTripper lets those who close idle connections find them.
func (g *Gate) WrappedRoundTripper() http.RoundTripper { return g.base }

// Open tells whether requests pass at this moment.
func (g *Gate) Open() bool {
	select {
	case <-g.state():
		return true
	default:
		return false
	}
}

// Await returns when requests pass, and reports whether they did not before; false also when ctx ended first.
func (g *Gate) Await(ctx context.Context) bool {
	if g.Open() {
		return false
	}
	return g.wait(ctx) == nil
}

func (g *Gate) state() chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened
}

func (g *Gate) wait(ctx context.Context) error {
	select {
	case <-g.state():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-g.life.Done():
		return context.Cause(g.life) //nolint:contextcheck // the connection ended, not the request
	}
}

// shut closes the gate, once, and starts the probe that opens it again.
func (g *Gate) shut(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.opened:
		g.opened = make(chan struct{})
		go g.probe(g.opened)
		logf.FromContext(g.life).Info("Hub does not answer, waiting for it", "cause", cause.Error())
	default:
	}
}

func (g *Gate) probe(opened chan struct{}) {
	since := time.Now()
	for delay := time.Duration(0); ; delay = min(max(2*delay, probeFirst), probeMost) {
		select {
		case <-g.life.Done():
			return
		case <-time.After(delay + rand.N(delay/2+time.Millisecond)): // spread: a whole fleet waits for the same hub
		}
		if g.answers() {
			logf.FromContext(g.life).Info("Hub answers", "after", time.Since(since).Round(time.Millisecond).String())
			close(opened)
			return
		}
	}
}

func (g *Gate) answers() bool {
	ctx, cancel := context.WithTimeout(g.life, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.ready, nil)
	if err != nil {
		return true // not a probe's business: the requests themselves will say what is wrong
	}
	resp, err := g.base.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode < http.StatusInternalServerError // a refusal is an answer
}
