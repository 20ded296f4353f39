package rollout

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
	clusterv1alpha1 "open-cluster-management.io/api/cluster/v1alpha1"
)

// policy is a strategy that was read.
type policy struct {
	kind           clusterv1alpha1.RolloutType
	soak, deadline time.Duration // 0 is none
	maxFailures    amount
	maxConcurrency amount
	mandatory      []clusterv1alpha1.MandatoryDecisionGroup
}

// amount is a number or a percentage, with what it falls back to.
type amount struct {
	number  int
	percent bool
	all     bool // fall back to all, not to 0
}

// of is the amount of a total. Percentages round up; what is zero, negative or larger than the total falls back. OCM-18.5
func (a amount) of(total int) int {
	n := a.number
	if a.percent {
		n = int(math.Ceil(float64(a.number) * float64(total) / 100))
	}
	switch {
	case n > 0 && n <= total:
		return n
	case a.all:
		return total
	}
	return 0
}

func parse(s clusterv1alpha1.RolloutStrategy) (p policy, err error) {
	config := clusterv1alpha1.RolloutConfig{}
	concurrency := intstr.IntOrString{}
	p.kind = s.Type
	switch {
	case s.Type == clusterv1alpha1.All || s.Type == "":
		p.kind = clusterv1alpha1.All
		if s.All != nil {
			config = clusterv1alpha1.RolloutConfig{ProgressDeadline: s.All.ProgressDeadline} // OCM-18.5: the rest is ignored
		}
	case s.Type == clusterv1alpha1.Progressive && s.Progressive != nil:
		config, concurrency, p.mandatory = s.Progressive.RolloutConfig, s.Progressive.MaxConcurrency, s.Progressive.MandatoryDecisionGroups.MandatoryDecisionGroups
	case s.Type == clusterv1alpha1.ProgressivePerGroup && s.ProgressivePerGroup != nil:
		config, p.mandatory = s.ProgressivePerGroup.RolloutConfig, s.ProgressivePerGroup.MandatoryDecisionGroups.MandatoryDecisionGroups
	case s.Type == clusterv1alpha1.Progressive, s.Type == clusterv1alpha1.ProgressivePerGroup:
	default:
		return p, fmt.Errorf("rolloutStrategy.type %q is none of All, Progressive, ProgressivePerGroup", s.Type)
	}
	p.soak = config.MinSuccessTime.Duration
	if p.deadline, err = deadlineOf(config.ProgressDeadline); err != nil {
		return p, err
	}
	if p.maxFailures, err = amountOf("maxFailures", config.MaxFailures); err != nil {
		return p, err
	}
	p.maxConcurrency, err = amountOf("maxConcurrency", concurrency)
	p.maxConcurrency.all = true
	return p, err
}

// deadlineOf reads "None", "90s", "10m" or "1h".
func deadlineOf(s string) (time.Duration, error) {
	if s == "" || s == "None" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf(`progressDeadline %q is neither "None" nor a time like 90s, 10m or 1h`, s)
	}
	return d, nil
}

func amountOf(field string, v intstr.IntOrString) (amount, error) {
	if v.Type == intstr.Int {
		return amount{number: v.IntValue()}, nil
	}
	digits, percent := strings.CutSuffix(v.StrVal, "%")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return amount{}, fmt.Errorf("%s %q is neither a number nor a percentage", field, v.StrVal)
	}
	return amount{number: n, percent: percent}, nil
}

// isMandatory looks by name first, and by index only if no name is given. OCM-18.5
func (p policy) isMandatory(g Group) bool {
	return slices.ContainsFunc(p.mandatory, func(m clusterv1alpha1.MandatoryDecisionGroup) bool { return matches(m, g) })
}

func matches(m clusterv1alpha1.MandatoryDecisionGroup, g Group) bool {
	if m.GroupName != "" {
		return m.GroupName == g.Name
	}
	return m.GroupIndex == g.Index
}

// missingGroups warns of mandatory groups that nobody is in: the rollout goes on without them. OCM-18.5
func (r *round) missingGroups(clusters []Cluster) {
	for _, m := range r.mandatory {
		if slices.ContainsFunc(clusters, func(c Cluster) bool { return matches(m, c.Group) }) {
			continue
		}
		called := m.GroupName
		if called == "" {
			called = strconv.Itoa(int(m.GroupIndex))
		}
		r.Warnings = append(r.Warnings, fmt.Sprintf("mandatory decision group %s has no cluster", called))
	}
}

// tolerated is how many of so many clusters may fail. A limit above their number means none, the opposite of what it
// says; OCM has it so, and whoever relies on it should be told. OCM-18.5
func (r *round) tolerated(total int) int {
	if a := r.maxFailures; !a.percent && a.number > total && total > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf(
			"maxFailures %d is more than the %d clusters it is counted over, so no failure is tolerated; set it to %d at most", a.number, total, total))
	}
	return r.maxFailures.of(total)
}
