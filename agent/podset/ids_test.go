package podset

import (
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func newSlots(spec Spec, pods []Pod) []string {
	var ids []string
	for _, c := range Decide(spec, pods, noon).Create {
		ids = append(ids, c.Slot)
	}
	return ids
}

func reuse(ids ...string) specOption { return func(s *Spec) { s.ReuseIDs = ids } }
func taken(ids ...string) specOption { return func(s *Spec) { s.TakenIDs = ids } }

// WL-1.4
func TestInstanceIDs(t *testing.T) {
	wire := regexp.MustCompile(`^[bcdfghjklmnpqrstvwxz2456789]{5}$`)
	ids := newSlots(steady(200), nil)
	for _, id := range ids {
		if !wire.MatchString(id) {
			t.Fatalf("id %q is not of the wire alphabet", id)
		}
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != 200 {
		t.Error("ids are not handed out once each in lexical order")
	}

	t.Run("no id is handed out that a pod or a claim has", func(t *testing.T) {
		var there []Pod
		for _, id := range ids[:50] {
			there = append(there, up("web-"+id, "b", func(p *Pod) { p.Slot = id; p.Terminating = true }))
		}
		for _, id := range newSlots(steady(200, taken(ids[50:100]...)), there) {
			if slices.Contains(ids[:100], id) {
				t.Errorf("%s is taken", id)
			}
		}
	})
	t.Run("claims that lost their pod come first", func(t *testing.T) {
		got := newSlots(steady(3, reuse("zzzzz", "bbbbb", "zzzzz")), nil)
		if len(got) != 3 || got[0] != "bbbbb" || got[2] != "zzzzz" {
			t.Errorf("ids %v do not use the claims of bbbbb and zzzzz", got)
		}
	})
	t.Run("and no more of them than pods are missing", func(t *testing.T) {
		if d := cmp.Diff([]string{"bbbbb"}, newSlots(steady(1, reuse("zzzzz", "bbbbb")), nil)); d != "" {
			t.Error(d)
		}
	})
	t.Run("a claim waits until the name of its pod is free", func(t *testing.T) {
		pods := []Pod{up("bbbbb", "b", terminating)}
		got := newSlots(steady(2, reuse("bbbbb")), pods)
		if len(got) != 1 || got[0] == "bbbbb" {
			t.Errorf("ids %v: want one fresh id and bbbbb held back", got)
		}
		if got := newSlots(steady(1, reuse("bbbbb")), pods); got != nil {
			t.Errorf("ids %v instead of waiting for bbbbb", got)
		}
	})
	t.Run("a finished pod keeps its name, so its claim is not waited for", func(t *testing.T) {
		got := newSlots(steady(1, reuse("bbbbb")), []Pod{up("bbbbb", "b", finished)})
		if len(got) != 1 || got[0] == "bbbbb" {
			t.Errorf("ids %v, want one fresh id", got)
		}
	})
	t.Run("another seed, other ids", func(t *testing.T) {
		if cmp.Equal(newSlots(steady(3), nil), newSlots(steady(3, func(s *Spec) { s.Seed = 2 }), nil)) {
			t.Error("the seed changes nothing")
		}
	})
}
