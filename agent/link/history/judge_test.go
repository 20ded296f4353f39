package history

import (
	"strings"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	now := Seen{Cluster: "east", UID: "u1", ID: "h1", Version: "500", At: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	with := func(change func(*Seen)) Seen { s := now; change(&s); return s }
	held := func(m Memory) Memory { m.Held = "it jumped"; return m }
	before := Memory{ID: "h1", Version: "400"}
	for name, tc := range map[string]struct {
		memory Memory
		seen   Seen
		want   Memory // Held is only compared for being empty
	}{
		"a hub never heard is believed":             {Memory{}, now, Memory{ID: "h1", Version: "500"}},
		"time passes":                               {before, now, Memory{ID: "h1", Version: "500"}},
		"another id":                                {before, with(func(s *Seen) { s.ID = "h2" }), held(before)},
		"another id, confirmed with the restore":    {before, with(func(s *Seen) { s.ID, s.Confirmed = "h2", "h2" }), Memory{ID: "h2", Version: "500"}},
		"another id, an old confirmation":           {before, with(func(s *Seen) { s.ID, s.Confirmed = "h2", "h1" }), Memory{ID: "h1", Version: "400", Held: "x", Stale: "h1"}},
		"an id for the first time":                  {Memory{Version: "400"}, now, Memory{ID: "h1", Version: "500"}},
		"an id that is missing is no other":         {before, with(func(s *Seen) { s.ID = "" }), Memory{ID: "h1", Version: "500"}},
		"versions went back":                        {before, with(func(s *Seen) { s.Version = "399" }), held(before)},
		"versions went back on a stock hub":         {Memory{Version: "400"}, with(func(s *Seen) { s.ID, s.Version = "", "1" }), Memory{Version: "400", Held: "x"}},
		"the same version":                          {before, with(func(s *Seen) { s.Version = "400" }), Memory{ID: "h1", Version: "400"}},
		"a version of more digits is newer":         {before, with(func(s *Seen) { s.Version = "1000" }), Memory{ID: "h1", Version: "1000"}},
		"versions that do not compare":              {before, with(func(s *Seen) { s.Version = "" }), Memory{ID: "h1"}},
		"a work went back":                          {before, with(func(s *Seen) { s.Evidence = "x" }), held(before)},
		"a hold lasts":                              {held(before), now, held(before)},
		"also when the old id is back":              {held(before), with(func(s *Seen) { s.Version = "900" }), held(before)},
		"until the id is confirmed":                 {held(before), with(func(s *Seen) { s.ID, s.Confirmed = "h2", "h2" }), Memory{ID: "h2", Version: "500"}},
		"or, without an id, the cluster":            {held(Memory{Version: "400"}), with(func(s *Seen) { s.ID, s.Version, s.Confirmed = "", "7", "u1" }), Memory{Version: "7"}},
		"anything else confirms nothing":            {held(before), with(func(s *Seen) { s.Confirmed = "true" }), held(before)},
		"what stood there before confirms nothing":  {Memory{ID: "h1", Version: "400", Held: "x", Stale: "u1"}, with(func(s *Seen) { s.Confirmed = "u1" }), Memory{ID: "h1", Version: "400", Held: "x", Stale: "u1"}},
		"unless it was taken away in between":       {Memory{ID: "h1", Version: "400", Held: "x", Stale: "u1"}, now, held(before)},
		"a jump with a confirmation from before it": {before, with(func(s *Seen) { s.Version, s.Confirmed = "3", "h1" }), Memory{ID: "h1", Version: "400", Held: "x", Stale: "h1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Judge(tc.memory, tc.seen)
			if (got.Held != "") != (tc.want.Held != "") {
				t.Fatalf("held %q", got.Held)
			}
			if tc.memory.Held == "" && got.Held != "" && got.Since != "2026-01-01T12:00:00Z" {
				t.Errorf("since %q", got.Since)
			}
			got.Held, tc.want.Held, got.Since = "", "", ""
			if got != tc.want {
				t.Errorf("remembers %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestAHoldSaysWhatToDo(t *testing.T) {
	got := Judge(Memory{ID: "h1", Version: "400"}, Seen{Cluster: "east", UID: "u", ID: "h2", Version: "10", Confirmed: "h1"}).Held
	for _, part := range []string{"from h1 to h2", "annotate ManagedCluster east flotilla.dev/confirm-history=h2"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in %q", part, got)
		}
	}
	got = Judge(Memory{Version: "400"}, Seen{Cluster: "east", UID: "u", Version: "10", Confirmed: "u"}).Held
	for _, part := range []string{"from 400 to 10", "flotilla.dev/confirm-history=u (take the present annotation away first)"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in %q", part, got)
		}
	}
}
