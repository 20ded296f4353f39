package probe

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/flotilla-project/flotilla/agent/noded/cri"
)

const (
	// gather is how long results are gathered for one write.
	gather = 250 * time.Millisecond
	// fresh is for how long a list of containers serves all probes.
	fresh = 300 * time.Millisecond
)

// key is a probe of a container of a pod. // PB-1
type key struct{ namespace, pod, uid, ip, container, probe string }

func (k key) place() place { return place{k.uid, k.probe} }

// task is what a probe does, and what is written of it.
type task struct {
	probe  corev1.Probe
	before *kruise.ContainerProbeState
}

// pool is the probes that run. Each has a goroutine of its own, which ends with the pool.
type pool struct {
	// news has the controller look at the results.
	news    chan event.GenericEvent
	node    string
	target  *target
	records *records

	mu     sync.Mutex
	wanted map[key]task
	// asked holds a token when wanted has changed.
	asked chan struct{}

	// What follows belongs to the goroutine of Start.
	begun   time.Time
	workers map[key]*worker
	running sync.WaitGroup
}

func newPool(o Options) *pool {
	return &pool{
		news: make(chan event.GenericEvent), node: o.Node, target: newTarget(o.Runtime), records: newRecords(), workers: map[key]*worker{}, asked: make(chan struct{}, 1),
	}
}

// Start implements manager.Runnable.
func (p *pool) Start(ctx context.Context) error {
	p.begun = time.Now()
	p.running.Go(func() { p.tell(ctx) })
	for {
		p.apply(ctx)
		select {
		case <-p.asked:
		case <-ctx.Done():
			p.running.Wait()
			return nil
		}
	}
}

// tell has the controller look when there are results.
func (p *pool) tell(ctx context.Context) {
	for p.settle(ctx) {
		o := &kruise.NodePodProbe{ObjectMeta: metav1.ObjectMeta{Name: p.node}}
		select {
		case p.news <- event.GenericEvent{Object: o}:
		case <-ctx.Done():
		}
	}
}

// settle waits for a result and for those that come with it. It is false when there is no use in more.
func (p *pool) settle(ctx context.Context) bool {
	select {
	case <-p.records.changed:
	case <-ctx.Done():
		return false
	}
	return pause(ctx, gather)
}

func pause(ctx context.Context, how time.Duration) bool {
	timer := time.NewTimer(how)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// sync says what is to be probed from now on.
func (p *pool) sync(wanted map[key]task) {
	p.mu.Lock()
	p.wanted = wanted
	p.mu.Unlock()
	select {
	case p.asked <- struct{}{}:
	default:
	}
}

// apply starts and stops probes until those run that are wanted. // PB-1
func (p *pool) apply(ctx context.Context) {
	p.mu.Lock()
	wanted := p.wanted
	p.mu.Unlock()
	kept := map[place]bool{}
	for k := range wanted {
		kept[k.place()] = true
	}
	for k, w := range p.workers {
		if _, still := wanted[k]; !still {
			w.stop()
			delete(p.workers, k)
			p.records.drop(w, kept[k.place()])
		}
	}
	for k, t := range wanted {
		if w, runs := p.workers[k]; runs {
			w.take(t.probe)
			continue
		}
		p.workers[k] = p.start(ctx, k, t)
	}
}

func (p *pool) start(ctx context.Context, k key, t task) *worker {
	ctx, stop := context.WithCancel(ctx)
	w := &worker{key: k, stop: stop, probe: t.probe, before: t.before, target: p.target, records: p.records, changed: make(chan struct{}, 1)}
	delay := time.Duration(0)
	if period := period(t.probe); time.Since(p.begun) < period { // PB-2
		delay = rand.N(period)
	}
	p.running.Go(func() {
		if pause(ctx, delay) {
			w.run(ctx)
		}
	})
	return w
}

// results are those that were recorded.
func (p *pool) results() map[place]result { return p.records.all() }

// records are the last results, by place: two probes of one container have two. // PB-8
type records struct {
	mu sync.Mutex
	by map[place]entry
	// changed holds one token when there is a result that was not taken.
	changed chan struct{}
}

type entry struct {
	result
	owner *worker
}

func newRecords() *records { return &records{by: map[place]entry{}, changed: make(chan struct{}, 1)} }

// put records a worker's result, and says so if told.
func (r *records) put(w *worker, one result, tell bool) {
	r.mu.Lock()
	r.by[w.key.place()] = entry{one, w}
	r.mu.Unlock()
	if !tell {
		return
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// drop forgets what a worker recorded, unless another has its place now.
func (r *records) drop(w *worker, kept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !kept && r.by[w.key.place()].owner == w {
		delete(r.by, w.key.place())
	}
}

func (r *records) all() map[place]result {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[place]result, len(r.by))
	for at, one := range r.by {
		all[at] = one.result
	}
	return all
}

// containers lists those of the node, once for all probes that ask within a moment.
type containers struct {
	runtime cri.Runtime
	mu      sync.Mutex
	at      time.Time
	list    []cri.Container
}

// newest is a pod's newest container of a name.
func (c *containers) newest(ctx context.Context, uid, name string) (newest cri.Container, found bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) > fresh {
		list, err := c.runtime.Containers(ctx, "")
		if err != nil {
			return newest, false, err
		}
		c.list, c.at = list, time.Now()
	}
	for i := range c.list {
		if c.list[i].PodUID == uid && c.list[i].Name == name {
			return c.list[i], true, nil
		}
	}
	return newest, false, nil
}
