package offer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"

	"github.com/flotilla-project/flotilla/hub/controllers/addon/config"
	"github.com/flotilla-project/flotilla/hub/rollout"
)

// Reasons of Configured.
const (
	reasonConfigured    = "ConfigurationsConfigured"
	reasonNotConfigured = "ConfigurationsNotConfigured"
)

type (
	reference = addonv1alpha1.ConfigReference
	specHash  = addonv1alpha1.ConfigSpecHash
)

// hashOf is what a configuration hashes to. One that is not there, or that the hub does not read, keeps the hash it had:
// absence is never an order.
func (d *decision) hashOf(r config.Ref, had *specHash) *specHash {
	is := &specHash{ConfigReferent: r.ConfigReferent}
	if c, found := d.seen.configs[r]; found {
		is.SpecHash = c.hash
	} else if had != nil && had.ConfigReferent == r.ConfigReferent {
		is.SpecHash = had.SpecHash
	}
	return is
}

// configure writes which configurations an installation has. OCM-19.3
func (d *decision) configure(want *installation) {
	i, selected := d.of[want.Namespace]
	own := config.Of(want.Spec.Configs)
	base := config.Defaults(d.offer)
	switch {
	case selected:
		base = config.Resolve(base, config.Of(placed(d.offer)[i].Configs))
	case want.Annotations[InstalledBy] != "" && len(placed(d.offer)) > 0:
		return // whether it goes is not sure yet, so it stays as it is
	}
	held := selected && !d.started[want.Namespace]
	if held {
		base = present(want.Status.ConfigReferences, own)
	}
	d.refer(want, config.Resolve(base, own))
	if len(want.Status.SupportedConfigs) == 0 {
		want.Status.SupportedConfigs = supported(d.offer)
	}
	d.sayConfigured(want, held)
	sayWaiting(want, held, i, d.offer)
}

// present are the configurations that an installation has already, but for the kinds that it chooses itself.
func present(have []reference, own []config.Ref) (refs []config.Ref) {
	for _, r := range have {
		if r.DesiredConfig != nil && !chooses(own, r.ConfigGroupResource) {
			refs = append(refs, config.Ref{Kind: r.ConfigGroupResource, ConfigReferent: r.DesiredConfig.ConfigReferent})
		}
	}
	return refs
}

func chooses(own []config.Ref, kind config.Kind) bool {
	return slices.ContainsFunc(own, func(r config.Ref) bool { return r.Kind == kind })
}

// refer writes the references, and keeps of each what was applied last.
func (d *decision) refer(want *installation, refs []config.Ref) {
	had := want.Status.ConfigReferences
	held := slices.Clone(had)
	want.Status.ConfigReferences = nil
	for _, r := range refs {
		was := last(held, r)
		is := reference{ConfigGroupResource: r.Kind, ConfigReferent: r.ConfigReferent, DesiredConfig: d.hashOf(r, was.DesiredConfig),
			LastAppliedConfig: was.LastAppliedConfig, LastObservedGeneration: was.LastObservedGeneration}
		if c, found := d.seen.configs[r]; found {
			is.LastObservedGeneration = c.generation
		}
		if !d.started[want.Namespace] && d.isHeld(want, r) { // its turn has not come: not even the content changes
			is.DesiredConfig, is.LastObservedGeneration = was.DesiredConfig, was.LastObservedGeneration
		}
		want.Status.ConfigReferences = append(want.Status.ConfigReferences, is)
	}
}

// isHeld: the configuration is the offer's, and the offer's rollout has not come to this cluster.
func (d *decision) isHeld(want *installation, r config.Ref) bool {
	_, selected := d.of[want.Namespace]
	return selected && !chooses(config.Of(want.Spec.Configs), r.Kind)
}

// last is the reference of that configuration, or else of its kind.
func last(had []reference, r config.Ref) (found reference) {
	for _, h := range had {
		if h.ConfigGroupResource != r.Kind {
			continue
		}
		if h.DesiredConfig != nil && h.DesiredConfig.ConfigReferent == r.ConfigReferent {
			return h
		}
		if found.Resource == "" {
			found = h
		}
	}
	return found
}

func supported(obj *offer) (kinds []config.Kind) {
	for _, c := range obj.Spec.SupportedConfigs {
		kinds = append(kinds, c.ConfigGroupResource)
	}
	return kinds
}

// sayConfigured: manifests are rendered only when all configurations are there. OCM-19.3
func (d *decision) sayConfigured(want *installation, held bool) {
	c := metav1.Condition{Type: addonv1alpha1.ManagedClusterAddOnConditionConfigured, Status: metav1.ConditionTrue,
		Reason: reasonConfigured, Message: fmt.Sprintf("%d configurations are in place.", len(want.Status.ConfigReferences))}
	if missing := d.missing(want.Status.ConfigReferences); len(missing) > 0 {
		c.Status, c.Reason = metav1.ConditionFalse, reasonNotConfigured
		c.Message = fmt.Sprintf("%d of %d configurations are not in place: %s.", len(missing), len(want.Status.ConfigReferences), strings.Join(missing, "; "))
	} else if held && len(want.Status.ConfigReferences) == 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonNotConfigured, "The rollout has not come to this cluster yet."
	}
	meta.SetStatusCondition(&want.Status.Conditions, c)
}

// missing names configurations that are not there, and those that nobody has hashed.
func (d *decision) missing(refs []reference) (names []string) {
	for _, r := range refs {
		if r.DesiredConfig == nil {
			continue
		}
		ref := config.Ref{Kind: r.ConfigGroupResource, ConfigReferent: r.DesiredConfig.ConfigReferent}
		_, found := d.seen.configs[ref]
		switch {
		case ref.Known() && !found:
			names = append(names, ref.String()+" does not exist")
		case r.DesiredConfig.SpecHash == "":
			names = append(names, ref.String()+" waits for the add-on's own controller to hash it")
		}
	}
	return names
}

// sayWaiting tells an installation that its turn has not come, and takes that back. Everything else about progress is
// said by who watches the works.
func sayWaiting(want *installation, held bool, i int, obj *offer) {
	was := meta.FindStatusCondition(want.Status.Conditions, addonv1alpha1.ManagedClusterAddOnConditionProgressing)
	switch {
	case held:
		meta.SetStatusCondition(&want.Status.Conditions, metav1.Condition{Type: addonv1alpha1.ManagedClusterAddOnConditionProgressing,
			Status: metav1.ConditionFalse, Reason: addonv1alpha1.ProgressingReasonWaitingForCanary,
			Message: fmt.Sprintf("New configurations wait for other clusters of placement %s/%s.", placed(obj)[i].Namespace, placed(obj)[i].Name)})
	case was != nil && was.Reason == addonv1alpha1.ProgressingReasonWaitingForCanary:
		meta.SetStatusCondition(&want.Status.Conditions, metav1.Condition{Type: addonv1alpha1.ManagedClusterAddOnConditionProgressing,
			Status: metav1.ConditionTrue, Reason: addonv1alpha1.ProgressingReasonProgressing, Message: "New configurations are applied."})
	}
}

// judge says how far an installation is with the configurations of its strategy. Kinds that it chooses itself are not the
// strategy's. OCM-18.4
func (d *decision) judge(live *installation, base []config.Ref) (rollout.Status, time.Time) {
	own := config.Of(live.Spec.Configs)
	theirs := slices.DeleteFunc(slices.Clone(base), func(r config.Ref) bool { return chooses(own, r.Kind) })
	have := present(live.Status.ConfigReferences, own)
	progressing := meta.FindStatusCondition(live.Status.Conditions, addonv1alpha1.ManagedClusterAddOnConditionProgressing)
	since := live.CreationTimestamp.Time
	if progressing != nil {
		since = progressing.LastTransitionTime.Time
	}
	if !slices.Equal(config.Resolve(have), config.Resolve(theirs)) {
		return rollout.New, time.Time{}
	}
	applied := true
	for _, r := range theirs {
		is := last(live.Status.ConfigReferences, r)
		if is.DesiredConfig == nil || *is.DesiredConfig != *d.hashOf(r, is.DesiredConfig) {
			return rollout.New, time.Time{}
		}
		applied = applied && is.LastAppliedConfig != nil && *is.LastAppliedConfig == *is.DesiredConfig
	}
	switch {
	case applied:
		return rollout.Succeeded, since
	case progressing == nil:
		return rollout.ToApply, time.Time{}
	case progressing.Reason == addonv1alpha1.ProgressingReasonFailed:
		return rollout.Failed, since
	}
	return rollout.Progressing, since
}

func (d *decision) defaultReferences() (refs []addonv1alpha1.DefaultConfigReference) {
	for _, r := range config.Defaults(d.offer) {
		var had *specHash
		for _, h := range d.offer.Status.DefaultConfigReferences {
			if h.ConfigGroupResource == r.Kind {
				had = h.DesiredConfig
			}
		}
		refs = append(refs, addonv1alpha1.DefaultConfigReference{ConfigGroupResource: r.Kind, DesiredConfig: d.hashOf(r, had)})
	}
	return refs
}

// progression reports a strategy. What is applied everywhere is the last known good. OCM-19.3
func (d *decision) progression(i int, strategy addonv1alpha1.PlacementStrategy, base []config.Ref, p progress) addonv1alpha1.InstallProgression {
	is := addonv1alpha1.InstallProgression{PlacementRef: strategy.PlacementRef}
	var was addonv1alpha1.InstallProgression
	for _, h := range d.offer.Status.InstallProgressions {
		if h.PlacementRef == strategy.PlacementRef {
			was = *h.DeepCopy()
		}
	}
	is.Conditions = was.Conditions
	status, reason, message := p.said(d.seen.placements[i].found)
	for _, r := range base {
		ref := addonv1alpha1.InstallConfigReference{ConfigGroupResource: r.Kind}
		for _, h := range was.ConfigReferences {
			if h.ConfigGroupResource == r.Kind && (ref.DesiredConfig == nil || h.DesiredConfig != nil && h.DesiredConfig.ConfigReferent == r.ConfigReferent) {
				ref = h
			}
		}
		ref.DesiredConfig = d.hashOf(r, ref.DesiredConfig)
		if reason == addonv1alpha1.ProgressingReasonCompleted && p.total > 0 {
			ref.LastAppliedConfig, ref.LastKnownGoodConfig = ref.DesiredConfig.DeepCopy(), ref.DesiredConfig.DeepCopy()
		}
		is.ConfigReferences = append(is.ConfigReferences, ref)
	}
	meta.SetStatusCondition(&is.Conditions, metav1.Condition{Type: addonv1alpha1.ManagedClusterAddOnConditionProgressing,
		Status: status, Reason: reason, Message: message, ObservedGeneration: d.offer.Generation})
	return is
}
