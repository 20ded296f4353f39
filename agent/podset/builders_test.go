package podset

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type specOption func(*Spec)

// steady is a set whose pods are all of revision b.
func steady(replicas int, options ...specOption) Spec {
	s := Spec{
		Replicas: replicas, UpdateRevision: "b", CurrentRevision: "b",
		MaxUnavailable: 1, ScaleMaxUnavailable: Unlimited, Seed: 1,
		InPlaceFrom: map[string]bool{"a": true},
	}
	for _, o := range options {
		o(&s)
	}
	return s
}

// toRevision rolls from a to the given revision by recreating.
func toRevision(revision string, replicas int, options ...specOption) Spec {
	s := steady(replicas, options...)
	s.UpdateRevision, s.CurrentRevision = revision, "a"
	return s
}

func maxUnavailable(n int) specOption { return func(s *Spec) { s.MaxUnavailable = n } }
func maxSurge(n int) specOption       { return func(s *Spec) { s.MaxSurge = n } }
func partition(n int) specOption      { return func(s *Spec) { s.Partition = n } }
func scaleBudget(n int) specOption    { return func(s *Spec) { s.ScaleMaxUnavailable = n } }
func minReady(d time.Duration) specOption {
	return func(s *Spec) { s.MinReady = d }
}
func inPlace(s *Spec)                  { s.UpdateType = InPlaceIfPossible }
func inPlaceOnly(s *Spec)              { s.UpdateType = InPlaceOnly }
func paused(s *Spec)                   { s.Paused, s.MaxSurge = true, 0 }
func rollback(s *Spec)                 { s.PartitionRollback = true; s.InPlaceFrom["b"] = true }
func preparingCounts(s *Spec)          { s.PreparingUpdateAsUpdate = true }
func excludeLeaving(s *Spec)           { s.ExcludePreparingDelete = true }
func lifecycle(l Lifecycle) specOption { return func(s *Spec) { s.Lifecycle = &l } }

// percent sets the budgets the way a kind does.
func percent(unavailable, surge string) specOption {
	return func(s *Spec) {
		u, x := intstr.Parse(unavailable), intstr.Parse(surge)
		s.MaxUnavailable, s.MaxSurge, _ = Budgets(s.Replicas, &u, &x, s.Paused)
	}
}

type podOption func(*Pod)

func up(name, revision string, options ...podOption) Pod {
	p := Pod{
		Name: name, Slot: name, Revision: revision, Node: "node-" + name,
		Phase: Running, Ready: true, ReadySince: noon.Add(-time.Hour), Created: noon.Add(-2 * time.Hour),
		State: Normal, InPlace: InPlace{Done: true},
	}
	for _, o := range options {
		o(&p)
	}
	return p
}

func down(name, revision string, options ...podOption) Pod {
	return up(name, revision, append([]podOption{func(p *Pod) { p.Ready = false }}, options...)...)
}

// ups are n pods that are up, named after their revision: b00, b01, ...
func ups(n int, revision string, options ...podOption) []Pod {
	var pods []Pod
	for i := range n {
		pods = append(pods, up(fmt.Sprintf("%s%02d", revision, i), revision, options...))
	}
	return pods
}

func marked(p *Pod)                        { p.Marked = true }
func in(s State) podOption                 { return func(p *Pod) { p.State = s } }
func on(node string) podOption             { return func(p *Pod) { p.Node = node } }
func blocked(why string) podOption         { return func(p *Pod) { p.Blocked = why } }
func readyFor(d time.Duration) podOption   { return func(p *Pod) { p.ReadySince = noon.Add(-d) } }
func createdAgo(d time.Duration) podOption { return func(p *Pod) { p.Created = noon.Add(-d) } }
func changing(why string) podOption {
	return func(p *Pod) { p.InPlace = InPlace{Why: why} }
}
func terminating(p *Pod)  { p.Terminating = true }
func finished(p *Pod)     { p.Phase = Finished }
func hookedDelete(p *Pod) { p.HookedDelete = true }
func hookedUpdate(p *Pod) { p.HookedUpdate = true }

func join(lists ...[]Pod) []Pod { return slices.Concat(lists...) }
