package reach

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// server answers, or not, and counts what reached it.
type server struct {
	down   atomic.Bool
	status atomic.Int32
	probes atomic.Int32
	others atomic.Int32
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/readyz") {
		s.probes.Add(1)
	} else {
		s.others.Add(1)
	}
	if s.down.Load() {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: int(s.status.Load()), Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
}

func ask(ctx context.Context, g *Gate) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://hub/api", strings.NewReader("x"))
	if err != nil {
		return err
	}
	resp, err := g.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestAnOutageCostsEachOperationOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		s.status.Store(200)
		g := New(t.Context(), s, "https://hub/")
		if err := ask(t.Context(), g); err != nil || !g.Open() {
			t.Fatalf("a hub that answers: %v", err)
		}
		s.down.Store(true)
		if err := ask(t.Context(), g); err == nil || g.Open() {
			t.Fatal("a hub that does not answer left the gate open")
		}
		if g.Await(timeout(t, time.Second)) {
			t.Error("a hub that is away was awaited")
		}
		tries := s.others.Load()
		var back atomic.Int32
		for range 50 {
			go func() {
				if ask(t.Context(), g) == nil {
					back.Add(1)
				}
			}()
		}
		<-time.After(10 * time.Minute)
		if n := s.others.Load() - tries; n != 0 {
			t.Errorf("%d requests went out during the outage", n)
		}
		if n := s.probes.Load(); n > 200 {
			t.Errorf("%d probes in ten minutes", n)
		}
		s.down.Store(false)
		<-time.After(7 * time.Second)
		if back.Load() != 50 {
			t.Errorf("%d of 50 operations went on within seconds", back.Load())
		}
		if g.Await(t.Context()) {
			t.Error("a hub that answers had to be awaited")
		}
	})
}

func TestWaitingEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		s.down.Store(true)
		g := New(t.Context(), s, "https://hub")
		_ = ask(t.Context(), g)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ask(ctx, g); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestARefusalIsAnAnswerAndAServerErrorIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		g := New(t.Context(), s, "https://hub")
		s.down.Store(true)
		_ = ask(t.Context(), g)
		s.status.Store(503)
		s.down.Store(false)
		<-time.After(time.Minute)
		if g.Open() {
			t.Error("opened for a hub that is not ready")
		}
		s.status.Store(403)
		<-time.After(10 * time.Second)
		if !g.Open() {
			t.Error("a hub that refuses the probe answers all the same")
		}
	})
}

func TestACalledOffRequestClosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		s.down.Store(true)
		g := New(t.Context(), s, "https://hub")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = ask(ctx, g)
		if !g.Open() {
			t.Error("the gate closed")
		}
	})
}

func TestHowLongTheServerHasNotKnownUs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		g := New(t.Context(), s, "https://hub")
		for _, step := range []struct {
			status int32
			want   time.Duration
		}{{200, 0}, {401, 0}, {401, time.Minute}, {403, 0}, {401, 0}, {401, time.Minute}} {
			s.status.Store(step.status)
			if err := ask(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			if got := g.Refused(); got != step.want {
				t.Errorf("after %d: %s, want %s", step.status, got, step.want)
			}
			<-time.After(time.Minute)
		}
	})
}
