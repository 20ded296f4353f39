package advancedcronjob

import (
	"errors"
	"testing"
	"time"
)

// CJ-5: the zone of the schedule, that of the field, ours; and the tz database is our own.
func TestZones(t *testing.T) {
	here := time.FixedZone("here", 3*3600)
	for name, tc := range map[string]struct {
		schedule, zone string
		want           string
	}{
		"ours":                      {schedule: "0 6 * * *", want: "2026-01-03T06:00:00+03:00"},
		"of the field":              {schedule: "0 6 * * *", zone: "America/New_York", want: "2026-01-03T06:00:00-05:00"},
		"of the schedule":           {schedule: "TZ=Asia/Tokyo 0 6 * * *", want: "2026-01-03T06:00:00+09:00"},
		"of the schedule, long":     {schedule: "CRON_TZ=Asia/Tokyo 0 6 * * *", zone: "America/New_York", want: "2026-01-03T06:00:00+09:00"},
		"unknown ones are ours":     {schedule: "0 6 * * *", zone: "Mars/Olympus", want: "2026-01-03T06:00:00+03:00"},
		"a descriptor":              {schedule: "@daily", zone: "Europe/Vienna", want: "2026-01-03T00:00:00+01:00"},
		"a descriptor with a zone":  {schedule: "TZ=Europe/Vienna @hourly", want: "2026-01-02T14:00:00+01:00"},
		"an interval from the last": {schedule: "@every 90m", zone: "UTC", want: "2026-01-02T13:30:00Z"},
		"a day that never comes":    {schedule: "0 0 30 2 *", zone: "UTC", want: "0001-01-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			var field *string
			if tc.zone != "" {
				field = &tc.zone
			}
			times, err := read(tc.schedule, field, here)
			if err != nil {
				t.Fatal(err)
			}
			if got := times.next(noon).Format(time.RFC3339); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestSchedulesThatAreNone(t *testing.T) { // CJ-3: and none of them ends the process
	for _, schedule := range []string{"", "now", "TZ=UTC", "CRON_TZ=UTC", "TZ=Mars/Olympus 0 * * * *", "TZ=UTC TZ=UTC", "0 * * *", "0 0 0 * * *", "@every", "99 * * * *"} {
		if _, err := read(schedule, nil, time.UTC); err == nil {
			t.Errorf("%q passes", schedule)
		}
	}
}

func TestDue(t *testing.T) { // CJ-6
	times, err := read("*/10 * * * *", nil, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		now  time.Duration
		want string
		err  error
	}{
		"none yet":       {now: 9 * time.Minute, want: "00:00"},
		"exactly":        {now: 10 * time.Minute, want: "12:10"},
		"the latest":     {now: 39 * time.Minute, want: "12:30"},
		"a hundred":      {now: 1000 * time.Minute, want: "04:40"},
		"more than that": {now: 1010 * time.Minute, want: "00:00", err: errTooMany},
	} {
		got, err := times.due(noon, noon.Add(tc.now))
		if got.Format("15:04") != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// A clock that goes forward in spring leaves one time out and runs none twice.
func TestSummerTime(t *testing.T) {
	times, err := read("30 * * * *", new("Europe/Vienna"), time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	seen := map[int64]bool{}
	for range 4 {
		at = times.next(at)
		if seen[at.Unix()] {
			t.Errorf("%v comes twice", at)
		}
		seen[at.Unix()] = true
	}
	if want := time.Date(2026, 3, 29, 3, 30, 0, 0, time.UTC); !at.Equal(want) {
		t.Errorf("the fourth is at %v", at)
	}
}
