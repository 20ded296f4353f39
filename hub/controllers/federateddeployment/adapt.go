package federateddeployment

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-project/flotilla/apis/apps/v1alpha1"
	"github.com/flotilla-project/flotilla/pkg/condition"
)

// Whether a subset's pods find nodes (WL-5.7): the condition of a subset, its reasons, and the times where none are set.
const (
	// Schedulable is the condition of a subset.
	Schedulable = "Schedulable"

	reasonReschedule = "reschedule"
	reasonRecover    = "recover"

	defaultCritical = 30 * time.Second
	defaultLast     = 300 * time.Second
)

// fit is how well a subset's pods find nodes, once there has been trouble.
type fit struct {
	bad bool
	// running are the pods that have not been waiting for a node for too long.
	running int32
}

func adaptive(obj *v1alpha1.FederatedDeployment) bool {
	s := obj.Spec.Topology.ScheduleStrategy
	return s != nil && s.Type == v1alpha1.ScheduleAdaptive
}

// critical is how long a pod may wait for a node before it counts.
func critical(obj *v1alpha1.FederatedDeployment) time.Duration {
	if s := obj.Spec.Topology.ScheduleStrategy; s != nil && s.Adaptive != nil {
		return seconds(s.Adaptive.RescheduleCriticalSeconds, defaultCritical)
	}
	return defaultCritical
}

// last is how long a subset with such pods then gets no more of them.
func last(obj *v1alpha1.FederatedDeployment) time.Duration {
	if s := obj.Spec.Topology.ScheduleStrategy; s != nil && s.Adaptive != nil {
		return seconds(s.Adaptive.UnschedulableLastSeconds, defaultLast)
	}
	return defaultLast
}

func seconds(n *int32, otherwise time.Duration) time.Duration {
	if n == nil {
		return otherwise
	}
	return time.Duration(*n) * time.Second
}

// adapt finds out which subsets cannot take more, and remembers it in their conditions. The cool-down counts from the
// first time that they could not (WL-5.7).
func (p *Plan) adapt(obj *v1alpha1.FederatedDeployment, seen facts, of map[string][]work, now time.Time) {
	p.schedulable, p.fits = map[string]metav1.Condition{}, map[string]fit{}
	for _, s := range obj.Status.Subsets {
		if c := condition.Find(s.Conditions, Schedulable); c != nil {
			p.schedulable[s.Name] = *c
		}
	}
	if !adaptive(obj) {
		return
	}
	for _, s := range p.shares {
		name := s.name()
		waiting, exists := unschedulable(of[name], seen.clusters)
		if !exists { // what is new counts as schedulable
			continue
		}
		c, known := p.schedulable[name]
		until := c.LastTransitionTime.Add(last(obj))
		bad := false
		if known && c.Status == metav1.ConditionFalse {
			if bad = now.Before(until); bad {
				p.recheckAt(until, now)
			} else {
				c = schedulable(obj, true, reasonRecover, "", now)
			}
		}
		if waiting > 0 {
			message := fmt.Sprintf("%s found no node for more than %s", counted(int(waiting), "replica"), critical(obj))
			if c.Status != metav1.ConditionFalse {
				c = schedulable(obj, false, reasonReschedule, message, now)
				p.recheckAt(now.Add(last(obj)), now)
			}
			c.Message, bad = message, true
		}
		if c.Type != "" {
			p.schedulable[name] = c
			p.fits[name] = fit{bad: bad, running: max(0, runningOf(of[name])-waiting)}
		}
	}
}

func schedulable(obj *v1alpha1.FederatedDeployment, is bool, reason, message string, now time.Time) metav1.Condition {
	c := said(Schedulable, is, reason, message)
	c.ObservedGeneration, c.LastTransitionTime = obj.Generation, metav1.NewTime(now.Truncate(time.Second))
	return c
}

// unschedulable counts the pods of a subset that have been waiting for a node for too long, as its agent counts them. In a
// cluster that is gone none finds one.
func unschedulable(works []work, clusters map[string]cluster) (waiting int32, exists bool) {
	for _, w := range works {
		if w.leaving() {
			continue
		}
		exists = true
		if _, there := clusters[w.cluster()]; !there {
			waiting += max(w.feedback.replicas, w.replicas)
		} else if w.feedback.ready < w.feedback.replicas {
			waiting += min(w.feedback.unschedulable, w.feedback.replicas-w.feedback.ready)
		}
	}
	return waiting, exists
}

// runningOf are the pods that a subset has.
func runningOf(works []work) (n int32) {
	for _, w := range works {
		if !w.leaving() {
			n += w.feedback.replicas
		}
	}
	return n
}

// stranded says which subset has more replicas than it can run, and why no other takes them.
func (p *Plan) stranded(obj *v1alpha1.FederatedDeployment) {
	if p.short != "" {
		p.problems = append(p.problems, problem{reason: v1alpha1.ReasonUnschedulable, message: p.short, soft: true})
	}
	for _, s := range p.shares {
		f := p.fits[s.name()]
		if !f.bad || s.replicas <= f.running {
			continue
		}
		message := fmt.Sprintf("%s: subset %q: %d of %d replicas find no node on %s", s.at, s.name(), s.replicas-f.running, s.replicas, s.cluster)
		if !bounded(obj) && obj.Spec.Topology.PlacementRef == nil {
			message += "; they can move only if a subset has minReplicas or maxReplicas, set one of them"
		} else {
			message += ", and no other subset may take them; add nodes, or raise maxReplicas of another"
		}
		p.problems = append(p.problems, problem{reason: v1alpha1.ReasonUnschedulable, subset: s.name(), message: message, soft: true})
	}
}

func bounded(obj *v1alpha1.FederatedDeployment) bool {
	for _, s := range obj.Spec.Topology.Subsets {
		if s.MinReplicas != nil || s.MaxReplicas != nil {
			return true
		}
	}
	return false
}
