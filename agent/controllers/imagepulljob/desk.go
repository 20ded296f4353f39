package imagepulljob

import (
	"context"
	"fmt"
	"sync"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/pkg/event"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

const (
	// quiet is how long no further order for a node may come before it is written, and atMost how long the first one waits.
	quiet, atMost = 100 * time.Millisecond, 2 * time.Second
)

// desk gathers the orders of all jobs for a node and writes them at once. They live in memory only: a job whose order is lost
// with the process finds its node unsynced, and orders again. // IP-11
type desk struct {
	local  client.Client
	events record.EventRecorder
	clock  clock.PassiveClock

	mutex sync.Mutex
	nodes map[string]*pile
	queue queue
}

// pile is the orders for one node, by job.
type pile struct {
	orders      map[types.UID]order
	first, last time.Time
}

func newDesk(local client.Client, events record.EventRecorder, c clock.PassiveClock) *desk {
	return &desk{local: local, events: events, clock: c, nodes: map[string]*pile{}}
}

// open gives the desk the queue of its controller.
func (d *desk) open(q queue) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.queue = q
	for node := range d.nodes {
		q.Add(request(node))
	}
}

func request(node string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: node}}
}

// place takes a job's order for some nodes.
func (d *desk) place(o order, nodes []string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	now := d.clock.Now()
	for _, node := range nodes {
		p := d.nodes[node]
		if p == nil {
			p = &pile{orders: map[types.UID]order{}, first: now}
			d.nodes[node] = p
		}
		p.orders[o.owner.UID], p.last = o, now
		if d.queue != nil {
			d.queue.AddAfter(request(node), quiet)
		}
	}
}

// of are the nodes for which the job has orders that are not written yet.
func (d *desk) of(job types.UID) sets.Set[string] {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	nodes := sets.Set[string]{}
	for node, p := range d.nodes {
		if _, waits := p.orders[job]; waits {
			nodes.Insert(node)
		}
	}
	return nodes
}

// withdraw takes back what a job ordered and does not want any more.
func (d *desk) withdraw(job types.UID) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, p := range d.nodes {
		delete(p.orders, job)
	}
}

// due are the orders for a node; wait is above 0 while more may come.
func (d *desk) due(node string) (orders []order, wait time.Duration) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	p := d.nodes[node]
	if p == nil {
		return nil, 0
	}
	now := d.clock.Now()
	if wait = min(p.last.Add(quiet).Sub(now), p.first.Add(atMost).Sub(now)); wait > 0 {
		return nil, wait
	}
	for _, o := range p.orders {
		orders = append(orders, o)
	}
	return orders, 0
}

// settle forgets orders that were carried out, or cannot be.
func (d *desk) settle(node string, done []order) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	p := d.nodes[node]
	if p == nil {
		return
	}
	for _, o := range done {
		if now := p.orders[o.owner.UID]; now.at.Equal(&o.at) {
			delete(p.orders, o.owner.UID)
		}
	}
	if p.first = d.clock.Now(); len(p.orders) == 0 {
		delete(d.nodes, node)
	} else if d.queue != nil {
		d.queue.AddAfter(request(node), quiet)
	}
}

// Reconcile writes what was ordered for one node.
func (d *desk) Reconcile(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	orders, wait := d.due(r.Name)
	if wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	err := d.write(ctx, r.Name, orders)
	switch {
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: quiet}, nil
	case err == nil || apierrors.IsNotFound(err):
		d.settle(r.Name, orders)
		return reconcile.Result{}, nil
	}
	for i := range orders {
		event.Emit(d.events, &orders[i].owner, refused(err))
	}
	return reconcile.Result{}, err
}

func (d *desk) write(ctx context.Context, node string, orders []order) error {
	if len(orders) == 0 {
		return nil
	}
	var image kruise.NodeImage
	if err := d.local.Get(ctx, client.ObjectKey{Name: node}, &image); err != nil {
		return fmt.Errorf("get NodeImage %s: %w", node, err)
	}
	after, changed := image.DeepCopy(), false
	for i := range orders {
		changed = orders[i].apply(after) || changed
	}
	if !changed {
		return nil
	}
	if err := d.local.Patch(ctx, after, client.MergeFromWithOptions(&image, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("ask node %s for %d images: %w", node, len(orders), err)
	}
	return nil
}

// refused says that a node cannot be asked.
func refused(err error) event.Event { return event.Warning("NodeImageNotWritten", "%v", err) }
