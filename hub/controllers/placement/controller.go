// Package placement turns Placements into PlacementDecisions. It owns the PlacementDecisions of every Placement (their
// names, labels and owner), and writes the status of Placements; it reads clusters, sets, bindings and the scores of
// add-ons. What a Placement means is decided in hub/schedule, a pure function.
//
// It promises that a pass that fails, or a Placement that is misconfigured, leaves the decisions as they are and says so;
// that a cluster which moves between two PlacementDecisions is in one of them at every moment; that each cluster that is
// left out has a reason in the status; and that nothing is written while nothing changes.
package placement

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/flotilla-project/flotilla/hub/schedule"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// Steps is the controller of one Placement.
type Steps struct {
	// Hub reads from the cache and writes.
	Hub client.Client
	// Events tells of decisions.
	Events record.EventRecorder

	view *view
}

// facts are what a placement is decided on, and what was decided before.
type facts struct {
	schedule.Facts
	decisions []clusterv1beta1.PlacementDecision
	// untouched says that nobody wants this placement scheduled.
	untouched bool
}

// Observe reads bindings, sets and decisions, and takes a look at the fleet.
func (s *Steps) Observe(ctx context.Context, p *clusterv1beta1.Placement) (facts, error) {
	return observe(ctx, s.Hub, s.view, p)
}

func observe(ctx context.Context, hub client.Reader, v *view, p *clusterv1beta1.Placement) (facts, error) {
	if p.Annotations[clusterv1beta1.PlacementDisableAnnotation] == "true" || !p.DeletionTimestamp.IsZero() { // OCM-16.1
		return facts{untouched: true}, nil
	}
	var seen facts
	var err error
	if seen.Facts, err = policyFacts(ctx, hub, v, p); err != nil {
		return seen, err
	}
	if seen.decisions, err = decisionsOf(ctx, hub, p); err != nil {
		return seen, err
	}
	for _, d := range seen.decisions {
		seen.Earlier = append(seen.Earlier, d.Status.Decisions...)
	}
	if last := p.Status.LastScoreUpdateTime; last != nil {
		seen.ScoredAt = last.Time
	}
	return seen, nil
}

// policyFacts are the facts that do not depend on earlier decisions.
func policyFacts(ctx context.Context, hub client.Reader, v *view, p *clusterv1beta1.Placement) (schedule.Facts, error) {
	bound, err := boundSets(ctx, hub, p.Namespace)
	if err != nil {
		return schedule.Facts{}, err
	}
	return schedule.Facts{
		Placement: p, Bound: bound, Fleet: v.fleet(),
		Scores: v.scoresFor(schedule.InterestOf(&p.Spec)),
		Counts: v.countsFor(client.ObjectKeyFromObject(p)),
	}, nil
}

// boundSets are the sets that are bound in a namespace and exist. OCM-16.2
func boundSets(ctx context.Context, r client.Reader, namespace string) ([]schedule.Set, error) {
	var bindings clusterv1beta2.ManagedClusterSetBindingList
	if err := r.List(ctx, &bindings, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list bindings: %w", err)
	}
	var sets []schedule.Set
	for i := range bindings.Items {
		if !bindings.Items[i].DeletionTimestamp.IsZero() {
			continue
		}
		var set clusterv1beta2.ManagedClusterSet
		err := r.Get(ctx, client.ObjectKey{Name: bindings.Items[i].Spec.ClusterSet}, &set, client.UnsafeDisableDeepCopy)
		if apierrors.IsNotFound(err) || err == nil && !set.DeletionTimestamp.IsZero() {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read set %s: %w", bindings.Items[i].Spec.ClusterSet, err)
		}
		sets = append(sets, schedule.SetOf(&set))
	}
	return sets, nil
}

// Decide schedules, and compares the result with the decisions there are.
func (*Steps) Decide(p *clusterv1beta1.Placement, seen facts, now time.Time) plan {
	if seen.untouched {
		return plan{untouched: true}
	}
	return decide(p, seen, now)
}

// Report writes the status. When decisions could not be written, the numbers stay as they were. OCM-17.3
func (*Steps) Report(p *clusterv1beta1.Placement, _ facts, todo plan, acted error) {
	if todo.untouched {
		return
	}
	if acted != nil {
		if !apierrors.IsConflict(acted) { // a lost race is nobody's concern
			condition.Set(&p.Status.Conditions, clusterv1beta1.PlacementConditionSatisfied, metav1.ConditionFalse,
				schedule.ReasonNotScheduled, acted.Error(), p.Generation)
		}
		return
	}
	for _, c := range todo.result.Conditions() {
		condition.Set(&p.Status.Conditions, c.Type, c.Status, c.Reason, c.Message, p.Generation)
	}
	p.Status.NumberOfSelectedClusters = int32(todo.result.Selected)
	p.Status.DecisionGroups = groupStatus(todo.slices)
	if todo.result.Scored {
		p.Status.LastScoreUpdateTime = &metav1.Time{Time: todo.now}
	}
}

// groupStatus tells each group with the names of its PlacementDecisions. OCM-17.3
func groupStatus(slices []schedule.Slice) (all []clusterv1beta1.DecisionGroupStatus) {
	for _, s := range slices {
		if n := len(all); n == 0 || all[n-1].DecisionGroupIndex != s.Group {
			all = append(all, clusterv1beta1.DecisionGroupStatus{DecisionGroupIndex: s.Group, DecisionGroupName: s.GroupName})
		}
		last := &all[len(all)-1]
		last.Decisions = append(last.Decisions, s.Name)
		last.ClustersCount += int32(len(s.Decisions))
	}
	return all
}

// Conditions are what the loop makes events of.
func (*Steps) Conditions(p *clusterv1beta1.Placement) []metav1.Condition { return p.Status.Conditions }
