package federateddeployment

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/hub/waves"
	"github.com/flotilla-project/flotilla/pkg/event"
)

// release says which revision each share runs, and how much of it: what the user's partitions say, or what the waves of
// a progressive update have come to.
func (p *Plan) release(obj *v1alpha1.FederatedDeployment, seen facts, of map[string][]work, now time.Time) {
	if obj.Spec.UpdateStrategy.Type == v1alpha1.UpdateProgressive {
		p.wave(obj, seen, of, now)
		return
	}
	for i := range p.shares {
		s := &p.shares[i]
		s.revision, s.partition, s.paused = p.update.Name, partition(obj, s.name(), s.replicas), obj.Spec.UpdateStrategy.Paused
		if given := givenTo(home(of[s.name()])); s.paused && given.Revision != "" { // what runs stays as it is
			s.revision, s.partition = given.Revision, min(given.Partition, s.replicas)
		}
		s.template = p.templateOf(s.revision, seen)
	}
}

// templateOf is the template of a revision, nil if nobody knows it any more.
func (p *Plan) templateOf(name string, seen facts) map[string]any {
	if name == p.update.Name {
		return seen.template
	}
	i := slices.IndexFunc(seen.revisions, revisionNamed(name))
	if i < 0 {
		return nil
	}
	return templateIn(seen.revisions[i].Data.Raw)
}

// wave asks how far the update may go.
func (p *Plan) wave(obj *v1alpha1.FederatedDeployment, seen facts, of map[string][]work, now time.Time) {
	in := waves.Input{
		Strategy: strategyOf(obj), Update: p.update.Name, Current: obj.Status.CurrentRevision,
		Resume: obj.Annotations[v1alpha1.AnnotationResume], State: stateOf(obj.Status.Rollout),
	}
	for _, s := range p.shares {
		known := waveSubset(s, home(of[s.name()]), seen)
		known.StandIns = p.moved[s.name()].Extra
		in.Subsets = append(in.Subsets, known)
	}
	plan := waves.Decide(in, now)
	p.rollout = rolloutOf(plan.State)
	if plan.Recheck > 0 {
		p.recheckAt(now.Add(plan.Recheck), now)
	}
	for i, t := range plan.Targets {
		s := &p.shares[i]
		s.revision, s.partition, s.paused = t.Revision, t.Partition, t.Frozen
		s.template = p.templateOf(s.revision, seen)
		s.stable, s.stableTemplate = plan.State.Stable, p.templateOf(plan.State.Stable, seen)
	}
}

// home is the work of a subset that stays: of two during a move the newer. nil if there is none.
func home(works []work) *work {
	var newest *work
	for i, w := range works {
		if !w.leaving() && (newest == nil || newest.live.CreationTimestamp.Before(&w.live.CreationTimestamp)) {
			newest = &works[i]
		}
	}
	return newest
}

func givenTo(w *work) waves.Given {
	if w == nil {
		return waves.Given{}
	}
	return waves.Given{Revision: w.live.Annotations[v1alpha1.AnnotationRevision], Replicas: w.replicas, Partition: w.partition}
}

// waveSubset is what the waves need to know of a subset.
func waveSubset(s share, w *work, seen facts) waves.Subset {
	k, tmpl, _ := kindOf(seen.template)
	known := waves.Subset{Name: s.name(), Replicas: s.replicas, Given: givenTo(w), Whole: !k.countable(tmpl)}
	if w == nil {
		return known
	}
	c := seen.clusters[w.cluster()]
	known.Silent, known.Since = !c.heard, c.since
	known.Fresh = w.feedback.fresh(w.content) && !w.leaving()
	known.Available, known.UpdatedAvailable = w.feedback.available, w.feedback.updatedAvailable
	if known.Trouble = refusal(*w); known.Trouble == "" && known.Fresh {
		known.Trouble = w.feedback.message
	}
	return known
}

func strategyOf(obj *v1alpha1.FederatedDeployment) waves.Strategy {
	s := waves.Strategy{Paused: obj.Spec.UpdateStrategy.Paused, MaxFailures: intstr.FromInt32(0)}
	p := obj.Spec.UpdateStrategy.Progressive
	if p == nil {
		return s
	}
	s.Deadline, s.OnFailure = seconds(p.ProgressDeadlineSeconds, 0), waves.Action(p.OnFailure)
	if p.MaxFailures != nil {
		s.MaxFailures = *p.MaxFailures
	}
	for _, w := range p.Waves {
		wave := waves.Wave{Name: w.Name, Subsets: w.Subsets, Soak: time.Duration(w.SoakSeconds) * time.Second, Pause: w.Pause}
		if w.Percent != nil {
			wave.Percent = *w.Percent
		}
		s.Waves = append(s.Waves, wave)
	}
	return s
}

func stateOf(s *v1alpha1.RolloutStatus) waves.State {
	if s == nil {
		return waves.State{}
	}
	return waves.State{
		Revision: s.Revision, Stable: s.StableRevision, Phase: waves.Phase(s.Phase), Wave: s.Wave, Waves: s.Waves,
		WaveStarted: timeOf(s.WaveStartTime), HealthySince: timeOf(s.HealthySince), Resumed: s.Resumed, Failed: s.FailedSubsets, Message: s.Message,
	}
}

func rolloutOf(s waves.State) *v1alpha1.RolloutStatus {
	return &v1alpha1.RolloutStatus{
		Revision: s.Revision, StableRevision: s.Stable, Phase: v1alpha1.RolloutPhase(s.Phase), Wave: s.Wave, Waves: s.Waves,
		WaveStartTime: stampOf(s.WaveStarted), HealthySince: stampOf(s.HealthySince), Resumed: s.Resumed, FailedSubsets: s.Failed, Message: s.Message,
	}
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

func stampOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return new(metav1.NewTime(t))
}

// steps that an update took in this round, as events. What failed is told by the conditions.
func tookSteps(before, now *v1alpha1.RolloutStatus) []event.Event {
	switch {
	case now == nil || before == nil && now.StableRevision == "":
		return nil
	case before == nil || before.Revision != now.Revision:
		return []event.Event{event.Normal(reasonRolloutStarted, "revision %s goes out in %s, from revision %s", now.Revision, counted(int(now.Waves), "wave"), now.StableRevision)}
	case before.Wave != now.Wave && now.Phase == v1alpha1.RolloutProgressing:
		return []event.Event{event.Normal(reasonWaveStarted, "wave %d of %d of revision %s begins", now.Wave, now.Waves, now.Revision)}
	case before.Phase != now.Phase && now.Phase == v1alpha1.RolloutComplete:
		return []event.Event{event.Normal(reasonRolloutComplete, "revision %s has gone out", now.Revision)}
	}
	return nil
}

// rolloutVerdict is what an update that does not go on by itself is called.
func rolloutVerdict(r *v1alpha1.RolloutStatus) (reason, message string) {
	if r == nil {
		return "", ""
	}
	switch r.Phase {
	case v1alpha1.RolloutPaused:
		return v1alpha1.ReasonRolloutPaused, r.Message
	case v1alpha1.RolloutFailed:
		return v1alpha1.ReasonRolloutFailed, r.Message
	case v1alpha1.RolloutRollingBack, v1alpha1.RolloutRolledBack:
		return v1alpha1.ReasonRolledBack, r.Message
	}
	return "", ""
}
