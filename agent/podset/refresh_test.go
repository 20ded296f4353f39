package podset

import "testing"

// WL-1.12
func TestRefresh(t *testing.T) {
	all := Lifecycle{PreNormal: &Hook{}, InPlaceUpdate: &Hook{}}
	step := func(due Step) podOption { return func(p *Pod) { p.InPlace.Due = due } }
	pending := func(p *Pod) { p.InPlace.Done = false }
	hookedNormal := func(p *Pod) { p.AllHookedNormal = true }
	hookedAll := func(p *Pod) { p.AllHookedUpdate = true }
	one := func(s Spec, p Pod, want ...string) rollout { return rollout{spec: s, pods: []Pod{p}, want: want} }
	run(t, map[string]rollout{
		"new pods become Normal":                 one(steady(1), up("0", "b", in(PreparingNormal)), "refresh 0 to Normal"),
		"also when they are not ready":           one(steady(1), down("0", "b", in(PreparingNormal)), "refresh 0 to Normal"),
		"with a lifecycle without preNormal too": one(steady(1, lifecycle(Lifecycle{})), up("0", "b", in(PreparingNormal)), "refresh 0 to Normal"),
		"not before the preNormal hook is there": one(steady(1, lifecycle(all)), up("0", "b", in(PreparingNormal))),
		"but then":                               one(steady(1, lifecycle(all)), up("0", "b", in(PreparingNormal), hookedNormal), "refresh 0 to Normal"),
		"a finished update becomes Normal":       one(steady(1), up("0", "b", in(Updating)), "refresh 0 to Normal"),
		"an unfinished one stays":                one(steady(1), up("0", "b", in(Updating), pending)),
		"with a hook it becomes Updated":         one(steady(1, lifecycle(all)), up("0", "b", in(Updating)), "refresh 0 to Updated"),
		"unless the hook is there again":         one(steady(1, lifecycle(all)), up("0", "b", in(Updating), hookedAll), "refresh 0 to Normal"),
		"with a lifecycle but no hook as well":   one(steady(1, lifecycle(Lifecycle{})), up("0", "b", in(Updating)), "refresh 0 to Updated"),
		"and then Normal in the next pass":       one(steady(1, lifecycle(Lifecycle{})), up("0", "b", in(Updated)), "refresh 0 to Normal"),
		"Updated without a lifecycle is Normal":  one(steady(1), up("0", "b", in(Updated)), "refresh 0 to Normal"),
		"Updated waits for its hook":             one(steady(1, lifecycle(all)), up("0", "b", in(Updated))),
		"and is Normal when the hook is back":    one(steady(1, lifecycle(all)), up("0", "b", in(Updated), hookedAll), "refresh 0 to Normal"),
		"rolled back while it prepared":          one(steady(1, lifecycle(all)), up("0", "b", in(PreparingUpdate), hookedUpdate, hookedAll), "refresh 0 to Normal"),
		"the empty state is never touched":       one(steady(1), up("0", "b", in(""))),
		"the gate opens":                         one(steady(1), down("0", "b", step(OpenGate)), "refresh 0, open gate: its containers are as wanted, it may become ready"),
		"together with a move":                   one(steady(1), down("0", "b", in(PreparingNormal), step(OpenGate)), "refresh 0 to Normal, open gate"),
		"the next batch":                         one(steady(1), down("0", "b", in(Updating), pending, step(NextBatch)), "refresh 0, next batch"),
		"a stale grace period is dropped":        one(steady(1), down("0", "b", step(DropGrace)), "refresh 0, drop grace"),
		"a missing template hash is written":     one(steady(1), up("0", "b", func(p *Pod) { p.LacksHash = true }), "refresh 0, hash: it lacks its template hash"),
		"a pod on its way out is refreshed":      one(steady(1, lifecycle(Lifecycle{PreDelete: &Hook{MarkNotReady: true}})), up("0", "b", in(PreparingDelete), hookedDelete, step(OpenGate)), "refresh 0, open gate"),
		"a grace period that is over is applied": one(steady(1), down("0", "b", pending, step(ApplyNow), func(p *Pod) { p.InPlace.NotBefore = noon }), "refresh 0, apply"),
		"a deleted pod is not refreshed as well": {spec: steady(1), pods: []Pod{up("0", "b"), up("1", "b", in(PreparingNormal))}, want: []string{"delete 1"}},
		"a pod that prepared for an update which others got goes back": {
			spec: toRevision("b", 2, partition(1), inPlace, lifecycle(all)),
			pods: []Pod{up("0", "a", in(PreparingUpdate)), up("1", "b")},
			want: []string{"refresh 0 to Updated"},
		},
		"one that prepares for an update still wanted waits": {
			spec: toRevision("b", 2, inPlace, lifecycle(all)),
			pods: []Pod{up("0", "a", in(PreparingUpdate), hookedUpdate), up("1", "b")},
		},
		"but the pods after it are": {
			spec: steady(1),
			pods: []Pod{down("0", "b"), up("1", "b", in(PreparingNormal))},
			want: []string{"refresh 1 to Normal", "delete 0"},
		},
		"pods on their way back to the current revision do not flap": {
			spec: toRevision("b", 1, partition(1), inPlace, rollback, lifecycle(all)),
			pods: []Pod{up("0", "b", in(PreparingUpdate), hookedUpdate)},
		},
	})
}
