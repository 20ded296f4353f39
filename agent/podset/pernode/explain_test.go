package pernode

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flotilla-project/flotilla/agent/podset"
)

func blocked(p *Pod) { down(p); p.Blocked = "ImagePullBackOff" }

func TestWhatASetWaitsFor(t *testing.T) {
	many := func(n int, change ...func(*Pod)) (all []Pod) {
		for i := range n {
			all = append(all, pod(fmt.Sprintf("n%d", i), "b", change...))
		}
		return all
	}
	for name, tc := range map[string]struct {
		spec Spec
		pods []Pod
		want string
		who  int
	}{
		"nothing":                              {set(2), many(2), "", 0},
		"pods that are still to be made":       {set(2), many(1), "", 0},
		"a pod that starts":                    {set(2), []Pod{pod("n0", "b"), pod("n1", "b", down)}, "1 of 2 down, waiting for n1b on n1", 1},
		"a pod that nobody has bound":          {set(1), []Pod{pod("n0", "b", unbound, func(p *Pod) { p.Blocked = "Unschedulable" })}, "1 of 1 down, waiting for n0b on n0: Unschedulable", 1},
		"a blocked pod before one that starts": {set(3), []Pod{pod("n0", "b", down), pod("n1", "b", blocked), pod("n2", "b")}, "2 of 3 down, waiting for n1b on n1: ImagePullBackOff and 1 more", 2},
		"a hook before a pod that starts":      {set(2), []Pod{pod("n0", "b", down), pod("n1", "b", hooked, preparing, down)}, "2 of 2 down, waiting for n1b on n1: hook preDelete and 1 more", 2},
		"a rollout with its budget used up":    {set(3), []Pod{pod("n0", "a"), pod("n1", "a"), pod("n2", "b", down)}, "1 of 3 updated, 1 down, waiting for n2b on n2", 1},
		"a rollout that is paused":             {set(2, func(s *Spec) { s.Rolling = false }), []Pod{pod("n0", "a"), pod("n1", "b", down)}, "1 of 2 down, waiting for n1b on n1", 1},
		"a pod on its way out":                 {set(2), []Pod{pod("n0", "a"), pod("n1", "a", terminating, down)}, "0 of 2 updated, 1 down, waiting for n1a on n1: it is on its way out", 1},
		"one on its way out that is replaced":  {set(1), []Pod{pod("n0", "a", terminating, down, age(3*time.Hour)), pod("n0", "b")}, "", 0},
		"one on its way out from a bad node":   {set(1, tainted("n0", false)), []Pod{pod("n0", "b", terminating)}, "", 0},
		"a hook":                               {set(1, tainted("n0", false)), []Pod{pod("n0", "b", hooked, preparing)}, "0 of 0 down, waiting for n0b on n0: hook preDelete", 1},
		"a pod that is let go":                 {set(1, tainted("n0", false)), []Pod{pod("n0", "b", preparing)}, "", 0},
		"a surge": {set(2, surge(1)), []Pod{pod("n0", "a"), pod("n1", "a", age(3*time.Hour)), pod("n1", "b", blocked)},
			"0 of 2 updated, 0 down, waiting for n1b on n1: ImagePullBackOff", 1},
		"a pod that soaks":      {set(1, soak), []Pod{pod("n0", "b", readyFor(time.Second))}, "1 of 1 down, waiting for n0b on n0", 1},
		"a pod that has soaked": {set(1, soak), []Pod{pod("n0", "b", readyFor(10*time.Second))}, "", 0},
		"a closed gate":         {set(1), []Pod{pod("n0", "b", closed)}, "1 of 1 down, waiting for n0b on n0", 1},
		"an update in place": {set(1), []Pod{pod("n0", "b", closed, func(p *Pod) { p.Pod.InPlace = podset.InPlace{Why: "container main still runs its old image"} })},
			"1 of 1 down, waiting for n0b on n0: container main still runs its old image", 1},
		"an update in place without room": {set(1), []Pod{pod("n0", "b", func(p *Pod) { p.Pod.InPlace, p.Blocked = podset.InPlace{Why: "cpu"}, "ResizeInfeasible" })},
			"0 of 1 down, waiting for n0b on n0: ResizeInfeasible", 1},
		"a failed pod goes now":      {set(1), []Pod{pod("n0", "b", failing)}, "", 0},
		"a failed pod is left alone": {set(1), []Pod{pod("n0", "b", failing, restingFor(time.Minute))}, "1 of 1 down, waiting for n0b on n0: it failed, as others before it; the next one comes at 12:01:00 UTC", 1},
		"many":                       {set(20), many(20, blocked), "20 of 20 down, waiting for n0b on n0: ImagePullBackOff and 9 more", 10},
		"a set that leaves":          {set(1, func(s *Spec) { s.Deleting = true }), many(1, down), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			plan := Decide(tc.spec, tc.pods, noon)
			if d := cmp.Diff(tc.want, plan.Message); d != "" {
				t.Error(d)
			}
			if len(plan.Waiting.Culprits) != tc.who {
				t.Errorf("%d culprits", len(plan.Waiting.Culprits))
			}
		})
	}
}
