package evict

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	workv1 "open-cluster-management.io/api/work/v1"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) { // OCM-15.6
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	base := Facts{Ours: true, Heard: ago(24 * time.Hour), Grace: time.Hour}
	for name, tc := range map[string]struct {
		change func(*Facts)
		want   Action
		wait   time.Duration
	}{
		"a work that vanished starts the clock":        {func(*Facts) {}, Start, 0},
		"the grace runs":                               {func(f *Facts) { f.Started = ago(20 * time.Minute) }, Keep, 40 * time.Minute},
		"the grace is over":                            {func(f *Facts) { f.Started = ago(time.Hour) }, Due, 0},
		"no grace at all":                              {func(f *Facts) { f.Started, f.Grace = noon, 0 }, Due, 0},
		"a work that is there":                         {func(f *Facts) { f.Listed = true }, Keep, 0},
		"a work that came back":                        {func(f *Facts) { f.Listed, f.Started = true, ago(time.Hour) }, Clear, 0},
		"another agent's record":                       {func(f *Facts) { f.Ours, f.Started = false, ago(2*time.Hour) }, Keep, 0},
		"it is going already":                          {func(f *Facts) { f.Leaving, f.Started = true, ago(2*time.Hour) }, Keep, 0},
		"a hub that is not heard starts nothing":       {func(f *Facts) { f.Heard = time.Time{} }, Keep, 0},
		"nor ends a grace":                             {func(f *Facts) { f.Heard, f.Started = time.Time{}, ago(2*time.Hour) }, Keep, 0},
		"nor calls a grace off":                        {func(f *Facts) { f.Heard, f.Started, f.Listed = time.Time{}, ago(time.Minute), true }, Keep, 0},
		"heard again: the whole grace from then":       {func(f *Facts) { f.Started, f.Heard = ago(3*time.Hour), ago(10*time.Minute) }, Keep, 50 * time.Minute},
		"100 years is never":                           {func(f *Facts) { f.Grace = Off }, Keep, 0},
		"100 years is never, also for a grace begun":   {func(f *Facts) { f.Grace, f.Started = Off, ago(200*time.Hour) }, Keep, 0},
		"a little less than 100 years is a long grace": {func(f *Facts) { f.Grace, f.Started = Off-time.Hour, noon }, Keep, Off - time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			f := base
			tc.change(&f)
			if got, wait := Decide(f, noon); got != tc.want || wait != tc.wait {
				t.Errorf("%s in %s, want %s in %s", got, wait, tc.want, tc.wait)
			}
		})
	}
}

func TestOf(t *testing.T) {
	begun := metav1.NewTime(noon)
	record := &workv1.AppliedManifestWork{
		ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &begun},
		Status:     workv1.AppliedManifestWorkStatus{EvictionStartTime: &begun},
	}
	if got, want := Of(record), (Facts{Leaving: true, Started: noon}); got != want {
		t.Errorf("%+v", got)
	}
	if got := Of(&workv1.AppliedManifestWork{}); got != (Facts{}) {
		t.Errorf("%+v", got)
	}
}
