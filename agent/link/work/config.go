package work

import (
	"slices"
	"strings"

	workv1 "open-cluster-management.io/api/work/v1"
)

// config is what a work asks for one of its manifests.
type config struct {
	strategy   workv1.UpdateStrategy
	feedback   []workv1.FeedbackRule
	scrape     workv1.FeedbackScrapeType
	conditions []workv1.ConditionRule
}

// configOf picks from a work's options what concerns meta: for each field the first matching entry that sets it
// wins. OCM-9.2
func configOf(options []workv1.ManifestConfigOption, meta workv1.ManifestResourceMeta) config {
	out := config{strategy: workv1.UpdateStrategy{Type: workv1.UpdateStrategyTypeUpdate}}
	strategySet := false
	for i := range options {
		o := &options[i]
		if meta.Resource == "" || !selects(o.ResourceIdentifier, meta) {
			continue
		}
		if o.UpdateStrategy != nil && !strategySet {
			out.strategy, strategySet = *o.UpdateStrategy, true
		}
		if len(o.FeedbackRules) > 0 && out.feedback == nil {
			out.feedback = o.FeedbackRules
		}
		if len(o.ConditionRules) > 0 && out.conditions == nil {
			out.conditions = o.ConditionRules
		}
		if o.FeedbackScrapeType != "" {
			out.scrape = o.FeedbackScrapeType // here the last one wins
		}
	}
	if out.strategy.Type == "" {
		out.strategy.Type = workv1.UpdateStrategyTypeUpdate
	}
	return out
}

// completes reports whether a rule may complete the manifest. OCM-13.3
func (c config) completes() bool {
	return slices.ContainsFunc(c.conditions, func(r workv1.ConditionRule) bool { return r.Condition == workv1.ManifestComplete })
}

func selects(id workv1.ResourceIdentifier, meta workv1.ManifestResourceMeta) bool {
	return id.Group == meta.Group && id.Resource == meta.Resource &&
		matches(id.Namespace, meta.Namespace) && matches(id.Name, meta.Name)
}

// matches compares with a pattern in which * stands for any text.
func matches(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// orphans reports whether an object is to stay when its work goes. OCM-15.3
func orphans(option *workv1.DeleteOption, id workv1.ResourceIdentifier) bool {
	if option == nil {
		return false
	}
	switch option.PropagationPolicy {
	case workv1.DeletePropagationPolicyTypeOrphan:
		return true
	case workv1.DeletePropagationPolicyTypeSelectivelyOrphan:
		if option.SelectivelyOrphan == nil {
			return false
		}
		for _, rule := range option.SelectivelyOrphan.OrphaningRules {
			if workv1.ResourceIdentifier(rule) == id {
				return true
			}
		}
	}
	return false
}

func identifier(meta workv1.ManifestResourceMeta) workv1.ResourceIdentifier {
	return workv1.ResourceIdentifier{Group: meta.Group, Resource: meta.Resource, Namespace: meta.Namespace, Name: meta.Name}
}
