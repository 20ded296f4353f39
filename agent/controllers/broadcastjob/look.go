package broadcastjob

import (
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
)

// view is how a job stands on the nodes of its cluster. // BJ-5
type view struct {
	counts  counts
	active  []pod
	misfits []removal // on nodes that no longer fit
	missing []string  // nodes that want a pod
	doubled []string  // nodes that have several
	open    int       // desired nodes that are not done
	broken  []pod     // failed, or restarted too often
	halted  []pod     // not done, and something keeps them from it
	refuses map[string]int
	nodes   int
}

// look puts pods and nodes together. Of several pods on a node the last by name counts. // BJ-4, BJ-5
func look(job *kruise.BroadcastJob, found seen) (*view, error) {
	where, err := placeOf(&job.Spec.Template)
	if err != nil {
		return nil, err
	}
	v := &view{refuses: map[string]int{}, nodes: len(found.nodes)}
	on := map[string]pod{}
	for _, p := range found.pods {
		v.count(p, job.Spec.FailurePolicy.RestartLimit)
		if _, taken := on[p.node]; taken && p.node != "" {
			v.doubled = append(v.doubled, p.node)
		}
		on[p.node] = p
	}
	for i := range found.nodes {
		p, has := on[found.nodes[i].Name]
		v.place(found.nodes[i].Name, p, has, where.objection(&found.nodes[i]))
	}
	return v, nil
}

// count puts a pod under one number. // BJ-9
func (v *view) count(p pod, limit int32) {
	switch {
	case p.broken(limit):
		v.counts.failed++
		v.broken = append(v.broken, p)
	case p.done():
		v.counts.succeeded++
	case !p.leaving:
		v.counts.active++
		v.active = append(v.active, p)
	}
	if !p.done() && p.waits != "" {
		v.halted = append(v.halted, p)
	}
}

// place says what becomes of a node. // BJ-5
func (v *view) place(node string, p pod, has bool, objection string) {
	switch {
	case objection != "" && !has:
		v.refuses[objection]++
	case objection != "" && !p.leaving:
		v.misfits = append(v.misfits, removal{p, "node " + node + " no longer fits: " + objection})
	case objection != "": // it goes, and no other comes: nothing to wait for
		v.counts.desired++
	case !has:
		v.counts.desired++
		v.open++
		v.missing = append(v.missing, node)
	case !p.done(): // also when it goes before it is done: another comes
		v.counts.desired++
		v.open++
	default:
		v.counts.desired++
	}
}
