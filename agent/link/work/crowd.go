package work

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/flotilla-project/flotilla/agent/link/brake"
	"github.com/flotilla-project/flotilla/agent/link/notice"
)

const (
	crowdLasting = 250 * time.Millisecond // how long a count is good for
	reasonHeld   = "RemovalHeld"
)

// crowd counts who leaves together. It remembers those that are gone already for as long as they count. What was not
// there when this process came, such as what an earlier installation left behind, counts only among itself: it must not
// hold what is ordered now.
type crowd struct {
	mu      sync.Mutex
	gone    map[string]brake.Departure // by name of the record
	seen    map[string]bool            // records whose work was on the hub at some time
	at      time.Time
	largest map[string]brake.Crowd
	told    int
}

// see notes which works are on the hub, by names of their records.
func (c *crowd) see(listed map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	maps.Copy(c.seen, listed)
}

// depart notes that the objects of a record are about to be removed.
func (c *crowd) depart(d brake.Departure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone == nil {
		c.gone = map[string]brake.Departure{}
	}
	c.gone[d.Name] = d
}

// departed is the departure of a work whose deletion was seen; vanished that of one of which only the record is left.
func departed(record string, work *workv1.ManifestWork) brake.Departure {
	return brake.Departure{Name: record, Born: work.CreationTimestamp.Time, At: work.DeletionTimestamp.Time}
}

func vanished(record *workv1.AppliedManifestWork) brake.Departure {
	return brake.Departure{Name: record.Name, Born: record.CreationTimestamp.Time, At: record.Status.EvictionStartTime.Time, Vanished: true}
}

// crowdOf tells in what crowd the work of a record left.
func (a *Agent) crowdOf(ctx context.Context, record string) (brake.Crowd, error) {
	c := &a.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.largest != nil && time.Since(c.at) < crowdLasting {
		return c.largest[record], nil
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	all, departures, err := a.departures(ctx)
	if err != nil {
		return brake.Crowd{}, err
	}
	for name, d := range c.gone {
		if time.Since(d.At) > brake.Window {
			delete(c.gone, name)
			continue
		}
		if _, again := departures[name]; !again {
			d.Gone = !all[name]
			departures[name] = d
		}
	}
	c.largest, c.at = c.count(len(all), departures, a.options.MassRemovalShare), time.Now()
	return c.largest[record], nil
}

// count takes what left before our eyes by itself, and what was never there together with it.
func (c *crowd) count(total int, departures map[string]brake.Departure, share int) map[string]brake.Crowd {
	var before, all []brake.Departure
	for name, d := range departures {
		if all = append(all, d); c.seen[name] {
			before = append(before, d)
		}
	}
	out := brake.Crowds(total, all, share)
	maps.DeleteFunc(out, func(name string, _ brake.Crowd) bool { return c.seen[name] })
	maps.Copy(out, brake.Crowds(total, before, share))
	return out
}

// departures lists what there is and what is on its way out without anybody having ordered just that, by name of the
// record. The work that a record is of may be deleted, or not listed, which is when its eviction began.
func (a *Agent) departures(ctx context.Context) (all map[string]bool, leaving map[string]brake.Departure, err error) {
	var works workv1.ManifestWorkList
	if err := a.deps.Works.List(ctx, &works, client.InNamespace(a.deps.Cluster), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list works: %w", err)
	}
	var records workv1.AppliedManifestWorkList
	if err := a.deps.Records.List(ctx, &records, client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list AppliedManifestWorks: %w", err)
	}
	all, leaving = map[string]bool{}, map[string]brake.Departure{}
	for i := range works.Items {
		w := &works.Items[i]
		name := a.records.name(w.Name)
		all[name], a.crowd.seen[name] = true, true
		if !w.DeletionTimestamp.IsZero() && slices.Contains(w.Finalizers, workv1.ManifestWorkFinalizer) && !brake.Excused(w) {
			leaving[name] = departed(name, w)
		}
	}
	for i := range records.Items {
		r := &records.Items[i]
		if !a.records.ours(r) {
			continue
		}
		all[r.Name] = true
		if brake.Confirmed(r.Spec.ManifestWorkName, r) {
			delete(leaving, r.Name)
		} else if began := r.Status.EvictionStartTime; began != nil && len(r.Status.AppliedResources) > 0 {
			leaving[r.Name] = vanished(r)
		}
	}
	return all, leaving, nil
}

// tellOfCrowd leaves an event on the hub, and another one when the crowd has grown by half.
func (a *Agent) tellOfCrowd(ctx context.Context, c brake.Crowd, note string) {
	a.crowd.mu.Lock()
	news := c.Count > 0 && 2*c.Count >= 3*a.crowd.told
	if news {
		a.crowd.told = c.Count
	}
	a.crowd.mu.Unlock()
	if !news {
		return
	}
	occasion := strconv.FormatInt(time.Now().Unix(), 36)
	if err := notice.Warn(ctx, a.deps.Hub, a.cluster(ctx), reasonHeld, occasion, note); err != nil {
		logf.FromContext(ctx).V(1).Info("Event not sent", "cause", err.Error())
	}
}
