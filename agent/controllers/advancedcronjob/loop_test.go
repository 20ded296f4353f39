package advancedcronjob

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (w *world) expect(status string, slots ...string) {
	w.Helper()
	if got := w.status(); got != status {
		w.Errorf("it is %q, want %q", got, status)
	}
	if d := cmp.Diff(slots, w.slots()); d != "" {
		w.Error(d)
	}
}

// CJ-1, CJ-6, CJ-8, CJ-11: a job at each time, one write for it, one for the status, and no event.
func TestItRunsAtItsTimes(t *testing.T) {
	w := newWorld(t, cronJob())
	if wait := w.at(10 * time.Minute).RequeueAfter; wait != 50*time.Minute {
		t.Errorf("looks again after %v", wait)
	}
	w.expect("Job 0 active, last never")
	w.server.Writes()
	w.at(time.Hour)
	w.expect("Job 1 active, last 13:00", "13:00")
	if d := cmp.Diff([]string{"create job backup-1767358800", "patch advancedcronjob/status backup"}, w.server.Writes()); d != "" {
		t.Error(d)
	}
	if wait := w.round().RequeueAfter; wait != time.Hour || len(w.server.Writes()) != 0 {
		t.Errorf("looks again after %v", wait)
	}
	w.end(batchv1.JobComplete)
	w.at(2*time.Hour + time.Minute)
	w.expect("Job 1 active, last 14:00", "13:00 Complete", "14:00")
	if heard := w.heard(); heard != nil {
		t.Errorf("events %q", heard)
	}
}

// CJ-9
func TestChild(t *testing.T) {
	owner := []metav1.OwnerReference{{
		APIVersion: "apps.kruise.io/v1alpha1", Kind: "AdvancedCronJob", Name: "backup", UID: "owner", Controller: new(true), BlockOwnerDeletion: new(true),
	}}
	w := newWorld(t, cronJob(zone("Europe/Vienna"), schedule("0 14 * * *")))
	w.at(time.Hour)
	job := w.jobs()[0]
	want := metav1.ObjectMeta{
		Namespace: "shop", Name: "backup-1767358800", UID: job.UID, ResourceVersion: job.ResourceVersion, OwnerReferences: owner,
		Labels: map[string]string{"app": "backup"}, Annotations: map[string]string{"team": "a", "apps.kruise.io/scheduled-at": "2026-01-02T14:00:00+01:00"},
	}
	if d := cmp.Diff(want, job.ObjectMeta); d != "" {
		t.Error(d)
	}
	if *job.Spec.Parallelism != 2 {
		t.Errorf("%+v", job.Spec)
	}
	reference := corev1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: "shop", Name: job.Name, UID: job.UID}
	if d := cmp.Diff([]corev1.ObjectReference{reference}, w.acj().Status.Active); d != "" {
		t.Error(d)
	}

	w = newWorld(t, cronJob(broadcasts))
	w.at(time.Hour)
	var all kruise.BroadcastJobList
	w.must(w.server.Plain.List(context.Background(), &all))
	if b := all.Items[0]; b.Name != "backup-1767358800" || !b.Spec.Paused || b.Labels["app"] != "backup" || b.Annotations[scheduledAt] != "2026-01-02T13:00:00Z" ||
		!cmp.Equal(owner, b.OwnerReferences) {
		t.Errorf("%+v", b)
	}
	if got := w.status(); got != "BroadcastJob 1 active, last 13:00" {
		t.Error(got)
	}
	w.round()
	if got := w.acj().Status.Active; len(got) != 1 || got[0].Kind != "BroadcastJob" || got[0].APIVersion != "apps.kruise.io/v1alpha1" {
		t.Errorf("%+v", got)
	}
}

// CJ-6: of what was missed only the latest runs.
func TestMissedTimes(t *testing.T) {
	w := newWorld(t, cronJob())
	w.at(5*time.Hour + time.Minute)
	w.expect("Job 1 active, last 17:00", "17:00")

	w = newWorld(t, cronJob(startingDeadline(30)))
	w.at(5*time.Hour + time.Minute)
	w.expect("Job 0 active, last never")
	w.at(6*time.Hour + 30*time.Second - time.Millisecond)
	w.expect("Job 1 active, last 18:00", "18:00")
}

// CJ-6: after more than a hundred it stops, and says so; with a starting deadline it does not.
func TestTooManyMissedTimes(t *testing.T) {
	w := newWorld(t, cronJob())
	if wait := w.at(101*time.Hour + time.Minute).RequeueAfter; wait != 0 {
		t.Errorf("looks again after %v", wait)
	}
	w.expect("Job 0 active, last never")
	if d := cmp.Diff([]string{"TooManyMissedTimes"}, w.heard()); d != "" {
		t.Error(d)
	}
	w.change(startingDeadline(3600))
	if wait := w.round().RequeueAfter; wait != 59*time.Minute {
		t.Errorf("looks again after %v", wait)
	}
	w.expect("Job 1 active, last 17:00", "17:00")

	w = newWorld(t, cronJob())
	w.at(100*time.Hour + time.Minute)
	w.expect("Job 1 active, last 16:00", "16:00")
}

// CJ-7: without history it still knows when it ran last.
func TestItDoesNotForgetWithoutHistory(t *testing.T) {
	w := newWorld(t, cronJob(history(0, 0)))
	w.at(time.Hour)
	w.end(batchv1.JobComplete)
	w.at(time.Hour + time.Minute)
	w.round()
	w.expect("Job 0 active, last 13:00")
	if n := len(w.jobs()); n != 0 {
		t.Errorf("it ran again: %d", n)
	}
}

// CJ-8
func TestHistory(t *testing.T) {
	w := newWorld(t, cronJob(history(2, 1)))
	for hour := time.Duration(1); hour <= 6; hour++ {
		w.at(hour * time.Hour)
		w.end([]batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed}[hour%2])
	}
	w.at(6*time.Hour + time.Minute)
	w.expect("Job 0 active, last 18:00", "16:00 Complete", "17:00 Failed", "18:00 Complete")
}

// CJ-8
func TestConcurrency(t *testing.T) {
	for policy, want := range map[kruise.ConcurrencyPolicy][]string{
		"":                       {"13:00", "14:00"},
		kruise.AllowConcurrent:   {"13:00", "14:00"},
		kruise.ForbidConcurrent:  {"13:00"},
		kruise.ReplaceConcurrent: {"14:00"},
	} {
		w := newWorld(t, cronJob(concurrency(policy)))
		w.at(time.Hour)
		w.at(2 * time.Hour)
		if d := cmp.Diff(want, w.slots()); d != "" {
			t.Errorf("policy %q: %s", policy, d)
		}
		if got := len(w.acj().Status.Active); got != len(want) {
			t.Errorf("policy %q: %d active", policy, got)
		}
		w.end(batchv1.JobComplete)
		w.at(2*time.Hour + 10*time.Minute)
		if policy == kruise.ForbidConcurrent { // tried again when we wake, as when a job ends // CJ-10
			w.expect("Job 1 active, last 14:00", "13:00 Complete", "14:00")
		}
	}
}

func TestPaused(t *testing.T) { // CJ-8: history is pruned all the same
	w := newWorld(t, cronJob(history(0, 1)))
	w.at(time.Hour)
	w.change(func(acj *kruise.AdvancedCronJob) { acj.Spec.Paused = new(true) })
	w.end(batchv1.JobComplete)
	if wait := w.at(2 * time.Hour).RequeueAfter; wait != 0 {
		t.Errorf("looks again after %v", wait)
	}
	w.round()
	w.expect("Job 0 active, last 13:00")
}

// CJ-9: what somebody else made in our name is an error that is tried again, and nothing is said twice.
func TestATimeIsNotRunTwice(t *testing.T) {
	w := newWorld(t, cronJob(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "backup-1767358800"}})
	w.clock.SetTime(noon.Add(time.Hour))
	if _, err := w.try(); !apierrors.IsAlreadyExists(err) {
		t.Errorf("%v", err)
	}
	if n := len(w.jobs()); n != 1 || w.heard() != nil {
		t.Errorf("%d jobs", n)
	}
}

func TestAFailedCreateIsTold(t *testing.T) {
	w := newWorld(t, cronJob())
	w.clock.SetTime(noon.Add(time.Hour))
	w.server.Before = func(write string) error {
		if strings.HasPrefix(write, "create") {
			return errors.New("quota")
		}
		return nil
	}
	if _, err := w.try(); err == nil {
		t.Error("it is not tried again")
	}
	w.expect("Job 0 active, last never")
	if d := cmp.Diff([]string{"FailedCreate"}, w.heard()); d != "" {
		t.Error(d)
	}
	w.server.Before = nil
	w.round()
	w.expect("Job 1 active, last 13:00", "13:00")
}

// What can never run says why, and neither stops nor starts anything.
func TestWhatCannotRun(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*kruise.AdvancedCronJob)
		served bool
		want   string
	}{
		"a schedule that is none":        {change: schedule("now and then"), served: true, want: "InvalidSpec"},
		"no template":                    {change: func(acj *kruise.AdvancedCronJob) { acj.Spec.Template = kruise.CronJobTemplate{} }, served: true, want: "InvalidSpec"},
		"a cluster without BroadcastJob": {change: broadcasts, want: "NoBroadcastJobs"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, cronJob(tc.change))
			w.steps.broadcast = tc.served
			if wait := w.at(time.Hour).RequeueAfter; wait != 0 {
				t.Errorf("looks again after %v", wait)
			}
			if d := cmp.Diff([]string{tc.want}, w.heard()); d != "" {
				t.Error(d)
			}
		})
	}
}
