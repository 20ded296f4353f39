package advancedcronjob

import (
	"strings"
	"testing"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
)

func TestDefault(t *testing.T) { // CJ-2
	s := Default(cronJob()).Spec
	if s.ConcurrencyPolicy != "Allow" || *s.Paused || *s.SuccessfulJobsHistoryLimit != 3 || *s.FailedJobsHistoryLimit != 1 {
		t.Errorf("%+v", s)
	}
}

func TestValidate(t *testing.T) { // CJ-1, CJ-3
	for name, tc := range map[string]struct {
		change []func(*kruise.AdvancedCronJob)
		field  string
	}{
		"a good one":             {},
		"one with a zone":        {change: []func(*kruise.AdvancedCronJob){zone("Europe/Vienna")}},
		"no schedule":            {change: []func(*kruise.AdvancedCronJob){schedule("")}, field: "spec.schedule"},
		"a bad schedule":         {change: []func(*kruise.AdvancedCronJob){schedule("TZ=UTC")}, field: "spec.schedule"},
		"two zones":              {change: []func(*kruise.AdvancedCronJob){schedule("TZ=UTC 0 * * * *"), zone("UTC")}, field: "spec.schedule"},
		"an empty zone":          {change: []func(*kruise.AdvancedCronJob){zone("")}, field: "spec.timeZone"},
		"the local zone":         {change: []func(*kruise.AdvancedCronJob){zone("lOcAl")}, field: "spec.timeZone"},
		"an unknown zone":        {change: []func(*kruise.AdvancedCronJob){zone("Mars/Olympus")}, field: "spec.timeZone"},
		"a negative deadline":    {change: []func(*kruise.AdvancedCronJob){startingDeadline(-1)}, field: "spec.startingDeadlineSeconds"},
		"a negative history":     {change: []func(*kruise.AdvancedCronJob){history(-1, 1)}, field: "spec.successfulJobsHistoryLimit"},
		"another":                {change: []func(*kruise.AdvancedCronJob){history(1, -1)}, field: "spec.failedJobsHistoryLimit"},
		"an unknown concurrency": {change: []func(*kruise.AdvancedCronJob){concurrency("Maybe")}, field: "spec.concurrencyPolicy"},
		"no template":            {change: []func(*kruise.AdvancedCronJob){func(a *kruise.AdvancedCronJob) { a.Spec.Template.JobTemplate = nil }}, field: "spec.template"},
		"two templates": {change: []func(*kruise.AdvancedCronJob){func(a *kruise.AdvancedCronJob) {
			job := a.Spec.Template.JobTemplate
			broadcasts(a)
			a.Spec.Template.JobTemplate = job
		}}, field: "spec.template"},
	} {
		got := Validate(Default(cronJob(tc.change...)))
		if (len(got) == 0) != (tc.field == "") || len(got) > 0 && !strings.HasPrefix(got[0].Field, tc.field) {
			t.Errorf("%s: %v", name, got)
		}
	}
}
