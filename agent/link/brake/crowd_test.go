package brake

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

func leaving(n int, gap time.Duration) []Departure {
	var out []Departure
	for i := range n {
		out = append(out, Departure{Name: fmt.Sprintf("w%d", i), At: noon.Add(time.Duration(i) * gap)})
	}
	return out
}

func vanished(departures []Departure) []Departure {
	for i := range departures {
		departures[i].Vanished = true
	}
	return departures
}

func gone(departures []Departure) []Departure {
	for i := range departures {
		departures[i].Gone = true
	}
	return departures
}

// inTurn are works that were each made when the one before was deleted.
func inTurn(n int) []Departure {
	out := leaving(n, time.Second)
	for i := range out {
		out[i].Born = out[i].At.Add(-time.Millisecond)
	}
	return out
}

func TestCrowds(t *testing.T) {
	for name, tc := range map[string]struct {
		total, share int
		departures   []Departure
		want         int // works held
	}{
		"none leave":                             {total: 100, share: 25},
		"two may always vanish":                  {total: 2, share: 25, departures: vanished(leaving(2, 0))},
		"three of three may not":                 {total: 3, share: 25, departures: vanished(leaving(3, 0)), want: 3},
		"a quarter may vanish":                   {total: 100, share: 25, departures: vanished(leaving(25, time.Second))},
		"one more may not":                       {total: 100, share: 25, departures: vanished(leaving(26, time.Second)), want: 26},
		"five may always be deleted":             {total: 5, share: 25, departures: leaving(5, 0)},
		"six of six may not":                     {total: 6, share: 25, departures: leaving(6, 0), want: 6},
		"30 percent may be deleted":              {total: 100, share: 25, departures: leaving(30, time.Second)},
		"one more may not be":                    {total: 100, share: 25, departures: leaving(31, time.Second), want: 31},
		"deleted ones do not hold vanished":      {total: 6, share: 25, departures: append(vanished(burst(2, noon)), leaving(3, 0)...)},
		"vanished ones do not hold deleted":      {total: 6, share: 25, departures: append(vanished(burst(3, noon)), leaving(2, 0)...), want: 3},
		"together they may be too many":          {total: 6, share: 25, departures: append(vanished(burst(2, noon)), leaving(4, 0)...), want: 6},
		"over a long time all may":               {total: 100, share: 25, departures: vanished(leaving(100, time.Minute))},
		"a burst among many is seen":             {total: 40, share: 25, departures: append(leaving(10, time.Hour), burst(13, noon.Add(30*time.Minute))...), want: 13},
		"order does not matter":                  {total: 3, share: 25, departures: vanished([]Departure{{Name: "c", At: noon.Add(time.Minute)}, {Name: "a", At: noon}, {Name: "b", At: noon}}), want: 3},
		"a share of 100 percent is no limit":     {total: 10, share: 100, departures: vanished(leaving(10, 0))},
		"a share of none leaves the few":         {total: 100, share: 0, departures: leaving(6, 0), want: 6},
		"exactly the window is together":         {total: 3, share: 25, departures: vanished(leaving(3, Window/2)), want: 3},
		"beyond it is not":                       {total: 3, share: 25, departures: vanished(leaving(3, Window/2+time.Second))},
		"made and deleted in turn is never much": {total: 50, share: 25, departures: inTurn(50)},
		"nor does it hold what was there before": {total: 55, share: 5, departures: append(inTurn(50), burst(4, noon.Add(50*time.Second))...)},
		"nor does it make the whole larger":      {total: 6, share: 25, departures: append(gone(inTurn(50)), burst(6, noon.Add(time.Hour))...), want: 6},
		"those gone were part of the whole":      {total: 70, share: 25, departures: append(gone(burst(30, noon)), leaving(0, 0)...)},
		"and too many of it are too many":        {total: 60, share: 25, departures: append(gone(burst(30, noon)), leaving(1, 0)...), want: 31},
		"but what was there together is held":    {total: 56, share: 5, departures: append(inTurn(50), burst(6, noon.Add(time.Hour))...), want: 6},
	} {
		t.Run(name, func(t *testing.T) {
			got := Crowds(tc.total, tc.departures, tc.share)
			if len(got) != tc.want {
				t.Errorf("%d are held: %v", len(got), got)
			}
			for name, c := range got {
				if c.Count != tc.want || c.Total < tc.total {
					t.Errorf("%s: %+v", name, c)
				}
			}
		})
	}
}

func TestExcused(t *testing.T) {
	finished := []metav1.Condition{{Type: workv1.WorkComplete, Status: metav1.ConditionTrue}}
	for name, tc := range map[string]struct {
		work workv1.ManifestWork
		want bool
	}{
		"nothing":               {},
		"confirmed":             {work: workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{Confirm: "web"}}}, want: true},
		"confirmed for another": {work: workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{Confirm: "web2"}}}},
		"orphans":               {work: workv1.ManifestWork{Spec: workv1.ManifestWorkSpec{DeleteOption: &workv1.DeleteOption{PropagationPolicy: "Orphan"}}}, want: true},
		"orphans some":          {work: workv1.ManifestWork{Spec: workv1.ManifestWorkSpec{DeleteOption: &workv1.DeleteOption{PropagationPolicy: "SelectivelyOrphan"}}}},
		"to go when finished":   {work: workv1.ManifestWork{Spec: workv1.ManifestWorkSpec{DeleteOption: &workv1.DeleteOption{TTLSecondsAfterFinished: new(int64)}}}},
		"finished, and to go": {work: workv1.ManifestWork{
			Spec: workv1.ManifestWorkSpec{DeleteOption: &workv1.DeleteOption{TTLSecondsAfterFinished: new(int64)}}, Status: workv1.ManifestWorkStatus{Conditions: finished},
		}, want: true},
		"finished only": {work: workv1.ManifestWork{Status: workv1.ManifestWorkStatus{Conditions: finished}}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.work.Name = "web"
			if Excused(&tc.work) != tc.want {
				t.Error(!tc.want)
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
