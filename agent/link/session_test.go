package link

import (
	"testing"
	"time"

	"github.com/flotilla-project/flotilla/agent/link/heartbeat"
)

func TestTheLeaseIsRenewedAsFastAsTheFenceNeedsIt(t *testing.T) {
	s := &session{beats: make(chan heartbeat.Beat, 1)}
	for name, tc := range map[string]struct {
		pace time.Duration
		beat heartbeat.Beat
		want time.Duration
	}{
		"nobody steps down":            {0, heartbeat.Beat{Accepted: true, Period: time.Minute}, time.Minute},
		"somebody does, and soon":      {20 * time.Second, heartbeat.Beat{Accepted: true, Period: time.Minute}, 20 * time.Second},
		"somebody does, but late":      {time.Hour, heartbeat.Beat{Accepted: true, Period: time.Minute}, time.Minute},
		"no faster than once a second": {time.Millisecond, heartbeat.Beat{Accepted: true, Period: time.Minute}, time.Second},
		"who is not accepted waits":    {time.Second, heartbeat.Beat{Period: time.Minute}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s.pace = tc.pace
			s.beat(heartbeat.Beat{Accepted: true, Period: time.Hour}) // nobody took it, so the next one counts
			s.beat(tc.beat)
			if got := <-s.beats; got.Period != tc.want || got.Accepted != tc.beat.Accepted {
				t.Errorf("%+v", got)
			}
		})
	}
}
