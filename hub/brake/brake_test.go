package brake

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	workv1 "open-cluster-management.io/api/work/v1"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// works are so many, each a second after the other, the last one so long ago.
func works(prefix string, n int, ago time.Duration) map[types.UID]Departure {
	all := map[types.UID]Departure{}
	for i := range n {
		all[types.UID(fmt.Sprint(prefix, i))] = Departure{At: noon.Add(-ago - time.Duration(i)*time.Second)}
	}
	return all
}

// inTurn are so many, each made when the one before was removed, a second each, the last one a second ago.
func inTurn(n int) map[types.UID]Departure {
	all := map[types.UID]Departure{}
	for i := range n {
		at := noon.Add(-time.Duration(i+1) * time.Second)
		all[types.UID(fmt.Sprint("turn", i))] = Departure{Born: at.Add(-time.Second + time.Millisecond), At: at}
	}
	return all
}

func merged(a, b map[types.UID]Departure) map[types.UID]Departure {
	maps.Copy(a, b)
	return a
}

func TestDecide(t *testing.T) {
	for name, tc := range map[string]struct {
		facts Facts
		want  Verdict
	}{
		"the first of many":           {Facts{Total: 100}, Verdict{Counts: true, Wanted: 1, Limit: 20}},
		"the last that may":           {Facts{Total: 100, Removed: works("a", 19, time.Minute)}, Verdict{Counts: true, Wanted: 20, Limit: 20}},
		"one too many":                {Facts{Total: 100, Removed: works("a", 20, time.Minute)}, Verdict{Refused: true, Wanted: 21, Limit: 20}},
		"a few are never many":        {Facts{Total: 5, Removed: works("a", 4, time.Minute)}, Verdict{Counts: true, Wanted: 5, Limit: 5}},
		"few and one more":            {Facts{Total: 6, Removed: works("a", 5, time.Minute)}, Verdict{Refused: true, Wanted: 6, Limit: 5}},
		"removals long ago":           {Facts{Total: 100, Removed: works("a", 50, Window)}, Verdict{Counts: true, Wanted: 1, Limit: 20}},
		"confirmed":                   {Facts{Total: 100, Removed: works("a", 20, time.Minute), Excuse: "it is confirmed"}, Verdict{Limit: 20}},
		"confirmed for all":           {Facts{Total: 100, Removed: works("a", 20, time.Minute), ConfirmedUntil: noon.Add(time.Second)}, Verdict{Limit: 20}},
		"confirmed until a while ago": {Facts{Total: 100, Removed: works("a", 20, time.Minute), ConfirmedUntil: noon}, Verdict{Refused: true, Wanted: 21, Limit: 20}},
		"the same once more":          {Facts{Work: "a3", Total: 100, Removed: works("a", 25, time.Minute)}, Verdict{Limit: 20}},
		"what was refused still counts after the window":    {Facts{Total: 100, Held: works("a", 20, 20*time.Minute)}, Verdict{Refused: true, Wanted: 21, Limit: 20}},
		"what went before counts as long as any is held":    {Facts{Total: 10, Removed: works("a", 5, 25*time.Minute), Held: works("b", 1, 15*time.Minute), HeldSince: noon.Add(-20 * time.Minute)}, Verdict{Refused: true, Wanted: 7, Limit: 5}},
		"what nobody asked for any more does not":           {Facts{Total: 100, Held: works("a", 20, Hold)}, Verdict{Counts: true, Wanted: 1, Limit: 20}},
		"refused once and let go later is one":              {Facts{Total: 100, Removed: works("a", 19, time.Minute), Held: works("a", 19, time.Minute)}, Verdict{Counts: true, Wanted: 20, Limit: 20}},
		"the one that was refused before is the same one":   {Facts{Work: "a0", Total: 100, Held: works("a", 20, time.Minute)}, Verdict{Counts: true, Wanted: 20, Limit: 20}},
		"what was made and removed in turn was never much":  {Facts{Total: 1, Removed: inTurn(200)}, Verdict{Counts: true, Wanted: 2, Limit: 5}},
		"nor is it for one that was made after all of them": {Facts{Total: 1, Removed: inTurn(200), Born: noon.Add(-time.Millisecond)}, Verdict{Counts: true, Wanted: 1, Limit: 5}},
		"one made since is no part of what went before":     {Facts{Total: 10, Removed: works("a", 9, time.Minute), Born: noon.Add(-time.Second)}, Verdict{Counts: true, Wanted: 1, Limit: 5}},
		"nor of what is held":                               {Facts{Total: 10, Held: works("a", 9, time.Minute), Removed: works("b", 5, time.Minute), HeldSince: noon.Add(-time.Minute), Born: noon}, Verdict{Refused: true, Wanted: 10, Limit: 5}},
		"a fleet is as large as it was when they left":      {Facts{Total: 80, Gone: 20, Removed: works("a", 20, time.Minute)}, Verdict{Refused: true, Wanted: 21, Limit: 20}},
		"what came and went makes it no larger":             {Facts{Total: 10, Gone: 200, Removed: merged(inTurn(200), works("a", 6, 0))}, Verdict{Refused: true, Wanted: 8, Limit: 5}},
		"switched off":                                      {Facts{Share: 100, Total: 100, Removed: works("a", 99, time.Minute)}, Verdict{Limit: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.facts.Share == 0 {
				tc.facts.Share = 20
			}
			if tc.facts.Work == "" {
				tc.facts.Work = "this"
			}
			tc.facts.Few = 5
			if got := Decide(tc.facts, noon); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestTheMessageSaysTheNumbersAndTheWayOn(t *testing.T) {
	got := Verdict{Refused: true, Wanted: 21, Limit: 20}.Message("the fleet", "east", "web", noon)
	for _, want := range []string{"21 works of the fleet", "10 minutes", "more than 20", "ManifestWork east/web",
		"kubectl annotate manifestwork -n east web flotilla.dev/confirm-removal=web",
		"kubectl annotate namespace flotilla-system --overwrite flotilla.dev/confirm-mass-removal=2026-05-01T12:30:00Z"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

func TestExcuse(t *testing.T) {
	complete := []metav1.Condition{{Type: workv1.WorkComplete, Status: metav1.ConditionTrue}}
	for name, tc := range map[string]struct {
		change func(*workv1.ManifestWork)
		want   string
	}{
		"none":                   {func(*workv1.ManifestWork) {}, ""},
		"confirmed by name":      {annotated("web"), "it is confirmed"},
		"confirmed for another":  {annotated("web2"), ""},
		"confirmed with nothing": {annotated(""), ""},
		"orphans":                {func(w *workv1.ManifestWork) { w.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: "Orphan"} }, "it leaves everything running"},
		"foreground": {func(w *workv1.ManifestWork) {
			w.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: "Foreground"}
		}, ""},
		"selective orphans": {func(w *workv1.ManifestWork) {
			w.Spec.DeleteOption = &workv1.DeleteOption{PropagationPolicy: "SelectivelyOrphan"}
		}, ""},
		"finished, to be cleaned up": {func(w *workv1.ManifestWork) {
			w.Spec.DeleteOption = &workv1.DeleteOption{TTLSecondsAfterFinished: new(int64)}
			w.Status.Conditions = complete
		}, "it is finished and asked to go"},
		"finished, but nobody said so": {func(w *workv1.ManifestWork) { w.Status.Conditions = complete }, ""},
		"not finished": {func(w *workv1.ManifestWork) {
			w.Spec.DeleteOption = &workv1.DeleteOption{TTLSecondsAfterFinished: new(int64)}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "web"}}
			tc.change(w)
			if got := Excuse(w); got != tc.want {
				t.Errorf("%q", got)
			}
		})
	}
}

func annotated(value string) func(*workv1.ManifestWork) {
	return func(w *workv1.ManifestWork) { w.Annotations = map[string]string{"flotilla.dev/confirm-removal": value} }
}

func TestShrinks(t *testing.T) {
	for _, tc := range []struct {
		old, new int
		want     bool
	}{{10, 10, false}, {10, 5, false}, {10, 4, true}, {1, 0, true}, {1, 1, false}, {2, 1, false}, {3, 1, true}, {0, 0, false}, {1, 9, false}} {
		holding := func(n int) *workv1.ManifestWork {
			return &workv1.ManifestWork{Spec: workv1.ManifestWorkSpec{Workload: workv1.ManifestsTemplate{Manifests: make([]workv1.Manifest, n)}}}
		}
		if got := Shrinks(holding(tc.old), holding(tc.new)); got != tc.want {
			t.Errorf("from %d to %d: %v", tc.old, tc.new, got)
		}
	}
}

func TestWhatTravelsWithAWorkloadMayGo(t *testing.T) {
	raw := func(texts ...string) (all []workv1.Manifest) {
		for _, text := range texts {
			all = append(all, workv1.Manifest{RawExtension: runtime.RawExtension{Raw: []byte(text)}})
		}
		return all
	}
	const (
		namespace = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`
		config    = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"shop","name":"config"}}`
		web       = `{"apiVersion":"apps.kruise.io/v1alpha1","kind":"CloneSet","metadata":{"namespace":"shop","name":"web"}}`
		other     = `{"apiVersion":"apps.kruise.io/v1alpha1","kind":"CloneSet","metadata":{"namespace":"shop","name":"other"}}`
	)
	full := raw(namespace, config, config, config, web)
	for name, tc := range map[string]struct {
		subset string
		is     []workv1.Manifest
		want   bool
	}{
		"the workload stays":               {"a", raw(namespace, web), false},
		"the workload goes":                {"a", raw(namespace, config), true},
		"another takes its place":          {"a", raw(namespace, other), true},
		"all goes":                         {"a", nil, true},
		"a work that nobody can tell more": {"", raw(namespace, web), true},
	} {
		t.Run(name, func(t *testing.T) {
			old := &workv1.ManifestWork{Spec: workv1.ManifestWorkSpec{Workload: workv1.ManifestsTemplate{Manifests: full}}}
			if tc.subset != "" {
				old.Labels = map[string]string{"apps.flotilla.dev/subset": tc.subset}
			}
			if got := Shrinks(old, &workv1.ManifestWork{Spec: workv1.ManifestWorkSpec{Workload: workv1.ManifestsTemplate{Manifests: tc.is}}}); got != tc.want {
				t.Error(got)
			}
		})
	}
}

func TestConfirmedUntil(t *testing.T) {
	const key = "flotilla.dev/confirm-mass-removal"
	if until, err := ConfirmedUntil(map[string]string{key: "2026-05-01T12:00:00Z"}); err != nil || !until.Equal(noon) {
		t.Error(until, err)
	}
	if until, err := ConfirmedUntil(nil); err != nil || !until.IsZero() {
		t.Error(until, err)
	}
	if until, err := ConfirmedUntil(map[string]string{key: "yes"}); err == nil || !until.IsZero() || !strings.Contains(err.Error(), "=yes") {
		t.Error(until, err)
	}
}

// A fleet of so many works whose removal somebody asks for again and again, as a controller does.
func TestHoweverLongSomebodyAsksNoMoreThanTheShareGoes(t *testing.T) {
	for seed := range uint64(30) {
		luck := rand.New(rand.NewPCG(seed, 1))
		now := clocktesting.NewFakePassiveClock(noon)
		n := 1 + luck.IntN(80)
		l := NewLedger(5, 20, now)
		for i := range n {
			l.There(types.UID(fmt.Sprint(i)), time.Time{})
		}
		gone := map[int]bool{}
		pause := time.Second
		for round := range 40 {
			for i := range luck.IntN(6) { // meanwhile others try things out
				work := types.UID(fmt.Sprint("tried", round, "-", i))
				now.SetTime(now.Now().Add(time.Millisecond))
				l.There(work, now.Now())
				now.SetTime(now.Now().Add(time.Millisecond))
				l.Judge(work, "", time.Time{}, false)
				l.Gone(work)
			}
			for _, i := range luck.Perm(n) {
				if !gone[i] && !l.Judge(types.UID(fmt.Sprint(i)), "", time.Time{}, false).Refused {
					gone[i] = true
					l.Left(types.UID(fmt.Sprint(i)), now.Now())
					l.Gone(types.UID(fmt.Sprint(i)))
				}
			}
			now.SetTime(now.Now().Add(pause))
			pause = min(2*pause, 1000*time.Second) // the longest pause of a controller
		}
		if limit := max(5, n/5); len(gone) > limit {
			t.Errorf("seed %d: %d of %d works are gone, %d may", seed, len(gone), n, limit)
		}
	}
}

func TestALedgerCountsWhatItSees(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(noon)
	l := NewLedger(5, 20, now)
	for i := range 10 {
		l.There(types.UID(fmt.Sprint(i)), time.Time{})
	}
	// Another replica let five go; one of them long ago.
	for i := range 4 {
		l.Left(types.UID(fmt.Sprint(i)), noon.Add(-time.Minute))
		l.Gone(types.UID(fmt.Sprint(i)))
	}
	l.Left("4", noon.Add(-Window))
	if v := l.Judge("5", "", time.Time{}, true); v.Refused || v.Wanted != 5 {
		t.Errorf("a rehearsal: %+v", v)
	}
	if v := l.Judge("6", "", time.Time{}, false); v.Refused || v.Wanted != 5 {
		t.Errorf("the rehearsal counted: %+v", v)
	}
	if v := l.Judge("7", "", time.Time{}, false); !v.Refused || v.Wanted != 6 {
		t.Errorf("%+v", v)
	}
	if v := l.Judge("7", "it is confirmed", time.Time{}, false); v.Refused {
		t.Errorf("a confirmed one: %+v", v)
	}
	// What was confirmed is neither held nor counted any longer.
	now.SetTime(noon.Add(9*time.Minute + time.Second))
	if v := l.Judge("8", "", time.Time{}, false); v.Refused || v.Wanted != 2 {
		t.Errorf("after the window of the first four: %+v", v)
	}
}

// Whoever tests, or tries things out, makes and removes works all day.
func TestALedgerLetsWorksComeAndGo(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(noon)
	l := NewLedger(5, 20, now)
	for i := range 3 { // these stay
		l.There(types.UID(fmt.Sprint("old", i)), noon.Add(-time.Hour))
	}
	for i := range 200 {
		work := types.UID(fmt.Sprint(i))
		now.SetTime(now.Now().Add(10 * time.Millisecond))
		l.There(work, now.Now().Truncate(time.Second)) // as API servers say it
		now.SetTime(now.Now().Add(10 * time.Millisecond))
		if v := l.Judge(work, "", time.Time{}, false); v.Refused {
			t.Fatalf("work %d: %+v", i, v)
		}
		l.Gone(work)
	}
	if v := l.Judge("old0", "", time.Time{}, false); v.Refused {
		t.Errorf("one that was there all the time: %+v", v)
	}
}

func TestARefusalIsKnownAgain(t *testing.T) {
	w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "web"}}
	err := Refuse(w, "too many")
	if !apierrors.IsForbidden(err) || !Refused(fmt.Errorf("delete: %w", err)) || !strings.Contains(err.Error(), "too many") {
		t.Error(err)
	}
	if Refused(apierrors.NewForbidden(workv1.Resource("manifestworks"), "web", errors.New("no right"))) || Refused(nil) {
		t.Error("any refusal is taken for one")
	}
}

func TestOwned(t *testing.T) {
	for label, want := range map[string]bool{
		"work.open-cluster-management.io/manifestworkreplicaset": true,
		"apps.flotilla.dev/federateddeployment":                  true,
		"apps.flotilla.dev/uniteddeployment":                     true,
		"open-cluster-management.io/addon-name":                  false,
		"app":                                                    false,
	} {
		w := &workv1.ManifestWork{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{label: "web"}}}
		if Owned(w) != want {
			t.Errorf("%s: %v", label, !want)
		}
	}
}
