package pernode

import (
	"cmp"
	"slices"
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// place is a node with its pods, the oldest first.
type place struct {
	Node
	pods []*Pod
	one  [1]*Pod // room for pods where there is one, as nearly everywhere
	// fresh and old are its pods that stay, at most one of each; more of one
	// kind is excess. // WL-3.7
	fresh, old *Pod
	excess     bool
}

type decision struct {
	spec   *Spec
	now    time.Time
	places []*place // in name order
	lost   []*Pod   // bound nowhere, and meant for a node that is gone
	acted  map[*Pod]bool
	plan   Plan
}

// look puts pods on their nodes. The order of lists is no fact.
func look(spec *Spec, pods []Pod, now time.Time) *decision {
	d := &decision{spec: spec, now: now, acted: map[*Pod]bool{}, places: make([]*place, len(spec.Nodes))}
	all := make([]place, len(spec.Nodes))
	at := make(map[string]*place, len(spec.Nodes))
	for i, n := range spec.Nodes {
		all[i].Node, d.places[i], at[n.Name] = n, &all[i], &all[i]
	}
	byName := func(a, b *place) int { return cmp.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(d.places, byName) {
		slices.SortFunc(d.places, byName)
	}
	for i := range pods {
		p := &pods[i]
		switch there := at[p.Node]; {
		case there != nil && there.pods == nil:
			there.one[0] = p
			there.pods = there.one[:]
		case there != nil:
			there.pods = append(there.pods, p)
		case p.Node != "" && !p.Bound && !p.Terminating:
			d.lost = append(d.lost, p)
		}
	}
	slices.SortFunc(d.lost, older)
	for _, p := range d.places {
		slices.SortFunc(p.pods, older)
		p.pair()
	}
	return d
}

// older: bound before waiting, then by age. // WL-3.5
func older(a, b *Pod) int {
	if a.Bound != b.Bound {
		if a.Bound {
			return -1
		}
		return 1
	}
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}

// pair finds the new and the old pod among those that stay. // WL-3.7
func (p *place) pair() {
	for _, pod := range p.pods {
		half := &p.old
		if pod.Fresh {
			half = &p.fresh
		}
		switch {
		case pod.Terminating:
		case *half != nil:
			p.excess = true
		default:
			*half = pod
		}
	}
}

// leaving: the pod is gone, or waits for its preDelete hook.
func leaving(p *Pod) bool { return p == nil || p.State == podset.PreparingDelete }

// available is WL-0.1 and WL-3.10; it notes when time alone makes the pod available.
func (d *decision) available(p *Pod) bool {
	if p.Ready && d.spec.MinReady > 0 && !p.ReadySince.IsZero() {
		d.plan.Wake(p.ReadySince.Add(d.spec.MinReady).Sub(d.now))
	}
	return d.spec.available(p, d.now)
}

// In the middle of its update a pod is not available, whatever Ready says: a kubelet that has not seen the closed gate yet
// writes it back.
func (s *Spec) available(p *Pod, now time.Time) bool {
	return p.Ready && !p.GateClosed && (s.MinReady <= 0 || !p.ReadySince.IsZero() && !now.Before(p.ReadySince.Add(s.MinReady)))
}

// desired is how many nodes should have a pod.
func (d *decision) desired() int {
	n := 0
	for _, p := range d.places {
		if p.Run {
			n++
		}
	}
	return n
}
