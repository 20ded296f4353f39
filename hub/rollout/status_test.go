package rollout

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const generation = 3

// says is a condition of the present generation that came about so many minutes after noon.
func says(kind string, status metav1.ConditionStatus, minutes int) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, ObservedGeneration: generation,
		LastTransitionTime: metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))}
}

func stale(c metav1.Condition) metav1.Condition {
	c.ObservedGeneration--
	return c
}

// OCM-18.4, row by row, and the extension that does without Progressing.
func TestJudge(t *testing.T) {
	const yes, no, unknown = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	applied, available := says("Applied", yes, 0), says("Available", yes, 2)
	for name, tc := range map[string]struct {
		conditions []metav1.Condition
		derive     bool
		want       Status
		minutes    int // after noon; -1 is no time
	}{
		"nothing said":               {nil, true, ToApply, -1},
		"Applied is stale":           {[]metav1.Condition{stale(applied), says("Progressing", no, 1)}, true, ToApply, -1},
		"Applied is false":           {[]metav1.Condition{says("Applied", no, 0), says("Progressing", no, 1)}, true, ToApply, -1},
		"Applied is unknown":         {[]metav1.Condition{says("Applied", unknown, 0)}, true, ToApply, -1},
		"Progressing is missing":     {[]metav1.Condition{applied, available}, false, ToApply, -1},
		"Progressing is stale":       {[]metav1.Condition{applied, available, stale(says("Progressing", no, 1))}, true, ToApply, -1},
		"Degraded is stale":          {[]metav1.Condition{applied, says("Progressing", no, 1), stale(says("Degraded", no, 1))}, true, ToApply, -1},
		"progressing and degraded":   {[]metav1.Condition{applied, says("Progressing", yes, 1), says("Degraded", yes, 4)}, false, Failed, 4},
		"progressing, not degraded":  {[]metav1.Condition{applied, says("Progressing", yes, 1), says("Degraded", no, 4)}, false, Progressing, 1},
		"progressing":                {[]metav1.Condition{applied, says("Progressing", yes, 1)}, true, Progressing, 1},
		"through":                    {[]metav1.Condition{applied, says("Progressing", no, 1)}, false, Succeeded, 1},
		"through, though degraded":   {[]metav1.Condition{applied, says("Progressing", no, 1), says("Degraded", yes, 4)}, false, Succeeded, 1},
		"perhaps progressing":        {[]metav1.Condition{applied, says("Progressing", unknown, 1)}, true, Progressing, 1},
		"derived success":            {[]metav1.Condition{applied, available}, true, Succeeded, 2},
		"Available is stale":         {[]metav1.Condition{applied, stale(available)}, true, Progressing, 0},
		"derived, not available":     {[]metav1.Condition{applied, says("Available", no, 2)}, true, Progressing, 0},
		"derived, degraded":          {[]metav1.Condition{applied, available, says("Degraded", yes, 4)}, true, Failed, 4},
		"derived, degraded is stale": {[]metav1.Condition{applied, available, stale(says("Degraded", yes, 4))}, true, ToApply, -1},
	} {
		t.Run(name, func(t *testing.T) {
			since := time.Time{}
			if tc.minutes >= 0 {
				since = noon.Add(time.Duration(tc.minutes) * time.Minute)
			}
			got, at := Judge(tc.conditions, generation, tc.derive, noon.Add(-time.Hour))
			if got != tc.want || !at.Equal(since) {
				t.Errorf("%v since %v, want %v since %v", got, at, tc.want, since)
			}
		})
	}
}

func TestADerivedSuccessIsNotOlderThanTheContent(t *testing.T) {
	given := noon.Add(time.Hour)
	conditions := []metav1.Condition{says("Applied", metav1.ConditionTrue, 0), says("Available", metav1.ConditionTrue, 0)}
	if status, at := Judge(conditions, generation, true, given); status != Succeeded || !at.Equal(given) {
		t.Errorf("%v since %v: neither condition moves when content is replaced, so the soak would be over before it began", status, at)
	}
}
