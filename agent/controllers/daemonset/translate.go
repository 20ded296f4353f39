package daemonset

import (
	"errors"
	"fmt"
	"time"

	"github.com/openkruise/kruise-api/apps/pub"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/flotilla-project/flotilla/agent/nodefit"
	"github.com/flotilla-project/flotilla/agent/podset"
	"github.com/flotilla-project/flotilla/agent/podset/inplace"
	"github.com/flotilla-project/flotilla/agent/podset/lifecycle"
	"github.com/flotilla-project/flotilla/agent/podset/pernode"
	"github.com/flotilla-project/flotilla/agent/podset/predownload"
	"github.com/flotilla-project/flotilla/agent/podset/revision"
)

// plan is what one round does.
type plan struct {
	now    time.Time
	idle   bool   // the DaemonSet is leaving: nothing is done, its children follow it
	wrong  string // why the spec cannot be carried out; then nothing else is set
	reason string // of the event that says so
	set    *kruise.DaemonSet
	bind   bool
	// inPlace are the gates of what fits into a running pod.
	inPlace inplace.Gates

	claims  claims
	history history
	renamed bool // set by Act: the revision's name was taken, and pods wait for the next round
	spec    pernode.Spec
	steps   pernode.Plan
	changes map[string]inplace.Spec // by a pod's label: what brings it to the current revision in place

	pods  map[string]*corev1.Pod
	names map[string]string // of new pods, by node
	trim  []*appsv1.ControllerRevision

	options Options
	images  predownload.Plan
}

// Recheck is when time alone changes the plan.
func (p *plan) Recheck() time.Duration { return p.steps.Recheck() }

// Decide translates the DaemonSet for the engine. // WL-3.3
func (s *steps) Decide(ds *kruise.DaemonSet, found seen, now time.Time) *plan {
	p := &plan{now: now, set: Default(ds), bind: s.options.BindPods, inPlace: s.options.InPlace, options: s.options, pods: map[string]*corev1.Pod{}}
	switch {
	case ds.DeletionTimestamp != nil:
		p.idle = true
	case selectsAll(ds):
		p.reason, p.wrong = reasonSelectingAll, "spec.selector is empty and would select all pods; set matchLabels to labels that the template has"
	default:
		if err := p.translate(found); err != nil {
			p.reason, p.wrong = reasonInvalidSpec, err.Error()
		}
	}
	return p
}

// translate fails for what only a user can put right.
func (p *plan) translate(found seen) error {
	selector, err := asSelector(p.set.Spec.Selector, "spec.selector")
	if err != nil {
		return err
	}
	if !selector.Matches(labels.Set(p.set.Spec.Template.Labels)) {
		return errors.New("spec.template.metadata.labels must match spec.selector; add its labels to the template")
	}
	where, err := placementOf(&p.set.Spec.Template)
	if err != nil {
		return fmt.Errorf("spec.template: %w", err)
	}
	if p.spec, err = p.engineSpec(where, found.nodes); err != nil {
		return err
	}
	p.claims = sortOut(p.set, selector, found)
	if p.history, err = resolve(p.set, p.claims.revisions); err != nil {
		return err
	}
	p.spec.Revision = p.history.hash
	if err := p.compare(); err != nil {
		return err
	}
	facts := p.facts(found.resting)
	p.steps = pernode.Decide(p.spec, facts, p.now)
	p.name(facts)
	p.images = p.preDownload(found.jobs)
	p.trim = p.history.surplus(max(int(*p.set.Spec.RevisionHistoryLimit), 0), p.live())
	return nil
}

// engineSpec is the DaemonSet in the engine's numbers. // WL-0.4
func (p *plan) engineSpec(where *placement, nodes []corev1.Node) (pernode.Spec, error) {
	ds, rolling := p.set, p.rolling()
	spec := pernode.Spec{
		MinReady: time.Duration(ds.Spec.MinReadySeconds) * time.Second,
		Rolling:  rolling != nil && (rolling.Paused == nil || !*rolling.Paused),
	}
	chosen, err := chooser(ds)
	if err != nil {
		return spec, err
	}
	spec.Selective = chosen != nil
	desired := 0
	for i := range nodes {
		n := pernode.Node{Name: nodes[i].Name, Selected: chosen != nil && chosen.Matches(labelsOf(&nodes[i]))}
		if n.Run, n.Keep = where.decide(&nodes[i]); n.Run {
			desired++
		}
		spec.Nodes = append(spec.Nodes, n)
	}
	if spec.Burst, err = podset.Scaled(*ds.Spec.BurstReplicas, int(ds.Status.DesiredNumberScheduled), false); err != nil { // WL-3.12.6
		return spec, fmt.Errorf("spec.burstReplicas: %w", err)
	}
	spec.Burst = max(spec.Burst, 0)
	return spec, limits(&spec, rolling, desired, ds.Annotations[progressiveCreate] == "true")
}

// rolling is nil for type OnDelete.
func (p *plan) rolling() *kruise.RollingUpdateDaemonSet {
	if p.set.Spec.UpdateStrategy.Type != kruise.RollingUpdateDaemonSetStrategyType {
		return nil
	}
	return p.set.Spec.UpdateStrategy.RollingUpdate
}

// limits resolves budgets against the number of nodes that should run. // WL-3.7
func limits(spec *pernode.Spec, rolling *kruise.RollingUpdateDaemonSet, desired int, progressive bool) (err error) {
	if rolling == nil {
		return nil
	}
	if rolling.MaxUnavailable != nil {
		if spec.MaxUnavailable, err = podset.Scaled(*rolling.MaxUnavailable, desired, true); err != nil {
			return fmt.Errorf("spec.updateStrategy.rollingUpdate.maxUnavailable: %w", err)
		}
	}
	if rolling.MaxSurge != nil {
		if spec.MaxSurge, err = podset.Scaled(*rolling.MaxSurge, desired, true); err != nil {
			return fmt.Errorf("spec.updateStrategy.rollingUpdate.maxSurge: %w", err)
		}
		if one, err := podset.Scaled(*rolling.MaxSurge, 1, true); err == nil {
			spec.Surge = one > 0
		}
	}
	if spec.MaxUnavailable == 0 && spec.MaxSurge == 0 {
		spec.MaxUnavailable = 1
	}
	if rolling.Partition != nil {
		spec.Partition = int(*rolling.Partition)
	}
	spec.Progressive = progressive && spec.Partition > 0
	return nil
}

// compare finds out how pods of each revision get to the current one in place. // WL-3.8
func (p *plan) compare() error {
	p.changes = map[string]inplace.Spec{}
	rolling := p.rolling()
	if rolling == nil || rolling.Type != kruise.InplaceRollingUpdateType {
		return nil
	}
	for _, pod := range p.claims.pods {
		label := pod.Labels[hashLabel]
		if _, known := p.changes[label]; known || p.history.isCurrent(label) {
			continue
		}
		from := p.history.means(label)
		if from == nil {
			continue
		}
		template, err := revision.Template(from.Data.Raw)
		if err != nil {
			continue // one that cannot be read is as good as gone
		}
		change, err := inplace.Diff(template, &p.set.Spec.Template, p.history.hash, p.inPlace) // the hash alone // WL-3.12.10
		if _, no := errors.AsType[*inplace.NotPossible](err); no {
			continue
		}
		if err != nil {
			return fmt.Errorf("compare revision %s with spec.template: %w", from.Name, err)
		}
		p.changes[label] = change
	}
	return nil
}

// facts is what the engine needs to know of the pods.
func (p *plan) facts(resting map[string]time.Time) []pernode.Pod {
	lens := podset.Lens{Hooks: hooksOf(p.set)}
	all := make([]pernode.Pod, 0, len(p.claims.pods))
	for _, pod := range p.claims.pods {
		p.pods[pod.Name] = pod
		gate := lifecycle.HasGate(pod, pub.InPlaceUpdateReady)
		f := pernode.Pod{Pod: lens.Facts(pod), Bound: pod.Spec.NodeName != "", Fresh: p.fresh(pod)}
		f.Node, f.GateClosed = nodefit.Target(pod), f.GateClosed && gate // WL-3.10
		if _, possible := p.changes[pod.Labels[hashLabel]]; possible && gate && !f.Fresh {
			f.InPlace = true
		}
		if finished(pod) {
			f.KeepUntil = resting[f.Node]
		}
		all = append(all, f)
	}
	return all
}

// fresh says that the pod needs no update. // WL-3.7
func (p *plan) fresh(pod *corev1.Pod) bool {
	generation, counted := p.set.Annotations[appsv1.DeprecatedTemplateGeneration]
	has, labelled := pod.Labels[templateGeneration]
	return p.history.isCurrent(pod.Labels[hashLabel]) || counted && labelled && generation == has
}

// live are the hashes that pods have.
func (p *plan) live() map[string]bool {
	live := map[string]bool{}
	for _, pod := range p.claims.pods {
		live[pod.Labels[hashLabel]] = true
	}
	return live
}

// hooksOf leaves the one hook that DaemonSets know. // WL-4.9
func hooksOf(ds *kruise.DaemonSet) *pub.Lifecycle {
	if ds.Spec.Lifecycle == nil {
		return nil
	}
	return &pub.Lifecycle{PreDelete: ds.Spec.Lifecycle.PreDelete}
}

// chooser is the selector of nodes that may change; nil without one. // WL-3.7
func chooser(ds *kruise.DaemonSet) (labels.Selector, error) {
	rolling := ds.Spec.UpdateStrategy.RollingUpdate
	if ds.Spec.UpdateStrategy.Type != kruise.RollingUpdateDaemonSetStrategyType || rolling == nil || rolling.Selector == nil {
		return nil, nil
	}
	return asSelector(rolling.Selector, "spec.updateStrategy.rollingUpdate.selector")
}
