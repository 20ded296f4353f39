package daemonset

import kruise "github.com/openkruise/kruise-api/apps/v1alpha1"

// Report writes the status, which has no conditions. // WL-3.10
func (s *steps) Report(ds *kruise.DaemonSet, _ seen, p *plan, acted error) {
	if p.idle || p.wrong != "" {
		return // WL-3.3
	}
	c, status := p.steps.Counts, &ds.Status
	status.DesiredNumberScheduled, status.CurrentNumberScheduled, status.NumberMisscheduled = c.Desired, c.Current, c.Misscheduled
	status.NumberReady, status.NumberAvailable, status.NumberUnavailable = c.Ready, c.Available, c.Unavailable
	status.UpdatedNumberScheduled = c.Updated
	status.CollisionCount = p.history.collisions
	if p.history.create || p.renamed {
		return // the next round knows the hash
	}
	status.DaemonSetHash = p.history.hash
	if p.steps.Ended && acted == nil { // WL-3.12.9
		status.ObservedGeneration = ds.Generation
	}
}
