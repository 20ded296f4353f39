package imagepull

import (
	"context"
	"sync"
	"time"

	kruisev1alpha1 "github.com/openkruise/kruise-api/apps/v1alpha1"
)

// pool is the pulls of this process. There is no limit on how many run: the manager's parallelism counts nodes. // IM-3
type pool struct {
	puller *puller
	// changed is called after a pull has something new to say, from the pull's own goroutine.
	changed func()

	mu     sync.Mutex
	jobs   map[Key]*job
	closed bool
	all    sync.WaitGroup
}

// job is one pull.
type job struct {
	pool   *pool
	cancel context.CancelFunc
	// work and task are guarded by the pool's lock.
	work Work
	task Task
}

// Start implements manager.Runnable: it ends all pulls with the manager, and waits for them.
func (p *pool) Start(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	p.closed = true
	for _, j := range p.jobs {
		j.cancel()
	}
	p.mu.Unlock()
	p.all.Wait()
	return nil
}

// tasks is a copy of what all pulls have to say.
func (p *pool) tasks() map[Key]Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[Key]Task, len(p.jobs))
	for k, j := range p.jobs {
		all[k] = j.task
	}
	return all
}

// start begins a pull; one of the same key ends first and says no more. A reconcile's end must not end it, so of ctx only
// the values count.
func (p *pool) start(ctx context.Context, w Work, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if old := p.jobs[w.Key]; old != nil {
		old.cancel()
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	j := &job{pool: p, cancel: cancel, work: w, task: Task{Version: w.Version, Status: started(w.Tag, w.Version, now)}}
	if p.jobs == nil {
		p.jobs = map[Key]*job{}
	}
	p.jobs[w.Key] = j
	p.all.Go(func() {
		defer cancel()
		p.puller.run(ctx, j)
	})
}

// stop ends a pull, or forgets one that has ended.
func (p *pool) stop(k Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[k]; j != nil {
		j.cancel()
		delete(p.jobs, k)
	}
}

// adjust changes what a running pull knows; its next attempt goes by that.
func (p *pool) adjust(w Work) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[w.Key]; j != nil && j.work.Version == w.Version {
		j.work = w
	}
}

// current is what the pull is to do now.
func (j *job) current() Work {
	j.pool.mu.Lock()
	defer j.pool.mu.Unlock()
	return j.work
}

// say changes what is known of a pull, unless it was stopped meanwhile: then nobody asks any more. // IM-11
func (j *job) say(change func(*kruisev1alpha1.ImageTagStatus)) bool {
	j.pool.mu.Lock()
	listened := j.pool.jobs[j.work.Key] == j && !j.pool.closed
	if listened {
		change(&j.task.Status)
	}
	j.pool.mu.Unlock()
	if listened {
		j.pool.changed()
	}
	return listened
}
