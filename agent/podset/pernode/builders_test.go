package pernode

import (
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flotilla-project/flotilla/agent/podset"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// nodes are n0, n1 and so on, which all run a pod.
func nodes(n int) []Node {
	var all []Node
	for i := range n {
		all = append(all, Node{Name: fmt.Sprintf("n%d", i), Run: true, Keep: true})
	}
	return all
}

// set rolls out revision b with maxUnavailable 1 over n nodes.
func set(n int, change ...func(*Spec)) Spec {
	s := Spec{Nodes: nodes(n), Revision: "b", Rolling: true, MaxUnavailable: 1, Burst: 250}
	for _, c := range change {
		c(&s)
	}
	return s
}

func surge(n int) func(*Spec) {
	return func(s *Spec) { s.MaxUnavailable, s.MaxSurge, s.Surge = 0, n, true }
}

func partition(n int) func(*Spec) { return func(s *Spec) { s.Partition = n } }

func soak(s *Spec) { s.MinReady = 10 * time.Second }

// only chooses nodes for the update.
func only(names ...string) func(*Spec) {
	return func(s *Spec) {
		s.Selective = true
		for i := range s.Nodes {
			for _, name := range names {
				s.Nodes[i].Selected = s.Nodes[i].Selected || s.Nodes[i].Name == name
			}
		}
	}
}

func tainted(name string, keep bool) func(*Spec) {
	return func(s *Spec) {
		for i := range s.Nodes {
			if s.Nodes[i].Name == name {
				s.Nodes[i].Run, s.Nodes[i].Keep = false, keep
			}
		}
	}
}

// pod of revision b is new, any other old; it is named after its node and revision.
func pod(node, revision string, change ...func(*Pod)) Pod {
	p := Pod{
		Pod: podset.Pod{
			Name: node + revision, Node: node, Revision: revision, Phase: podset.Running, Ready: true,
			ReadySince: noon.Add(-time.Hour), Created: noon.Add(-2 * time.Hour), InPlace: podset.InPlace{Done: true},
		},
		Bound: true, Fresh: revision == "b",
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func down(p *Pod)        { p.Ready = false }
func terminating(p *Pod) { p.Terminating = true }
func hooked(p *Pod)      { p.HookedDelete = true }
func preparing(p *Pod)   { p.State = podset.PreparingDelete }
func failing(p *Pod)     { p.Phase, p.Ready = podset.Finished, false }
func fits(p *Pod)        { p.InPlace = true }
func unbound(p *Pod)     { p.Bound, p.Phase, p.Ready = false, podset.Pending, false }
func closed(p *Pod)      { p.GateClosed = true }

func readyFor(d time.Duration) func(*Pod) { return func(p *Pod) { p.ReadySince = noon.Add(-d) } }
func named(name string) func(*Pod)        { return func(p *Pod) { p.Name = name } }
func age(d time.Duration) func(*Pod)      { return func(p *Pod) { p.Created = noon.Add(-d) } }

func restingFor(d time.Duration) func(*Pod) {
	return func(p *Pod) { p.KeepUntil = noon.Add(d) }
}

// does are the actions of a plan in few words.
func does(p Plan) []string {
	var all []string
	for _, c := range p.Create {
		all = append(all, "create "+c.Slot)
	}
	for _, d := range p.Delete {
		all = append(all, "delete "+d.Pod)
	}
	for _, u := range p.Update {
		all = append(all, u.String())
	}
	for _, r := range p.Refresh {
		all = append(all, r.String())
	}
	return all
}

var sameText = cmp.Options{cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b string) bool { return a < b })}
