package workset

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	workv1 "open-cluster-management.io/api/work/v1"
	workv1alpha1 "open-cluster-management.io/api/work/v1alpha1"

	"github.com/flotilla-project/flotilla/hub/brake"
	"github.com/flotilla-project/flotilla/hub/rollout"
)

const (
	// settle is how long a cluster must be without a decision before its work is deleted: when a Placement rewrites several
	// PlacementDecisions, a cluster that only moves from one to another is in neither for a moment. OCM-17.5
	settle = time.Second
	// recheckHeld is when decisions that were incomplete are looked at again, should nobody tell.
	recheckHeld = time.Minute
)

// plan is what to write, and what the report will need to know.
type plan struct {
	create, update, relabel []change
	remove                  []removal
	// braked says why works stay that are no longer selected; confirm is the command that lets them go.
	braked, confirm string
	refs            []refPlan
	invalid         string
	done            bool
	recheck         time.Duration
}

// change is a work to write for a cluster.
type change struct {
	live *workv1.ManifestWork // nil: make one
	want *workv1.ManifestWork
	why  string
}

// removal is a work to delete.
type removal struct {
	work *workv1.ManifestWork
	why  string
	// ordered by who wrote the set, or deleted the cluster, so that nobody need be asked.
	ordered bool
	// placement that no longer selects the cluster, if that is why.
	placement string
}

// refPlan is what became of one placement reference.
type refPlan struct {
	name string
	// found says that the Placement exists; its decisions are in placement.
	found bool
	placement
	// wrong is why the rollout strategy cannot be followed.
	wrong error
	// rollout is the step that is taken now.
	rollout rollout.Result
	// succeeded counts the selected clusters that are through.
	succeeded int
	// works carry the template already and are for selected clusters, or the Placement is gone.
	works []*workv1.ManifestWork
	// held are works that stay because the decisions are incomplete or the Placement is gone.
	held int
	// closed clusters are on their way out and sent nothing.
	closed []string
}

// Recheck is when a soak, a deadline or the patience with a missing decision is over.
func (p plan) Recheck() time.Duration { return p.recheck }

// Done says that nothing is left that the finalizer was for.
func (p plan) Done() bool { return p.done }

func (p *plan) again(after time.Duration) {
	if after > 0 && (p.recheck == 0 || after < p.recheck) {
		p.recheck = after
	}
}

// Decide compares works with decisions.
func (*Steps) Decide(obj *set, seen facts, now time.Time) plan { return decide(obj, seen, now) }

func decide(obj *set, seen facts, now time.Time) plan {
	var p plan
	if !obj.DeletionTimestamp.IsZero() {
		p.takeAway(obj, seen.works)
		return p
	}
	if p.invalid = invalidName(obj); p.invalid != "" {
		return p
	}
	d := decision{plan: &p, set: obj, seen: seen, now: now, wanted: newTemplate(obj)}
	referenced := map[string]bool{}
	for _, ref := range obj.Spec.PlacementRefs {
		if !referenced[ref.Name] {
			referenced[ref.Name] = true
			p.refs = append(p.refs, d.reference(ref))
		}
	}
	for _, w := range seen.works { // OCM-18.2: works of placements that are no longer referred to
		if name := w.Labels[workv1alpha1.ManifestWorkReplicaSetPlacementNameLabelKey]; staying(w) && !referenced[name] {
			p.remove = append(p.remove, removal{work: w, why: fmt.Sprintf("placement %q is no longer referred to", name), ordered: true})
		}
	}
	d.brake()
	return p
}

// brake keeps the works that a Placement no longer selects, if they are many and the set does not confirm it.
func (d *decision) brake() {
	s := brake.Shrink{Kind: "manifestworkreplicaset", Namespace: d.set.Namespace, Name: d.set.Name, Annotations: d.set.Annotations}
	var because []string
	for _, r := range d.remove {
		if unmeant(r) {
			s.Clusters = append(s.Clusters, r.work.Namespace)
			because = append(because, fmt.Sprintf("placement %s no longer selects their clusters", r.placement))
		}
	}
	if len(s.Clusters) == 0 {
		return
	}
	for _, w := range d.seen.works {
		if staying(w) {
			s.Total++
		}
	}
	slices.Sort(because)
	s.Because, d.confirm = strings.Join(slices.Compact(because), " and "), s.Command(d.now)
	if d.seen.braked {
		d.braked = s.Held(d.now)
	}
	if d.braked != "" {
		d.remove = slices.DeleteFunc(d.remove, unmeant)
		d.again(recheckHeld)
		return
	}
	for i := range d.remove {
		d.remove[i].ordered = d.remove[i].ordered || unmeant(d.remove[i]) && s.Confirmed(d.now)
	}
}

// unmeant says that a Placement made the work superfluous, which nobody may have meant.
func unmeant(r removal) bool { return r.placement != "" && !r.ordered }

// takeAway deletes all works. In the background the set goes when they are on their way out, so that a cluster that is
// not heard from does not hold it; in the foreground when they are gone. OCM-18.2
func (p *plan) takeAway(obj *set, works []*workv1.ManifestWork) {
	for _, w := range works {
		if staying(w) {
			p.remove = append(p.remove, removal{work: w, why: "the set is deleted", ordered: true})
		}
	}
	p.done = len(p.remove) == 0 && (len(works) == 0 || obj.Spec.CascadeDeletionPolicy != workv1alpha1.Foreground)
}

func staying(w *workv1.ManifestWork) bool { return w.DeletionTimestamp.IsZero() }

// invalidName says why works of the set cannot carry its label. OCM-18.5
func invalidName(obj *set) string {
	if wrong := validation.IsValidLabelValue(labelOf(obj)); len(wrong) > 0 {
		return fmt.Sprintf("works carry the label %s=%s, which is no label value: %s; give the set a shorter name",
			workv1alpha1.ManifestWorkReplicaSetControllerNameLabelKey, labelOf(obj), strings.Join(wrong, "; "))
	}
	for _, ref := range obj.Spec.PlacementRefs {
		if wrong := validation.IsValidLabelValue(ref.Name); len(wrong) > 0 {
			return fmt.Sprintf("works carry the label %s=%s, which is no label value: %s; give the placement a shorter name",
				workv1alpha1.ManifestWorkReplicaSetPlacementNameLabelKey, ref.Name, strings.Join(wrong, "; "))
		}
	}
	return ""
}

// decision is the making of a plan.
type decision struct {
	*plan
	set    *set
	seen   facts
	now    time.Time
	wanted template
}

// reference rolls out to the clusters of one placement. A placement that does not exist leaves its works as they are.
func (d *decision) reference(ref workv1alpha1.LocalPlacementReference) refPlan {
	r := refPlan{name: ref.Name}
	of := d.worksByCluster(ref.Name)
	r.works = d.upToDate(of)
	if r.placement, r.found = d.seen.placements[ref.Name]; !r.found {
		r.held = len(of)
		return r
	}
	d.depart(&r, of)
	clusters := d.judge(&r, of)
	if r.rollout, r.wrong = rollout.Next(ref.RolloutStrategy, clusters, d.now); r.wrong != nil {
		return r
	}
	d.again(r.rollout.Recheck)
	for _, cluster := range r.rollout.Start {
		d.start(ref.Name, cluster, of[cluster])
	}
	for _, w := range r.works {
		if want, changed := d.wanted.relabelled(w); changed {
			d.relabel = append(d.relabel, change{w, want, "labels changed"})
		}
	}
	return r
}

// worksByCluster are the works of a placement that stay; there is one a cluster, and the oldest is it. OCM-18.2
func (d *decision) worksByCluster(placement string) map[string]*workv1.ManifestWork {
	of := map[string]*workv1.ManifestWork{}
	for _, w := range d.seen.works {
		if !staying(w) || w.Labels[workv1alpha1.ManifestWorkReplicaSetPlacementNameLabelKey] != placement {
			continue
		}
		if first, there := of[w.Namespace]; there {
			d.remove = append(d.remove, removal{work: w, why: "work " + first.Name + " is there for the same cluster"})
			continue
		}
		of[w.Namespace] = w
	}
	return of
}

func (d *decision) upToDate(of map[string]*workv1.ManifestWork) (works []*workv1.ManifestWork) {
	for _, cluster := range slices.Sorted(maps.Keys(of)) {
		if d.wanted.carriedBy(of[cluster]) {
			works = append(works, of[cluster])
		}
	}
	return works
}

// depart deletes works of clusters that are no longer selected, at once and whatever the rollout does, but not before
// it is sure that they are not. OCM-18.5
func (d *decision) depart(r *refPlan, of map[string]*workv1.ManifestWork) {
	for _, cluster := range slices.Sorted(maps.Keys(of)) {
		if _, selected := r.selected[cluster]; selected {
			continue
		}
		w := of[cluster]
		delete(of, cluster)
		r.works = slices.DeleteFunc(r.works, func(x *workv1.ManifestWork) bool { return x == w })
		left := settle
		if at, noted := d.seen.leftAt[w.UID]; noted {
			left = settle - d.now.Sub(at)
		}
		switch {
		case d.seen.detaching[cluster]: // its works are let go of before they are deleted, and not by us
		case r.undecided():
			r.held++
			d.again(recheckHeld)
		case left > 0:
			d.again(left)
		default:
			d.remove = append(d.remove, removal{
				work: w, why: fmt.Sprintf("placement %s no longer selects the cluster", r.name), ordered: d.seen.leaving[cluster], placement: r.name,
			})
		}
	}
}

// judge says how far every selected cluster is. OCM-18.4
func (d *decision) judge(r *refPlan, of map[string]*workv1.ManifestWork) []rollout.Cluster {
	carrying := map[*workv1.ManifestWork]bool{}
	for _, w := range r.works {
		carrying[w] = true
	}
	clusters := make([]rollout.Cluster, 0, len(r.selected))
	for name, group := range r.selected {
		if d.seen.detaching[name] || d.seen.leaving[name] {
			r.closed = append(r.closed, name)
			continue
		}
		c := rollout.Cluster{Name: name, Group: group, Silent: d.seen.silent[name]}
		if w := of[name]; carrying[w] {
			c.Status, c.Since = rollout.Judge(w.Status.Conditions, w.Generation, !d.wanted.reportsProgress, givenAt(w))
		}
		if c.Status == rollout.Succeeded {
			r.succeeded++
		}
		clusters = append(clusters, c)
	}
	slices.Sort(r.closed)
	return clusters
}

// start gives a cluster the template.
func (d *decision) start(placement, cluster string, live *workv1.ManifestWork) {
	if live == nil {
		d.create = append(d.create, change{nil, d.wanted.work(placement, cluster, d.predecessors(placement, cluster)), "cluster " + cluster + " is selected"})
		return
	}
	d.update = append(d.update, change{live, d.wanted.updated(live, d.now), "the template changed"})
}

// predecessors are works on their way out; the name of their successor must be another.
func (d *decision) predecessors(placement, cluster string) (uids []string) {
	for _, w := range d.seen.works {
		if w.Namespace == cluster && !staying(w) && w.Labels[workv1alpha1.ManifestWorkReplicaSetPlacementNameLabelKey] == placement {
			uids = append(uids, string(w.UID))
		}
	}
	slices.Sort(uids)
	return uids
}
