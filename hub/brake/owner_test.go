package brake

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAnOwnerShrinks(t *testing.T) {
	const key = "flotilla.dev/confirm-mass-removal"
	for name, tc := range map[string]struct {
		going, total int
		annotations  map[string]string
		held         bool
	}{
		"none of ten":                       {going: 0, total: 10},
		"a few of many":                     {going: 5, total: 100},
		"all of a few":                      {going: 5, total: 5},
		"all of a few more":                 {going: 6, total: 6, held: true},
		"all of ten":                        {going: 10, total: 10, held: true},
		"a third of thirty":                 {going: 10, total: 30, held: true},
		"less than that":                    {going: 9, total: 30},
		"confirmed":                         {going: 30, total: 30, annotations: map[string]string{key: "2026-05-01T12:00:01Z"}},
		"confirmed until now":               {going: 30, total: 30, annotations: map[string]string{key: "2026-05-01T12:00:00Z"}, held: true},
		"confirmed as nobody understands":   {going: 30, total: 30, annotations: map[string]string{key: "yes"}, held: true},
		"confirmed on something else's way": {going: 30, total: 30, annotations: map[string]string{"flotilla.dev/confirm-removal": "web"}, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := Shrink{Total: tc.total, Annotations: tc.annotations}
			for i := range tc.going {
				s.Clusters = append(s.Clusters, fmt.Sprint("c", i))
			}
			if held := s.Held(noon); (held != "") != tc.held {
				t.Errorf("%q", held)
			}
		})
	}
}

func TestWhatAnOwnerHoldsIsTold(t *testing.T) {
	s := Shrink{Kind: "federateddeployment", Namespace: "shop", Name: "web", Clusters: []string{"a", "b", "c", "d", "e", "f", "g"}, Total: 8,
		Because: "placement p no longer selects them"}
	got := s.Held(noon.Add(59 * time.Minute))
	for _, want := range []string{"7 of 8 works (a b c d e and 2 more)", "placement p no longer selects them", "more than 5",
		"kubectl annotate federateddeployment -n shop web --overwrite flotilla.dev/confirm-mass-removal=2026-05-01T14:00:00Z"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if s.Held(noon) != got {
		t.Error("it would be written anew all the time")
	}
}
