package statefulset

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/ordinal"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

// plan is what one round does.
type plan struct {
	now     time.Time
	options Options
	wrong   string              // why the spec cannot be right; then nothing else is set
	set     *kruise.StatefulSet // with its defaults

	revisions revision.Resolution
	renamed   bool // set by Act: the update revision's name was taken, and pods wait for the next round
	spec      ordinal.Spec
	steps     ordinal.Plan
	summary   ordinal.Summary
	changes   map[string]inplace.Spec // what brings pods of a revision to the update revision
	unfit     string                  // why some cannot be brought there in place

	pods    map[string]*corev1.Pod
	inside  map[string]bool // pods whose ordinal wants one
	claims  claims
	fit     []kruise.VolumeClaimStatus
	release []*corev1.Pod
	adopt   []*corev1.Pod
	adoptR  []appsv1.ControllerRevision
	trim    []appsv1.ControllerRevision
	images  predownload.Plan
}

// Recheck is when time alone changes the plan.
func (p *plan) Recheck() time.Duration { return p.steps.Recheck() }

// Decide translates the StatefulSet for the engine. // WL-2.6
func (s *steps) Decide(set *kruise.StatefulSet, found seen, now time.Time) *plan {
	p := &plan{now: now, set: Default(set, s.options), options: s.options, pods: map[string]*corev1.Pod{}, inside: map[string]bool{}}
	if errs := Validate(p.set); len(errs) > 0 {
		p.wrong = errs.ToAggregate().Error()
		return p
	}
	if err := p.translate(found); err != nil {
		p.wrong = err.Error()
	}
	return p
}

// translate fails for what only a user can put right.
func (p *plan) translate(found seen) error {
	selector, err := metav1.LabelSelectorAsSelector(p.set.Spec.Selector)
	if err != nil {
		return fmt.Errorf("read selector: %w", err)
	}
	p.claims = claims{set: p.set, all: found.claims, keep: p.options.AutoDeletePVC}
	mine := p.claim(found, selector)
	existing := p.claimRevisions(found, selector)
	if p.revisions, err = p.resolve(existing); err != nil {
		return err
	}
	if p.spec, err = p.engineSpec(); err != nil {
		return err
	}
	lens, err := p.lens()
	if err != nil {
		return err
	}
	pods := p.facts(mine, lens)
	if err := p.compare(existing, pods); err != nil {
		return err
	}
	p.steps = ordinal.Decide(p.spec, pods, p.now)
	p.summary = ordinal.Summarize(p.spec, pods, p.steps, p.now)
	p.fit = p.claims.status(slotsOf(pods))
	if p.set.DeletionTimestamp == nil {
		p.images = p.preDownload(found.jobs)
		p.trim = p.surplus(existing, pods)
	}
	return nil
}

// claim finds the pods of the set: those that it controls and that match, and orphans that match, which are adopted. A set
// that is leaving takes and lets go of nobody. // WL-0.6, WL-2.4
func (p *plan) claim(found seen, selector labels.Selector) []*corev1.Pod {
	var mine []*corev1.Pod
	leaving := p.set.DeletionTimestamp != nil
	for _, pod := range found.pods {
		parent, _, ok := ordinal.Parse(pod.Name)
		switch {
		case ok && parent == p.set.Name && selector.Matches(labels.Set(pod.Labels)):
			mine = append(mine, pod)
		case !leaving && pod.DeletionTimestamp == nil:
			p.release = append(p.release, pod)
		}
	}
	for _, pod := range found.orphans {
		if !leaving && pod.DeletionTimestamp == nil && selector.Matches(labels.Set(pod.Labels)) {
			p.adopt, mine = append(p.adopt, pod), append(mine, pod)
		}
	}
	return mine
}

func (p *plan) claimRevisions(found seen, selector labels.Selector) []appsv1.ControllerRevision {
	all := slices.Clone(found.revisions)
	for _, r := range found.loose {
		if p.set.DeletionTimestamp == nil && r.DeletionTimestamp == nil && selector.Matches(labels.Set(r.Labels)) {
			p.adoptR, all = append(p.adoptR, r), append(all, r)
		}
	}
	return all
}

func (p *plan) resolve(existing []appsv1.ControllerRevision) (revision.Resolution, error) {
	owner := revision.Owner{
		Name: p.set.Name, Namespace: p.set.Namespace, Ref: ownerRef(p.set), Annotations: p.set.Annotations,
		Template: &p.set.Spec.Template, NoClaimHash: true, Current: p.set.Status.CurrentRevision,
	}
	if c := p.set.Status.CollisionCount; c != nil {
		owner.Collisions = *c
	}
	return revision.Resolve(owner, existing)
}

func (p *plan) lens() (podset.Lens, error) {
	lens := podset.Lens{Hooks: p.set.Spec.Lifecycle} // labels hold full revision names // WL-2.4
	rolling := p.set.Spec.UpdateStrategy.RollingUpdate
	if rolling == nil || rolling.UnorderedUpdate == nil {
		return lens, nil
	}
	var err error
	if lens.Priority, err = podset.Prioritize(rolling.UnorderedUpdate.PriorityStrategy); err != nil {
		return lens, fmt.Errorf("read spec.updateStrategy.rollingUpdate.unorderedUpdate.priorityStrategy: %w", err)
	}
	p.spec.Prioritized = lens.Priority != nil
	return lens, nil
}

// facts is what the engine needs to know of the pods.
func (p *plan) facts(mine []*corev1.Pod, lens podset.Lens) []ordinal.Pod {
	wanted := map[int]bool{}
	for _, n := range ordinal.Window(p.spec.Start, p.spec.Replicas, p.spec.Reserved) {
		wanted[n] = true
	}
	var pods []ordinal.Pod
	for _, pod := range mine {
		_, n, _ := ordinal.Parse(pod.Name)
		slot := strconv.Itoa(n)
		f := ordinal.Pod{Pod: lens.Facts(pod), Ordinal: n, LacksClaims: p.claims.lacks(slot), Claims: p.claims.fits(slot)}
		f.Slot = slot
		f.Wrong = p.wrongWith(pod, slot, wanted[n])
		p.pods[pod.Name], p.inside[pod.Name] = pod, wanted[n]
		pods = append(pods, f)
	}
	for n := range wanted {
		if claim := p.claims.stale(n); claim != "" && p.pods[p.set.Name+"-"+strconv.Itoa(n)] == nil {
			p.spec.Stale[n] = claim
		}
	}
	return pods
}

// wrongWith is what has to be repaired. Volumes of a pod never change, so a pod that lacks one is left to its update. // WL-2.4
func (p *plan) wrongWith(pod *corev1.Pod, slot string, inside bool) string {
	switch wrong := p.claims.misowned(slot, podRef(pod), inside); {
	case pod.DeletionTimestamp != nil:
		return ""
	case pod.Labels[podNameLabel] != pod.Name:
		return fmt.Sprintf("label %s is %q", podNameLabel, pod.Labels[podNameLabel])
	case len(wrong) > 0:
		return fmt.Sprintf("claim %s has not the owners that the retention policy wants", wrong[0].Name)
	}
	return ""
}

func slotsOf(pods []ordinal.Pod) []string {
	var all []string
	for i := range pods {
		all = append(all, pods[i].Slot)
	}
	return all
}

// compare finds out how pods of each revision get to the update revision in place. // WL-2.12, WL-4.3
func (p *plan) compare(existing []appsv1.ControllerRevision, pods []ordinal.Pod) error {
	p.changes = map[string]inplace.Spec{}
	if p.spec.UpdateType == podset.Recreate {
		return nil
	}
	names := map[string]bool{}
	for i := range pods {
		names[pods[i].Revision] = true
	}
	delete(names, p.revisions.Update.Name)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		i := slices.IndexFunc(existing, func(r appsv1.ControllerRevision) bool { return r.Name == name })
		if i < 0 {
			p.unfit = fmt.Sprintf("revision %s, which pods were made from, is gone", name)
			continue
		}
		if err := p.change(&existing[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) change(from *appsv1.ControllerRevision) error {
	before, known := templateOf(from)
	if !known {
		p.unfit = fmt.Sprintf("revision %s cannot be read", from.Name)
		return nil
	}
	after, err := revision.Template(p.revisions.Update.Data.Raw)
	if err != nil {
		return fmt.Errorf("read revision %s: %w", p.revisions.Update.Name, err)
	}
	change, err := inplace.Diff(before, after, p.revisions.Update.Name, p.options.InPlace)
	if no, ok := errors.AsType[*inplace.NotPossible](err); ok {
		p.unfit = no.Error()
		return nil
	}
	if err != nil {
		return fmt.Errorf("compare revisions %s and %s: %w", from.Name, p.revisions.Update.Name, err)
	}
	if s := p.set.Spec.UpdateStrategy.RollingUpdate.InPlaceUpdateStrategy; s != nil {
		change.GraceSeconds = s.GracePeriodSeconds
	}
	p.changes[from.Name] = change
	p.spec.InPlaceFrom[from.Name] = true
	return nil
}

func templateOf(r *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, bool) {
	template, err := revision.Template(r.Data.Raw)
	return template, err == nil
}

var updateTypes = map[kruise.PodUpdateStrategyType]podset.UpdateType{
	kruise.RecreatePodUpdateStrategyType:          podset.Recreate,
	kruise.InPlaceIfPossiblePodUpdateStrategyType: podset.InPlaceIfPossible,
	kruise.InPlaceOnlyPodUpdateStrategyType:       podset.InPlaceOnly,
}

// engineSpec is the StatefulSet in the engine's numbers. // WL-2.4, WL-2.10
func (p *plan) engineSpec() (ordinal.Spec, error) {
	set := p.set
	spec := ordinal.Spec{
		Replicas: int(*set.Spec.Replicas), Start: start(set, p.options),
		UpdateRevision: p.revisions.Update.Name, CurrentRevision: p.revisions.Current.Name,
		MaxUnavailable: 1, ScaleMaxUnavailable: podset.Unlimited,
		Ordered: set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement, OnDelete: true,
		Deleting: set.DeletionTimestamp != nil, InPlaceFrom: map[string]bool{}, Lifecycle: podset.HooksOf(set.Spec.Lifecycle),
		Stale: map[int]string{}, PreparingUpdateAsUpdate: p.options.PreparingUpdateAsUpdate,
		Resize: p.options.AutoResizePVC && set.Spec.VolumeClaimUpdateStrategy.Type == kruise.OnPodRollingUpdateVolumeClaimUpdateStrategyType,
	}
	var err error
	if spec.Reserved, err = ordinal.ParseReserved(set.Spec.ReserveOrdinals); err != nil {
		return spec, err
	}
	if scale := set.Spec.ScaleStrategy; scale != nil && scale.MaxUnavailable != nil {
		if spec.ScaleMaxUnavailable, err = ordinal.AtLeastOne(*scale.MaxUnavailable, spec.Replicas); err != nil {
			return spec, err
		}
	}
	if set.Spec.UpdateStrategy.Type != appsv1.RollingUpdateStatefulSetStrategyType { // WL-2.7
		return spec, nil
	}
	return spec, rollOut(&spec, set.Spec.UpdateStrategy.RollingUpdate)
}

func rollOut(spec *ordinal.Spec, r *kruise.RollingUpdateStatefulSetStrategy) (err error) {
	spec.OnDelete = false
	spec.Partition, spec.Paused = int(*r.Partition), r.Paused
	spec.MinReady = time.Duration(*r.MinReadySeconds) * time.Second
	spec.UpdateType, spec.Unordered = updateTypes[r.PodUpdatePolicy], r.UnorderedUpdate != nil
	spec.MaxUnavailable, err = ordinal.AtLeastOne(*orOne(r.MaxUnavailable), spec.Replicas)
	return err
}

func orOne(v *intstr.IntOrString) *intstr.IntOrString {
	if v == nil {
		return new(intstr.FromInt32(1))
	}
	return v
}

// surplus is the revisions that nobody needs any more. // WL-0.5
func (p *plan) surplus(existing []appsv1.ControllerRevision, pods []ordinal.Pod) []appsv1.ControllerRevision {
	inUse := []string{p.revisions.Update.Name, p.revisions.Current.Name, p.set.Status.CurrentRevision}
	for i := range pods {
		inUse = append(inUse, pods[i].Revision)
	}
	return revision.Surplus(existing, int(*p.set.Spec.RevisionHistoryLimit), inUse...)
}
