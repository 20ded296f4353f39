package imagepull

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/agent/noded/cri/critest"
)

// keyring gives everyone the same credentials.
type keyring struct {
	auths []cri.Auth
	err   error
}

func (k keyring) For(context.Context, string, []kruisev1alpha1.ReferenceObject) ([]cri.Auth, error) {
	return k.auths, k.err
}

// bench is one pull on a runtime in memory, in a bubble of time.
type bench struct {
	*testing.T
	runtime *critest.Runtime
	pool    *pool
	events  *record.FakeRecorder
	began   time.Time
}

func newBench(t *testing.T, r *critest.Runtime, keys Keys) *bench {
	t.Helper()
	events := record.NewFakeRecorder(100)
	return &bench{t, r, &pool{puller: &puller{runtime: r, keys: keys, events: events}, changed: func() {}}, events, time.Now()}
}

func nginx(attempts int) Work {
	return Work{Key: Key{"nginx", "1"}, Version: 1, Attempts: attempts, Timeout: 10 * time.Minute, Owners: []corev1.ObjectReference{{Kind: "ImagePullJob", Name: "j"}}}
}

// pull runs one to its end and returns what is said of it, and how long it took.
func (b *bench) pull(w Work) (kruisev1alpha1.ImageTagStatus, time.Duration) {
	b.Helper()
	began := time.Now()
	b.pool.start(b.Context(), w, began)
	b.pool.all.Wait()
	return b.pool.tasks()[w.Key].Status, time.Since(began)
}

func (b *bench) reasons() (all []string) {
	for {
		select {
		case e := <-b.events.Events:
			all = append(all, strings.Fields(e)[1])
		default:
			return all
		}
	}
}

func refuse(err error, times int) func(context.Context, cri.Pull) error {
	return func(context.Context, cri.Pull) error {
		if times--; times < 0 {
			return nil
		}
		return err
	}
}

func TestPulls(t *testing.T) { // IM-10: progress is 0 or 100
	words := errors.New("failed to resolve reference: 401 Unauthorized")
	docker := cri.Image{ID: "sha256:abc", Tags: []string{"docker.io/library/nginx:1"}}
	for name, tc := range map[string]struct {
		runtime *critest.Runtime
		there   []cri.Image
		keys    keyring
		work    func(*Work)
		phase   kruisev1alpha1.ImagePullPhase
		message string
		took    time.Duration
		pulls   int
		events  []string
	}{
		"succeeds": {runtime: &critest.Runtime{}, phase: succeeded, pulls: 1, events: []string{ReasonSucceeded}},
		"fails after one more attempt than the limit, with the registry's words": { // IM-5, IM-12
			runtime: &critest.Runtime{OnPull: refuse(words, 99)}, phase: failing, message: "401 Unauthorized", took: 7 * time.Second, pulls: 4,
			events: []string{ReasonRetrying, ReasonRetrying, ReasonRetrying, ReasonFailed, ReasonFailed},
		},
		"succeeds at last": {
			runtime: &critest.Runtime{OnPull: refuse(words, 2)}, phase: succeeded, took: 3 * time.Second, pulls: 3,
			events: []string{ReasonRetrying, ReasonRetrying, ReasonSucceeded},
		},
		"what is there is not pulled": { // IM-6
			runtime: &critest.Runtime{}, there: []cri.Image{docker}, work: func(w *Work) { w.OnlyIfAbsent = true },
			phase: succeeded, events: []string{ReasonSucceeded},
		},
		"what is there is pulled all the same": { // IM-6
			runtime: &critest.Runtime{}, there: []cri.Image{docker}, phase: succeeded, pulls: 1, events: []string{ReasonSucceeded},
		},
		"an attempt has a time limit, and says that it was that": { // IM-5
			runtime: &critest.Runtime{OnPull: func(ctx context.Context, _ cri.Pull) error { <-ctx.Done(); return ctx.Err() }},
			work:    func(w *Work) { w.Timeout, w.Attempts = 30*time.Second, 2 },
			phase:   failing, message: "attempt 2 of 2 took longer than 30s", took: 61 * time.Second, pulls: 2,
			events: []string{ReasonRetrying, ReasonFailed, ReasonFailed},
		},
		"also when the runtime sees the limit pass first": {
			runtime: &critest.Runtime{OnPull: func(ctx context.Context, _ cri.Pull) error {
				wait(ctx, 29900*time.Millisecond)
				return fmt.Errorf("%w: stream reset", cri.ErrTimeout)
			}},
			work:  func(w *Work) { w.Timeout, w.Attempts = 30*time.Second, 1 },
			phase: failing, message: "attempt 1 of 1 took longer than 30s", took: 29900 * time.Millisecond, pulls: 1,
			events: []string{ReasonFailed, ReasonFailed},
		},
		"a time-out of somebody else's is told in their words": {
			runtime: &critest.Runtime{OnPull: refuse(fmt.Errorf("%w: registry", cri.ErrTimeout), 99)}, work: func(w *Work) { w.Attempts = 1 },
			phase: failing, message: "timed out: registry", pulls: 1, events: []string{ReasonFailed, ReasonFailed},
		},
		"a deadline ends it, with the last words": { // IM-5
			runtime: &critest.Runtime{OnPull: refuse(words, 99)}, work: func(w *Work) { w.Deadline = 2 * time.Second },
			phase: failing, message: "not pulled within its deadline of 2s: failed to resolve reference: 401", took: 3 * time.Second, pulls: 2,
			events: []string{ReasonRetrying, ReasonRetrying, ReasonFailed, ReasonFailed},
		},
		"a slow one is told of at growing intervals": {
			runtime: &critest.Runtime{OnPull: func(ctx context.Context, _ cri.Pull) error { wait(ctx, 5*time.Minute); return nil }},
			phase:   succeeded, took: 5 * time.Minute, pulls: 1,
			events: []string{ReasonSlow, ReasonSlow, ReasonSlow, ReasonSucceeded},
		},
		"a runtime that says again and again that it is gone has failed": {
			runtime: &critest.Runtime{OnPull: refuse(cri.ErrGone, 99)}, work: func(w *Work) { w.Attempts = 1 },
			phase: failing, message: "does not answer", took: 8 * time.Second, pulls: 5, events: []string{ReasonFailed, ReasonFailed},
		},
		"each credential is tried": { // IM-8
			runtime: &critest.Runtime{OnPull: func(_ context.Context, p cri.Pull) error {
				if p.Auth == nil || p.Auth.Username != "right" {
					return words
				}
				return nil
			}},
			keys:  keyring{auths: []cri.Auth{{Username: "wrong"}, {Username: "right"}}},
			phase: succeeded, pulls: 2, events: []string{ReasonSucceeded},
		},
		"nobody is asked without credentials when there were some": { // IM-8
			runtime: &critest.Runtime{OnPull: func(_ context.Context, p cri.Pull) error {
				if p.Auth == nil {
					return nil
				}
				return words
			}},
			keys: keyring{auths: []cri.Auth{{Username: "wrong"}}}, work: func(w *Work) { w.Attempts = 1 },
			phase: failing, message: "with credentials 1 of 1: failed to resolve reference: 401 Unauthorized", pulls: 1,
			events: []string{ReasonFailed, ReasonFailed},
		},
		"an unusable secret fails": { // IM-8
			runtime: &critest.Runtime{}, keys: keyring{err: errors.New("read secret c/s: no docker config")}, work: func(w *Work) { w.Attempts = 1 },
			phase: failing, message: "find credentials: read secret c/s", events: []string{ReasonFailed, ReasonFailed},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tc.runtime, tc.keys)
				for _, i := range tc.there {
					tc.runtime.AddImage(i)
				}
				w := nginx(4)
				if tc.work != nil {
					tc.work(&w)
				}
				got, took := b.pull(w)
				if got.Phase != tc.phase || !strings.Contains(got.Message, tc.message) || got.Message == "" != (tc.message == "") {
					t.Errorf("%s: %s", got.Phase, got.Message)
				}
				if got.CompletionTime == nil || got.StartTime == nil || (got.Progress == 100) != (tc.phase == succeeded) || got.Version != 1 {
					t.Errorf("%+v", got)
				}
				if took != tc.took || len(tc.runtime.Pulls()) != tc.pulls {
					t.Errorf("%d pulls in %s", len(tc.runtime.Pulls()), took)
				}
				if d := cmp.Diff(tc.events, b.reasons()); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

func TestARestartOfTheRuntimeUsesUpNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &critest.Runtime{}
		r.Gone()
		b := newBench(t, r, keyring{})
		w := nginx(1)
		w.OnlyIfAbsent = true
		b.pool.start(t.Context(), w, b.began)
		wait(t.Context(), 20*time.Second)
		if s := b.pool.tasks()[w.Key].Status; s.Phase != pulling || !strings.Contains(s.Message, "container runtime does not answer") {
			t.Errorf("%+v", s)
		}
		r.Back()
		b.pool.all.Wait()
		if s := b.pool.tasks()[w.Key].Status; s.Phase != succeeded || s.Message != "" || time.Since(b.began) > 23*time.Second {
			t.Errorf("after %s: %+v", time.Since(b.began), s)
		}
		if s, took := (func() (kruisev1alpha1.ImageTagStatus, time.Duration) { r.Gone(); return b.pull(w) })(); s.Phase != failing ||
			!strings.Contains(s.Message, "took longer than 10m0s") || !strings.Contains(s.Message, "does not answer") || took != 10*time.Minute {
			t.Errorf("one that stays away: after %s: %+v", took, s)
		}
	})
}

func TestASlowPullShowsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := &critest.Runtime{
			OnPull: func(ctx context.Context, _ cri.Pull) error { wait(ctx, 50*time.Second); return nil },
			OnDownloads: func() (cri.Download, error) {
				return cri.Download{Layers: 1, Done: int64(time.Since(began).Seconds()) << 20, Total: 50 << 20}, nil
			},
		}
		b := newBench(t, r, keyring{})
		b.pool.start(t.Context(), nginx(1), b.began)
		for _, tc := range []struct {
			after time.Duration
			want  string
		}{{14 * time.Second, ""}, {2 * time.Second, "running for 15s, of 10m0s it may take; for all its pulls the node has 15.0 MiB of 50.0 MiB"}, {15 * time.Second, "30.0 MiB"}} {
			wait(t.Context(), tc.after)
			if got := b.pool.tasks()[nginx(1).Key].Status.Message; !strings.Contains(got, tc.want) || got == "" != (tc.want == "") {
				t.Errorf("after %s: %q", time.Since(began), got)
			}
		}
		b.pool.all.Wait()
		if d := cmp.Diff([]string{ReasonSucceeded}, b.reasons()); d != "" || b.pool.tasks()[nginx(1).Key].Status.Message != "" {
			t.Error(d)
		}
	})
}

// IM-11: what was stopped says nothing, and what replaced it is heard.
func TestAStoppedPullIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &critest.Runtime{OnPull: func(ctx context.Context, _ cri.Pull) error { <-ctx.Done(); return ctx.Err() }}
		b := newBench(t, r, keyring{})
		w := nginx(4)
		b.pool.start(t.Context(), w, b.began)
		synctest.Wait()
		r2 := w
		r2.Version = 2
		b.pool.start(t.Context(), r2, b.began)
		synctest.Wait()
		if got := b.pool.tasks(); len(got) != 1 || got[w.Key].Version != 2 {
			t.Errorf("%+v", got)
		}
		b.pool.stop(w.Key)
		b.pool.all.Wait()
		if len(b.pool.tasks()) != 0 || len(b.reasons()) != 0 {
			t.Errorf("%v, %v", b.pool.tasks(), b.reasons())
		}
	})
}

// A secret that came late is used by the next attempt; IP-11.
func TestRunningPullsLearn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &critest.Runtime{OnPull: refuse(errors.New("401"), 1)}
		b := newBench(t, r, keyring{})
		w := nginx(2)
		b.pool.start(t.Context(), w, b.began)
		synctest.Wait()
		w.Labels = map[string]string{"new": "1"}
		b.pool.adjust(w)
		other := w
		other.Version, other.Labels = 9, nil
		b.pool.adjust(other)
		b.pool.all.Wait()
		if pulls := r.Pulls(); len(pulls) != 2 || pulls[1].Labels["new"] != "1" {
			t.Errorf("%+v", pulls)
		}
	})
}

// Every goroutine ends with the manager.
func TestPullsEndWithTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &critest.Runtime{OnPull: func(ctx context.Context, _ cri.Pull) error { <-ctx.Done(); return ctx.Err() }}
		b := newBench(t, r, keyring{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.pool.Start(ctx) }()
		b.pool.start(ctx, nginx(4), b.began)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		b.pool.start(ctx, nginx(4), b.began)
		if s := b.pool.tasks()[nginx(4).Key].Status; len(r.Pulls()) != 1 || s.Phase != pulling || len(b.reasons()) != 0 {
			t.Errorf("%d pulls, %+v", len(r.Pulls()), s)
		}
	})
}

func TestWordsAreOneLineOfAboutAThousandBytes(t *testing.T) {
	if got := words(errors.New("a\n\tb  c")); got != "a b c" {
		t.Errorf("%q", got)
	}
	if got := words(errors.New(strings.Repeat("ü", 2000))); len(got) > maxMessage+3 || !strings.HasSuffix(got, "ü…") {
		t.Errorf("%d bytes", len(got))
	}
}
