package advancedcronjob

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kruise "github.com/openkruise/kruise-api/apps/v1alpha1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/flotilla-project/flotilla/agent/podset/acttest"
	"github.com/flotilla-project/flotilla/pkg/loop"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// cronJob is one without a single default, made at noon, which runs Jobs every hour.
func cronJob(change ...func(*kruise.AdvancedCronJob)) *kruise.AdvancedCronJob {
	acj := &kruise.AdvancedCronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "backup", Namespace: "shop", UID: "owner", Generation: 1, CreationTimestamp: metav1.NewTime(noon)},
		Spec: kruise.AdvancedCronJobSpec{
			Schedule: "0 * * * *",
			Template: kruise.CronJobTemplate{JobTemplate: &batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "backup"}, Annotations: map[string]string{"team": "a"}},
				Spec:       batchv1.JobSpec{Parallelism: new(int32(2))},
			}},
		},
	}
	for _, c := range change {
		c(acj)
	}
	return acj
}

func broadcasts(acj *kruise.AdvancedCronJob) {
	acj.Spec.Template = kruise.CronJobTemplate{BroadcastJobTemplate: &kruise.BroadcastJobTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "backup"}}, Spec: kruise.BroadcastJobSpec{Paused: true},
	}}
}

func schedule(s string) func(*kruise.AdvancedCronJob) {
	return func(acj *kruise.AdvancedCronJob) { acj.Spec.Schedule = s }
}

func zone(z string) func(*kruise.AdvancedCronJob) {
	return func(acj *kruise.AdvancedCronJob) { acj.Spec.TimeZone = &z }
}

func concurrency(p kruise.ConcurrencyPolicy) func(*kruise.AdvancedCronJob) {
	return func(acj *kruise.AdvancedCronJob) { acj.Spec.ConcurrencyPolicy = p }
}

func history(successful, failed int32) func(*kruise.AdvancedCronJob) {
	return func(acj *kruise.AdvancedCronJob) {
		acj.Spec.SuccessfulJobsHistoryLimit, acj.Spec.FailedJobsHistoryLimit = &successful, &failed
	}
}

func startingDeadline(seconds int64) func(*kruise.AdvancedCronJob) {
	return func(acj *kruise.AdvancedCronJob) { acj.Spec.StartingDeadlineSeconds = &seconds }
}

// world is one AdvancedCronJob and an API server in memory.
type world struct {
	*testing.T
	server *acttest.Server
	clock  *clocktesting.FakePassiveClock
	loop   *loop.Loop[*kruise.AdvancedCronJob, seen, *plan]
	steps  *steps
	events *record.FakeRecorder
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	server, err := acttest.New(objects...)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, server: server, clock: clocktesting.NewFakePassiveClock(noon), events: record.NewFakeRecorder(1000)}
	w.steps = &steps{local: w.server, events: w.events, broadcast: true}
	w.loop = &loop.Loop[*kruise.AdvancedCronJob, seen, *plan]{
		Steps: w.steps, Client: w.server, Events: w.events, Clock: w.clock, New: func() *kruise.AdvancedCronJob { return &kruise.AdvancedCronJob{} },
	}
	return w
}

func (w *world) try() (reconcile.Result, error) {
	return w.loop.Reconcile(w.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "backup"}})
}

func (w *world) round() reconcile.Result {
	w.Helper()
	result, err := w.try()
	w.must(err)
	return result
}

// at sets the clock to so long after noon and reconciles.
func (w *world) at(d time.Duration) reconcile.Result {
	w.Helper()
	w.clock.SetTime(noon.Add(d))
	return w.round()
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) acj() *kruise.AdvancedCronJob {
	w.Helper()
	var acj kruise.AdvancedCronJob
	w.must(w.server.Plain.Get(context.Background(), client.ObjectKey{Namespace: "shop", Name: "backup"}, &acj))
	return &acj
}

func (w *world) change(f func(*kruise.AdvancedCronJob)) {
	w.Helper()
	acj := w.acj()
	f(acj)
	w.must(w.server.Plain.Update(context.Background(), acj))
}

func (w *world) jobs() []batchv1.Job {
	w.Helper()
	var jobs batchv1.JobList
	w.must(w.server.Plain.List(context.Background(), &jobs))
	return jobs.Items
}

// slots are the times of the jobs there are, like "13:00", with how they ended.
func (w *world) slots() (all []string) {
	w.Helper()
	for _, job := range w.jobs() {
		at, err := time.Parse(time.RFC3339, job.Annotations[scheduledAt])
		w.must(err)
		slot := at.UTC().Format("15:04")
		for _, c := range job.Status.Conditions {
			slot += " " + string(c.Type)
		}
		all = append(all, slot)
	}
	slices.Sort(all)
	return all
}

// end ends all jobs that have not ended.
func (w *world) end(how batchv1.JobConditionType) {
	w.Helper()
	for _, job := range w.jobs() {
		if len(job.Status.Conditions) > 0 {
			continue
		}
		job.Status.StartTime = new(metav1.NewTime(w.clock.Now()))
		job.Status.Conditions = []batchv1.JobCondition{{Type: how, Status: corev1.ConditionTrue}}
		w.must(w.server.Plain.Status().Update(context.Background(), &job))
	}
}

// status is like "Job 1 active, last 13:00".
func (w *world) status() string {
	w.Helper()
	s := w.acj().Status
	last := "never"
	if s.LastScheduleTime != nil {
		last = s.LastScheduleTime.UTC().Format("15:04")
	}
	return fmt.Sprintf("%s %d active, last %s", s.Type, len(s.Active), last)
}

// heard are the reasons of the events so far, which it forgets.
func (w *world) heard() (all []string) {
	for {
		select {
		case e := <-w.events.Events:
			all = append(all, strings.Fields(e)[1])
		default:
			return all
		}
	}
}
