package advancedcronjob

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a tz database of our own, wherever we run // CJ-5

	"github.com/robfig/cron/v3"
)

// mostMissed is how many times may have been missed before somebody has to look. // CJ-6
const mostMissed = 100

// timetable is a schedule in a zone.
type timetable struct {
	schedule cron.Schedule
	zone     *time.Location
}

// read makes a timetable. A schedule that names a zone wins over the field; a zone that is not known is that of the agent.
// // CJ-5
func read(schedule string, timeZone *string, local *time.Location) (timetable, error) {
	t := timetable{zone: local}
	switch {
	case namesZone(schedule):
		prefix, rest, found := strings.Cut(schedule, " ")
		if !found || namesZone(strings.TrimSpace(rest)) {
			return t, fmt.Errorf("schedule %q must name one zone and then the times", schedule)
		}
		zone, err := time.LoadLocation(prefix[strings.Index(prefix, "=")+1:])
		if err != nil {
			return t, fmt.Errorf("read zone of schedule %q: %w", schedule, err)
		}
		t.zone, schedule = zone, strings.TrimSpace(rest)
	case timeZone != nil && !strings.Contains(schedule, "TZ"):
		if zone, err := time.LoadLocation(*timeZone); err == nil {
			t.zone = zone
		}
	}
	var err error
	if t.schedule, err = cron.ParseStandard(schedule); err != nil {
		return t, fmt.Errorf("read schedule %q: %w", schedule, err)
	}
	return t, nil
}

func namesZone(schedule string) bool {
	return strings.HasPrefix(schedule, "TZ=") || strings.HasPrefix(schedule, "CRON_TZ=")
}

// next is the first time after t; zero if there is none, as on a 30th of February.
func (t timetable) next(after time.Time) time.Time { return t.schedule.Next(after.In(t.zone)) }

var errTooMany = errors.New("more than 100 times were missed")

// due is the latest time after from and not after now; zero if there is none. // CJ-6
func (t timetable) due(from, now time.Time) (time.Time, error) {
	var latest time.Time
	missed := 0
	for at := t.next(from); !at.IsZero() && !at.After(now); at = t.next(at) {
		latest = at
		if missed++; missed > mostMissed {
			return time.Time{}, errTooMany
		}
	}
	return latest, nil
}
