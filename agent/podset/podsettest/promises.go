package podsettest

import "github.com/flotilla-project/flotilla/agent/podset"

// AtLeastUp asserts that no more pods are down than maxUnavailable allows.
// Pods that are down through no doing of the engine come on top: they failed,
// were lost, or have been asked for and never been up yet. So do pods whose
// failure the agent could not have seen, and pods marked for deletion while
// they are down, which the clauses do not count (WL-1.19 2).
func (w *World) AtLeastUp() {
	w.t.Helper()
	up, excused := w.upNow(), w.gap
	for _, p := range w.pods {
		if !w.up(p) && (w.excused(p) && !p.gone && !p.Terminating || w.seenUp(p)) {
			excused++
		}
	}
	if least := w.Spec.Replicas - w.Spec.MaxUnavailable - excused; up < least {
		w.fail("%d pods are up, at least %d were promised (%d replicas, %d may be unavailable, %d are down by themselves)",
			up, least, w.Spec.Replicas, w.Spec.MaxUnavailable, excused)
	}
}

// excused tells whether a pod is down and the budget does not count it.
func (w *World) excused(p *pod) bool {
	return p.excused || p.writtenOff || p.Marked && p.State != podset.PreparingDelete && !w.up(p)
}

func (w *World) upNow() int {
	n := 0
	for _, p := range w.pods {
		if w.up(p) {
			n++
		}
	}
	return n
}

// seenUp tells whether the agent's cache still shows p up.
func (w *World) seenUp(p *pod) bool {
	seen := &pod{Pod: p.versions[p.seen]}
	return !p.vanished && w.up(seen)
}

// forgive closes the account of lost pods once as many as wanted are up again
// and the agent knows of every loss.
func (w *World) forgive() {
	for _, p := range w.pods {
		if !w.up(p) && w.seenUp(p) {
			return
		}
	}
	w.gap = min(w.gap, max(0, w.Spec.Replicas-w.upNow()))
}

// AtMostLive asserts that the number of pods never grows over replicas and
// surge. Pods that prepare for their deletion come on top where the set
// excludes them from what it has.
func (w *World) AtMostLive() {
	w.t.Helper()
	live, most := 0, w.Spec.Replicas+w.Spec.MaxSurge
	for _, p := range w.active() {
		live++
		if w.Spec.ExcludePreparingDelete && p.State == podset.PreparingDelete {
			most++
		}
	}
	if live > most && live > w.live {
		w.fail("%d pods are there, %d were promised at most", live, most)
	}
	w.live = live
}

// keepsPartition asserts that no plan updates a pod that the partition keeps.
func (w *World) keepsPartition(spec podset.Spec, view []podset.Pod, plan podset.Plan) {
	w.t.Helper()
	if len(plan.Update) == 0 {
		return
	}
	old := 0
	for _, p := range view {
		if !p.Terminating && p.Phase != podset.Finished && p.Revision != spec.UpdateRevision && !p.Marked {
			old++
		}
	}
	if old-len(plan.Update) < spec.Partition {
		w.fail("the plan updates %d of %d old pods, but %d stay", len(plan.Update), old, spec.Partition)
	}
}

// AllOn asserts that every wanted pod is there, up and on its revision: the
// partition's on the old one, all others on this.
func (w *World) AllOn(revision string) {
	w.t.Helper()
	up, on := 0, 0
	for _, p := range w.active() {
		if w.up(p) {
			up++
		}
		if p.Revision == revision && p.running == revision {
			on++
		}
	}
	n := w.Spec.Replicas
	if live := len(w.active()); live != n || up != n || on < n-w.Spec.Partition {
		w.fail("%d pods are there, %d up, %d on %s; want %d, all up and all but %d on %s", live, up, on, revision, n, w.Spec.Partition, revision)
	}
	w.says(podset.Settled)
}

// Kept asserts that the partition's pods, and no more, are still on a revision.
func (w *World) Kept(revision string) {
	w.t.Helper()
	kept := 0
	for _, p := range w.active() {
		if p.Revision == revision && p.running == revision {
			kept++
		}
	}
	if kept != w.Spec.Partition {
		w.fail("%d pods are on %s, want the partition's %d", kept, revision, w.Spec.Partition)
	}
}

// Unchanged asserts that the plans of some steps update nothing.
func (w *World) Unchanged(during func()) {
	w.t.Helper()
	before := w.updates
	during()
	if w.updates != before {
		w.fail("%d pods were updated that should have been left alone", w.updates-before)
	}
}

// StuckOn asserts that a rollout to a broken revision stopped inside its
// budgets and that the report says so.
func (w *World) StuckOn(revision string) {
	w.t.Helper()
	broken := 0
	for _, p := range w.active() {
		if p.Revision == revision && !p.excused { // what replaced a lost pod is of the update revision too
			broken++
		}
	}
	if most := w.Spec.MaxUnavailable + w.Spec.MaxSurge; broken > most {
		w.fail("%d pods run the broken %s, want at most %d", broken, revision, most)
	}
	w.says(podset.Stuck)
}

func (w *World) says(want podset.Progress) {
	w.t.Helper()
	if got := podset.Status(w.Spec, w.view(), w.now); got.Progress != want {
		w.fail("the report says %d (%s), want %d", got.Progress, got.Message, want)
	}
}
