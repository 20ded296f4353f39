package pernode

import (
	"slices"

	"github.com/flotilla-project/flotilla/agent/podset"
)

// roll is 3.7: replace old pods, on the nodes that may change.
func (d *decision) roll() {
	if kept := d.kept(); d.spec.MaxSurge > 0 {
		d.rollSurging(kept)
	} else {
		d.rollInPlace(kept)
	}
}

// kept are the nodes that may change: the partition counts from the end of
// those that changed, those that are changing, and the rest, each from the
// highest name down. // WL-3.7
func (d *decision) kept() []*place {
	all := 0
	var updated, updating, picked []*place
	for _, p := range slices.Backward(d.places) {
		if !p.Run && len(p.pods) == 0 {
			continue // it has no entry
		}
		all++
		switch {
		case p.excess || p.fresh != nil:
			updated = append(updated, p)
		case leaving(p.old):
			updating = append(updating, p)
		case !d.spec.Selective || p.Selected:
			picked = append(picked, p)
		}
	}
	list := slices.Concat(updated, updating, picked)
	return list[:min(len(list), max(all-d.spec.Partition, 0))]
}

// rollInPlace replaces a node's pod by taking it down.
func (d *decision) rollInPlace(kept []*place) {
	unavailable := 0
	var free, candidates []removal
	for _, p := range kept {
		switch {
		case p.excess, leaving(p.old) == leaving(p.fresh):
			unavailable++ // manage puts the node right
		case p.fresh != nil:
			if !d.available(p.fresh) {
				unavailable++
			}
			if leaving(p.fresh) {
				unavailable++ // WL-3.12.8
			}
		case !d.available(p.old):
			free = append(free, removal{p.old, "already down, so it costs nothing"})
		default:
			candidates = append(candidates, removal{p.old, "within maxUnavailable"})
		}
	}
	can := min(len(candidates), max(d.spec.MaxUnavailable-unavailable, 0))
	d.plan.Waiting.Updates = len(candidates) - can
	d.replace(append(free, candidates[:can]...))
}

// replace changes pods that can be changed while they run, and deletes the
// others; their replacements come when they are gone. // WL-3.8
func (d *decision) replace(pods []removal) {
	var gone []removal
	for _, r := range pods {
		switch {
		case !r.pod.InPlace, r.pod.Phase == podset.Finished:
			gone = append(gone, r)
		case len(d.plan.Update) < d.spec.Burst:
			d.acted[r.pod] = true
			d.plan.Update = append(d.plan.Update, podset.Update{Pod: r.pod.Name, To: d.spec.Revision, How: podset.InPlaceNow, Why: r.why})
		default:
			d.plan.Waiting.Updates++
		}
	}
	d.remove(gone)
}

// rollSurging gives a node its new pod before it loses the old one.
func (d *decision) rollSurging(kept []*place) {
	surging := 0
	var free, candidates []*place
	var gone []removal
	for _, p := range kept {
		switch {
		case p.excess:
			surging++
		case leaving(p.old): // manage puts the node right
		case p.fresh == nil && !p.Run: // a new pod could not run there, and its surge would never end
		case p.fresh == nil && !d.available(p.old):
			free = append(free, p)
		case p.fresh == nil:
			candidates = append(candidates, p)
		case !d.available(p.fresh), leaving(p.fresh):
			surging++
		default:
			gone = append(gone, removal{p.old, "its replacement is available"})
		}
	}
	can := min(len(candidates), max(d.spec.MaxSurge-surging, 0))
	d.plan.Waiting.Updates = len(candidates) - can
	d.remove(gone)
	d.create(append(free, candidates[:can]...), "surge")
}
