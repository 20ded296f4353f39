package federateddeployment

import (
	"cmp"
	"encoding/json"
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
	// trim lists revisions over the limit.
	trim []appsv1.ControllerRevision
	// problems that only a user can solve.
	problems []problem
	// gone is set once a deleted object has nothing left anywhere.
	gone bool
}

// Recheck is never: whatever changes the answer is watched.
func (p Plan) Recheck() time.Duration { return 0 }

// Done says that nothing is left of a deleted object.
func (p Plan) Done() bool { return p.gone }

func (p Plan) empty() bool {
	return len(p.works)+len(p.remove)+len(p.trim) == 0 && p.write == revision.Keep
}

// share is what one subset gets.
type share struct {
	index               int
	name                string
	replicas, partition int32
	// cluster is empty while there is none; then problem says why.
	cluster string
	// content of the workload as it is wanted.
	content string
	// from is a cluster that the subset is leaving for the other.
	from string
}

// change is a work to make, or to change from what it is.
type change struct {
	live, want *workv1.ManifestWork
	why        string
}

// removal is a work to delete.
type removal struct {
	work work
	why  string
}

// problem is something that only a user can solve.
type problem struct {
	reason, subset, message string
}

// Decide turns facts into a plan.
func (s *steps) Decide(obj *v1alpha1.FederatedDeployment, seen facts, _ time.Time) Plan {
	switch {
	case !obj.DeletionTimestamp.IsZero():
		return decideRemoval(seen)
	case seen.malformed != nil:
		return Plan{problems: []problem{{reason: v1alpha1.ReasonInvalidSpec, message: seen.malformed.Error()}}}
	}
	if errs := Validate(obj); len(errs) > 0 {
		return Plan{problems: invalid(errs)}
	}
	replicas, err := allocate.Replicas(request(obj, seen.works))
	if err != nil {
		return Plan{problems: []problem{{reason: v1alpha1.ReasonAllocationFailed, message: err.Error()}}}
	}
	plan := Plan{}
	if err := plan.revise(obj, seen); err != nil {
		return Plan{problems: []problem{{reason: v1alpha1.ReasonInvalidSpec, message: err.Error()}}}
	}
	of := bySubset(seen.works)
	for i, subset := range obj.Spec.Topology.Subsets {
		plan.spread(obj, seen, of[subset.Name], share{index: i, name: subset.Name, replicas: replicas[i], partition: partition(obj, subset.Name, replicas[i])})
	}
	if len(plan.problems) == 0 { // while something in the spec is at fault, nothing that runs is removed
		plan.clear(of)
	}
	return plan
}

// decideRemoval asks for every work to go, and waits for the clusters to let them go.
func decideRemoval(seen facts) Plan {
	plan := Plan{gone: len(seen.works) == 0}
	for _, w := range seen.works {
		if !w.leaving() {
			plan.remove = append(plan.remove, removal{work: w, why: "the FederatedDeployment is being deleted"})
		}
	}
	return plan
}

// request asks the allocator, with what the subsets have now (WL-5.5).
func request(obj *v1alpha1.FederatedDeployment, works []work) allocate.Request {
	current := map[string]int32{}
	exists := map[string]bool{}
	for _, w := range works {
		if !w.leaving() {
			current[w.subset()], exists[w.subset()] = max(current[w.subset()], w.replicas), true
		}
	}
	r := allocate.Request{Replicas: obj.Spec.Replicas}
	for _, s := range obj.Spec.Topology.Subsets {
		r.Subsets = append(r.Subsets, allocate.Subset{
			Name: s.Name, Replicas: s.Replicas, Min: s.MinReplicas, Max: s.MaxReplicas, Exists: exists[s.Name], Current: current[s.Name],
		})
	}
	return r
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
		Ref: *metav1.NewControllerRef(obj, gvk),
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
func (p *Plan) spread(obj *v1alpha1.FederatedDeployment, seen facts, works []work, s share) {
	subset := obj.Spec.Topology.Subsets[s.index]
	name, trouble := place(s.index, subset, works, seen.clusters)
	if trouble == nil {
		s.cluster = name
		trouble = inTheWay(obj, subset, name, seen.strangers[subset.Name], works)
	}
	var want *workv1.ManifestWork
	if trouble == nil {
		var err error
		if want, s.content, err = manifestWork(obj, seen.template, p.update.Name, s); err != nil {
			trouble = &problem{reason: v1alpha1.ReasonInvalidSpec, subset: s.name, message: fmt.Sprintf(
				"spec.topology.subsets[%d].patch: subset %q: %v; correct the patch or the template", s.index, s.name, err)}
		}
	}
	if trouble != nil {
		p.problems = append(p.problems, *trouble)
		p.shares = append(p.shares, s)
		return
	}
	var here *work
	for i, w := range works {
		if w.cluster() == name && w.live.Name == want.Name {
			here = &works[i]
			continue
		}
		s.from = w.cluster()
	}
	p.shares = append(p.shares, s)
	switch {
	case here == nil:
		p.works = append(p.works, change{want: want, why: fmt.Sprintf("subset %s gets %d replicas on %s", s.name, s.replicas, name)})
	case here.leaving(): // its agent lets go of it first, then it is made again
	case !agrees(here.live, want):
		p.works = append(p.works, change{live: here.live, want: want, why: difference(*here, want, s)})
	}
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
				"ManifestWork %s/%s is there and was not made for this FederatedDeployment, so it is left alone and subset %q waits; delete it, or rename the subset",
				cluster, name, subset.Name)}
		}
		if older(other, works, cluster) {
			return &problem{reason: v1alpha1.ReasonWorkRefused, subset: subset.Name, message: fmt.Sprintf(
				"spec.topology.subsets: workload %s of subset %q is already made on %s for FederatedDeployment %s, subset %s; rename the subset",
				workloadName(obj.Name, subset.Name), subset.Name, cluster, other.Labels[v1alpha1.LabelFederatedDeployment], other.Labels[v1alpha1.LabelSubset])}
		}
	}
	return nil
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
		return fmt.Sprintf("subset %s on %s goes from revision %s to %s", s.name, s.cluster, from, to)
	case w.replicas != s.replicas:
		return fmt.Sprintf("subset %s on %s goes from %d to %d replicas", s.name, s.cluster, w.replicas, s.replicas)
	}
	return fmt.Sprintf("subset %s on %s is not as asked for", s.name, s.cluster)
}

// clear removes the works of subsets that are no longer in the spec, and those left behind in another cluster once the
// new one has been applied.
func (p *Plan) clear(works map[string][]work) {
	wanted := make(map[string]share, len(p.shares))
	for _, s := range p.shares {
		wanted[s.name] = s
	}
	for _, subset := range slices.Sorted(maps.Keys(works)) {
		s, asked := wanted[subset]
		for _, w := range works[subset] {
			switch {
			case w.leaving():
			case !asked:
				p.remove = append(p.remove, removal{work: w, why: "the subset is no longer in the spec"})
			case w.cluster() != s.cluster && arrived(works[subset], s):
				p.remove = append(p.remove, removal{work: w, why: "the subset has moved to " + s.cluster})
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
