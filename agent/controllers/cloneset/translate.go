package cloneset

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

type inPlaceStrategy = pub.InPlaceUpdateStrategy

// plan is what one round does.
type plan struct {
	now   time.Time
	wrong string           // why the spec cannot be right; then nothing else is set
	set   *kruise.CloneSet // with its defaults

	revisions revision.Resolution
	renamed   bool // set by Act: the update revision's name was taken, and pods wait for the next round
	spec      podset.Spec
	steps     podset.Plan
	summary   podset.Summary
	changes   map[string]inplace.Spec // what brings pods of a revision to the other one
	unfit     string                  // why some cannot be brought there in place

	pods     map[string]*corev1.Pod
	release  []*corev1.Pod
	claims   claims
	unlisted []string // names in podsToDelete that stay there; nil when none goes
	prune    bool
	trim     []appsv1.ControllerRevision
	images   predownload.Plan
	options  Options
}

// Recheck is when time alone changes the plan.
func (p *plan) Recheck() time.Duration { return p.steps.Recheck() }

// Decide translates the CloneSet for the engine. // WL-1.3
func (s *steps) Decide(cs *kruise.CloneSet, found seen, now time.Time) *plan {
	p := &plan{now: now, set: Default(cs), options: s.options, pods: map[string]*corev1.Pod{}}
	if errs := Validate(p.set); len(errs) > 0 {
		p.wrong = errs.ToAggregate().Error()
		return p
	}
	if err := p.translate(found); err != nil {
		p.wrong = err.Error()
		return p
	}
	return p
}

// translate fails for what only a user can put right.
func (p *plan) translate(found seen) error {
	selector, err := metav1.LabelSelectorAsSelector(p.set.Spec.Selector)
	if err != nil {
		return fmt.Errorf("read selector: %w", err)
	}
	if p.revisions, err = p.resolve(found.revisions); err != nil {
		return err
	}
	lens, err := p.lens(found)
	if err != nil {
		return err
	}
	var facts []podset.Pod
	leaving := p.set.DeletionTimestamp != nil
	for _, pod := range found.pods {
		active := pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded
		if active && !leaving && !selector.Matches(labels.Set(pod.Labels)) {
			p.release = append(p.release, pod) // WL-0.6
			continue
		}
		p.pods[pod.Name] = pod
		facts = append(facts, lens.Facts(pod))
	}
	p.claims = sortClaims(p.set, found.claims, facts)
	if err := p.compare(found.revisions, facts); err != nil {
		return err
	}
	if p.spec, err = p.engineSpec(lens, facts); err != nil {
		return err
	}
	p.steps = podset.Decide(p.spec, facts, p.now)
	p.summary = podset.Summarize(p.spec, facts, p.steps, p.now)
	if !leaving {
		p.images = p.preDownload(found.jobs)
		p.tidy(found.revisions, facts)
	}
	return nil
}

func (p *plan) resolve(existing []appsv1.ControllerRevision) (revision.Resolution, error) {
	hash, err := revision.ClaimHash(p.set.Spec.VolumeClaimTemplates)
	if err != nil {
		return revision.Resolution{}, err
	}
	owner := revision.Owner{
		Name: p.set.Name, Namespace: p.set.Namespace, Ref: ownerRef(p.set), Annotations: p.set.Annotations,
		Template: &p.set.Spec.Template, ClaimHash: hash, Current: p.set.Status.CurrentRevision,
	}
	if c := p.set.Status.CollisionCount; c != nil {
		owner.Collisions = *c
	}
	return revision.Resolve(owner, existing)
}

func (p *plan) lens(found seen) (podset.Lens, error) {
	update := p.set.Spec.UpdateStrategy
	priority, err := podset.Prioritize(update.PriorityStrategy)
	if err != nil {
		return podset.Lens{}, fmt.Errorf("read spec.updateStrategy.priorityStrategy: %w", err)
	}
	lens := podset.Lens{
		SlotLabel: kruise.CloneSetInstanceID, Hooks: p.set.Spec.Lifecycle, ToDelete: p.set.Spec.ScaleStrategy.PodsToDelete,
		Priority: priority, Scatter: update.ScatterStrategy, Nodes: found.nodes,
		Revision: func(label string) string { // WL-1.5
			if revision.Same(label, p.revisions.Update.Name) {
				return p.revisions.Update.Name
			}
			if r := revision.Of(label, found.revisions); r != nil {
				return r.Name
			}
			return label
		},
	}
	for _, c := range p.set.Spec.Template.Spec.TopologySpreadConstraints {
		lens.Spread = append(lens.Spread, c.TopologyKey)
	}
	return lens, nil
}

// compare finds out how pods of each revision get to where they belong in place. // WL-4.3
func (p *plan) compare(existing []appsv1.ControllerRevision, facts []podset.Pod) error {
	p.changes = map[string]inplace.Spec{}
	if p.set.Spec.UpdateStrategy.Type == kruise.RecreateCloneSetUpdateStrategyType {
		return nil
	}
	update, current := p.revisions.Update, p.revisions.Current
	for _, name := range revisionsOf(facts) {
		from, to := revision.Of(name, existing), update
		if name == update.Name {
			from, to = update, current
		}
		switch {
		case from == nil:
			p.unfit = fmt.Sprintf("revision %s, which pods were made from, is gone", name)
			continue
		case from.Name == to.Name:
			continue
		case p.needsOtherClaims(from, to):
			p.unfit = "spec.volumeClaimTemplates cannot change in place"
			continue
		}
		change, ok, err := p.change(from, to)
		if err != nil {
			return err
		}
		if ok {
			p.changes[name] = change
		}
	}
	return nil
}

func (p *plan) change(from, to *appsv1.ControllerRevision) (inplace.Spec, bool, error) {
	before, known := templateOf(from)
	after, asked := templateOf(to)
	if !known || !asked {
		p.unfit = fmt.Sprintf("revision %s or %s cannot be read", from.Name, to.Name)
		return inplace.Spec{}, false, nil
	}
	change, err := inplace.Diff(before, after, p.label(to.Name), p.options.InPlace)
	if no, ok := errors.AsType[*inplace.NotPossible](err); ok {
		p.unfit = no.Error()
		return inplace.Spec{}, false, nil
	}
	if err != nil {
		return inplace.Spec{}, false, fmt.Errorf("compare revisions %s and %s: %w", from.Name, to.Name, err)
	}
	change.GraceSeconds = p.set.Spec.UpdateStrategy.InPlaceUpdateStrategy.GracePeriodSeconds
	return change, true, nil
}

func templateOf(r *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, bool) {
	template, err := revision.Template(r.Data.Raw)
	return template, err == nil
}

// needsOtherClaims keeps pods from being updated in place onto claims they do not have. // WL-1.6
func (p *plan) needsOtherClaims(from, to *appsv1.ControllerRevision) bool {
	return p.options.RecreateOnClaimChange && p.set.Spec.UpdateStrategy.Type != kruise.InPlaceOnlyCloneSetUpdateStrategyType &&
		!revision.SameClaims(from, to)
}

func revisionsOf(facts []podset.Pod) []string {
	names := map[string]bool{}
	for _, f := range facts {
		names[f.Revision] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// label is what pods of a revision carry in controller-revision-hash. // WL-1.5
func (p *plan) label(name string) string {
	if p.options.ShortHash {
		return revision.Short(name)
	}
	return name
}

var updateTypes = map[kruise.CloneSetUpdateStrategyType]podset.UpdateType{
	kruise.RecreateCloneSetUpdateStrategyType:          podset.Recreate,
	kruise.InPlaceIfPossibleCloneSetUpdateStrategyType: podset.InPlaceIfPossible,
	kruise.InPlaceOnlyCloneSetUpdateStrategyType:       podset.InPlaceOnly,
}

// engineSpec is the CloneSet in the engine's numbers. // WL-1.8
func (p *plan) engineSpec(lens podset.Lens, facts []podset.Pod) (podset.Spec, error) {
	cs, update := p.set, p.set.Spec.UpdateStrategy
	replicas := int(*cs.Spec.Replicas)
	spec := podset.Spec{
		Replicas:       replicas,
		UpdateRevision: p.revisions.Update.Name, CurrentRevision: p.revisions.Current.Name,
		MinReady: time.Duration(cs.Spec.MinReadySeconds) * time.Second,
		Paused:   update.Paused, Deleting: cs.DeletionTimestamp != nil,
		UpdateType: updateTypes[update.Type], InPlaceFrom: map[string]bool{},
		Lifecycle: podset.HooksOf(cs.Spec.Lifecycle), Prioritized: lens.Priority != nil, Scatter: len(lens.Scatter), Spread: lens.Spread,
		PartitionRollback: p.options.PartitionRollback, PreparingUpdateAsUpdate: p.options.PreparingUpdateAsUpdate,
		ExcludePreparingDelete: p.options.ExcludePreparingDelete || cs.Labels[kruise.CloneSetScalingExcludePreparingDeleteKey] == "true",
		Seed:                   podset.Seed(string(cs.UID), cs.ResourceVersion, facts),
		ReuseIDs:               p.claims.free, TakenIDs: p.claims.taken,
	}
	for name := range p.changes {
		spec.InPlaceFrom[name] = true
	}
	var err error
	if spec.Partition, err = podset.PartitionCount(update.Partition, cs.Spec.Replicas); err != nil {
		return spec, err
	}
	if spec.MaxUnavailable, spec.MaxSurge, err = podset.Budgets(replicas, update.MaxUnavailable, update.MaxSurge, update.Paused); err != nil {
		return spec, err
	}
	spec.ScaleMaxUnavailable, err = podset.ScaleBudget(replicas, cs.Spec.ScaleStrategy.MaxUnavailable)
	return spec, err
}

// tidy finds what is left over: names of pods to delete that are gone, and revisions that nobody needs.
func (p *plan) tidy(existing []appsv1.ControllerRevision, facts []podset.Pod) {
	active := map[string]bool{}
	inUse := []string{p.revisions.Update.Name, p.revisions.Current.Name, p.set.Status.CurrentRevision}
	for _, f := range facts {
		active[f.Name] = !f.Terminating && f.Phase != podset.Finished
		inUse = append(inUse, f.Revision)
	}
	names := p.set.Spec.ScaleStrategy.PodsToDelete // WL-1.3 step 13
	p.unlisted = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !active[name] })
	p.prune = len(p.unlisted) < len(names)
	p.trim = revision.Surplus(existing, int(*p.set.Spec.RevisionHistoryLimit), inUse...) // WL-1.3 step 14
}
