package imagepull

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/client-go/tools/record"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
	"github.com/flotilla-project/flotilla/pkg/event"
)

const (
	// tellAfter is when the status tells how far an attempt is for the first time; later times double.
	tellAfter = 15 * time.Second
	// slowAfter is from when on an event does so too.
	slowAfter = time.Minute
	// runtimePoll is how often a runtime that is gone is asked again.
	runtimePoll = 2 * time.Second
	// maxRestarts of the runtime are borne in one attempt. One that goes on saying so has another trouble.
	maxRestarts = 5
)

// Keys finds credentials for the familiar name of an image.
type Keys interface {
	For(ctx context.Context, image string, secrets []kruisev1alpha1.ReferenceObject) ([]cri.Auth, error)
}

// puller carries out pulls.
type puller struct {
	runtime cri.Runtime
	keys    Keys
	events  record.EventRecorder
}

// run tries until the image is there, the attempts are used up or the deadline has passed. // IM-5
func (p *puller) run(ctx context.Context, j *job) {
	began := time.Now()
	var last error
	for attempt := 1; ; attempt++ {
		w := j.current()
		limit := allowance(w, time.Since(began))
		if limit <= 0 {
			p.fail(j, w, fmt.Errorf("not pulled within its deadline of %s: %w", w.Deadline, last))
			return
		}
		there, err := p.try(ctx, j, w, attempt, limit, last)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			p.succeed(ctx, j, w, there, time.Since(began))
			return
		}
		if attempt >= w.Attempts {
			p.fail(j, w, err)
			return
		}
		last = err
		p.retry(j, w, attempt, err)
		if !wait(ctx, pause(attempt)) {
			return
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// try is one attempt. A runtime that is gone, restarting most likely, is waited for: that uses up the attempt's time and
// not the attempts, or a restart of half a minute would fail every pull of the node.
func (p *puller) try(ctx context.Context, j *job, w Work, attempt int, limit time.Duration, last error) (there bool, err error) {
	late := fmt.Errorf("attempt %d of %d took longer than %s", attempt, w.Attempts, limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	var gone atomic.Bool
	stop := p.watchSlow(ctx, j, slowness{work: w, attempt: attempt, last: last, gone: &gone})
	defer stop()
	for restarts := range maxRestarts {
		there, err = p.once(ctx, w)
		if !errors.Is(err, cri.ErrGone) || ctx.Err() != nil || restarts == maxRestarts-1 {
			break
		}
		gone.Store(true)
		message := words(err) + "; waiting for it"
		j.say(func(s *kruisev1alpha1.ImageTagStatus) { s.Message = message })
		p.untilBack(ctx)
		gone.Store(false)
		j.say(func(s *kruisev1alpha1.ImageTagStatus) { s.Message = "" })
	}
	switch {
	case err != nil && context.Cause(ctx) != nil:
		return false, errors.Join(context.Cause(ctx), unlessTimeout(err))
	case errors.Is(err, cri.ErrTimeout) && almostOver(ctx):
		return false, late
	}
	return there, err
}

// ahead is by how much a runtime, which is told our deadline, may see it pass before we do.
const ahead = time.Second

func almostOver(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return limited && time.Until(deadline) < ahead
}

// untilBack waits until the runtime answers, or the attempt is over.
func (p *puller) untilBack(ctx context.Context) {
	for wait(ctx, runtimePoll) {
		if _, err := p.runtime.Version(ctx); !errors.Is(err, cri.ErrGone) {
			return
		}
	}
}

// unlessTimeout drops what only repeats that time ran out.
func unlessTimeout(err error) error {
	if errors.Is(err, cri.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// once asks the runtime, with each of the credentials in turn. When there are some and none works, nobody is asked
// without: a private image must not become the public one of its name. // IM-6, IM-8
func (p *puller) once(ctx context.Context, w Work) (there bool, err error) {
	if w.OnlyIfAbsent {
		images, err := p.runtime.Images(ctx)
		if err != nil {
			return false, fmt.Errorf("list images: %w", err)
		}
		if present(images, w.Key) {
			return true, nil
		}
	}
	auths, err := p.keys.For(ctx, w.Image, w.Secrets)
	if err != nil {
		return false, fmt.Errorf("find credentials: %w", err)
	}
	if len(auths) == 0 {
		return false, p.pull(ctx, w, nil)
	}
	var failures []error
	for i := range auths {
		err := p.pull(ctx, w, &auths[i])
		if err == nil || ctx.Err() != nil || errors.Is(err, cri.ErrGone) {
			return false, err
		}
		failures = append(failures, fmt.Errorf("with credentials %d of %d: %w", i+1, len(auths), err))
	}
	return false, errors.Join(failures...)
}

func (p *puller) pull(ctx context.Context, w Work, auth *cri.Auth) error {
	_, err := p.runtime.Pull(ctx, cri.Pull{Image: w.Reference(), Auth: auth, Labels: w.Labels, Annotations: w.Annotations})
	return err
}

// watchSlow tells in the status how far an attempt is that takes longer, at growing intervals: after a quarter of a minute,
// half of one, one, two and so on; from a whole minute on with an event.
func (p *puller) watchSlow(ctx context.Context, j *job, s slowness) (stop func()) {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var seen cri.Download
		for due := tellAfter; wait(ctx, due-time.Since(began)); due *= 2 {
			message := s.after(due)
			if now, told := p.downloads(ctx); told && !s.gone.Load() {
				message += "; " + progress(seen, now)
				seen = now
			}
			if j.say(func(s *kruisev1alpha1.ImageTagStatus) { s.Message = message }) && due >= slowAfter {
				event.Emit(p.events, &s.work.On, slow(s.work, message))
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// slowness is what there is to say of an attempt that takes long.
type slowness struct {
	work    Work
	attempt int
	// last is what the attempt before said.
	last error
	// gone is that the runtime does not answer now.
	gone *atomic.Bool
}

func (s slowness) after(d time.Duration) string {
	message := fmt.Sprintf("attempt %d of %d has been running for %s, of %s it may take", s.attempt, s.work.Attempts, d, s.work.Timeout)
	if s.gone.Load() {
		message += "; " + cri.ErrGone.Error() + ", waiting for it"
	}
	if s.last != nil {
		message += "; the attempt before: " + words(s.last)
	}
	return message
}

// downloads is how far the runtime is, if it tells.
func (p *puller) downloads(ctx context.Context) (cri.Download, bool) {
	d, tells := p.runtime.(cri.Downloader)
	if !tells {
		return cri.Download{}, false
	}
	now, err := d.Downloads(ctx)
	return now, err == nil
}

func (p *puller) retry(j *job, w Work, attempt int, err error) {
	message := fmt.Sprintf("attempt %d of %d: %s", attempt, w.Attempts, words(err))
	if j.say(func(s *kruisev1alpha1.ImageTagStatus) { s.Message = message }) {
		event.Emit(p.events, &w.On, retrying(w, message))
	}
}

func (p *puller) succeed(ctx context.Context, j *job, w Work, there bool, took time.Duration) {
	id := imageID(ctx, p.runtime, w)
	told := j.say(func(s *kruisev1alpha1.ImageTagStatus) {
		s.Phase, s.Progress, s.CompletionTime = kruisev1alpha1.ImagePhaseSucceeded, 100, stamp(time.Now())
		s.ImageID, s.Message = id, ""
	})
	if !told {
		return
	}
	if there {
		event.Emit(p.events, &w.On, alreadyThere(w))
		return
	}
	event.Emit(p.events, &w.On, pulled(w, took))
}

// fail tells everyone who asked for the image. // IM-12
func (p *puller) fail(j *job, w Work, err error) {
	message := words(err)
	told := j.say(func(s *kruisev1alpha1.ImageTagStatus) {
		s.Phase, s.CompletionTime, s.Message = kruisev1alpha1.ImagePhaseFailed, stamp(time.Now()), message
	})
	if !told {
		return
	}
	for _, owner := range w.Owners {
		event.Emit(p.events, &owner, failed(w, message))
	}
	event.Emit(p.events, &w.On, failed(w, message))
}
