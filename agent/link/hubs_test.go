package link

import (
	"strings"
	"testing"
	"time"
)

func TestAHubIsLeftWhenAnotherMayServeUsBetter(t *testing.T) { // OCM-6.2
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, tc := range map[string]struct {
		hubs    []string
		began   time.Duration
		renewed time.Duration // 0: never
		denied  bool
		want    string
	}{
		"all is well":               {hubs: []string{"a", "b"}, began: time.Hour, renewed: time.Minute},
		"it denied us":              {hubs: []string{"a", "b"}, began: time.Hour, renewed: time.Minute, denied: true, want: "denied"},
		"not in the first moments":  {hubs: []string{"a", "b"}, began: 9 * time.Second, denied: true},
		"the lease is not renewed":  {hubs: []string{"a", "b"}, began: time.Hour, renewed: 11 * time.Minute, want: "not renewed for 11m0s"},
		"nor was it ever":           {hubs: []string{"a", "b"}, began: 11 * time.Minute, want: "not renewed for 11m0s"},
		"there is no other hub":     {hubs: nil, began: time.Hour, renewed: time.Hour, denied: true},
		"it may yet become renewed": {hubs: []string{"a", "b"}, began: 9 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			o := Defaults()
			o.BootstrapKubeconfigs = tc.hubs
			s := &session{link: &Link{options: o}, began: ago(tc.began)}
			s.denied.Store(tc.denied)
			if tc.renewed > 0 {
				s.renewed.Store(new(ago(tc.renewed)))
			}
			if got := s.leave(now); !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("%q", got)
			}
		})
	}
}
