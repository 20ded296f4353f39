package brake

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func leaving(n int, gap time.Duration) []Departure {
	var out []Departure
	for i := range n {
		out = append(out, Departure{Name: fmt.Sprintf("w%d", i), At: noon.Add(time.Duration(i) * gap)})
	}
	return out
}

func TestCrowds(t *testing.T) {
	for name, tc := range map[string]struct {
		total, share int
		departures   []Departure
		want         int // works held
	}{
		"none leave":                         {total: 100, share: 25},
		"two may always leave":               {total: 2, share: 25, departures: leaving(2, 0)},
		"three of three may not":             {total: 3, share: 25, departures: leaving(3, 0), want: 3},
		"a quarter may":                      {total: 100, share: 25, departures: leaving(25, time.Second)},
		"one more may not":                   {total: 100, share: 25, departures: leaving(26, time.Second), want: 26},
		"over a long time all may":           {total: 100, share: 25, departures: leaving(100, time.Minute)},
		"a burst among many is seen":         {total: 40, share: 25, departures: append(leaving(10, time.Hour), burst(11, noon.Add(30*time.Minute))...), want: 11},
		"order does not matter":              {total: 3, share: 25, departures: []Departure{{"c", noon.Add(time.Minute)}, {"a", noon}, {"b", noon}}, want: 3},
		"a share of 100 percent is no limit": {total: 10, share: 100, departures: leaving(10, 0)},
		"exactly the window is together":     {total: 3, share: 25, departures: leaving(3, Window/2), want: 3},
		"beyond it is not":                   {total: 3, share: 25, departures: leaving(3, Window/2+time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			got := Crowds(tc.total, tc.departures, tc.share)
			if len(got) != tc.want {
				t.Errorf("%d are held: %v", len(got), got)
			}
			for name, c := range got {
				if c.Count != tc.want || c.Total != tc.total {
					t.Errorf("%s: %+v", name, c)
				}
			}
		})
	}
}

func burst(n int, at time.Time) []Departure {
	var out []Departure
	for i := range n {
		out = append(out, Departure{Name: fmt.Sprintf("b%d", i), At: at})
	}
	return out
}

func TestWhatIsHeldSaysHowManyAndHowToGoOn(t *testing.T) {
	f := Facts{Work: "web", Namespace: "east", Objects: 3, Crowd: Crowd{Count: 9, Total: 12}, Answer: Alive, AliveSince: noon.Add(-time.Hour)}
	v := Decide(f, noon)
	for _, part := range []string{"9 of 12", "3 objects", "flotilla.dev/confirm-removal=web", "ManagedCluster east flotilla.dev/confirm-mass-removal=east"} {
		if !strings.Contains(v.Held, part) {
			t.Errorf("%q is not in %q", part, v.Held)
		}
	}
	if v.Go || !v.Lasting || v.After <= 0 {
		t.Errorf("%+v", v)
	}
	f.Crowd, f.Before = Crowd{}, v.Held // the others are gone by now
	if later := Decide(f, noon); later.Go || later.Held != v.Held {
		t.Errorf("later: %+v", later)
	}
	f.Confirmed = true
	if !Decide(f, noon).Go {
		t.Error("a confirmation does not let it go")
	}
}

func TestAHistoryThatCannotBeTrustedHolds(t *testing.T) {
	f := Facts{Work: "web", Objects: 1, History: "it went back", Answer: Alive, AliveSince: noon.Add(-time.Hour)}
	if v := Decide(f, noon); v.Go || v.Held != "it went back" || v.Lasting || v.After <= 0 {
		t.Errorf("%+v", v)
	}
	f.Confirmed = true
	if !Decide(f, noon).Go {
		t.Error("a confirmation of the single work does not let it go")
	}
}
