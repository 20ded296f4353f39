package advancedcronjob

import (
	"errors"
	"fmt"
	"strings"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var errNoTemplate = errors.New("spec.template: one of jobTemplate and broadcastJobTemplate must be set")

// Default is a copy of an AdvancedCronJob with what its user left out. // CJ-2
func Default(acj *kruise.AdvancedCronJob) *kruise.AdvancedCronJob {
	acj = acj.DeepCopy()
	spec := &acj.Spec
	if spec.ConcurrencyPolicy == "" {
		spec.ConcurrencyPolicy = kruise.AllowConcurrent
	}
	fill(&spec.Paused, false)
	fill(&spec.SuccessfulJobsHistoryLimit, 3)
	fill(&spec.FailedJobsHistoryLimit, 1)
	return acj
}

func fill[V any](to **V, value V) {
	if *to == nil {
		*to = &value
	}
}

// Validate lists what is wrong with an AdvancedCronJob that has its defaults, as far as the object alone tells. What a pod
// template needs is not looked at. // CJ-3
func Validate(acj *kruise.AdvancedCronJob) field.ErrorList {
	spec := field.NewPath("spec")
	all := validateTimes(&acj.Spec, spec)
	if n := acj.Spec.StartingDeadlineSeconds; n != nil {
		all = append(all, notNegative(*n, spec.Child("startingDeadlineSeconds"))...)
	}
	for name, n := range map[string]*int32{"successfulJobsHistoryLimit": acj.Spec.SuccessfulJobsHistoryLimit, "failedJobsHistoryLimit": acj.Spec.FailedJobsHistoryLimit} {
		if n != nil {
			all = append(all, notNegative(int64(*n), spec.Child(name))...)
		}
	}
	policies := []kruise.ConcurrencyPolicy{kruise.AllowConcurrent, kruise.ForbidConcurrent, kruise.ReplaceConcurrent}
	switch acj.Spec.ConcurrencyPolicy {
	case policies[0], policies[1], policies[2]:
	default:
		all = append(all, field.NotSupported(spec.Child("concurrencyPolicy"), acj.Spec.ConcurrencyPolicy, policies))
	}
	template := acj.Spec.Template
	switch {
	case template.JobTemplate == nil && template.BroadcastJobTemplate == nil:
		all = append(all, field.Required(spec.Child("template"), "one of jobTemplate and broadcastJobTemplate must be set"))
	case template.JobTemplate != nil && template.BroadcastJobTemplate != nil:
		all = append(all, field.Forbidden(spec.Child("template"), "only one of jobTemplate and broadcastJobTemplate may be set"))
	}
	return all
}

func validateTimes(s *kruise.AdvancedCronJobSpec, spec *field.Path) (all field.ErrorList) {
	path := spec.Child("schedule")
	if s.Schedule == "" {
		all = append(all, field.Required(path, `say when, such as "0 3 * * *"`))
	} else if _, err := read(s.Schedule, nil, time.UTC); err != nil {
		all = append(all, field.Invalid(path, s.Schedule, err.Error()))
	}
	if s.TimeZone == nil {
		return all
	}
	zone := spec.Child("timeZone")
	switch {
	case strings.Contains(s.Schedule, "TZ"):
		all = append(all, field.Invalid(path, s.Schedule, "name the zone here or in timeZone, not in both"))
	case *s.TimeZone == "":
		all = append(all, field.Invalid(zone, "", "must not be empty; leave it out for the agent's own"))
	case strings.EqualFold(*s.TimeZone, "Local"):
		all = append(all, field.Invalid(zone, *s.TimeZone, "name a zone such as Europe/Vienna; leave it out for the agent's own"))
	default:
		if _, err := time.LoadLocation(*s.TimeZone); err != nil {
			all = append(all, field.Invalid(zone, *s.TimeZone, fmt.Sprintf("is in no tz database: %v", err)))
		}
	}
	return all
}

func notNegative(n int64, path *field.Path) field.ErrorList {
	if n < 0 {
		return field.ErrorList{field.Invalid(path, n, "must not be negative")}
	}
	return nil
}
