package federateddeployment

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/allocate"
	"github.com/flotilla-project/flotilla/hub/failover"
	"github.com/flotilla-project/flotilla/pkg/revision"
)

// Plan is what one round wants written, and what it found out on the way.
type Plan struct {
	// shares of the subsets, in the order of the spec. None while the spec is at fault.
	shares []share
	// update is the revision of the present template; write says what must be done for it to exist.
	update *appsv1.ControllerRevision
	write  revision.Write
	// works to make or change, each for the share that it carries.
	works []change
	// remove lists works that nobody wants any more.
	remove []removal
	// leaves says of works that a Placement no longer asks for why they can go, stays why they cannot yet.
	leaves, stays map[*workv1.ManifestWork]string
	// confirmed says that a user lets those go, however many; confirm is the command for that.
	confirmed bool
	confirm   string
	// trim lists revisions over the limit.
	trim []appsv1.ControllerRevision
	// problems that only a user can solve.
	problems []problem
	// schedulable are the conditions of subsets, and fits what follows from them.
	schedulable map[string]metav1.Condition
	fits        map[string]fit
	// moved says what became of replicas of silent clusters, by subset.
	moved map[string]failover.Target
	// unfenced says which subsets' agents do not step down although they shall, and why.
	unfenced map[string]string
	// rollout is how far a progressive update is; nil: it is not progressive, or the spec is at fault.
	rollout *v1alpha1.RolloutStatus
	// short says how many replicas found no place at all.
	short string
	// recheck is when time alone changes the answer; 0 is never.
	recheck time.Duration
	// gone is set once a deleted object has nothing left anywhere.
	gone bool
}

// Recheck is when time alone changes the answer. Everything else that does is watched.
func (p Plan) Recheck() time.Duration { return p.recheck }

func (p *Plan) recheckAt(then, now time.Time) {
	if wait := max(then.Sub(now), time.Millisecond); p.recheck == 0 || wait < p.recheck {
		p.recheck = wait
	}
}

// Done says that nothing is left of a deleted object.
func (p Plan) Done() bool { return p.gone }

func (p Plan) empty() bool {
	return len(p.works)+len(p.remove)+len(p.trim) == 0 && p.write == revision.Keep
}

// blocked says that something is at fault and nothing that runs may be removed.
func (p Plan) blocked() bool {
	return slices.ContainsFunc(p.problems, func(x problem) bool { return !x.soft })
}

// share is what one subset gets.
type share struct {
	subset v1alpha1.Subset
	// at is where the spec speaks of it.
	at string
	// replicas that it shall have now, and in the end; held says why that is not the same.
	replicas, goal int32
	held           string
	partition      int32
	// paused shares update no more pods.
	paused bool
	// revision that it shall run, and the template that this is.
	revision string
	template map[string]any
	// stable is what a progressive update goes back to, if it is one.
	stable         string
	stableTemplate map[string]any
	// kept: a Placement dropped the cluster, which is silent or was until now.
	kept bool
	// cluster is empty while there is none; then a problem says why.
	cluster string
	// content of the workload as it is wanted.
	content string
	// from is a cluster that the subset is leaving for the other.
	from string
}

func (s share) name() string { return s.subset.Name }

// change is a work to make, or to change from what it is.
type change struct {
	live, want *workv1.ManifestWork
	why        string
}

// removal is a work to delete.
type removal struct {
	work work
	why  string
	// ordered by who wrote the object, or deleted the cluster, so that nobody need be asked; else confirm is the command
	// that makes it so.
	ordered bool
	confirm string
}

// problem is something that only a user can solve. While there is one, nothing is removed, unless it is soft.
type problem struct {
	reason, subset, message string
	soft                    bool
}

// Decide turns facts into a plan.
func (s *steps) Decide(obj *v1alpha1.FederatedDeployment, seen facts, now time.Time) Plan {
	switch {
	case !obj.DeletionTimestamp.IsZero():
		return decideRemoval(obj, seen)
	case seen.malformed != nil:
		return Plan{problems: []problem{{reason: v1alpha1.ReasonInvalidSpec, message: seen.malformed.Error()}}}
	}
	if errs := append(Validate(obj), validateChange(obj, seen)...); len(errs) > 0 {
		return Plan{problems: invalid(errs)}
	}
	plan, of := Plan{}, bySubset(seen.works)
	if err := plan.revise(obj, seen); err != nil {
		return Plan{problems: []problem{{reason: v1alpha1.ReasonInvalidSpec, message: err.Error()}}}
	}
	plan.topology(obj, seen)
	plan.keepSilent(obj, seen, now)
	plan.adapt(obj, seen, of, now)
	if err := plan.allocate(obj, seen, of); err != nil {
		return Plan{problems: []problem{{reason: v1alpha1.ReasonAllocationFailed, message: err.Error()}}}
	}
	plan.failOver(obj, seen, of, now)
	plan.guard(obj, seen, of)
	plan.brake(obj, seen, s.braked, now)
	plan.release(obj, seen, of, now)
	for i := range plan.shares {
		plan.spread(obj, seen, of[plan.shares[i].name()], &plan.shares[i])
	}
	plan.stranded(obj)
	if !plan.blocked() {
		plan.clear(seen, of)
	}
	return plan
}

// decideRemoval asks for every work to go, and waits for the clusters to let them go.
func decideRemoval(obj *v1alpha1.FederatedDeployment, seen facts) Plan {
	plan := Plan{gone: len(seen.works) == 0}
	for _, w := range seen.works {
		if !w.leaving() {
			plan.remove = append(plan.remove, removal{work: w, why: "the " + originOf(obj).gvk.Kind + " is being deleted", ordered: true})
		}
	}
	return plan
}

// allocate shares the replicas out (WL-5.5).
func (p *Plan) allocate(obj *v1alpha1.FederatedDeployment, seen facts, of map[string][]work) error {
	if seen.placement != nil {
		p.weighAround(obj, seen, of)
		return nil
	}
	r, lines := allocate.Request{Replicas: obj.Spec.Replicas, Adaptive: adaptive(obj)}, standIns(obj)
	for _, share := range p.shares {
		s, works := share.subset, of[share.name()]
		subset := allocate.Subset{
			Name: s.Name, Replicas: s.Replicas, Min: s.MinReplicas, Max: s.MaxReplicas,
			Exists:  slices.ContainsFunc(works, func(w work) bool { return !w.leaving() }),
			Current: max(0, wantedOf(works)-lines[s.Name].StandInReplicas), Running: ownOf(lines[s.Name], runningOf(works), wantedOf(works)),
		}
		if f, troubled := p.fits[s.Name]; troubled {
			subset.Unschedulable = f.bad
			if f.bad {
				subset.Running = min(f.running, max(0, wantedOf(works)-lines[s.Name].StandInReplicas))
			}
		}
		r.Subsets = append(r.Subsets, subset)
	}
	replicas, err := allocate.Replicas(r)
	for i, n := range replicas {
		p.shares[i].replicas = n
	}
	return err
}

// wantedOf is how many replicas a subset was asked for last; during a move two works ask for the same.
func wantedOf(works []work) (n int32) {
	for _, w := range works {
		if !w.leaving() {
			n = max(n, w.replicas)
		}
	}
	return n
}

// partition is never more than the subset has (WL-5.8).
func partition(obj *v1alpha1.FederatedDeployment, subset string, replicas int32) int32 {
	manual := obj.Spec.UpdateStrategy.ManualUpdate
	if manual == nil || obj.Spec.Template.DeploymentTemplate != nil {
		return 0
	}
	return min(manual.Partitions[subset], replicas)
}

// revise finds the revision of the template, and those that are no longer needed (WL-5.6).
func (p *Plan) revise(obj *v1alpha1.FederatedDeployment, seen facts) error {
	data, err := revisionData(seen.template)
	if err != nil {
		return err
	}
	owner := revision.Owner{
		Name: obj.Name, Namespace: obj.Namespace, Labels: revisionLabels(obj, seen.template),
		Ref: *metav1.NewControllerRef(obj, originOf(obj).gvk),
	}
	if obj.Status.CollisionCount != nil {
		owner.Collisions = *obj.Status.CollisionCount
	}
	p.update, p.write = revision.Resolve(owner, data, seen.revisions, sameData)
	limit := 10
	if obj.Spec.RevisionHistoryLimit != nil {
		limit = int(*obj.Spec.RevisionHistoryLimit)
	}
	needed := map[string]bool{p.update.Name: true, obj.Status.CurrentRevision: true, obj.Status.UpdateRevision: true}
	if r := obj.Status.Rollout; r != nil {
		needed[r.Revision], needed[r.StableRevision] = true, true
	}
	for _, w := range seen.works {
		needed[w.live.Annotations[v1alpha1.AnnotationRevision]] = true
	}
	p.trim = revision.Surplus(seen.revisions, limit, func(name string) bool { return needed[name] })
	return nil
}

// revisionData holds the template as it was written; keys come out in lexical order (WL-0.5).
func revisionData(template map[string]any) ([]byte, error) {
	whole := maps.Clone(template)
	if whole == nil {
		whole = map[string]any{}
	}
	whole["$patch"] = "replace"
	data, err := json.Marshal(map[string]any{"spec": map[string]any{"template": whole}})
	if err != nil {
		return nil, fmt.Errorf("spec.template: %w", err)
	}
	return data, nil
}

// revisionLabels are those of the workload and the selector, so that revisions can be listed by either (WL-5.6, with
// the improvement it allows for CloneSets).
func revisionLabels(obj *v1alpha1.FederatedDeployment, template map[string]any) map[string]string {
	_, tmpl, _ := kindOf(template)
	labels := stringsOf(tmpl, "metadata", "labels")
	maps.Copy(labels, obj.Spec.Selector.MatchLabels)
	return labels
}

func sameData(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// spread brings a share to its cluster: a work is made, changed or left alone. What cannot be brought anywhere keeps
// running as and where it runs. The works are the subset's.
func (p *Plan) spread(obj *v1alpha1.FederatedDeployment, seen facts, works []work, s *share) {
	name, trouble := place(spotOf(obj, *s), s.subset, works, seen.clusters)
	if trouble == nil {
		s.cluster = name
		trouble = inTheWay(obj, s.subset, name, seen.strangers[s.name()], works)
	}
	here := s.hereOf(obj, works)
	if here == nil {
		s.startStable()
	}
	var want *workv1.ManifestWork
	if trouble == nil {
		want, trouble = s.render(obj, seen)
	}
	if trouble != nil {
		p.problems = append(p.problems, *trouble)
		return
	}
	switch {
	case here == nil:
		p.works = append(p.works, change{want: want, why: fmt.Sprintf("subset %s gets %d replicas on %s", s.name(), s.replicas, name)})
	case here.leaving(): // its agent lets go of it first, then it is made again
	case !agrees(here.live, want):
		p.works = append(p.works, change{live: here.live, want: want, why: difference(*here, want, *s)})
	}
}

// hereOf finds the work of the share in its cluster, and the cluster that it leaves.
func (s *share) hereOf(obj *v1alpha1.FederatedDeployment, works []work) (here *work) {
	for i, w := range works {
		if w.cluster() == s.cluster && w.live.Name == workName(obj.Namespace, obj.Name, s.name()) {
			here = &works[i]
		} else if s.cluster != "" {
			s.from = w.cluster()
		}
	}
	return here
}

// startStable is for a workload that is made anew: one with a partition would have nothing to keep, and be on the update as
// a whole.
func (s *share) startStable() {
	if s.partition > 0 && s.stableTemplate != nil {
		s.revision, s.template, s.partition, s.paused = s.stable, s.stableTemplate, 0, false
	}
}

// render makes the work of a share, or says what is wrong with the template, the patch, or what they refer to.
func (s *share) render(obj *v1alpha1.FederatedDeployment, seen facts) (*workv1.ManifestWork, *problem) {
	if s.template == nil {
		return nil, &problem{reason: v1alpha1.ReasonInvalidSpec, subset: s.name(), soft: true, message: fmt.Sprintf(
			"subset %q runs revision %s, of which there is no ControllerRevision any more, so it is left as it is; change the template", s.name(), s.revision)}
	}
	want, content, err := manifestWork(obj, *s, seen.materials)
	if missing, ok := errors.AsType[missingError](err); ok {
		return nil, &problem{reason: v1alpha1.ReasonReferenceMissing, subset: s.name(), message: fmt.Sprintf("subset %q: %v", s.name(), missing)}
	}
	if err != nil {
		return nil, &problem{reason: v1alpha1.ReasonInvalidSpec, subset: s.name(), message: fmt.Sprintf(
			"%s.patch: subset %q: %v; correct the patch or the template", s.at, s.name(), err)}
	}
	s.content = content
	return want, nil
}

// inTheWay says who has a name that the subset needs.
func inTheWay(obj *v1alpha1.FederatedDeployment, subset v1alpha1.Subset, cluster string, strangers []*workv1.ManifestWork, works []work) *problem {
	name := workName(obj.Namespace, obj.Name, subset.Name)
	for _, other := range strangers {
		if other.Namespace != cluster {
			continue
		}
		if other.Name == name {
			return &problem{reason: v1alpha1.ReasonWorkRefused, subset: subset.Name, message: fmt.Sprintf(
				"ManifestWork %s/%s is there%s and was not made for this %s, so it is left alone and subset %q waits; delete it, or rename the subset",
				cluster, name, whose(other), originOf(obj).gvk.Kind, subset.Name)}
		}
		if older(other, works, cluster) {
			return &problem{reason: v1alpha1.ReasonWorkRefused, subset: subset.Name, message: fmt.Sprintf(
				"spec.topology.subsets: workload %s of subset %q is already made on %s%s, subset %s; rename the subset",
				workloadName(obj.Name, subset.Name), subset.Name, cluster, whose(other), other.Labels[v1alpha1.LabelSubset])}
		}
	}
	return nil
}

// whose names the object that a work was made for.
func whose(w *workv1.ManifestWork) string {
	m, made := makerOf(w)
	if !made {
		return ""
	}
	return " for " + m.gvk.Kind + " " + m.Name
}

// older lets whoever was first keep a workload that two would make.
func older(other *workv1.ManifestWork, works []work, cluster string) bool {
	for _, w := range works {
		if w.cluster() == cluster {
			return cmp.Or(other.CreationTimestamp.Compare(w.live.CreationTimestamp.Time), cmp.Compare(other.UID, w.live.UID)) < 0
		}
	}
	return true
}

func difference(w work, want *workv1.ManifestWork, s share) string {
	from, to := w.live.Annotations[v1alpha1.AnnotationRevision], want.Annotations[v1alpha1.AnnotationRevision]
	switch {
	case from != to:
		return fmt.Sprintf("subset %s on %s goes from revision %s to %s", s.name(), s.cluster, from, to)
	case w.replicas != s.replicas:
		return fmt.Sprintf("subset %s on %s goes from %d to %d replicas", s.name(), s.cluster, w.replicas, s.replicas)
	}
	return fmt.Sprintf("subset %s on %s is not as asked for", s.name(), s.cluster)
}

// clear removes the works of subsets that are no longer wanted, and those left behind in another cluster once the new one
// has been applied. What a user takes out of the spec goes at once (WL-5.9); what a Placement no longer decides for goes
// when the others make up for it.
func (p *Plan) clear(seen facts, works map[string][]work) {
	wanted := make(map[string]share, len(p.shares))
	for _, s := range p.shares {
		wanted[s.name()] = s
	}
	for _, subset := range slices.Sorted(maps.Keys(works)) {
		s, asked := wanted[subset]
		for _, w := range works[subset] {
			switch {
			case w.leaving():
			case seen.clusters[w.cluster()].detaching: // its works are let go of before they are deleted, and not by us
			case !asked && seen.placement != nil:
				if why, may := p.leaves[w.live]; may {
					p.drop(w, why, seen.clusters[w.cluster()])
				}
			case !asked:
				p.remove = append(p.remove, removal{work: w, why: "the subset is no longer in the spec", ordered: true})
			case w.cluster() != s.cluster && arrived(works[subset], s):
				p.remove = append(p.remove, removal{work: w, why: "the subset has moved to " + s.cluster, ordered: true})
			}
		}
	}
}

// arrived says that a subset's work has been applied where it is wanted.
func arrived(works []work, s share) bool {
	return slices.ContainsFunc(works, func(w work) bool {
		return w.cluster() == s.cluster && !w.leaving() && w.applied() && w.carried.content == s.content
	})
}
