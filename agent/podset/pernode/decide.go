package pernode

import (
	"time"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// Decide returns the next safe step towards spec: first every node gets the
// pods it should have, and only then are old ones replaced. // WL-3.3
func Decide(spec Spec, pods []Pod, now time.Time) Plan {
	if spec.Deleting {
		return Plan{}
	}
	d := look(&spec, pods, now)
	d.plan.Counts = d.count()
	d.manage()
	d.plan.Ended = d.plan.Empty()
	if d.plan.Ended && spec.Rolling {
		d.roll()
	}
	d.refresh()
	d.explain()
	return d.plan
}

// manage is 3.5.
func (d *decision) manage() {
	var lacking []*place
	var surplus []removal
	for _, p := range d.places {
		remove, lacks := d.tend(p)
		surplus = append(surplus, remove...)
		if lacks {
			lacking = append(lacking, p)
		}
	}
	for _, pod := range d.lost {
		surplus = append(surplus, removal{pod, "its node is gone and it never ran there"})
	}
	d.remove(surplus)
	d.create(d.progressively(lacking), "its node has none")
}

type removal struct {
	pod *Pod
	why string
}

// tend looks at one node: which pods have to go, and whether it lacks one.
func (d *decision) tend(p *place) (remove []removal, lacks bool) {
	switch {
	case p.Run && len(p.pods) == 0:
		return nil, true
	case p.Keep:
		return d.keep(p)
	}
	for _, pod := range p.pods {
		if !pod.Terminating {
			remove = append(remove, removal{pod, "its node should not run it"})
		}
	}
	return remove, false
}

// keep looks at a node whose pods may stay.
func (d *decision) keep(p *place) (remove []removal, lacks bool) {
	var alive []*Pod
	resting := false
	for _, pod := range p.pods {
		switch {
		case pod.Terminating:
		case pod.Phase == podset.Finished && d.now.Before(pod.KeepUntil):
			d.plan.Wake(pod.KeepUntil.Sub(d.now))
			resting = true
		case pod.Phase == podset.Finished:
			remove = append(remove, removal{pod, failed})
		case pod.State == podset.PreparingDelete:
			remove = append(remove, removal{pod, "its preDelete hook let it go"})
		default:
			alive = append(alive, pod)
		}
	}
	if !d.spec.Surge {
		for _, pod := range alive[min(1, len(alive)):] {
			remove = append(remove, removal{pod, "its node has an older one"})
		}
		return remove, false
	}
	// A pod that fails again and again must not be made anew while it is left
	// alone, or failed pods would pile up on the node.
	return append(remove, d.doubled(alive)...), len(alive) == 0 && p.Run && !resting
}

const failed = "it failed"

// doubled leaves a node at most one new and one old pod, and the old one no
// longer than the new one needs it. // WL-3.5
func (d *decision) doubled(alive []*Pod) (remove []removal) {
	if len(alive) < 2 {
		return nil
	}
	var fresh, old *Pod
	for _, pod := range alive {
		switch {
		case pod.Fresh && fresh == nil:
			fresh = pod
		case !pod.Fresh && old == nil:
			old = pod
		default:
			remove = append(remove, removal{pod, "its node has an older one"})
		}
	}
	switch {
	case fresh == nil || old == nil:
	case !old.Ready:
		remove = append(remove, removal{old, "it is not ready, and its replacement is there"})
	case d.available(fresh):
		remove = append(remove, removal{old, "its replacement is available"})
	}
	return remove
}

// progressively holds new pods back by the partition. // WL-3.5
func (d *decision) progressively(lacking []*place) []*place {
	if !d.spec.Progressive {
		return lacking
	}
	desired, updated := d.desired(), 0
	for _, p := range d.places {
		if p.Run && p.fresh != nil {
			updated++
		}
	}
	return lacking[:min(len(lacking), max(desired-updated-min(d.spec.Partition, desired), 0))]
}

// create makes a pod on each of the nodes, as far as one plan may. // WL-3.6
func (d *decision) create(on []*place, why string) {
	for _, p := range on[:min(len(on), d.spec.Burst)] {
		d.plan.Create = append(d.plan.Create, podset.Create{Slot: p.Name, Revision: d.spec.Revision, Why: why})
	}
	d.plan.Waiting.Creates += max(len(on)-d.spec.Burst, 0)
}

// remove deletes pods, as far as one plan may, but asks a pod's preDelete hook first. // WL-3.6
func (d *decision) remove(pods []removal) {
	left := d.spec.Burst
	for _, r := range pods {
		d.acted[r.pod] = true
		switch {
		case r.pod.HookedDelete && r.pod.State == podset.PreparingDelete:
			delete(d.acted, r.pod)
			d.plan.Waiting.Hooks++
		case r.pod.HookedDelete:
			d.plan.Refresh = append(d.plan.Refresh, podset.Refresh{
				Pod: r.pod.Name, State: podset.PreparingDelete, Why: "its preDelete hook runs first: " + r.why,
			})
		case left <= 0:
			d.plan.Waiting.Deletes++
		default:
			left--
			gone := podset.Delete{Pod: r.pod.Name, Slot: r.pod.Node, Why: r.why}
			d.plan.Delete = append(d.plan.Delete, gone)
			if r.why == failed {
				d.plan.Failed = append(d.plan.Failed, gone)
			}
		}
	}
}

// refresh carries on what was begun in place, on pods that nothing else
// happens to; a DaemonSet's pods have no lifecycle states to move through. // WL-3.3
func (d *decision) refresh() {
	for _, p := range d.places {
		for _, pod := range p.pods {
			if pod.Terminating || pod.Phase == podset.Finished || d.acted[pod] {
				continue
			}
			d.available(pod) // the status changes with it
			if pod.Pod.InPlace.Due != podset.NoStep {
				d.plan.Wake(pod.Pod.InPlace.NotBefore.Sub(d.now))
			}
			if r, _ := pod.Refreshed(nil, true, d.now); r.Step != podset.NoStep {
				r.State = ""
				d.plan.Refresh = append(d.plan.Refresh, r)
			}
		}
	}
}
